"""The contract suite finds what it is there to find, names the rule, and lets good operators be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.scheduler import TimeoutScheduler

from flow.context import Context
from flow.events.frames import Connection, WsFrame
from flow.pool import Pools
from flow.registry import NodeSpec, Operator, spec_of
from flow.testing import ContractBroken, check_operator, event_samples
from flow.testing.contract.check import RULES
from tests.flow.testing.gallery import (
    CountsWhatItKeeps,
    DropsSilently,
    DropsWithoutAReason,
    EmitsAfterDispose,
    EmitsRunsBackwards,
    EmitsTwiceOnReEntrance,
    EmitsWhatItPut,
    ForgetsToFlush,
    ForgetsWhatItHolds,
    GuardsNothing,
    KeepsATimer,
    Leaks,
    OddOnes,
    Pairs,
    PutsTwice,
    ReadsTheWall,
    RemembersAtTheClass,
    Slips,
    SpacedParams,
    SwallowsARaise,
    SwallowsWhatObserversRaise,
    Through,
    gives_up_when_fused,
    loses_reports,
    of,
    pooled,
    rewired,
    shares_state,
    spaced,
)

BROKEN: list[tuple[Any, str, str]] = [
    (of(EmitsAfterDispose), "dispose", "came after the subscription was disposed"),
    (of(KeepsATimer), "timers", "timers left after the end: 1"),
    (pooled(Leaks), "ownership", "never put"),
    (pooled(PutsTwice), "ownership", "DoublePut"),
    (pooled(EmitsWhatItPut), "ownership", "UsedAfterPut"),
    (of(DropsSilently), "ledger", "1 elements went in, 0 are accounted for"),
    (of(DropsWithoutAReason), "ledger", "dropped without a reason"),
    (of(CountsWhatItKeeps), "ledger", "1 were counted as emitted, 0 came"),
    (of(EmitsTwiceOnReEntrance), "re-entrance", "came"),
    (of(Slips), "samples", "missing 1 required positional argument: 'reason' at "),
    (loses_reports(), "critical", "execution reports were lost"),
    (of(RemembersAtTheClass), "re-subscription", "undisturbed it is"),
    (shares_state, "re-subscription", "undisturbed it is"),
    (of(ForgetsToFlush), "completion", "did not flush 1"),
    (of(ForgetsWhatItHolds), "completion", "1 are held after the end"),
    (of(SwallowsARaise), "raise-inside", "nobody was told"),
    (of(GuardsNothing), "raise-inside", "reached whoever pushed"),
    (of(SwallowsWhatObserversRaise), "raise-downstream", "None arrived at the pusher"),
    (gives_up_when_fused, "composition", "fused with stages"),
    (of(EmitsRunsBackwards), "composition", "undisturbed it is"),
    (of(ReadsTheWall), "time", "gallery.py"),
    (rewired("completes twice"), "grammar", "on_completed came after the end"),
    (rewired("hides errors"), "failure", "the observer was told []"),
]


@pytest.mark.parametrize(("factory", "rule", "words"), BROKEN)
def test_each_broken_operator_is_found_with_the_rule_that_it_breaks(
    factory: Any, rule: str, words: str
) -> None:
    with pytest.raises(ContractBroken) as found:
        check_operator(factory, seed=1)
    assert found.value.rule == rule, str(found.value)
    assert words in str(found.value)
    assert RULES[rule] in str(found.value)


def test_every_rule_is_broken_by_somebody() -> None:
    assert {rule for _, rule, _ in BROKEN} == set(RULES)


@pytest.mark.parametrize("factory", [of(Through), pooled(Through), of(OddOnes), pooled(Pairs), of(Pairs)])
def test_what_keeps_the_rules_is_let_be(factory: Any) -> None:
    check_operator(factory, examples=12)


def test_a_third_party_s_operator_is_checked_in_one_line() -> None:
    spec = spec_of("spaced", spaced, loss="anything")
    check_operator(spec, params={"least_ms": 60}, examples=12)
    check_operator(spec, params=SpacedParams(least_ms=20), examples=12)
    check_operator(lambda context: spaced(SpacedParams(), context), examples=12)


@pytest.mark.parametrize(
    "stock",
    [ops.map(str), ops.pairwise(), ops.debounce(0.1), ops.scan(lambda a, b: a + b), ops.take_last(2)],
    ids=["map", "pairwise", "debounce", "scan", "take_last"],
)
def test_stock_operators_are_held_to_what_can_be_seen_of_them(stock: Operator[Any, Any]) -> None:
    without = ["raise-inside"]  # they end at the first raise
    check_operator(lambda _: stock, st.integers(), skip=without, examples=12)


def test_a_stock_operator_on_a_clock_of_its_own_is_found() -> None:
    check_operator(lambda _: ops.timestamp(), st.integers(), only="time", examples=5)
    by_the_wall = ops.timestamp(TimeoutScheduler.singleton())
    with pytest.raises(ContractBroken, match=r"wall time .*now\(\) at .*timestamp.py") as found:
        check_operator(lambda _: by_the_wall, st.integers(), only="time")
    assert found.value.rule == "time"


def test_the_message_has_the_shortest_script_and_repeats_it() -> None:
    def message(seed: int) -> str:
        with pytest.raises(ContractBroken) as found:
            check_operator(of(DropsSilently), only="ledger", seed=seed)
        return str(found.value)

    told = message(5)
    assert told == message(5)
    lines = told.splitlines()
    assert lines[2] == "  it stands alone, on a TestScheduler, with dead letters; what was done:"
    assert len(lines) == 5, "one push is the shortest"
    assert lines[3].startswith("    push Stream(")
    assert lines[4] == "  the same again: check_operator(..., only='ledger', seed=5)"


def frames(pools: Pools) -> Sequence[WsFrame]:
    shelf = pools.of("WsFrame", WsFrame).shelf(Connection("test", 1))
    made = [shelf.get() for _ in range(6)]
    for number, frame in enumerate(made):
        frame.payload = b"%d" % number
    return made


def on_frames(machine: Callable[[Context], Any]) -> NodeSpec:
    def factory(params: Any, context: Context) -> Any:
        return of(machine)(context)

    factory.__annotations__ = {
        "params": type(SpacedParams()),
        "context": Context,
        "return": Operator[WsFrame, WsFrame],
    }
    return spec_of("on-frames", factory, pooled=True)


class FrameThrough(Through):
    def add(self, element: Any) -> None:
        self.passed += bool(element.payload) or 1
        self.emit(element)


class FrameLeaks(FrameThrough):
    def add(self, element: Any) -> None:
        if element.payload == b"3":
            self.dropped["three"] += 1
        else:
            super().add(element)


def test_samples_may_be_a_list_that_a_function_makes() -> None:
    check_operator(on_frames(FrameThrough), frames, seed=1)
    with pytest.raises(ContractBroken, match="push sample 3") as found:
        check_operator(on_frames(FrameLeaks), frames)
    assert found.value.rule == "ownership"


def test_samples_may_be_recipes() -> None:
    trades = event_samples().filter(lambda recipe: recipe.stream.event_type == "Trade")
    with pytest.raises(ContractBroken, match="push Stream"):
        check_operator(of(DropsSilently), trades, only="ledger")


def test_rules_can_be_left_out() -> None:
    check_operator(of(ReadsTheWall), skip=["time"], examples=5, seed=1)


def test_what_can_not_be_checked_says_why() -> None:
    with pytest.raises(ValueError, match="no such rule: order; there are ledger, samples, critical"):
        check_operator(of(Through), only="order")
    with pytest.raises(TypeError, match=r"on-frames takes .*WsFrame.*: give `samples`"):
        check_operator(on_frames(FrameThrough))
    with pytest.raises(TypeError, match="params are for what @operator made"):
        check_operator(of(Through), params={})


def test_what_makes_no_operator_says_so() -> None:
    with pytest.raises(
        TypeError, match=r"test_contract.py:\d+: .* returns nothing; it is to return an operator"
    ):
        check_operator(lambda context: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(
        TypeError, match=r"can't be made: .*test_contract.py:\d+: AttributeError: .* 'missing'"
    ):
        check_operator(lambda context: context.missing)  # type: ignore[attr-defined]


def test_what_was_refused_stands_in_the_message_with_its_line() -> None:
    class CountsFirst(Through):
        def add(self, element: Any) -> None:
            self.passed += 1
            self.emit(element.price)

    with pytest.raises(
        ContractBroken, match=r"refused for AttributeError: .*'price' at .*test_contract.py:\d+"
    ):
        check_operator(of(CountsFirst), only="ledger")


async def test_it_wants_no_running_loop() -> None:
    with pytest.raises(RuntimeError, match="call it where none is running"):
        check_operator(of(Through))


def test_without_hypothesis_it_says_what_is_missing() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import flow.testing\n"
        "try:\n    flow.testing.check_operator\n"
        "except ImportError as error:\n    print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "flow.testing.check_operator needs hypothesis: pip install hypothesis"
