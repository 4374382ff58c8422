"""Stock operators as graphs use them: named functions, accounts, faults, one memory per key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.testing import TestScheduler

from flow.context import Context
from flow.errors import FlowError
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import Bench, Recorder, make_stream, pushed
from operators.rx import (
    rx_buffer_with_count,
    rx_buffer_with_time,
    rx_debounce,
    rx_distinct_until_changed,
    rx_filter,
    rx_map,
    rx_pairwise,
    rx_sample,
    rx_scan,
)

CODE = """
def number(event):
    return event.sequence

def upper(text):
    if text == "!":
        raise ValueError("not a letter")
    return text.upper()

def is_vowel(text, also=""):
    if text == "!":
        raise ValueError("not a letter")
    return text in "aeiou" + also

def joined(state, text):
    if text == "!":
        raise ValueError("not a letter")
    return state + text

def lower(text):
    if text == "!":
        raise ValueError("not a letter")
    return text.lower()

def case(text):
    if text == "!":
        raise ValueError("not a letter")
    return text.isupper()

class Counter:
    def __init__(self, start):
        self.count = start

    def __call__(self, element):
        self.count += 1
        return self.count
"""


@pytest.fixture
def here(tmp_path: Path) -> Callable[..., Context]:
    """A context whose folder has `mine.py`."""
    (tmp_path / "mine.py").write_text(CODE)

    def context(**fields: Any) -> Context:
        return Context("bench", refs={"base_dir": tmp_path}, **fields)

    return context


class Rig(Bench):
    """A bench for elements of any type; `out` is what came."""

    def __init__(self, make: Any, here: Callable[..., Context], **params: Any):
        letters = DeadLetters()

        def operate(context: Context) -> Any:
            context.refs.update(here().refs)
            return make(context=context, params=make.spec.params(**params))

        super().__init__(operate, dead_letters=letters)
        self.letters = letters

    def feed(self, elements: str) -> list[Any]:
        for element in elements:
            self.push_any(element)
            self.check()
        return self.out

    @property
    def out(self) -> list[Any]:
        return self.recorder.elements

    def end(self) -> list[Any]:
        self.source.on_completed()
        self.check()
        assert self.machine.in_flight == 0
        assert self.recorder.is_completed
        assert self.scheduler_is_idle
        return self.out

    @property
    def account(self) -> tuple[int, dict[str, int], int, int]:
        machine = self.machine
        return machine.passed, dict(machine.dropped), machine.dead_lettered, machine.in_flight


def test_map(here: Callable[..., Context]) -> None:
    rig = Rig(rx_map, here, function="./mine.py:upper")
    assert rig.feed("ab!c") == ["A", "B", "C"]
    assert rig.account == (3, {}, 1, 0)
    [letter] = rig.letters.read()
    assert (letter.reason, letter.detail) == ("ValueError", "not a letter")
    assert rig.end() == ["A", "B", "C"]


def test_a_class_is_made_with_the_params(here: Callable[..., Context]) -> None:
    assert Rig(rx_map, here, function="./mine.py:Counter", params={"start": 7}).feed("ab") == [8, 9]


def test_filter(here: Callable[..., Context]) -> None:
    rig = Rig(rx_filter, here, function="./mine.py:is_vowel", params={"also": "y"})
    assert rig.feed("ax!ye") == ["a", "y", "e"]
    assert rig.account == (3, {"filtered": 1}, 1, 0)
    assert rig.end() == ["a", "y", "e"]


def test_scan(here: Callable[..., Context]) -> None:
    rig = Rig(rx_scan, here, function="./mine.py:joined")
    assert rig.feed("ab!c") == ["a", "ab", "abc"]
    assert rig.account == (3, {}, 1, 0)


def test_scan_with_a_seed_that_every_subscription_has_for_itself(here: Callable[..., Context]) -> None:
    rig = Rig(rx_scan, here, function="./mine.py:joined", seed="-")
    assert rig.feed("!ab") == ["-a", "-ab"]
    scan = rx_scan(context=here(), function="operator:iadd", seed=[])
    for _ in range(2):
        recorder = Recorder()
        reactivex.of([1], [2]).pipe(scan, ops.map(list)).subscribe(recorder)
        assert recorder.elements == [[1], [1, 2]]


def test_distinct_until_changed(here: Callable[..., Context]) -> None:
    rig = Rig(rx_distinct_until_changed, here)
    assert rig.feed("aabba") == ["a", "b", "a"]
    assert rig.account == (3, {"repeated": 2}, 0, 0)


@pytest.mark.parametrize(("given", "expected"), [("aAbB!Ba", "aba"), ("!aA", "a"), ("!!a", "a")])
def test_distinct_until_changed_by_a_function(
    here: Callable[..., Context], given: str, expected: str
) -> None:
    rig = Rig(rx_distinct_until_changed, here, function="./mine.py:lower")
    assert "".join(rig.feed(given)) == expected
    assert rig.machine.dead_lettered == given.count("!")


class Odd:
    """Can't be compared, and is no truth either."""

    def __eq__(self, other: object) -> Any:
        raise TypeError("not comparable")

    __hash__ = None  # type: ignore[assignment]


