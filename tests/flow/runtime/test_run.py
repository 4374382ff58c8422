"""A run: sinks first and sources last, a drain on the way back, and failures that are told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct

from flow.clock import NS_PER_S
from flow.component import Consumer, Source, Transform
from flow.context import Context
from flow.errors import ConsumerError, DoublePut, FlowError, GraphError
from flow.events.canonical import CanonicalEvent
from flow.graph.load import load
from flow.graph.spec import GraphSpec, NoParams
from flow.registry import Operator, Registry, spec_of
from flow.runtime.options import Backend, RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.summary import summarise
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.stage import stage
from flow.testing.events import make_event

GRAPH = """version: 1
name: counted
nodes:
  numbers: {use: numbers}
  relay: {use: relay, inputs: [numbers]}
  sink: {use: sink, inputs: [relay]}
"""


class World:
    """What the components of a test did, in order, and what they are to do."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.seen: list[int] = []
        self.count = 5
        self.refuses = 0
        self.ends = True
        self.raises: dict[str, BaseException] = {}
        self.on_handle: Callable[[Any], Any] = lambda event: None
        self.registry = Registry()
        self.spec = GraphSpec("", {})

    def say(self, what: str) -> None:
        self.said.append(what)
        if what in self.raises:
            raise self.raises[what]


class Numbers(Source[CanonicalEvent]):
    def __init__(self, world: World) -> None:
        self.world = world
        self.is_paused = asyncio.Event()

    async def start(self) -> None:
        self.world.say("numbers started")

    async def run(self) -> None:
        for number in range(1, self.world.count + 1):
            if self.is_paused.is_set():
                return
            self.emitted += 1
            self.emit(make_event(number))
            await asyncio.sleep(0.01)
        self.world.say("numbers ended")
        if not self.world.ends:
            await self.is_paused.wait()

    def pause(self) -> None:
        self.is_paused.set()
        self.world.say("numbers paused")

    async def stop(self) -> None:
        self.world.say("numbers stopped")


class Relay(Transform[CanonicalEvent, CanonicalEvent]):
    def __init__(self, world: World) -> None:
        self.world = world
        self.dropped = Counter()

    async def start(self) -> None:
        self.world.say("relay started")

    def add(self, element: CanonicalEvent) -> None:
        if element.sequence == self.world.refuses:
            raise ValueError("not this one")
        self.taken += 1
        self.emitted += 1
        self.emit(element)

    def finish(self) -> None:
        self.world.say("relay finished")

    async def stop(self) -> None:
        self.world.say("relay stopped")


class Sink(Consumer[CanonicalEvent]):
    def __init__(self, world: World) -> None:
        self.world = world

    async def start(self) -> None:
        self.world.say("sink started")

    def handle(self, element: CanonicalEvent) -> Any:
        self.world.seen.append(element.sequence)
        return self.world.on_handle(element)

    async def stop(self) -> None:
        self.world.say("sink stopped")


class SinkParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    faulty: bool = False


@pytest.fixture
def world() -> World:
    found = World()

    def numbers(params: NoParams, context: Context) -> Source[CanonicalEvent]:
        return Numbers(found)

    def relay(params: NoParams, context: Context) -> Transform[CanonicalEvent, CanonicalEvent]:
        return Relay(found)

    def sink(params: SinkParams, context: Context) -> Consumer[CanonicalEvent]:
        if params.faulty:
            raise LookupError("no such thing")
        return Sink(found)

    for name, factory in (("numbers", numbers), ("relay", relay), ("sink", sink)):
        found.registry.add(spec_of(name, factory))
    found.spec = load("counted.yaml", text=GRAPH, registry=found.registry)
    return found


async def run_through(world: World, **options: Any) -> GraphRun:
    async with GraphRun(world.spec, RunOptions(**options), registry=world.registry) as run:
        await run.wait()
    return run


async def test_sinks_start_first_and_stop_last_and_everything_is_delivered(world: World) -> None:
    run = await run_through(world)
    assert world.seen == [1, 2, 3, 4, 5]
    assert world.said == [
        *("sink started", "relay started", "numbers started", "numbers ended"),
        *("numbers paused", "relay finished", "numbers stopped", "relay stopped", "sink stopped"),
    ]
    assert run.failure is None
    assert [edge.difference for edge in run.topology.edges()] == [0, 0]


