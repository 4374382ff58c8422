"""What waits for its rate: a line for each stream, served in turn.

Of Ticker, BestQuote and open klines the latest waits, of a book the state; of all else each event, `capacity`
to a line. Beyond that the oldest is lost, and a gap marker stands before what follows in its line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

from flow.clock import Clock
from flow.events.canonical import CanonicalEvent
from flow.events.payloads import GapData
from flow.events.stream import EventType, Lane, Stream
from flow.runtime.conflation import NO_LEVELS, BookFold, is_book, is_final, slot_key
from flow.runtime.gaps import gap_marker, gap_stream, widened
from flow.sharing import Bucket

__all__ = ["Line", "Lines"]

LATEST_WINS: Final = frozenset({EventType.TICKER, EventType.BEST_QUOTE, EventType.KLINE})


class Line:
    """A stream, or both of a book: its bucket, and what waits of it as (arrival, event or fold)."""

    __slots__ = ("bucket", "gap", "gaps", "is_book", "is_critical", "is_last_open", "latest_wins", "waiting")

    def __init__(self, stream: Stream, bucket: Bucket | None) -> None:
        self.bucket = bucket
        self.waiting: deque[tuple[int, Any]] = deque()
        self.gap: GapData | None = None
        """What was lost since something of it left."""
        self.gaps = gap_stream(stream)
        self.is_critical = stream.lane is Lane.CRITICAL
        self.is_book = is_book(stream)
        self.latest_wins = stream.event_type in LATEST_WINS
        self.is_last_open = False
        """Whether the last that waits gives way to a later one."""

    def keep(self, arrival: int, event: CanonicalEvent) -> bool:
        """Let an event wait. True where it took in, or the place of, the one before; raises where it can't
        be read."""
        waiting = self.waiting
        if self.is_book and waiting:
            fold = waiting[0][1]
            fold.add(event)
            waiting[0] = (arrival, fold)
            return True
        is_open = self.latest_wins and not is_final(event)
        kept = BookFold(event) if self.is_book else event
        is_replaced = self.is_last_open and bool(waiting)
        if is_replaced:
            waiting.pop()
        waiting.append((arrival, kept))
        self.is_last_open = is_open
        return is_replaced


class Lines:
    """All lines. `ready` are those that wait for a common budget only, in turn; `asleep` is a heap of those
    that wait for a token of their own.

    `let_go` takes what leaves, `lost` what is given up, with the reason. `markers` counts the gap markers
    among what left.
    """

    def __init__(
        self,
        make_bucket: Callable[[], Bucket | None],
        capacity: int,
        clock: Clock,
        let_go: Callable[[CanonicalEvent], None],
        lost: Callable[[CanonicalEvent, str], None],
    ) -> None:
        self.make_bucket = make_bucket
        self.capacity = capacity
        self.clock = clock
        self.let_go = let_go
        self.lost = lost
        self.by_stream: dict[Stream, Line] = {}
        self.books: dict[Any, Line] = {}
        self.ready: deque[Line] = deque()
        self.asleep: list[tuple[int, int, Line]] = []
        self.arrived = self.coalesced = self.markers = 0

    @property
    def waiting(self) -> list[Line]:
        return [*self.ready, *(line for _, _, line in self.asleep)]

    @property
    def held(self) -> int:
        return sum(len(line.waiting) for line in self.waiting)

    def meet(self, stream: Stream) -> Line:
        """The line of a stream that comes for the first time."""
        key = slot_key(stream)
        line = self.books.get(key)
        if line is None:
            line = Line(stream, self.make_bucket())
            if line.is_book:
                self.books[key] = line
        self.by_stream[stream] = line
        return line

    def keep(self, event: CanonicalEvent, line: Line, now_us: int) -> None:
        """Let an event wait in its line; one that has to be read for it and can't be is lost."""
        self.arrived += 1
        is_first = not line.waiting
        try:
            is_replaced = line.keep(self.arrived, event)
        except Exception:
            self._lose(event, line, "unreadable")
            return
        if is_replaced:
            self.coalesced += 1
        elif len(line.waiting) > self.capacity:
            self._lose(line.waiting.popleft()[1], line, "throttled")
        if is_first:
            self._line_up(line, now_us)

    def serve(self, most: int, now_us: int) -> int:
        """Let go of up to `most` events that have tokens, one of a line at a time; how many that were."""
        asleep, ready, left = self.asleep, self.ready, most
        while asleep and asleep[0][0] <= now_us:
            ready.append(heappop(asleep)[2])
        while ready and left:
            line = ready.popleft()
            if self._let_first_go(line):
                left -= 1
                if line.bucket is not None:
                    line.bucket.fill(now_us)
                    line.bucket.tokens -= 1
            if line.waiting:
                self._line_up(line, now_us)
        return most - left

    def empty(self) -> None:
        """Let everything go, in order of arrival."""
        order = [(arrival, line) for line in self.waiting for arrival, _ in line.waiting]
        for _, line in sorted(order, key=_arrival):
            self._let_first_go(line)
        self.forget()

    def forget(self) -> int:
        """Hold nothing more; how much that was."""
        held = self.held
        for container in (self.ready, self.asleep, self.by_stream, self.books):
            container.clear()
        return held

    def _line_up(self, line: Line, now_us: int) -> None:
        """Let a line wait for its own token, or for its turn."""
        wait_us = 0
        if line.bucket is not None:
            line.bucket.fill(now_us)
            wait_us = line.bucket.wait_us()
        if wait_us:
            heappush(self.asleep, (now_us + wait_us, line.waiting[0][0], line))
        else:
            self.ready.append(line)

    def _let_first_go(self, line: Line) -> bool:
        kept = line.waiting.popleft()[1]
        try:
            event = kept.event() if isinstance(kept, BookFold) else kept
        except NO_LEVELS:
            self._lose(kept.latest, line, "unreadable")
            return False
        self._mark(line)
        self.let_go(event)
        return True

    def _lose(self, event: CanonicalEvent, line: Line, reason: str) -> None:
        self.lost(event, reason)
        line.gap = widened(line.gap, event, reason)
        if not line.waiting:
            self._mark(line)

    def _mark(self, line: Line) -> None:
        """Say what is missing, if anything is."""
        if line.gap is not None:
            marker = gap_marker(line.gaps, line.gap, self.clock())
            line.gap = None
            self.markers += 1
            self.let_go(marker)


def _arrival(entry: tuple[int, Line]) -> int:
    return entry[0]
