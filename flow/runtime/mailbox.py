"""The asynchronous boundary before a consumer: a bounded queue with lanes.

While there is room, events wait in order of arrival. A full mailbox is pressed: it sorts what waits into
lanes. Market data folds to one event a stream (`when_full: latest_by_key`), or is dropped at the old or
the new end; books always fold, as a book without one of its deltas is wrong. Trades drop at the old end
(at the new one with `drop_newest`), and a `Gap` marker says what is missing. Critical events are never
dropped: past `critical_bound` of them the mailbox says so. With `block` nothing is lost: the sources
pause. The next `take` empties all lanes, critical first, the others by arrival, and the pressure is over.

Elements that are no events (dead letters) wait like market data without a key.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from flow.context import Context
from flow.errors import OwnershipBug, WrongThread
from flow.events.canonical import CanonicalEvent
from flow.events.payloads import GapData
from flow.events.stream import Lane, Stream
from flow.graph.spec import MailboxSpec
from flow.runtime.conflation import NO_LEVELS, BookFold, is_book, is_final, slot_key
from flow.runtime.gaps import gap_marker, gap_stream, widened
from flow.telemetry.occurrences import BackpressureTriggered, CoalescingApplied

__all__ = ["Gate", "Mailbox"]

CRITICAL_BOUND = 100_000


class Gate:
    """What sources wait at while a `block` mailbox is full."""

    def __init__(self) -> None:
        self.closed_by: set[Mailbox] = set()
        self._waiters: list[asyncio.Future[None]] = []

    def close(self, mailbox: Mailbox) -> None:
        self.closed_by.add(mailbox)

    def open(self, mailbox: Mailbox) -> None:
        self.closed_by.discard(mailbox)
        if not self.closed_by:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def __call__(self) -> asyncio.Future[None] | None:
        """None while open, else something to await."""
        if not self.closed_by:
            return None
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter


class Mailbox:
    """`coalesced` and `dropped` count what was put in but not taken, `markers` the gap markers it added.

    `markers` counts the gap markers, which no edge brought.
    """

    def __init__(
        self,
        name: str,
        spec: MailboxSpec,
        context: Context,
        gate: Gate | None = None,
        folds: Callable[[CanonicalEvent], bool] | None = None,
    ) -> None:
        self.name = name
        self.capacity = spec.capacity
        self.when_full = spec.when_full
        self.context = context
        self.critical_bound = CRITICAL_BOUND
        self.markers = 0
        self.coalesced = 0
        self.dropped: Counter[str] = Counter()
        self.sorted_in: Counter[Stream] = Counter()
        """Events that went through the lanes, by stream."""
        self.queue: list[Any] = []
        self.is_complete = False
        self.gate = gate or Gate()
        self.folds = folds
        self.lanes = Lanes(self)
        self.is_in_order = True
        """Whether the batch taken last is in order of arrival."""
        self.gap_streams: dict[Stream, Stream] = {}
        self._room = spec.capacity
        self._waiter: asyncio.Future[None] | None = None
        self._is_nudged = False
        self._thread = 0

    def put(self, element: Any) -> None:
        """Take an element in. Never waits; raises only `WrongThread`, in another thread."""
        queue = self.queue
        if len(queue) < self._room:
            queue.append(element)
        else:
            self._rouse_or_overflow(element)

    def put_many(self, elements: list[Any]) -> None:
        """Take a run in, as one after another."""
        if self._waiter is not None:
            self._wake()
        if len(self.queue) + len(elements) <= self._room:
            self.queue += elements
        else:
            for element in elements:
                self.put(element)

    def complete(self) -> None:
        """Nothing more comes; `take` gives what waits and then nothing."""
        self.is_complete = True
        self._wake()

    def nudge(self) -> None:
        """Let the taker go on with nothing."""
        self._is_nudged = True
        self._wake()

    async def take(self) -> list[Any]:
        """All that waits or is to be told of, once there is something; empty once complete or nudged. One
        taker at a time."""
        while not self.queue and not self.lanes.waiting and not self.lanes.gaps:
            if self.is_complete or self._is_nudged:
                self._is_nudged = False
                return []
            self._thread = threading.get_ident()
            self._waiter = asyncio.get_running_loop().create_future()
            self._room = 0
            try:
                await self._waiter
            finally:
                self._stop_waiting()
        return self.take_now()

    def take_now(self) -> list[Any]:
        """All that waits, possibly nothing."""
        batch, self.queue = self.queue, []
        self.is_in_order = self._room != 0
        if self._room == 0:
            self._room = self.capacity
            if self.lanes.coalesced:
                self.context.occurred(CoalescingApplied(self.name))
            batch = self.lanes.drain()
        elif self.gate.closed_by:
            self.gate.open(self)
        return batch

    @property
    def in_flight(self) -> int:
        """How many elements wait, counted from the containers."""
        return len(self.queue) + self.lanes.waiting

    def drop(self, element: Any, reason: str) -> None:
        """Give an element up: counted, and kept in the dead letters with the reason."""
        self.dropped[reason] += 1
        if self.context.dead_letters is not None:
            self.context.refuse(element, reason, f"mailbox of {self.name}")

    def _wake(self) -> None:
        if self._waiter is not None and threading.get_ident() != self._thread:
            raise WrongThread(f"the mailbox of {self.name} belongs to another thread's event loop")
        waiter = self._waiter
        self._stop_waiting()
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _stop_waiting(self) -> None:
        if self._waiter is not None:
            self._waiter = None
            self._room = self.capacity

    def _rouse_or_overflow(self, element: Any) -> None:
        """There is no room: because the taker waits, which costs `put` no look of its own, or because it is
        full."""
        if self._waiter is not None:
            self._wake()
            Mailbox.put(self, element)
        else:
            self._overflow(element)

    def _overflow(self, element: Any) -> None:
        if self.when_full == "block":
            self.gate.close(self)
            self.queue.append(element)
            return
        if self._room:
            self._press()
        self.lanes.sort_in(element)

    def _press(self) -> None:
        self._room = 0
        self.context.occurred(BackpressureTriggered(self.name, "mailbox_full"))
        waiting, self.queue = self.queue, []
        for element in waiting:
            self.lanes.sort_in(element)


class Lanes:
    """What waits in a pressed mailbox. All but the critical bear the number of their arrival.

    Neither time nor sequence would do: an event that was held back for order is older than those it follows.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.critical: list[Any] = []
        self.trades: deque[tuple[int, Any]] = deque()
        self.others: deque[tuple[int, Any]] = deque()
        self.slots: dict[Any, tuple[int, Any]] = {}
        """By `slot_key`: the latest event, or a `BookFold`."""
        self.gaps: dict[Stream, GapData] = {}
        self.arrived = 0
        self.coalesced = 0
        self.is_over_bound = False

    @property
    def waiting(self) -> int:
        return len(self.critical) + len(self.trades) + len(self.others) + len(self.slots)

    def sort_in(self, element: Any) -> None:
        """Put an element where it belongs; one whose payload can't be read is given up."""
        self.arrived += 1
        try:
            self._sort_in(element)
        except OwnershipBug:
            raise
        except Exception:
            self._lose(element, "unreadable")

    def _sort_in(self, element: Any) -> None:
        stream: Stream | None = getattr(element, "stream", None)
        if stream is not None:
            self.mailbox.sorted_in[stream] += 1
        if stream is None:
            self._append(self.others, element)
        elif stream.lane is Lane.CRITICAL:
            self._add_critical(element)
        elif stream.lane is Lane.TRADES:
            self._append(self.trades, element)
        elif is_book(stream) or (self._folds(element) and not is_final(element)):
            self._fold(element)
        else:
            self._append(self.others, element)

    def _folds(self, event: CanonicalEvent) -> bool:
        mailbox = self.mailbox
        return mailbox.when_full == "latest_by_key" and (mailbox.folds is None or mailbox.folds(event))

    def _fold(self, event: CanonicalEvent) -> None:
        key = slot_key(event.stream)
        waiting = self.slots.get(key)
        if waiting is None:
            self.slots[key] = (self.arrived, BookFold(event) if is_book(event.stream) else event)
            return
        latest = waiting[1]
        if isinstance(latest, BookFold):
            latest.add(event)
        else:
            latest = event
        self.slots[key] = (self.arrived, latest)
        self.coalesced += 1
        self.mailbox.coalesced += 1

    def _add_critical(self, event: Any) -> None:
        self.critical.append(event)
        if len(self.critical) > self.mailbox.critical_bound and not self.is_over_bound:
            self.is_over_bound = True
            self.mailbox.context.occurred(BackpressureTriggered(self.mailbox.name, "critical_bound"))

    def _append(self, lane: deque[tuple[int, Any]], element: Any) -> None:
        """Add to a lane of bounded length, dropping at the end that the mailbox's policy names."""
        if len(lane) >= self.mailbox.capacity:
            lost = element if self.mailbox.when_full == "drop_newest" else lane.popleft()[1]
            self._lose(lost, "mailbox_full")
            if lost is element:
                return
        lane.append((self.arrived, element))

    def _lose(self, lost: Any, reason: str) -> None:
        """Give an element up, and note for its stream what is missing."""
        self.mailbox.drop(lost, reason)
        stream: Stream | None = getattr(lost, "stream", None)
        if stream is None:
            return
        self.gaps[stream] = widened(self.gaps.get(stream), lost, reason)

    def drain(self) -> list[Any]:
        """Everything, and the lanes empty: critical first, then the others by arrival.

        Gap markers stand where the gaps are: before what was kept, or behind it with `drop_newest`.
        """
        rest = [*self.trades, *self.others, *self._unfolded()]
        rest.sort(key=_arrival)
        kept = [element for _, element in rest]
        markers = self._markers()
        is_gap_behind = self.mailbox.when_full == "drop_newest"
        batch = [*self.critical, *kept, *markers] if is_gap_behind else [*self.critical, *markers, *kept]
        self.mailbox.lanes = Lanes(self.mailbox)
        return batch

    def _unfolded(self) -> list[tuple[int, Any]]:
        unfolded: list[tuple[int, Any]] = []
        for arrival, waiting in self.slots.values():
            try:
                event = waiting.event() if isinstance(waiting, BookFold) else waiting
            except NO_LEVELS:
                self._lose(waiting.latest, "unreadable")
            else:
                unfolded.append((arrival, event))
        return unfolded

    def _markers(self) -> list[Any]:
        mailbox = self.mailbox
        if not self.gaps:
            return []
        now, known = mailbox.context.clock(), mailbox.gap_streams
        mailbox.markers += len(self.gaps)
        for stream in self.gaps.keys() - known.keys():
            known[stream] = gap_stream(stream)
        return [gap_marker(known[stream], gap, now) for stream, gap in self.gaps.items()]


_arrival = itemgetter(0)