async def test_the_summary(world: World) -> None:
    summary = summarise(await run_through(world))
    assert (summary["graph"], summary["mode"], summary["frames"]) == ("counted", "live", 5)
    assert summary["consumers"]["sink"]["by_type"] == {"Trade": 5}
    assert summary["duration_s"] > 0
    assert [edge["in"] for edge in summary["edges"]] == [5, 5]


async def test_an_output_that_two_read_reaches_both_and_each_edge_has_its_account(world: World) -> None:
    text = GRAPH + "  other: {use: sink, inputs: [relay]}\n"
    world.spec = load("counted.yaml", text=text, registry=world.registry)
    run = await run_through(world)
    assert sorted(world.seen) == sorted([1, 2, 3, 4, 5] * 2)
    accounts = {edge.target: (edge.entered, edge.out, edge.difference) for edge in run.topology.edges()}
    assert accounts["sink"] == accounts["other"] == (5, 5, 0)


async def test_a_factory_that_makes_something_else_than_it_says_is_a_fault(world: World) -> None:
    def liar(params: NoParams, context: Context) -> Consumer[CanonicalEvent]:
        return Numbers(world)  # type: ignore[return-value]

    world.registry.add(spec_of("liar", liar))
    world.spec = load("counted.yaml", text=GRAPH.replace("use: sink", "use: liar"), registry=world.registry)
    with pytest.raises(
        GraphError,
        match=r":6:\d+: sink: .*test_run.py:\d+: liar is to make: consumer, not Numb",
    ):
        await run_through(world)


