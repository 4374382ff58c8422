"""The framework from Python: load, check, run, and subscribe to what a node puts out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reactivex import operators as ops

import flow
from flow.errors import FlowError

GRAPH = {
    "version": 1,
    "nodes": {
        "socket": {"use": "binance.stream", "params": {"symbols": ["AAA-USDT"], "channels": ["trade"]}},
        "frames": {"use": "ingest", "inputs": ["socket"]},
        "events": {"use": "decode", "inputs": ["frames"], "params": {"codec": "binance"}},
        "bus": {"use": "fan-out-clone", "inputs": ["events"]},
        "sink": {"use": "null", "inputs": ["bus"]},
    },
}


@pytest.fixture
def graph() -> flow.GraphSpec:
    return flow.load_data(GRAPH, name="small")


@pytest.fixture
def recording(binance_capture: Callable[..., Path], trade_frame: Callable[..., bytes]) -> Path:
    return binance_capture(*(trade_frame(number, price=f"{number}.5") for number in range(1, 6)))


def test_run_returns_the_summary(graph: flow.GraphSpec, recording: Path) -> None:
    summary = flow.run(graph, replay=[("binance", recording)], speed=None)
    assert summary["frames"] == 5
    assert summary["consumers"]["sink"]["by_type"] == {"Trade": 5}


@pytest.mark.parametrize("node", ["events", "bus"])
def test_any_output_can_be_observed_with_stock_operators(
    graph: flow.GraphSpec, recording: Path, node: str
) -> None:
    prices: list[str] = []
    ends: list[str] = []

    def prepare(session: flow.Session) -> None:
        session.observe(node).pipe(
            ops.filter(lambda event: event.sequence % 2 == 1), ops.map(lambda event: event.payload.price)
        ).subscribe(prices.append, on_completed=lambda: ends.append("completed"))

    summary = flow.run(graph, prepare=prepare, replay=[("binance", str(recording))], speed=None)
    assert prices == ["1.5", "3.5", "5.5"]
    assert ends == ["completed"]
    assert all(figures["out"] == 0 for figures in summary["pools"].values())


def test_what_is_observed_belongs_to_the_observer(graph: flow.GraphSpec, recording: Path) -> None:
    kept: list[flow.CanonicalEvent] = []
    flow.run(
        graph,
        prepare=lambda session: session.observe("events").subscribe(kept.append) and None,
        replay=[("binance", recording)],
        speed=None,
    )
    assert [event.payload.price for event in kept] == ["1.5", "2.5", "3.5", "4.5", "5.5"]  # type: ignore[attr-defined]
    assert len({id(event) for event in kept}) == 5


def test_an_observer_that_raises_is_reported_and_left_out(graph: flow.GraphSpec, recording: Path) -> None:
    seen: list[int] = []

    def broken(event: flow.CanonicalEvent) -> None:
        seen.append(event.sequence)
        raise ValueError("not today")

    def prepare(session: flow.Session) -> None:
        session.observe("bus").subscribe(broken)

    summary = flow.run(graph, prepare=prepare, replay=[("binance", recording)], speed=None)
    assert seen == [1]
    assert summary["consumers"]["sink"]["delivered"] == 5
    assert summary["occurrences"]["consumer.failed{observer, ValueError}"] == 1


def test_a_bug_of_ownership_in_an_observer_ends_the_run(graph: flow.GraphSpec, recording: Path) -> None:
    def put_again(event: flow.CanonicalEvent) -> None:
        event.put()

    def prepare(session: flow.Session) -> None:
        session.observe("bus").subscribe(put_again)

    with pytest.raises(flow.OwnershipBug, match="already in its pool, or in none"):
        flow.run(graph, prepare=prepare, replay=[("binance", recording)], speed=None)


@pytest.mark.parametrize(
    ("node", "said"), [("buss", "no node 'buss' in small; there are socket"), ("sink", "is a consumer")]
)
def test_what_can_not_be_observed(graph: flow.GraphSpec, node: str, said: str) -> None:
    with pytest.raises(FlowError, match=said):
        flow.Session(graph).observe(node)


async def test_a_session_in_a_loop_of_ones_own(graph: flow.GraphSpec, recording: Path) -> None:
    seen: list[Any] = []
    session = flow.Session(graph, replay=[("binance", recording)], speed=1000.0)
    session.observe("bus").subscribe(seen.append)
    async with session:
        with pytest.raises(FlowError, match="before the session is entered"):
            session.observe("events")
        await session.wait()
    assert len(seen) == 5
    assert session.summary()["frames"] == 5


async def test_a_session_can_be_stopped(graph: flow.GraphSpec) -> None:
    graph.nodes["socket"] = flow.load_data(
        {**GRAPH, "nodes": {**GRAPH["nodes"]}},
        sets=["nodes.socket.params.symbols=[BTC-USDT]"],  # type: ignore[dict-item]
    ).nodes["socket"]
    first = asyncio.Event()
    session = flow.Session(graph, sim="rate=500")
    session.observe("bus").subscribe(lambda event: first.set())
    async with session:
        await first.wait()
        session.stop()
        await session.wait()
    assert session.summary()["frames"] >= 1


async def test_a_failure_is_raised_on_the_way_out(graph: flow.GraphSpec, recording: Path) -> None:
    bad = flow.load_data(GRAPH, sets=["nodes.socket.params.symbols=[ZZZ-USDT]"])
    with pytest.raises(flow.Terminal, match="knows none of the symbols"):
        async with flow.Session(bad, replay=[("binance", recording)], speed=1000.0) as session:
            await session.wait()


def test_faults_are_raised_all_at_once_and_listed_by_lint(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("version: 1\nnodes:\n  a: {use: injest}\n  b: {use: nul, inputs: [c]}\n")
    with pytest.raises(flow.GraphError) as caught:
        flow.load(path)
    assert len(caught.value.faults) >= 3
    assert flow.lint(path) == caught.value.faults
