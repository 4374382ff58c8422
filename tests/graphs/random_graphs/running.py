"""Runs a plan on virtual time, exactly as `flow run` runs a file, and says what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import flow
from flow.graph.spec import GraphSpec
from flow.runtime.run import GraphRun
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.telemetry.ledger import Edge
from tests.graphs.random_graphs.plan import Plan, trial_registry
from tests.graphs.random_graphs.world import World, here

__all__ = ["Outcome", "run_plan"]

LONGEST_S: Final = 3.0
"""A run ends at the latest then, in virtual time: a hanging consumer may hold its sources for ever."""


@dataclass
class Outcome:
    plan: Plan
    spec: GraphSpec
    world: World
    run: GraphRun
    summary: dict[str, Any] = field(default_factory=dict)
    looks: list[tuple[float, Edge]] = field(default_factory=list)
    """(seconds, edge) for each edge that did not balance while the graph ran."""
    looked: int = 0
    left_tasks: list[str] = field(default_factory=list)
    left_timers: int = 0


class Trial:
    """One run of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.spec = flow.load_data(plan.graph, registry=trial_registry(), environ={})
        self.world = World()
        self.looks: list[tuple[float, Edge]] = []
        self.looked = 0
        self.observed = 0

    async def run(self) -> Outcome:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.world.loop_errors.append(context))
        here.set(self.world)
        options = {"drain_s": self.plan.drain_s, "max_frames": self.plan.max_frames}
        session = flow.Session(self.spec, registry=trial_registry(), duration_s=LONGEST_S, **options)
        if self.plan.observed is not None:
            session.observe(self.plan.observed[0]).subscribe(self.observe)
        timers: list[asyncio.TimerHandle] = []
        try:
            async with session:
                timers = self.set_timers(session)
                await session.wait()
                self.look(session)
        except BaseException as error:  # the session raises what its run failed with, whatever it is
            if session.run is None or session.run.failure is not error:
                raise
        for timer in timers:
            timer.cancel()
        assert session.run is not None
        await asyncio.sleep(0)
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        waiting = [timer for timer in loop._scheduled if not timer.cancelled()]
        return Outcome(
            self.plan,
            self.spec,
            self.world,
            session.run,
            session.summary(),
            self.looks,
            self.looked,
            left,
            len(waiting),
        )

    def set_timers(self, session: flow.Session) -> list[asyncio.TimerHandle]:
        loop, plan = asyncio.get_running_loop(), self.plan
        assert session.run is not None
        context = session.run.context
        timers = [loop.call_later(at / 1000, self.look, session) for at in plan.look_at_ms]
        if plan.stop_at_ms is not None:
            timers.append(loop.call_later(plan.stop_at_ms / 1000, self.stop, session))
        for change in plan.changes:
            table = context.service("routing", flow.routing.routing_table)
            act = table.subscribe if change.is_on else table.unsubscribe
            timers.append(
                loop.call_later(change.at_ms / 1000, act, change.consumer, change.symbol, change.provider)
            )
        return timers

    def look(self, session: flow.Session) -> None:
        """Every edge balances at every moment between two callbacks of the loop."""
        assert session.run is not None
        self.looked += 1
        at = asyncio.get_running_loop().time()
        self.looks += [(at, edge) for edge in session.run.topology.edges() if edge.difference]

    def stop(self, session: flow.Session) -> None:
        self.world.struck["stopped midway"] += 1
        session.stop()

    def observe(self, element: Any) -> None:
        self.observed += 1
        assert self.plan.observed is not None
        if self.observed == self.plan.observed[1]:
            self.world.strike("observer raised")


def run_plan(plan: Plan) -> Outcome:
    """Raises `GraphError` where the graph has a fault: then the strategy or the check is wrong."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(Trial(plan).run())
