"""What stands in for a graph's own nodes in a test: feeders for those above, takers for its consumers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

from flow.clock import NS_PER_MS
from flow.component import Consumer, Source
from flow.context import Context
from flow.errors import PoolTimeout
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.scenarios.recipes import Kit, Recipe
from flow.scenarios.spec import ConsumerSetting, Feed

__all__ = ["Feeder", "Taker"]

AGAIN_NS: Final = NS_PER_MS
MOST_REFUSALS: Final = 100


class Feeder(Source[Any]):
    """Emits what a test says, each element at its time; like any source it waits where the graph is full:
    at a gate as long as it takes, for a pool 100 ms."""

    def __init__(self, feed: Feed, context: Context) -> None:
        self.feed = feed
        self.context = context
        self.kit: Kit = context.service("scenario", lambda _: Kit(context, context.clock()))
        self._refused = 0
        self._is_paused = False
        self._waiting: asyncio.Future[None] | None = None

    @property
    def refused(self) -> dict[str, int]:
        return {"pool_timeout": self._refused} if self._refused else {}

    async def run(self) -> None:
        for at_ns, recipe in self.feed.entries:
            await self._until(at_ns)
            if self._is_paused:
                return
            await self._offer(recipe)
        if self.feed.completed_ns is not None:
            await self._until(self.feed.completed_ns)
            return
        while not self._is_paused:
            await self._until(None)

    def pause(self) -> None:
        self._is_paused = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _until(self, at_ns: int | None) -> None:
        """Return at a time of the test, or when paused; None waits for the pause."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        if self._is_paused:
            return
        self._waiting = loop.create_future() if at_ns is None else loop.turn(self.kit.began_ns + at_ns)
        await self._waiting

    async def _offer(self, recipe: Recipe) -> None:
        gate = self.context.services.get("gate")
        while gate is not None and (opening := gate()) is not None:
            await opening
        self.emitted += 1
        refusals = 0
        while True:
            try:
                self.emit(recipe.make(self.kit, is_pooled=self.feed.is_pooled))
                return
            except PoolTimeout:
                refusals += 1
            if refusals > MOST_REFUSALS or self._is_paused:
                self._refused += 1
                return
            await self._until(self.context.clock() + AGAIN_NS - self.kit.began_ns)


class Taker(Consumer[Any]):
    """Takes each element in the time that the test gives it, shows it, and hands it to the real consumer if
    there is one."""

    def __init__(
        self, setting: ConsumerSetting, see: Callable[[Any], None], real: Consumer[Any] | None
    ) -> None:
        self.takes_s = setting.takes_ms / 1000
        self.see = see
        self.real = real

    async def start(self) -> None:
        if self.real is not None:
            await self.real.start()

    async def stop(self) -> None:
        if self.real is not None:
            await self.real.stop()

    def summary(self) -> dict[str, Any]:
        return {} if self.real is None else self.real.summary()

    def handle(self, element: Any) -> Any:
        self.see(element)
        if self.takes_s:
            return self._slowly(element)
        return None if self.real is None else self.real.handle(element)

    async def _slowly(self, element: Any) -> None:
        await asyncio.sleep(self.takes_s)
        result = None if self.real is None else self.real.handle(element)
        if inspect.isawaitable(result):
            await result
