"""The ledger counts and never computes: an element that is taken away by hand shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flow
from flow.runtime.options import RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.topology import Topology
from flow.runtime.virtual_time import VirtualTimeLoop

GRAPH = Path(__file__).resolve().parents[2] / "graphs" / "binance.yaml"
Take = Callable[[Topology], bool]


@pytest.fixture
def differences(
    binance_capture: Callable[..., Path], trade_frame: Callable[..., bytes]
) -> Callable[..., Any]:
    """Runs the main graph on trades, one of which is missing and one comes out of order, and calls `take` in
    the chain until it has taken something; which edges do not balance."""
    numbers = (1, 2, 3, 5, 4, 6, 8, 9, 10)
    recording = binance_capture(*(trade_frame(number) for number in numbers), step_ms=0)

    def call(take: Take, node: str) -> dict[str, int]:
        topologies: list[Topology] = []
        is_done = False

        def see(element: Any) -> None:
            nonlocal is_done
            is_done = is_done or take(topologies[0])

        def attach(topology: Topology) -> None:
            topologies.append(topology)
            topology.observe(node, see, lambda: None)

        async def whole() -> GraphRun:
            spec = flow.load(GRAPH, sets=["symbols=[AAA-USDT]"])
            options = RunOptions(replay=[("binance", recording)], speed=None)
            async with GraphRun(spec, options, observed=frozenset({node}), on_built=attach) as run:
                await run.wait()
            return run

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            edges = runner.run(whole()).topology.edges()
        return {f"{edge.source} -> {edge.target}": edge.difference for edge in edges if edge.difference}

    return call


@pytest.mark.parametrize("node", ["bus", "events"])
def test_where_nothing_is_taken_every_edge_balances(differences: Callable[..., Any], node: str) -> None:
    assert differences(lambda topology: False, node) == {}


@pytest.mark.parametrize("consumer", ["strategy", "archive"])
def test_an_element_taken_out_of_a_mailbox(differences: Callable[..., Any], consumer: str) -> None:
    def take(topology: Topology) -> bool:
        queue = topology.deliveries[consumer].mailbox.queue
        return bool(queue) and queue.pop() is not None

    assert differences(take, "bus") == {f"bus -> {consumer}": 1}


def test_an_element_taken_out_of_the_order_buffer(differences: Callable[..., Any]) -> None:
    def take(topology: Topology) -> bool:
        for line in topology.vertices["ordered"].machine.lines.values():  # type: ignore[union-attr]
            if line.held:
                flow.release(line.held.pop()[-1])
                return True
        return False

    assert differences(take, "events") == {"events -> ordered": 1}


def test_an_element_put_twice_into_a_mailbox(differences: Callable[..., Any]) -> None:
    def take(topology: Topology) -> bool:
        queue = topology.deliveries["archive"].mailbox.queue
        return bool(queue) and queue.append(queue[0]) is None

    assert differences(take, "bus") == {"bus -> archive": -1}
