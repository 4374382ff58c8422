"""The framework from Python: load, check, run a graph, and subscribe to what comes out of its nodes.

In a script:

    graph = flow.load("graphs/binance.yaml", sets=["symbols=[BTC-USDT]"])
    summary = flow.run(graph, sim="", duration_s=10)

In a notebook or an application with an event loop of its own:

    session = flow.Session(graph, sim="")
    session.observe("bus").pipe(ops.map(...)).subscribe(print)  # before it starts
    async with session:
        await session.wait()
    session.summary()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reactivex import Observable
from reactivex.subject import Subject

from flow.errors import FlowError, OwnershipBug
from flow.graph.spec import GraphSpec
from flow.registry import Registry
from flow.registry import registry as default_registry
from flow.runtime.options import RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.summary import summarise
from flow.runtime.topology import Topology
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.telemetry.occurrences import ConsumerFailed, Telemetry

__all__ = ["Session", "run"]


class Session:
    """A run that Python code takes part in. Options are those of `RunOptions`, by keyword.

    `observe` must be called before the session is entered; what it gives emits clones, and a subscriber that
    raises is reported and left out, never the graph's problem.
    """

    def __init__(
        self,
        graph: GraphSpec,
        *,
        registry: Registry = default_registry,
        telemetry: Telemetry | None = None,
        **options: Any,
    ) -> None:
        self.graph = graph
        self.options = RunOptions(**options)
        self.telemetry = telemetry or Telemetry()
        self.registry = registry
        self.run: GraphRun | None = None
        self._subjects: dict[str, Subject[Any]] = {}

    def observe(self, node_id: str) -> Observable[Any]:
        """Clones of what a node puts on its output. Raises `FlowError` for an unknown node."""
        if node_id not in self.graph.nodes:
            raise FlowError(
                f"no node {node_id!r} in {self.graph.name}; there are {', '.join(self.graph.nodes)}"
            )
        if self.registry.nodes[self.graph.nodes[node_id].use].kind == "consumer":
            raise FlowError(f"{node_id} is a consumer and has no output to observe")
        if self.run is not None:
            raise FlowError("observe before the session is entered: the chain is wired then")
        return self._subjects.setdefault(node_id, Subject[Any]())

    async def __aenter__(self) -> Self:
        self.run = GraphRun(
            self.graph,
            self.options,
            registry=self.registry,
            telemetry=self.telemetry,
            observed=frozenset(self._subjects),
            on_built=self._attach,
        )
        await self.run.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.run is not None:
            await self.run.close()
        if error is None and self.run is not None and self.run.failure is not None:
            raise self.run.failure

    def _attach(self, topology: Topology) -> None:
        for node_id, subject in self._subjects.items():
            topology.observe(node_id, self._isolated(node_id, subject), subject.on_completed)

    def _isolated(self, node_id: str, subject: Subject[Any]) -> Callable[[Any], None]:
        """Hand elements to the observers until one raises; that is reported, and ends the observation."""

        def see(element: Any) -> None:
            nonlocal is_over
            if is_over:
                return
            try:
                subject.on_next(element)
            except OwnershipBug:
                raise
            except Exception as error:
                is_over = True
                self.telemetry.report(node_id, ConsumerFailed("observer", type(error).__name__, str(error)))

        is_over = False
        return see

    async def wait(self) -> None:
        """Return when the recording is over, the duration is, or `stop` was called."""
        assert self.run is not None
        await self.run.wait()

    def stop(self) -> None:
        """End the session: `wait` returns."""
        assert self.run is not None
        self.run.request_stop()

    def summary(self) -> dict[str, Any]:
        """The run's figures so far, as `--summary` writes them."""
        assert self.run is not None
        return summarise(self.run)


def run(
    graph: GraphSpec, *, prepare: Callable[[Session], None] | None = None, **options: Any
) -> dict[str, Any]:
    """Run a graph to its end in an event loop of its own, and return the summary.

    `prepare` gets the session before it starts, to `observe` nodes. `speed=None` with
    `replay=[("binance", path)]` runs on virtual time, as fast as can be. Raises `FlowError`.
    """
    paths = [(provider, Path(file)) for provider, file in options.pop("replay", [])]
    session = Session(graph, replay=paths, **options)
    if prepare is not None:
        prepare(session)

    async def whole() -> dict[str, Any]:
        async with session:
            await session.wait()
        return session.summary()

    factory = VirtualTimeLoop if session.options.is_virtual else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(whole())