def test_what_cannot_be_compared_is_refused(here: Callable[..., Context]) -> None:
    rig = Rig(rx_distinct_until_changed, here)
    for element in ("a", Odd(), "a", "b"):
        rig.push_any(element)
    assert rig.out == ["a", "b"]
    assert rig.account == (2, {"repeated": 1}, 1, 0)


def test_pairwise(here: Callable[..., Context]) -> None:
    rig = Rig(rx_pairwise, here)
    assert rig.feed("abc") == [("a", "b"), ("b", "c")]
    assert rig.account == (3, {}, 0, 0)
    assert rig.machine.emitted == 2


def test_buffer_with_count(here: Callable[..., Context]) -> None:
    rig = Rig(rx_buffer_with_count, here, count=2)
    assert rig.feed("abc") == [["a", "b"]]
    assert rig.account == (2, {}, 0, 1)
    assert rig.end() == [["a", "b"], ["c"]]
    assert (rig.account, rig.machine.emitted) == ((3, {}, 0, 0), 2)


def test_buffer_of_the_last_ones(here: Callable[..., Context]) -> None:
    rig = Rig(rx_buffer_with_count, here, count=3, skip=1)
    assert rig.feed("abcd") == [["a", "b", "c"], ["b", "c", "d"]]
    assert rig.account == (2, {}, 0, 2)
    assert rig.end()[2:] == [["c", "d"], ["d"]]
    assert rig.account == (4, {}, 0, 0)


def test_buffer_with_holes(here: Callable[..., Context]) -> None:
    rig = Rig(rx_buffer_with_count, here, count=2, skip=3)
    assert rig.feed("abcdef") == [["a", "b"], ["d", "e"]]
    assert rig.account == (4, {"skipped": 2}, 0, 0)
    rig.feed("g")
    assert rig.end()[2:] == [["g"]]


def test_buffer_with_time(here: Callable[..., Context]) -> None:
    rig = Rig(rx_buffer_with_time, here, span_ms=100, most=3)
    assert rig.scheduler_is_idle
    rig.feed("ab")
    rig.scheduler.advance_by(0.099)
    assert (rig.out, rig.machine.in_flight) == ([], 2)
    rig.scheduler.advance_by(0.002)
    assert (rig.out, rig.account) == ([["a", "b"]], (2, {}, 0, 0))
    rig.scheduler.advance_by(1)
    assert len(rig.out) == 1
    assert rig.feed("cdef")[1:] == [["c", "d", "e"]]
    assert rig.end()[2:] == [["f"]]
    assert rig.account == (6, {}, 0, 0)


def test_sample(here: Callable[..., Context]) -> None:
    rig = Rig(rx_sample, here, every_ms=100)
    assert rig.scheduler_is_idle
    rig.feed("abc")
    rig.scheduler.advance_by(0.099)
    assert (rig.out, rig.account) == ([], (0, {"superseded": 2}, 0, 1))
    rig.scheduler.advance_by(0.002)
    assert (rig.out, rig.account) == (["c"], (1, {"superseded": 2}, 0, 0))
    rig.scheduler.advance_by(0.5)
    assert rig.out == ["c"]
    rig.feed("de")
    assert rig.end() == ["c", "e"]
    assert rig.account == (2, {"superseded": 3}, 0, 0)


def test_debounce(here: Callable[..., Context]) -> None:
    rig = Rig(rx_debounce, here, due_ms=100)
    rig.feed("a")
    rig.scheduler.advance_by(0.06)
    rig.feed("b")
    rig.scheduler.advance_by(0.06)
    assert (rig.out, rig.account) == ([], (0, {"superseded": 1}, 0, 1))
    rig.scheduler.advance_by(0.05)
    assert (rig.out, rig.account) == (["b"], (1, {"superseded": 1}, 0, 0))
    rig.feed("c")
    assert rig.end() == ["b", "c"]


