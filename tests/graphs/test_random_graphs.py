"""Whatever fails in whatever graph: nothing is lost, nothing is left out of a pool, nothing is left behind.

A failure prints the plan, whose `graph` is what a YAML file would say: run_plan(Plan(...)) repeats it. 200
graphs run in the ordinary tests, 10,000 with `make soak-properties`.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import Phase, given, settings

from flow.runtime.delivery import Delivery
from flow.runtime.mailbox import Lanes
from flow.stage import Machine
from operators.fan_out_clone import FanOut
from operators.order_buffer import OrderBuffer
from tests.graphs.random_graphs.distribution import DISTRIBUTION
from tests.graphs.random_graphs.parameters import parameters_of
from tests.graphs.random_graphs.plan import Plan, fitting
from tests.graphs.random_graphs.properties import figures, wrongs
from tests.graphs.random_graphs.running import run_plan
from tests.graphs.random_graphs.strategy import plans

EXAMPLES: Final = max(200, settings().max_examples)
REPEATED: Final = 8
"""One graph in so many runs twice."""


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """The graphs are meant to fail, which they need not log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def check(plan: Plan) -> None:
    """Run a plan. Raises `AssertionError` with everything that is wrong afterwards."""
    outcome = run_plan(plan)
    found = wrongs(outcome)
    assert not found, "\n".join(found)
    DISTRIBUTION.count(outcome)
    if len(repr(plan)) % REPEATED == 0:
        again = run_plan(plan)
        assert figures(again) == figures(outcome), "two runs of one plan have two summaries"
        assert again.world.received == outcome.world.received


@pytest.mark.timeout(EXAMPLES)  # a second each: 50 ms is usual, and the machine may be busy
def test_nothing_is_lost_and_nothing_left_out_whatever_fails() -> None:
    settings(max_examples=EXAMPLES)(given(plans())(check))()
    gc.collect()
    assert DISTRIBUTION.graphs >= EXAMPLES
    assert 2 * DISTRIBUTION.with_all >= DISTRIBUTION.graphs, "\n".join(DISTRIBUTION.lines())


def test_every_operator_has_its_part() -> None:
    """One that has to be told something is described in parameters.py."""
    assert [spec.name for spec in fitting().values() if parameters_of(spec) is None] == []


def forget_a_release(patch: pytest.MonkeyPatch) -> None:
    def drop(machine: Machine[Any, Any], element: Any, reason: str) -> None:
        machine.dropped[reason] += 1

    patch.setattr(Machine, "drop", drop)


def keep_what_is_refused(patch: pytest.MonkeyPatch) -> None:
    def refuse(machine: Machine[Any, Any], element: Any, error: Exception, reason: str = "") -> None:
        machine.dead_lettered += 1
        machine.context.refuse(element, reason or type(error).__name__, str(error))

    patch.setattr(Machine, "refuse", refuse)


def forget_what_is_held(patch: pytest.MonkeyPatch) -> None:
    def finish(buffer: OrderBuffer) -> None:
        for line in buffer.lines.values():
            line.held.clear()

    patch.setattr(OrderBuffer, "finish", finish)


def lose_a_count(patch: pytest.MonkeyPatch) -> None:
    append = Lanes._append

    def uncounted(lanes: Lanes, lane: Any, element: Any) -> None:
        if len(lane) < lanes.mailbox.capacity:
            append(lanes, lane, element)

    patch.setattr(Lanes, "_append", uncounted)


def reverse_reports(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lanes, "_add_critical", lambda lanes, event: lanes.critical.insert(0, event))


def send_to_one_less(patch: pytest.MonkeyPatch) -> None:
    send = FanOut.send
    patch.setattr(FanOut, "send", lambda fan_out, members, clones: send(fan_out, members[1:], clones))


def hide_what_a_handler_raised(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Delivery, "_failed", lambda delivery, error, elements: None)


FAULTS = (
    forget_a_release,
    keep_what_is_refused,
    forget_what_is_held,
    lose_a_count,
    reverse_reports,
    send_to_one_less,
    hide_what_a_handler_raised,
)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)

    def holds(plan: Plan) -> None:
        assert not wrongs(run_plan(plan))

    search = settings(max_examples=200, phases=[Phase.generate], derandomize=True, database=None)
    with pytest.raises(AssertionError):
        search(given(plans())(holds))()
