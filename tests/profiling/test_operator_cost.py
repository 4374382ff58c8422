"""The benchmark of single operators: every event comes through, and the difference is what counts."""

from __future__ import annotations

from typing import Any

import pytest

from flow.registry import registry
from flow.stage import Stage
from flow.testing import assert_nothing_out
from profiling import operator_rig
from profiling.interleave import interleave
from profiling.merges import MERGES
from profiling.operator_cost import OPERATORS, WAYS, Cost, added_costs, show_costs
from profiling.operator_rig import Rig, Slots

EVENTS = 200


@pytest.fixture(autouse=True)
def few_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_rig, "EVENTS", EVENTS)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPERATORS)
def test_every_event_comes_through_and_nothing_stays_out(name: str, way: str) -> None:
    source, operate = OPERATORS[name]
    rig = Rig(source, operate, WAYS[way])
    assert rig.run() == EVENTS
    if not name.startswith("window-merge"):
        assert rig.sink.taken == EVENTS
    assert_nothing_out(rig.context.pools, used=source is not operator_rig.Arrivals or name == "ingest")


@pytest.mark.parametrize("name", MERGES)
def test_as_many_windows_are_open_as_a_row_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_rig, "EVENTS", 6_000)
    source, operate = MERGES[name]
    rig = Rig(source, operate, 64)
    rig.run()
    assert isinstance(rig.out, Stage)
    machine: Any = rig.out.machine
    assert machine.passed + machine.coalesced + machine.in_flight == 6_000
    symbols = int(name.split(" ", maxsplit=1)[0].strip(",").replace(",", ""))
    if "closed" in name:
        assert rig.sink.taken == 6_000 // symbols // 30 * symbols
    else:
        assert (len(machine.open), rig.sink.taken) == (symbols, 0)
    assert_nothing_out(rig.context.pools)


def test_a_cost_is_what_the_operator_adds_in_the_same_round() -> None:
    clock = [0]

    def spend(*us: int):
        turns = iter(us)

        def run() -> int:
            clock[0] += next(turns) * 1000
            return 1

        return run

    names = [f"no operator, {kind}" for kind in ("arrivals", "frames", "slots")]
    runs = {name: spend(0, 1, 2, 3) for name in names} | {name: spend(0, 3, 4, 6) for name in OPERATORS}
    comparison = interleave(runs, 3, title="fused", clock_ns=lambda: clock[0])
    costs = added_costs(OPERATORS, comparison)
    assert costs == [Cost(name, "fused", 2.0, 2.0, 2.5) for name in OPERATORS]


def test_the_table_has_a_row_for_each_operator(capsys: pytest.CaptureFixture[str]) -> None:
    show_costs([Cost(name, way, 1.0, 0.5, 1.5) for name in OPERATORS for way in WAYS])
    head, *rows = capsys.readouterr().out.splitlines()
    assert all(way in head for way in WAYS)
    assert [row[:34].strip() for row in rows] == list(OPERATORS)
    assert all(row.count("1.00 (0.50 - 1.50)") == len(WAYS) for row in rows)


def test_every_operator_of_the_project_has_a_row() -> None:
    measured = {name.split(",")[0].split(" ")[0] for name in OPERATORS}
    registered = {spec.name for spec in registry.operators() if spec.origin.startswith("operators.")}
    assert {name for name in registered if not name.startswith("rx.")} <= measured


def test_streams_go_on_in_order() -> None:
    rig = Rig(Slots, None, 1)
    events = [(event.stream, event.sequence) for event in rig.elements(96)]
    assert [sequence for _, sequence in events] == [1] * 32 + [2] * 32 + [3] * 32
    assert len({stream for stream, _ in events}) == 32