REMEMBERING = [
    (rx_scan, {"function": "./mine.py:joined"}, "aAbB", ["a", "A", "ab", "AB"]),
    (rx_distinct_until_changed, {"function": "./mine.py:lower"}, "aAaA", ["a", "A"]),
    (rx_pairwise, {}, "aAbB", [("a", "b"), ("A", "B")]),
    (rx_buffer_with_count, {"count": 2}, "aAbB", [["a", "b"], ["A", "B"]]),
    (rx_buffer_with_time, {"span_ms": 50}, "aAb", [["a", "b"], ["A"]]),
    (rx_sample, {"every_ms": 50}, "aAb", ["b", "A"]),
    (rx_debounce, {"due_ms": 50}, "aAb", ["A", "b"]),
]


@pytest.mark.parametrize(
    ("make", "params", "given", "expected"), REMEMBERING, ids=[row[0].spec.name for row in REMEMBERING]
)
def test_one_memory_per_key(
    here: Callable[..., Context], make: Any, params: dict[str, Any], given: str, expected: list[Any]
) -> None:
    rig = Rig(make, here, per="./mine.py:case", **params)
    rig.feed("!" + given)
    rig.scheduler.advance_by(0.1)
    rig.check()
    assert rig.out == expected
    assert rig.machine.dead_lettered == 1
    assert len(rig.machine.lines) == 2
    rig.subscription.dispose()
    rig.check()
    assert rig.scheduler_is_idle


@pytest.mark.parametrize(("per", "pairs"), [("stream", []), ("symbol", [(1, 2)]), (None, [(1, 2), (2, 3)])])
def test_a_memory_per_stream_and_symbol(
    here: Callable[..., Context], per: str | None, pairs: list[tuple[int, int]]
) -> None:
    rig = Rig(rx_pairwise, here, per=per)
    rig.push(1, stream=make_stream(channel="trade"))
    rig.push(2, stream=make_stream(channel="agg_trade"))
    rig.push(3, stream=make_stream(symbol="ETH-USDT"))
    assert [(one.sequence, other.sequence) for one, other in rig.out] == pairs
    rig.check_over()


HOLDING = [
    (rx_buffer_with_count, {"count": 9}),
    (rx_buffer_with_time, {"span_ms": 50}),
    (rx_sample, {"every_ms": 50}),
    (rx_debounce, {"due_ms": 50}),
]


@pytest.mark.parametrize(("make", "params"), HOLDING, ids=[row[0].spec.name for row in HOLDING])
@pytest.mark.parametrize("end", ["dispose", "error"])
def test_what_is_held_at_the_end_is_dropped_and_no_timer_left(
    here: Callable[..., Context], make: Any, params: dict[str, Any], end: str
) -> None:
    rig = Rig(make, here, **params)
    rig.push(1)
    held = rig.machine.in_flight
    assert held == 1
    if end == "dispose":
        rig.subscription.dispose()
    else:
        rig.source.on_error(ValueError("the source failed"))
    assert dict(rig.machine.dropped) == {"disposed": 1}
    rig.check_over()
    assert rig.out == []


def test_pooled_elements_go_back_at_once(here: Callable[..., Context]) -> None:
    rig = Rig(rx_map, here, function="./mine.py:number")
    rig.push(1, 2)
    assert rig.out == [1, 2]
    rig.check_over()


def test_composes_with_stock_operators_and_takes_their_scheduler(here: Callable[..., Context]) -> None:
    scheduler, recorder = TestScheduler(), Recorder()
    source = pushed(scheduler, (0.0, "a"), (0.01, "b"), (0.12, "c"), completed_at=0.3)
    source.pipe(
        ops.map(str.upper), rx_buffer_with_time(span_ms=100), ops.map("".join), rx_sample(every_ms=500)
    ).subscribe(recorder, scheduler=scheduler)
    scheduler.advance_by(1)
    assert recorder.elements == ["C"]
    assert recorder.is_completed


@pytest.mark.parametrize(
    ("make", "params", "said"),
    [
        (
            rx_map,
            {"function": "./mine.py:upper", "params": {"loud": 1}},
            "upper is called as (element, loud=",
        ),
        (rx_scan, {"function": "./mine.py:upper"}, "upper is called as (state, element)"),
        (rx_filter, {"function": "./mine.py:is_vowl"}, "did you mean is_vowel?"),
        (
            rx_pairwise,
            {"per": "strem"},
            "per: 'strem' is neither stream nor symbol nor ./file.py:name; did you",
        ),
        (rx_distinct_until_changed, {"function": "./their.py:upper"}, "there is no such file"),
    ],
)
def test_a_function_that_will_not_do_is_told_at_once(
    here: Callable[..., Context], make: Any, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(FlowError) as refused:
        make(context=here(), params=make.spec.params(**params))
    assert said in str(refused.value)
