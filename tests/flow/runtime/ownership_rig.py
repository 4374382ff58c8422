"""A graph that reaches every place where code of others runs, and a bug that waits at one of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from reactivex import operators as ops

from flow.component import Consumer, Source, Transform
from flow.context import Context
from flow.events import CanonicalEvent, PooledEvent
from flow.graph.load import load
from flow.graph.spec import NoParams
from flow.pool import Pool
from flow.registry import Operator, Registry, spec_of
from flow.runtime.options import RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.stage import Machine, stage
from flow.telemetry.dead_letters import DeadLetter
from flow.testing import make_event
from operators.fan_out_clone import fan_out_clone

GRAPH = """version: 1
name: owned
nodes:
  events: {use: made}
  relay: {use: relay, inputs: [events]}
  moved: {use: moved, inputs: [relay]}
  bus: {use: fan-out-clone, inputs: [moved]}
  branch: {use: branch, inputs: [bus]}
  behind: {use: behind, inputs: [bus]}
  late: {use: late, inputs: [behind]}
  sink: {use: sink, inputs: [late]}
  mapped: {use: mapped, inputs: [branch]}
  other: {use: sink, inputs: [mapped]}
  refused: {use: letters, inputs: [relay.dead_letters]}
  refused_too: {use: letters, inputs: [moved.dead_letters]}
"""
COUNT = 12
AT = 3
"""The event at which the bug happens, where it happens at an event."""

Events = Pool[PooledEvent]
Bug = Callable[[Events], object]


class World:
    """Where the bug is, and what became of it."""

    def __init__(self, place: str, bug: Bug) -> None:
        self.place = place
        self.bug = bug
        self.pool: Events
        self.seen = 0
        self.letters: list[DeadLetter] = []
        self.registry = Registry()
        self.registry.add(fan_out_clone.spec)

    def reach(self, place: str) -> None:
        if place == self.place:
            self.bug(self.pool)

    def pass_on(self, event: CanonicalEvent, place: str) -> CanonicalEvent:
        if event.sequence == AT:
            self.reach(place)
        return event


class Made(Source[CanonicalEvent]):
    def __init__(self, world: World, context: Context) -> None:
        self.world = world
        self.pools = context.pools
        world.pool = context.pools.of("CanonicalEvent", PooledEvent)
        self.is_paused = False

    async def start(self) -> None:
        self.world.reach("source's start")

    async def run(self) -> None:
        for number in range(1, COUNT + 1):
            if self.is_paused:
                return
            self.emitted += 1
            self.emit(make_event(number, pools=self.pools))
            if number == AT:
                self.world.reach("source")
            await asyncio.sleep(0.01)

    def pause(self) -> None:
        self.is_paused = True


class Relay(Machine[CanonicalEvent, CanonicalEvent]):
    """Does not guard itself: the stage does."""

    def __init__(self, world: World, context: Context, name: str) -> None:
        super().__init__(context)
        self.world = world
        self.name = name

    def add(self, element: CanonicalEvent) -> None:
        if element.sequence == AT:
            self.after(0.001, lambda: self.world.reach(f"{self.name}'s timer"))
            self.world.reach(self.name)
        self.passed += 1
        self.emit(element)

    def finish(self) -> None:
        self.world.reach(f"{self.name}'s finish")

    def close(self) -> None:
        self.world.reach(f"{self.name}'s close")


class Moved(Transform[CanonicalEvent, CanonicalEvent]):
    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.dropped = Counter()

    def add(self, element: CanonicalEvent) -> None:
        if element.sequence == AT:
            self.world.reach(self.name)
            loop = asyncio.get_running_loop()
            loop.create_task(self.work())  # noqa: RUF006  nobody waits for it
            loop.call_soon(self.world.reach, f"{self.name}'s callback")
        self.taken += 1
        self.emitted += 1
        self.emit(element)

    async def work(self) -> None:
        self.world.reach(f"{self.name}'s task")

    def finish(self) -> None:
        self.world.reach(f"{self.name}'s finish")

    async def stop(self) -> None:
        self.world.reach(f"{self.name}'s stop")


class Sink(Consumer[CanonicalEvent]):
    def __init__(self, world: World) -> None:
        self.world = world

    def handle(self, element: CanonicalEvent) -> Any:
        self.world.seen += 1
        if element.sequence == AT:
            self.world.reach("consumer")
            return self.wait()
        return None

    async def wait(self) -> None:
        await asyncio.sleep(0.001)
        self.world.reach("consumer's coroutine")


class Letters(Consumer[DeadLetter]):
    def __init__(self, world: World) -> None:
        self.world = world

    def handle(self, element: DeadLetter) -> None:
        self.world.letters.append(element)


def register(world: World) -> None:
    def made(params: NoParams, context: Context) -> Source[CanonicalEvent]:
        return Made(world, context)

    def relay(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
        return stage(lambda: Relay(world, context, "operator"))

    def behind(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
        return stage(lambda: Relay(world, context, "late operator"))

    def mapped(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
        return ops.map(lambda event: world.pass_on(event, "stock operator"))

    def late(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
        return ops.map(lambda event: world.pass_on(event, "late stock operator"))

    def moved(params: NoParams, context: Context) -> Transform[CanonicalEvent, CanonicalEvent]:
        return Moved(world, "transform")

    def branch(params: NoParams, context: Context) -> Transform[CanonicalEvent, CanonicalEvent]:
        return Moved(world, "subscriber")

    def sink(params: NoParams, context: Context) -> Consumer[CanonicalEvent]:
        return Sink(world)

    def letters(params: NoParams, context: Context) -> Consumer[DeadLetter]:
        return Letters(world)

    for name, factory, pooled in (
        ("made", made, True),
        ("relay", relay, True),
        ("moved", moved, True),
        ("branch", branch, False),
        ("behind", behind, False),
        ("mapped", mapped, False),
        ("late", late, False),
        ("sink", sink, False),
        ("letters", letters, False),
    ):
        world.registry.add(spec_of(name, factory, pooled=pooled))


def run_through(world: World, *, is_debug: bool) -> GraphRun:
    """A whole run on virtual time."""
    register(world)
    spec = load("owned.yaml", text=GRAPH, registry=world.registry)
    options = RunOptions(debug_pools=is_debug)

    async def whole() -> GraphRun:
        async with GraphRun(spec, options, registry=world.registry) as run:
            await run.wait()
        return run

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(whole())


def assert_whole(pool: Events) -> None:
    """The figures of a pool agree with what lies in it."""
    figures = pool.figures()
    lying = sum(len(shelf) for shelf in pool.shelves.values())
    assert figures["gets"] == figures["puts"] + figures["out"]
    assert lying == pool.made - pool.out
    assert len({id(item) for shelf in pool.shelves.values() for item in shelf}) == lying
