"""Runs a graph: sinks first, sources last; the way back is a drain that takes at most `drain_s`.

async with GraphRun(spec, RunOptions(sim="")) as run:
    await run.wait()
summary = summarise(run)

`flow.api` is the same for users, and lets them observe nodes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

from reactivex.scheduler.eventloop import AsyncIOScheduler

from flow.clock import cpu_s, monotonic_s, wall_ns
from flow.component import Component, Consumer, Transform
from flow.context import Context
from flow.errors import DoublePut, FlowError, GraphError, OwnershipBug
from flow.graph.spec import GraphSpec
from flow.graph.trial import trial
from flow.pool import Pools
from flow.registry import Registry
from flow.registry import registry as default_registry
from flow.runtime.options import Backend, RunOptions
from flow.runtime.topology import Topology, build
from flow.runtime.virtual_time import VirtualTimeLoop, VirtualTimeScheduler
from flow.stage import ObserverRaised
from flow.telemetry.dead_letters import DeadLetters
from flow.telemetry.occurrences import ObjectPutTwice, Telemetry

__all__ = ["GraphRun"]

log = logging.getLogger("flow.run")
Group = BaseExceptionGroup[BaseException]
LoopErrorHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class GraphRun:
    """One run of one graph, on the running event loop."""

    def __init__(
        self,
        spec: GraphSpec,
        options: RunOptions | None = None,
        *,
        registry: Registry = default_registry,
        telemetry: Telemetry | None = None,
        observed: frozenset[str] = frozenset(),
        on_built: Callable[[Topology], None] | None = None,
    ) -> None:
        self.spec = spec
        self.options = options or RunOptions()
        self.registry = registry
        self.telemetry = telemetry or Telemetry()
        self.observed = observed
        self.on_built = on_built
        self.topology: Topology
        self.context: Context
        self.backends: list[Backend] = []
        self.failure: BaseException | None = None
        self.started_ns = 0
        self.duration_s = self.cpu_s = 0.0
        self._started: list[Component] = []
        self._source_tasks: dict[str, asyncio.Task[None]] = {}
        self._delivery_tasks: dict[str, asyncio.Task[None]] = {}
        self._backend_tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._began = self._began_cpu = 0.0
        self._is_closed = False
        self._outer_handler: LoopErrorHandler | None = None

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Build the graph and start it. Raises `FlowError` where it can't be."""
        loop = asyncio.get_running_loop()
        self._began, self._began_cpu = monotonic_s(), cpu_s()
        self._outer_handler = loop.get_exception_handler()
        loop.set_exception_handler(self._on_loop_error)
        self.context = self._make_context(loop)
        await self._start_backends(loop)
        self.started_ns = self.context.clock()
        self.topology = self._build()
        if self.on_built is not None:
            self.on_built(self.topology)
        for node_id, component in self.topology.components(Consumer):
            await self._start(component)
            delivery = self.topology.deliveries[node_id]
            self._delivery_tasks[node_id] = self._task(delivery.run(), f"deliver {node_id}")
        for _, component in self.topology.components(Transform):
            await self._start(component)
        for node_id, output in self.topology.sources:
            if self.options.max_frames is not None:
                output.limit(self.options.max_frames, self.request_stop)
            await self._start(output.component)
            self._source_tasks[node_id] = self._task(output.component.run(), f"source {node_id}")

    def _build(self) -> Topology:
        try:
            return build(self.spec, self.context, self.registry, self.observed, self.fail)
        except (FlowError, OwnershipBug):
            raise
        except Exception as error:
            faults = trial(self.spec, self.registry)
            if not faults:
                raise
            raise GraphError(faults) from error

    def _make_context(self, loop: asyncio.AbstractEventLoop) -> Context:
        is_virtual = isinstance(loop, VirtualTimeLoop)
        refs = {
            "base_dir": self.spec.base_dir,
            "graph": self.spec.name,
            "sim": self.options.sim,
            "replay": self.options.replay,
            "speed": self.options.speed,
            "max_frames": self.options.max_frames,
            "seed": self.options.seed,
        }
        return Context(
            pools=self._make_pools(loop),
            dead_letters=DeadLetters(),
            telemetry=self.telemetry,
            clock=loop.clock if is_virtual else wall_ns,
            scheduler=VirtualTimeScheduler(loop) if is_virtual else AsyncIOScheduler(loop),
            mode=self.options.mode,
            refs=refs,
        )

    def _make_pools(self, loop: asyncio.AbstractEventLoop) -> Pools:
        """Pools whose bugs end the run, whatever catches them on their way."""
        pools, own_thread = Pools(self.spec.pools, is_debug=self.options.debug_pools), threading.get_ident()

        def found(bug: OwnershipBug) -> None:
            if threading.get_ident() == own_thread:
                self.fail(bug)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(self.fail, bug)

        pools.bug_listeners.append(found)
        return pools

    async def _start_backends(self, loop: asyncio.AbstractEventLoop) -> None:
        wanted = {"simulated": "sim", "replay": "replay"}.get(self.options.mode)
        if wanted is None:
            return
        make = self.registry.services.get(wanted)
        if make is None:
            raise FlowError(f"nothing is registered that could serve --{wanted}")
        backend: Backend = make(self.context)
        if isinstance(loop, VirtualTimeLoop) and backend.start_ns:
            loop.begin_at_ns(backend.start_ns)
        self.backends.append(backend)
        await backend.start()
        self._backend_tasks.append(self._task(backend.wait(), f"--{wanted}"))

    async def _start(self, component: Component) -> None:
        self._started.append(component)
        await component.start()

    def _task(self, coroutine: Any, name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.fail(task.exception() or RuntimeError("a task failed"))
        if self._source_tasks and all(one.done() for one in self._source_tasks.values()):
            self.request_stop()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What a timer raised has nobody to be raised to; a bug of ownership among it ends the run."""
        error = context.get("exception")
        if error is not None and bug_in(error) is not None:
            self.fail(error)
        elif self._outer_handler is not None:
            self._outer_handler(loop, context)
        else:
            loop.default_exception_handler(context)

    def fail(self, error: BaseException) -> None:
        """End the run with a failure: the first one counts, but a bug of ownership before all others."""
        bug = bug_in(error)
        if bug is None:
            self.failure = self.failure or (error.error if isinstance(error, ObserverRaised) else error)
        elif not isinstance(self.failure, OwnershipBug):
            self.failure = bug
            log.error("a bug in the ownership of pooled objects ends the graph: %s", bug)
            if isinstance(bug, DoublePut):
                self.telemetry.report("", ObjectPutTwice(str(bug)))
        self.request_stop()

    def request_stop(self) -> None:
        """Begin the drain. Safe to call at any time, and again."""
        self._stop.set()

    async def wait(self) -> None:
        """Return when the sources have ended, a stop was requested, or the duration is over."""
        try:
            await asyncio.wait_for(self._stop.wait(), self.options.duration_s)
        except TimeoutError:
            self.request_stop()

    async def close(self) -> None:
        """Drain and release everything; afterwards the summary is final."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._drain()
        finally:
            for component in reversed(self._started):
                await self._stop_component(component)
            for task in self._backend_tasks:
                task.cancel()
            for backend in self.backends:
                await backend.stop()
            await asyncio.gather(*self._backend_tasks, return_exceptions=True)
            asyncio.get_running_loop().set_exception_handler(self._outer_handler)
            self.duration_s = monotonic_s() - self._began
            self.cpu_s = cpu_s() - self._began_cpu
            self._report_left_out()

    async def _drain(self) -> None:
        deadline = asyncio.get_running_loop().time() + self.options.drain_s
        if not hasattr(self, "topology"):
            return
        for _, output in self.topology.sources:
            output.component.pause()
        await self._finish(self._source_tasks, deadline)
        for _, output in self.topology.sources:
            try:
                output.on_completed()
            except (Exception, ObserverRaised) as error:
                self.fail(error)
        for port in self.topology.letter_ports:
            port.complete()
        await self._finish(self._delivery_tasks, deadline)
        for delivery in self.topology.deliveries.values():
            delivery.close()

    async def _finish(self, tasks: dict[str, asyncio.Task[None]], deadline: float) -> None:
        """Wait for tasks until the deadline, then cancel those that are left."""
        loop, pending = asyncio.get_running_loop(), [task for task in tasks.values() if not task.done()]
        if pending:
            await asyncio.wait(pending, timeout=max(0.0, deadline - loop.time()))
        for task in pending:
            if not task.done():
                log.warning("%s did not end within the drain of %g s", task.get_name(), self.options.drain_s)
                task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _stop_component(self, component: Component) -> None:
        try:
            await component.stop()
        except Exception as error:
            if bug_in(error) is None:
                log.error("%s could not be stopped: %s", type(component).__name__, error)
            self.fail(error)

    def _report_left_out(self) -> None:
        if not hasattr(self, "context"):
            return
        for kind, pool in self.context.pools.by_kind.items():
            if pool.out:
                log.error("%d of pool %s were not returned: %s", pool.out, kind, pool.whereabouts())
                for line in pool.left_out():
                    log.error("not returned: %s", line)


def bug_in(error: BaseException) -> OwnershipBug | None:
    """The bug of ownership that an error is, carries, or was raised in answer to."""
    chain = [error]
    for one in chain:
        if isinstance(one, OwnershipBug):
            return one
        inner = [one.__cause__, one.__context__, one.error if isinstance(one, ObserverRaised) else None]
        inner += cast(Group, one).exceptions if isinstance(one, BaseExceptionGroup) else ()
        chain += [
            found for found in inner if found is not None and not any(found is known for known in chain)
        ]
    return None
