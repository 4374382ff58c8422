"""Delivery: what takes from a mailbox and hands to a consumer, in the consumer's own task.

Operators between the mailbox and the consumer run in that task too. A handler that raises is reported, its
element is counted as `handler_raised`, and the next element is delivered.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from reactivex import abc
from reactivex.disposable import Disposable

from flow.clock import NS_PER_MS
from flow.component import Consumer
from flow.context import Context
from flow.errors import ConsumerError, OwnershipBug
from flow.runtime.mailbox import Mailbox
from flow.stage import Fusable, OnCompleted, OnError, OnNext, many
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


def _raise(error: Exception) -> None:
    raise error


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
        self.inflow: Callable[[], Mapping[Any, int]] | None = None
        """What was put into the mailbox by stream, where all of it comes straight from a fan-out and goes
        straight to the consumer."""
        self.head: Drained | None = None
        """Where the mailbox's elements enter the operators before the consumer; None where there are none."""
        self.chain: abc.DisposableBase | None = None
        """The subscription to those operators."""
        self.on_failure: OnError = _raise
        """Who is told that an operator before the consumer gave up."""
        self.ready: list[Any] = []
        self.position = 0
        self.delivered = 0
        self.dropped: Counter[str] = Counter()
        self.latency = Latency()
        self._is_idle = False
        self._streams: Counter[Any] = Counter()
        self._others: Counter[str] = Counter()

    @property
    def in_flight(self) -> int:
        """Elements taken from the mailbox whose handler has not returned yet."""
        return len(self.ready) - self.position

    @property
    def by_type(self) -> dict[str, int]:
        """Delivered elements by event type.

        Where a fan-out says what it sent of each stream, an event in order is not counted again here: what
        was sent, less what went into the lanes, what failed and what waits, plus what came out of the lanes.
        """
        streams = Counter(self._streams)
        if self.inflow is not None:
            streams.update(self.inflow())
            streams.subtract(self.mailbox.sorted_in)
            streams.subtract(map(_stream, self.mailbox.queue))
            if self.mailbox.is_in_order:
                streams.subtract(map(_stream, self.ready[self.position :]))
        totals = Counter(self._others)
        for stream, n in streams.items():
            totals[stream.event_type.value] += n
        return {name: n for name, n in sorted(totals.items()) if n}

    def arrive(self, element: Any) -> None:
        """The end of the operators before the consumer. What a timer of theirs emits finds the loop idle."""
        self.ready.append(element)
        if self._is_idle:
            self.mailbox.nudge()

    def arrive_many(self, elements: list[Any]) -> None:
        """The same for a run."""
        self.ready += elements
        if self._is_idle:
            self.mailbox.nudge()

    def fail(self, error: Exception) -> None:
        """An operator before the consumer gave up: nothing more can be delivered."""
        failure = ConsumerError(f"{self.consumer_id}: {error}")
        failure.__cause__ = error
        self.on_failure(failure)

    def close(self) -> None:
        """Leave the operators before the consumer: what they still hold is dropped, and their timers end."""
        if self.chain is not None:
            self.chain.dispose()

    async def run(self) -> None:
        """Deliver until the mailbox is complete and empty."""
        is_over = False
        while not is_over:
            self._is_idle = True
            batch = await self.mailbox.take()
            self._is_idle = False
            is_over = not batch and self.mailbox.is_complete
            if self.head is None:
                self.ready, self.position = batch, 0
            elif is_over:
                self.head.on_completed()
            else:
                many(self.head.emit)(batch)
            await self._deliver()

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
        is_flow = self.inflow is not None and self.mailbox.is_in_order
        streams = None if is_flow else _counts(batch)
        self._time_batch(batch, is_all_events=is_flow or streams is not None)
        try:
            handle_batch(batch)
        except (Exception, SystemExit) as error:
            self._failed(error, batch)
            return
        if is_flow:
            self.delivered += len(batch)
            return
        if streams is not None:
            self.delivered += len(batch)
            self._streams.update(streams)
            return
        for element in batch:
            self._count(element)

    async def _hand_each(self) -> None:
        handle = self.component.handle
        last_yield = self.clock()
        while self.position < len(self.ready):
            element = self.ready[self.position]
            now = self.clock()
            self._time(element, now)
            try:
                result = handle(element)
                if result is not None and inspect.isawaitable(result):
                    await result
            except (Exception, SystemExit, asyncio.CancelledError) as error:
                self._failed(error, (element,))
            else:
                if self.inflow is not None and self.mailbox.is_in_order:
                    self.delivered += 1
                else:
                    self._count(element)
            self.position += 1
            if now - last_yield > YIELD_AFTER_NS:
                last_yield = now
                await asyncio.sleep(0)

    def _time_batch(self, batch: list[Any], *, is_all_events: bool) -> None:
        now = self.clock()
        if is_all_events and self.mailbox.is_in_order:
            self.latency.record_batch(now, batch)
            return
        for element in batch:
            self._time(element, now)

    def _time(self, element: Any, now: int) -> None:
        ingest_ts = getattr(element, "ingest_ts", None)
        if ingest_ts is not None:
            self.latency.record(now - ingest_ts)

    def _count(self, element: Any) -> None:
        self.delivered += 1
        stream = getattr(element, "stream", None)
        if stream is not None:
            self._streams[stream] += 1
        else:
            self._others[type(element).__name__] += 1

    def _failed(self, error: BaseException, elements: Sequence[Any]) -> None:
        if isinstance(error, OwnershipBug) or (isinstance(error, asyncio.CancelledError) and _is_cancelled()):
            raise error
        self.dropped["handler_raised"] += len(elements)
        if self.inflow is not None and self.mailbox.is_in_order:
            self._streams.subtract(map(_stream, elements))
        detail = f"{error} ({_place_of(error)})"
        self.context.occurred(ConsumerFailed(self.consumer_id, type(error).__name__, detail))


def _counts(batch: list[Any]) -> Counter[Any] | None:
    """A batch of events by stream; None where it holds anything else."""
    try:
        return Counter(map(_stream, batch))
    except AttributeError:
        return None


def _is_cancelled() -> bool:
    """Whether the loop itself is to end, and not only something that a handler waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _place_of(error: BaseException) -> str:
    """file:line of what raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