async def test_a_factory_of_operators_that_returns_nothing_is_a_fault(world: World) -> None:
    def forgetful(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
        return None  # type: ignore[return-value]

    world.registry.add(spec_of("forgetful", forgetful))
    text = GRAPH.replace("use: relay", "use: forgetful")
    world.spec = load("counted.yaml", text=text, registry=world.registry)
    with pytest.raises(GraphError, match=r":5:\d+: relay: .* is to make: operator, not NoneType"):
        await run_through(world)


async def test_a_machine_that_can_not_be_made_is_a_fault_at_its_node(world: World) -> None:
    def broken(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
        return stage(lambda: context.missing)  # type: ignore[attr-defined]

    world.registry.add(spec_of("broken", broken))
    text = GRAPH.replace("use: relay", "use: broken")
    world.spec = load("counted.yaml", text=text, registry=world.registry)
    with pytest.raises(
        GraphError, match=r":5:\d+: node 'relay': broken can't be made: .*test_run.py:\d+: Attr"
    ):
        await run_through(world)


async def test_a_duration_ends_it(world: World) -> None:
    world.ends = False
    run = await run_through(world, duration_s=0.2)
    assert world.seen == [1, 2, 3, 4, 5]
    assert run.failure is None


async def test_a_number_of_frames_ends_it_and_no_more_are_counted(world: World) -> None:
    summary = summarise(await run_through(world, max_frames=3))
    assert world.seen == [1, 2, 3]
    assert summary["frames"] == 3


async def test_stopping_twice_and_closing_twice_is_stopping_once(world: World) -> None:
    world.ends = False
    async with GraphRun(world.spec, RunOptions(), registry=world.registry) as run:
        run.request_stop()
        run.request_stop()
        await run.wait()
        await run.close()
    assert world.said.count("sink stopped") == 1


async def test_a_consumer_that_hangs_is_cut_off_after_the_drain_and_accounted_for(world: World) -> None:
    async def hang(event: Any) -> None:
        await asyncio.Event().wait()

    world.on_handle = hang
    run = await run_through(world, drain_s=0.05)
    assert world.seen == [1]
    edge = run.topology.edges()[-1]
    assert (edge.entered, edge.out, edge.in_flight, edge.difference) == (5, 0, 5, 0)
    assert "sink stopped" in world.said


async def test_a_source_that_fails_ends_the_run_with_its_failure(world: World) -> None:
    world.raises["numbers ended"] = FlowError("the exchange is gone")
    run = await run_through(world)
    assert str(run.failure) == "the exchange is gone"
    assert world.seen == [1, 2, 3, 4, 5]


async def test_an_ownership_bug_ends_the_run_at_once(world: World) -> None:
    def broken(event: Any) -> None:
        if event.sequence == 2:
            raise DoublePut("put twice")

    world.on_handle = broken
    world.count = 1000
    run = await run_through(world)
    assert isinstance(run.failure, DoublePut)
    assert len(world.seen) < 1000


async def test_an_ownership_bug_on_a_timer_ends_the_run_too(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise DoublePut("put twice")

    world.on_handle = lambda event: event.sequence == 2 and asyncio.get_running_loop().call_soon(broken)
    world.count = 1000
    run = await run_through(world)
    assert isinstance(run.failure, DoublePut)
    assert len(world.seen) < 1000
    assert "put twice" in caplog.text
    assert asyncio.get_running_loop().get_exception_handler() is None


async def test_what_a_transform_raises_is_dead_lettered_and_the_next_element_passes(world: World) -> None:
    world.refuses = 3
    run = await run_through(world)
    assert run.failure is None
    assert world.seen == [1, 2, 4, 5]
    assert run.context.dead_letters is not None
    assert run.context.dead_letters.by_reason() == {"ValueError": 1}
    assert [edge.difference for edge in run.topology.edges()] == [0, 0]


async def test_a_component_that_can_not_start_stops_those_before_it(world: World) -> None:
    world.raises["relay started"] = ConsumerError("no disk")
    with pytest.raises(ConsumerError, match="no disk"):
        await run_through(world)
    assert world.said[:2] == ["sink started", "relay started"]
    assert world.said[-2:] == ["relay stopped", "sink stopped"]
    assert "numbers started" not in world.said


async def test_a_component_that_can_not_stop_is_a_failure_and_the_others_stop(world: World) -> None:
    world.raises["relay stopped"] = OSError("stuck")
    run = await run_through(world)
    assert isinstance(run.failure, OSError)
    assert world.said[-1] == "sink stopped"


async def test_a_factory_that_raises_is_a_fault_at_its_node(world: World) -> None:
    text = GRAPH.replace("use: sink,", "use: sink, params: {faulty: true},")
    world.spec = load("counted.yaml", text=text, registry=world.registry)
    with pytest.raises(GraphError) as caught:
        await run_through(world)
    (fault,) = caught.value.faults
    assert (fault.file, fault.line) == ("counted.yaml", 6)
    assert fault.message == "sink: LookupError: no such thing"
    assert isinstance(caught.value.__cause__, LookupError)


class Behind(Backend):
    kind = "sim"

    def __init__(self, world: World, start_ns: int = 0) -> None:
        self.world = world
        self.start_ns = start_ns

    async def start(self) -> None:
        self.world.say("backend started")

    async def wait(self) -> None:
        await asyncio.sleep(0.02)
        self.world.say("backend ended")
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.world.say("backend stopped")


async def test_a_backend_starts_before_and_stops_after_everything(world: World) -> None:
    world.registry.services["sim"] = lambda context: Behind(world)
    run = await run_through(world, sim="")
    assert (world.said[0], world.said[-1]) == ("backend started", "backend stopped")
    assert summarise(run)["mode"] == "simulated"


async def test_a_backend_that_breaks_ends_the_run(world: World) -> None:
    world.registry.services["sim"] = lambda context: Behind(world)
    world.raises["backend ended"] = RuntimeError("the market broke")
    world.ends, world.count = False, 1000
    run = await run_through(world, sim="")
    assert str(run.failure) == "the market broke"


async def test_without_a_backend_there_is_no_simulation(world: World) -> None:
    with pytest.raises(FlowError, match="nothing is registered that could serve --sim"):
        await run_through(world, sim="")
    assert world.said == []


def test_on_virtual_time_a_run_begins_when_its_backend_says(world: World) -> None:
    start_ns = 1_600_000_000 * NS_PER_S
    world.registry.services["replay"] = lambda context: Behind(world, start_ns)
    times: list[int] = []

    async def whole() -> GraphRun:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        world.on_handle = lambda event: times.append(loop.now_ns)
        return await run_through(world, replay=[("x", "y")], speed=None)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        run = runner.run(whole())
    assert run.started_ns == start_ns
    assert [round((at - start_ns) / 1e6) for at in times] == [0, 10, 20, 30, 40]
