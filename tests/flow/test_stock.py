"""The host of stock operators: guards, re-entrance, time and ends are those of any machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops

from flow import stock
from flow.errors import DoublePut
from flow.stage import stage
from flow.stock import Gathered, Host, Line
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import Bench, Recorder

Operate = Callable[[Line], Callable[[Observable[Any]], Observable[Any]]]


def hosted(
    operate: Operate, recorder: Recorder | None = None, letters: DeadLetters | None = None, key: Any = None
) -> Bench:
    return Bench(
        lambda context: stage(lambda: Host(context, lambda host: Line(host, operate), key)),
        recorder=recorder,
        dead_letters=letters,
    )


def inverted(number: int) -> float:
    if number == 100:
        raise DoublePut("it lies there")
    return 1 / number


def mapped(line: Line) -> Callable[[Observable[Any]], Observable[Any]]:
    return ops.map(line.guarded(inverted))


def pairs(host: Host) -> Line:
    return Gathered(host, lambda _: ops.buffer_with_count(2), 2, 2)


def gathered(recorder: Recorder) -> Bench:
    return Bench(lambda context: stage(lambda: Host(context, pairs)), recorder=recorder)


def push(bench: Bench, *elements: Any) -> None:
    for element in elements:
        bench.push_any(element)


def test_a_raise_costs_its_own_element() -> None:
    letters = DeadLetters()
    bench = hosted(mapped, letters=letters)
    push(bench, 2, 0, 4)
    assert bench.recorder.elements == [0.5, 0.25]
    assert letters.by_reason() == {"ZeroDivisionError": 1}
    bench.check()


def test_without_dead_letters_it_is_an_error_after_what_came_before() -> None:
    bench = hosted(mapped)
    bench.machine.add_many([2, 4, 0, 8])
    assert bench.recorder.elements == [0.5, 0.25]
    assert isinstance(bench.recorder.error, ZeroDivisionError)
    assert dict(bench.machine.dropped) == {"disposed": 1}
    assert bench.recorder.after_end == 0


def test_a_bug_of_ownership_passes() -> None:
    letters = DeadLetters()
    bench = hosted(mapped, letters=letters)
    with pytest.raises(DoublePut, match="it lies there"):
        push(bench, 100)
    push(bench, 2)
    assert bench.recorder.elements == [0.5]
    assert len(letters) == 0


def test_a_run_leaves_as_a_run_and_is_cut_by_a_fault() -> None:
    bench = hosted(mapped, letters=DeadLetters())
    runs: list[list[float]] = []
    bench.machine.emit_many = runs.append
    bench.machine.add_many([1, 2, 0, 4, 8])
    assert runs == [[1.0, 0.5], [0.25, 0.125]]
    assert (bench.machine.passed, bench.machine.emitted, bench.machine.dead_lettered) == (4, 4, 1)


def test_an_observer_may_push_the_next_element() -> None:
    recorder = Recorder(lambda got: push(bench, 3) if got == [1, 2] else None)
    bench = gathered(recorder)
    push(bench, 1, 2, 4)
    assert recorder.elements == [[1, 2], [3, 4]]
    bench.check()


def test_an_observer_that_raises_leaves_the_operator_whole() -> None:
    def raise_first(got: list[int]) -> None:
        if got == [1, 2]:
            raise RuntimeError("not today")

    recorder = Recorder(raise_first)
    bench = gathered(recorder)
    push(bench, 1)
    with pytest.raises(RuntimeError, match="not today"):
        push(bench, 2)
    push(bench, 3, 4)
    assert recorder.elements == [[3, 4]]
    assert bench.machine.passed == 4
    bench.check()


def test_an_observer_may_dispose_between_two_elements() -> None:
    recorder = Recorder(lambda got: bench.subscription.dispose())
    bench = hosted(mapped, recorder)
    bench.machine.add_many([1, 2])
    assert recorder.elements == [1.0]


def test_what_is_added_after_the_end_is_dropped_and_starts_no_timer() -> None:
    bench = hosted(lambda _: ops.debounce(1))
    bench.subscription.dispose()
    bench.machine.add(1)
    assert dict(bench.machine.dropped) == {"disposed": 1}
    assert bench.scheduler_is_idle


def test_what_a_stock_timer_raises_is_reported() -> None:
    def look(*_: Any) -> None:
        raise ValueError("can't look")

    def with_a_timer(line: Line) -> Callable[[Observable[Any]], Observable[Any]]:
        line.host.clock.schedule(look)
        return ops.as_observable()

    letters = DeadLetters()
    bench = hosted(with_a_timer, letters=letters)
    push(bench, 1)
    bench.scheduler.advance_by(1)
    assert [letter.detail for letter in letters.read()] == ["can't look"]
    assert bench.recorder.elements == [1]


def test_an_observer_that_raises_on_a_timer_is_not_the_operators_fault() -> None:
    def refuse(_: Any) -> None:
        raise RuntimeError("not today")

    letters = DeadLetters()
    bench = hosted(lambda _: ops.debounce(1), Recorder(refuse), letters)
    push(bench, 1)
    with pytest.raises(RuntimeError, match="not today"):
        bench.scheduler.advance_by(2)
    assert len(letters) == 0


def test_timers_run_on_the_hosts_clock() -> None:
    bench = hosted(
        lambda line: ops.flat_map(
            lambda at: reactivex.timer(
                line.host.clock.now + line.host.clock.to_timedelta(at), scheduler=line.host.clock
            ).pipe(ops.map(lambda _: at))
        )
    )
    push(bench, 2, 1)
    bench.scheduler.advance_by(1.5)
    assert bench.recorder.elements == [1]
    bench.scheduler.advance_by(1)
    assert bench.recorder.elements == [1, 2]


def test_a_stock_operator_that_fails_by_itself_ends_the_stream() -> None:
    bench = hosted(lambda _: ops.flat_map(lambda number: reactivex.throw(ValueError(f"no {number}"))))
    push(bench, 1)
    bench.scheduler.advance_by(1)
    push(bench, 2)
    assert str(bench.recorder.error) == "no 1"
    assert bench.recorder.after_end == 0


def test_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "MOST_LINES", 2)
    letters = DeadLetters()
    bench = hosted(mapped, letters=letters, key=lambda number: number)
    push(bench, 1, 2, 4, 1, [])
    assert bench.recorder.elements == [1.0, 0.5, 1.0]
    assert [letter.detail for letter in letters.read()] == [
        "4 is one key too many: 2 are told apart",
        "unhashable type: 'list'",
    ]
