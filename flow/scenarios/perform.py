"""Runs one scenario in the real runtime, on virtual time, and keeps what came of it."""

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from flow.clock import NS_PER_S
from flow.context import Context
from flow.errors import FlowError
from flow.registry import Registry
from flow.runtime.options import RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.summary import summarise
from flow.runtime.topology import Topology
from flow.scenarios.patterns import row_of
from flow.scenarios.sealed import Recorded, SealedLoop, written_files
from flow.scenarios.spec import Scenario
from flow.scenarios.staging import staged
from flow.stage import OnCompleted, OnNext
from flow.telemetry.dead_letters import DeadLetter
from flow.telemetry.ledger import Edge
from flow.telemetry.occurrences import ConsumerFailed, Occurrence, Telemetry

__all__ = ["Outcome", "Seen", "perform"]

AN_HOUR_NS: Final = 3600 * NS_PER_S
FOR_EVER_NS: Final = 10 * 365 * 24 * AN_HOUR_NS


@dataclass
class Seen:
    """What came out of a node: (ns from the start, row), and when it completed."""

    entries: list[tuple[int, Any]] = field(default_factory=list[tuple[int, Any]])
    completed_ns: int | None = None


@dataclass
class Outcome:
    """What a run left. `failure` is empty where it went well; what follows it then is complete."""

    seen: dict[str, Seen] = field(default_factory=dict[str, Seen])
    failure: str = ""
    began_ns: int = 0
    cut_ns: int | None = None
    """When the time was up; None where the run ended of its own accord."""
    letters: list[DeadLetter] = field(default_factory=list[DeadLetter])
    edges: list[Edge] = field(default_factory=list[Edge])
    pools_out: dict[str, str] = field(default_factory=dict[str, str])
    summary: dict[str, Any] = field(default_factory=dict[str, Any])
    raised: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """(consumer, what its handler raised)."""
    logged: list[str] = field(default_factory=list[str])


def perform(scenario: Scenario, registry: Registry) -> Outcome:
    """Run a scenario to its end. What goes wrong in the run is part of the outcome."""
    outcome = Outcome()
    with TemporaryDirectory() as folder, _kept_quiet(outcome):
        stage = _Stage(scenario, registry, outcome, Path(folder))
        with asyncio.Runner(loop_factory=SealedLoop) as runner:
            try:
                runner.run(stage.run())
            except FlowError as error:
                outcome.failure = str(error)
            except Exception as error:  # a plugin's component may raise anything
                outcome.failure = f"{type(error).__name__}: {error}"
        outcome.failure = outcome.failure.replace(f"{folder}{os.sep}", "")
    return outcome


@contextmanager
def _kept_quiet(outcome: Outcome) -> Generator[None]:
    """Warnings and errors that are logged go to the outcome; what is printed goes nowhere."""
    root, keeper = logging.getLogger(), _Keeper(outcome.logged)
    root.addHandler(keeper)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.removeHandler(keeper)


class _Keeper(logging.Handler):
    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(f"{record.levelname.lower()}: {record.getMessage()}")


class _Stage:
    """One run."""

    def __init__(self, scenario: Scenario, registry: Registry, outcome: Outcome, folder: Path) -> None:
        self.scenario = scenario
        self.registry = registry
        self.outcome = outcome
        self.files = written_files(scenario.recordings, folder)
        self.context: Context

    async def run(self) -> None:
        scenario, outcome = self.scenario, self.outcome
        spec, registry = staged(scenario, self.registry, self._see, self._recorded)
        outcome.seen = {one.node_id: Seen() for one in scenario.expectations if one.looks}
        duration_ns = _duration_ns(scenario)
        options = RunOptions(
            replay=self.files or [("nothing", Path())],
            speed=None,
            duration_s=duration_ns / NS_PER_S,
            debug_pools=True,
        )
        telemetry = Telemetry()
        telemetry.listeners.append(self._occurred)
        graph_run = GraphRun(
            spec,
            options,
            registry=registry,
            telemetry=telemetry,
            observed=frozenset(set(outcome.seen) - set(scenario.consumers)),
            on_built=self._attach,
        )
        async with graph_run:
            await graph_run.wait()
            outcome.cut_ns = self._now_ns() if self._now_ns() >= duration_ns else None
        self._keep(graph_run)

    def _occurred(self, node_id: str, occurrence: Occurrence) -> None:
        if isinstance(occurrence, ConsumerFailed):
            self.outcome.raised.append((node_id, f"{occurrence.error}: {occurrence.detail}"))

    def _recorded(self, context: Context) -> Recorded:
        return Recorded(context, self.registry, is_recorded=bool(self.files))

    def _attach(self, topology: Topology) -> None:
        self.context = topology.context
        self.outcome.began_ns = self.context.clock()
        for name in self.outcome.seen:
            if topology.spec_of(name).kind != "consumer":
                topology.observe(name, self._seer(name), self._ender(name))

    def _seer(self, name: str) -> OnNext:
        def see(element: Any) -> None:
            self._see(name, element)

        return see

    def _ender(self, name: str) -> OnCompleted:
        def completed() -> None:
            self.outcome.seen[name].completed_ns = self._now_ns()

        return completed

    def _see(self, name: str, element: Any) -> None:
        if name in self.outcome.seen:
            self.outcome.seen[name].entries.append((self._now_ns(), row_of(element)))

    def _now_ns(self) -> int:
        return self.context.clock() - self.outcome.began_ns

    def _keep(self, graph_run: GraphRun) -> None:
        outcome, context = self.outcome, graph_run.context
        if graph_run.failure is not None:
            error = graph_run.failure
            outcome.failure = (
                str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
            )
        assert context.dead_letters is not None
        outcome.letters = context.dead_letters.read()
        outcome.edges = graph_run.topology.edges()
        outcome.pools_out = {
            kind: f"{pool.out}: {pool.whereabouts()}"
            for kind, pool in context.pools.by_kind.items()
            if pool.out
        }
        outcome.summary = summarise(graph_run)


def _duration_ns(scenario: Scenario) -> int:
    """How long a run may take, in virtual time: until no lane says anything any more, where one of them
    stays open; sources that end by themselves have an hour, recordings as long as they are."""
    if scenario.lasts_ns is not None:
        return max(scenario.lasts_ns, 1)
    feeds = scenario.feeds.values()
    lengths = [feed.length_ns for feed in feeds] + [one.length_ns for one in scenario.expectations]
    if any(feed.completed_ns is None for feed in feeds) or not (feeds or scenario.recordings):
        return max([*lengths, 1])
    return FOR_EVER_NS if scenario.recordings else AN_HOUR_NS
