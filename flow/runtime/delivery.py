"""Delivery: what takes from a mailbox and hands to a consumer, in the consumer's own task.

Operators between the mailbox and the consumer run in that task too. A handler that raises is reported, its element is
counted as `handler_raised`, and the next element is delivered.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from reactivex import abc
from reactivex.disposable import Disposable

from flow.clock import NS_PER_MS
from flow.component import Consumer
from flow.context import Context
from flow.errors import ConsumerError, OwnershipBug
from flow.events.canonical import CanonicalEvent
from flow.runtime.mailbox import Mailbox
from flow.stage import Fusable, OnCompleted, OnError, OnNext
from flow.telemetry.latency import Latency
from flow.telemetry.occurrences import ConsumerFailed

__all__ = ["Delivery", "Drained"]

YIELD_AFTER_NS = 2 * NS_PER_MS
_stream = attrgetter("stream")


class Drained(Fusable[Any]):
    """The elements that come out of a mailbox, as the source of the operators behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.emit: OnNext = _lose
        self.on_completed: OnCompleted = _nothing

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        self.emit, self.on_completed = emit, on_completed
        return Disposable()


def _lose(element: Any) -> None:
    raise RuntimeError("a mailbox is drained before its operators are wired")


def _nothing() -> None:
    return


class Delivery:
    """One consumer's loop and its figures. `delivered` counts handlers that returned."""

    def __init__(
        self, consumer_id: str, component: Consumer[Any], mailbox: Mailbox, context: Context
    ) -> None:
        self.consumer_id = consumer_id
        self.component = component
        self.mailbox = mailbox
        self.context = context
        self.clock = context.clock
        self.head: Drained | None = None
        """Where the mailbox's elements enter the operators before the consumer; None where there are none."""
        self.ready: list[Any] = []
        self.position = 0
        self.delivered = 0
        self.dropped: Counter[str] = Counter()
        self.latency = Latency()
        self._streams: Counter[Any] = Counter()
        self._others: Counter[str] = Counter()

    @property
    def in_flight(self) -> int:
        """Elements taken from the mailbox whose handler has not returned yet."""
        return len(self.ready) - self.position

    @property
    def by_type(self) -> dict[str, int]:
        """Delivered elements by event type."""
        totals = Counter(self._others)
        for stream, n in self._streams.items():
            totals[stream.event_type.value] += n
        return dict(sorted(totals.items()))

    def arrive(self, element: Any) -> None:
        """The end of the operators before the consumer."""
        self.ready.append(element)

    def fail(self, error: Exception) -> None:
        """An operator before the consumer gave up: nothing more can be delivered."""
        raise ConsumerError(f"{self.consumer_id}: {error}") from error

    async def run(self) -> None:
        """Deliver until the mailbox is complete and empty."""
        while True:
            batch = await self.mailbox.take()
            if not batch:
                break
            if self.head is None:
                self.ready, self.position = batch, 0
            else:
                self._push(self.head.emit, batch)
            await self._deliver()
        if self.head is not None:
            self.head.on_completed()
            await self._deliver()

    def _push(self, emit: OnNext, batch: list[Any]) -> None:
        for element in batch:
            emit(element)

    async def _deliver(self) -> None:
        handle_batch = self.component.handle_batch
        if handle_batch is not None:
            self._hand_over(handle_batch)
        else:
            await self._hand_each()
        self.ready, self.position = [], 0

    def _hand_over(self, handle_batch: Callable[[list[Any]], None]) -> None:
        batch = self.ready
        if not batch:
            return
        self._time_batch(batch)
        try:
            handle_batch(batch)
        except Exception as error:
            self._failed(error, len(batch))
        else:
            self._count(batch)

    async def _hand_each(self) -> None:
        handle = self.component.handle
        last_yield = self.clock()
        while self.position < len(self.ready):
            element = self.ready[self.position]
            now = self.clock()
            self.latency.record(now - getattr(element, "ingest_ts", now))
            try:
                result = handle(element)
                if result is not None and inspect.isawaitable(result):
                    await result
            except Exception as error:
                self._failed(error, 1)
            else:
                self._count((element,))
            self.position += 1
            if now - last_yield > YIELD_AFTER_NS:
                last_yield = now
                await asyncio.sleep(0)

    def _time_batch(self, batch: list[Any]) -> None:
        if not isinstance(batch[0], CanonicalEvent):
            return
        now = self.clock()
        if self.mailbox.is_in_order:
            self.latency.record_batch(now, batch)
            return
        for event in batch:
            self.latency.record(now - event.ingest_ts)

    def _count(self, batch: list[Any] | tuple[Any]) -> None:
        self.delivered += len(batch)
        if isinstance(batch[0], CanonicalEvent):
            self._streams.update(map(_stream, batch))
        else:
            self._others.update(type(element).__name__ for element in batch)

    def _failed(self, error: Exception, n: int) -> None:
        if isinstance(error, OwnershipBug):
            raise error
        self.dropped["handler_raised"] += n
        self.context.occurred(ConsumerFailed(self.consumer_id, type(error).__name__, str(error)))
