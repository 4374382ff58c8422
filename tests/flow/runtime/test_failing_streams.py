"""A stream that fails, as those of stock operators may: the run ends with the error and with its accounts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from reactivex import operators as ops

import flow
from flow.component import Consumer, Source
from flow.context import Context
from flow.errors import ConsumerError
from flow.events.canonical import CanonicalEvent
from flow.graph.spec import NoParams
from flow.plugins import load_installed
from flow.registry import Operator, Registry, registry, spec_of
from flow.runtime.options import RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.stage import many
from flow.testing import EventFactory, make_stream

RUNS = ((1, 2), (3, 4, 5, 6))


class Numbers(Source[CanonicalEvent]):
    """Pooled events in runs, 10 ms apart."""

    def __init__(self, context: Context) -> None:
        self.make = EventFactory(make_stream(), context.pools)

    async def run(self) -> None:
        for run in RUNS:
            self.emitted += len(run)
            many(self.emit)([self.make(number) for number in run])
            await asyncio.sleep(0.01)


class Sink(Consumer[CanonicalEvent]):
    def handle(self, element: CanonicalEvent) -> None:
        return


def numbers(params: NoParams, context: Context) -> Source[CanonicalEvent]:
    return Numbers(context)


def failing(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    def mapped(event: CanonicalEvent) -> CanonicalEvent:
        if event.sequence == 4:
            raise LookupError("no fourth")
        return event

    return ops.map(mapped)


def sink(params: NoParams, context: Context) -> Consumer[CanonicalEvent]:
    return Sink()


@pytest.fixture
def catalogue() -> Registry:
    assert not load_installed()
    made = Registry(dict(registry.nodes))
    made.add(spec_of("numbers", numbers, pooled=True))
    made.add(spec_of("failing", failing))
    made.add(spec_of("sink", sink))
    return made


def run_through(catalogue: Registry, nodes: dict[str, Any], **options: Any) -> tuple[GraphRun, float]:
    """The run, and how long it took in virtual seconds."""
    spec = flow.load_data({"version": 1, "nodes": nodes}, registry=catalogue)

    async def whole() -> tuple[GraphRun, float]:
        async with GraphRun(spec, RunOptions(**options), registry=catalogue) as run:
            await run.wait()
        return run, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(whole())


NUMBERS = {"use": "numbers"}
IN_CHAIN = {
    "unique": {"use": "dedupe", "inputs": ["numbers"]},
    "mapped": {"use": "failing", "inputs": ["unique"]},
    "bus": {"use": "fan-out-clone", "inputs": ["mapped"]},
    "sink": {"use": "sink", "inputs": ["bus"]},
}
BRANCH = {
    "bus": {"use": "fan-out-clone", "inputs": ["numbers"]},
    "inner": {"use": "fan-out-clone", "inputs": ["bus"]},
    "mapped": {"use": "failing", "inputs": ["inner"]},
    "last": {"use": "fan-out-clone", "inputs": ["mapped"]},
    "sink": {"use": "sink", "inputs": ["last"]},
    "other": {"use": "sink", "inputs": ["bus"]},
}
BEHIND = {
    "bus": {"use": "fan-out-clone", "inputs": ["numbers"]},
    "unique": {"use": "dedupe", "inputs": ["bus"]},
    "mapped": {"use": "failing", "inputs": ["unique"]},
    "sink": {"use": "sink", "inputs": ["mapped"]},
}


@pytest.mark.parametrize(
    ("nodes", "error", "said"),
    [
        (IN_CHAIN, LookupError, "no fourth"),
        (BRANCH, LookupError, "no fourth"),
        (BEHIND, ConsumerError, "sink: no fourth"),
    ],
    ids=["in_chain", "branch", "behind_a_mailbox"],
)
def test_it_ends_the_run_and_every_edge_balances(
    catalogue: Registry, nodes: dict[str, Any], error: type[Exception], said: str
) -> None:
    run, took_s = run_through(catalogue, {"numbers": NUMBERS, **nodes})
    assert type(run.failure) is error
    assert str(run.failure) == said
    assert {edge.target: edge.difference for edge in run.topology.edges() if edge.difference} == {}
    assert [edge.out for edge in run.topology.edges() if edge.target == "sink"] == [3]
    (figures,) = run.context.pools.figures().values()
    assert (figures["out"], figures["gets"], figures["puts"]) == (0, 6, 6)
    assert took_s < 0.1, "the consumer behind it was waited for, though nothing more came"


def test_a_consumer_beside_it_gets_all_that_was_sent(catalogue: Registry) -> None:
    run, _ = run_through(catalogue, {"numbers": NUMBERS, **BRANCH})
    outs = {edge.target: (edge.entered, edge.out) for edge in run.topology.edges()}
    assert outs["other"] == (6, 6)
    assert outs["inner"] == (6, 6)
    assert outs["mapped"] == (4, 4)


def test_pooled_elements_over_the_limit_go_back(catalogue: Registry) -> None:
    nodes = {"numbers": NUMBERS, "sink": {"use": "sink", "inputs": ["numbers"]}}
    run, _ = run_through(catalogue, nodes, max_frames=3)
    (edge,) = run.topology.edges()
    assert (edge.entered, edge.out, edge.dropped, edge.difference) == (6, 3, {"over_limit": 3}, 0)
    assert run.context.pools.by_kind["CanonicalEvent"].out == 0


def test_operators_before_a_consumer_that_was_cut_off_leave_no_timer(catalogue: Registry) -> None:
    async def hang(event: Any) -> None:
        await asyncio.Event().wait()

    def hanging(params: NoParams, context: Context) -> Consumer[CanonicalEvent]:
        stuck = Sink()
        stuck.handle = hang
        return stuck

    catalogue.add(spec_of("hanging", hanging))
    limited = {"rate_per_s": 0.001}
    nodes = {
        "numbers": NUMBERS,
        "slow": {"use": "throttle", "inputs": [{"source": "numbers", "mailbox": {}}], "params": limited},
        "sink": {"use": "hanging", "inputs": ["slow"]},
    }

    async def left() -> tuple[GraphRun, list[Any]]:
        spec = flow.load_data({"version": 1, "nodes": nodes}, registry=catalogue)
        async with GraphRun(spec, RunOptions(drain_s=0.01), registry=catalogue) as run:
            await run.wait()
        loop: Any = asyncio.get_running_loop()
        return run, [timer for timer in loop._scheduled if not timer.cancelled()]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        run, timers = runner.run(left())
    assert timers == []
    edge = next(edge for edge in run.topology.edges() if edge.target == "slow")
    assert (edge.out, edge.dropped, edge.difference) == (1, {"disposed": 1}, 0)


def test_a_source_that_is_observed_is_charged_with_what_was_over_the_limit(catalogue: Registry) -> None:
    nodes = {"numbers": NUMBERS, "sink": {"use": "sink", "inputs": ["numbers"]}}
    spec = flow.load_data({"version": 1, "nodes": nodes}, registry=catalogue)
    session = flow.Session(spec, registry=catalogue, max_frames=3)
    seen: list[int] = []
    session.observe("numbers").subscribe(lambda event: seen.append(event.sequence))

    async def whole() -> None:
        async with session:
            await session.wait()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(whole())
    assert session.run is not None
    (edge,) = session.run.topology.edges()
    assert (edge.entered, edge.out, edge.dropped, edge.difference) == (6, 3, {"over_limit": 3}, 0)
    assert seen == [1, 2, 3]
