"""Puts the events of each stream into their exchange's order.

    events   --1--2--4--3------5--7-----(150 ms)--->
    ordered  --1--2-----(3,4)--5-----------7------->

An event that is next in line by its stream's kind of sequence leaves in the same call. Only a real gap waits
(`contiguous` and `range` streams): at most `lateness_ms`, looked at every `flush_ms`, and at most `capacity`
events. Then the missing numbers are given up (`gaps` counts) and the stream goes on. `monotone` streams can't
have a gap, so nothing of them waits; streams without numbers pass, and so does whatever is critical. There is
no order between streams.

Dropped, as `LateEventDropped`: `duplicate` (its number has left already) and `late` (its number was given
up). A number behind with an exchange time newer by more than `lateness_ms` means that the exchange began to
count anew, and the stream follows; where the exchange gives no time, a run of 32 rising numbers behind does,
received over a second with none in line between them. Completion flushes in order; an error or disposal
releases what is held. Holds pooled events, at most `capacity` a stream.
"""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta, Struct
from reactivex import abc

from flow.clock import NS_PER_MS, NS_PER_S
from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.events.stream import CRITICAL, Sequence, Stream
from flow.pool import release
from flow.registry import Operator, operator
from flow.stage import Machine, stage
from flow.telemetry.occurrences import LateEventDropped

__all__ = ["OrderBuffer", "OrderBufferParams", "order_buffer"]


RESTART_RUN: Final = 32
"""Rising numbers behind the line, without exchange time, that mean a new count ..."""
RESTART_NS: Final = NS_PER_S
"""... where they were received over so long: the backlog of a connection that lags comes at once."""


class OrderBufferParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    lateness_ms: Annotated[int, Meta(ge=0, le=60_000, description="how long a gap may stay open")] = 150
    flush_ms: Annotated[int, Meta(ge=1, le=10_000, description="how often open gaps are looked at")] = 50
    capacity: Annotated[int, Meta(ge=1, le=100_000, description="most events held per stream")] = 200


@operator("order-buffer", pooled=True)
def order_buffer(params: OrderBufferParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Per stream: in order by the exchange's numbers; only a real gap waits."""
    return stage(lambda: OrderBuffer(params, context))


class Line:
    """One stream's place in its numbering. `held` is a heap of (first number, arrival, the look at which it
    is due, event). `behind` counts the rising numbers behind: (how many, the last of them, what was next,
    when the first of them was received)."""

    __slots__ = ("behind", "exchange_ts", "given_up", "held", "is_numbered", "may_jump", "next")

    def __init__(self, stream: Stream) -> None:
        self.next = -1
        self.exchange_ts = 0
        self.is_numbered = stream.sequence is not Sequence.NONE and stream.event_type not in CRITICAL
        self.may_jump = stream.sequence in (Sequence.MONOTONE, Sequence.NONE)
        self.held: list[tuple[int, int, int, CanonicalEvent]] = []
        self.given_up: deque[tuple[int, int]] = deque(maxlen=16)
        self.behind = (0, -1, -1, 0)

    def counts_anew(self, event: CanonicalEvent, tolerance_ns: int) -> bool:
        """Whether an event with a number behind is the first of a new count."""
        if self.exchange_ts and event.exchange_ts:
            return event.exchange_ts > self.exchange_ts + tolerance_ns
        run, last, awaited, since = self.behind
        if awaited != self.next or event.sequence <= last:
            run, since = 0, event.ingest_ts
        self.behind = (run + 1, event.sequence, self.next, since)
        return run + 1 >= RESTART_RUN and event.ingest_ts - since >= RESTART_NS


Verb = Callable[[CanonicalEvent, Line], None]


class OrderBuffer(Machine[CanonicalEvent, CanonicalEvent]):
    guards_itself = True

    def __init__(self, params: OrderBufferParams, context: Context) -> None:
        super().__init__(context)
        self.lateness_ns = params.lateness_ms * NS_PER_MS
        self.flush_s = params.flush_ms / 1000
        self.patience = max(1, -(-params.lateness_ms // params.flush_ms))
        """How many looks at a gap make it too late."""
        self.capacity = params.capacity
        self.lines: dict[Stream, Line] = {}
        self.arrivals = 0
        self.gaps = self.looks = 0
        self.timer: abc.DisposableBase | None = None
        self.is_closed = False

    @property
    def in_flight(self) -> int:
        return sum(len(line.held) for line in self.lines.values())

    def add(self, element: CanonicalEvent) -> None:
        self.add_many([element])

    def add_many(self, elements: list[CanonicalEvent]) -> None:
        lines, begin = self.lines, 0
        for at, event in enumerate(elements):
            try:
                line = lines[event.stream]
                first = event.first_sequence
                if not line.held and (first == line.next or (line.may_jump and first >= line.next)):
                    line.next = event.sequence + 1
                    line.exchange_ts = event.exchange_ts
                    continue
            except Exception as error:
                fault = error
            else:
                fault = None
            self.hand_on(elements[begin:at])
            begin = at + 1
            self.take_unusual(event, fault)
        self.hand_on(elements[begin:] if begin else elements)

    def take_unusual(self, event: CanonicalEvent, fault: Exception | None) -> None:
        """The first event of a stream, one that is not the next in line, or something that is no event."""
        try:
            if isinstance(fault, KeyError) and event.stream not in self.lines:
                self.lines[event.stream] = Line(event.stream)
            elif fault is not None:
                raise fault
            line = self.lines[event.stream]
            act = self.place(event, line)
        except Exception as error:
            self.refuse(event, error)
            return
        act(event, line)

    def place(self, event: CanonicalEvent, line: Line) -> Verb:
        """What is to be done with an event that is not the next in line."""
        if not line.is_numbered:
            return self.pass_on
        if event.sequence < line.next:
            return self.judge_old
        if line.next < 0 or event.first_sequence <= line.next:
            return self.close_gap
        return self.hold

    def pass_on(self, event: CanonicalEvent, line: Line) -> None:
        self.passed += 1
        self.emit(event)

    def close_gap(self, event: CanonicalEvent, line: Line) -> None:
        self.leave(event, line)
        self.release_ready(line)

    def leave(self, event: CanonicalEvent, line: Line) -> None:
        line.next = event.sequence + 1
        line.exchange_ts = event.exchange_ts
        self.passed += 1
        self.emit(event)

    def judge_old(self, event: CanonicalEvent, line: Line) -> None:
        """An event whose numbers are behind: late, a duplicate, or the first of a new count."""
        if line.counts_anew(event, self.lateness_ns):
            self.release_all(line)
            line.given_up.clear()
            self.leave(event, line)
            return
        is_late = any(first <= event.sequence <= last for first, last in line.given_up)
        reason = "late" if is_late else "duplicate"
        self.context.occurred(LateEventDropped(repr(event.stream), event.sequence, reason))
        self.drop(event, reason)

    def hold(self, event: CanonicalEvent, line: Line) -> None:
        """Wait for what is missing before this event."""
        if self.is_closed:
            self.drop(event, "disposed")
            return
        self.arrivals += 1
        due = self.looks + self.patience + (self.timer is not None)
        heapq.heappush(line.held, (event.first_sequence, self.arrivals, due, event))
        self.schedule()
        while len(line.held) > self.capacity:
            self.give_up_gap(line)
        self.release_ready(line)

    def schedule(self) -> None:
        if self.timer is None:
            self.timer = self.after(self.flush_s, self.close_due)

    def close_due(self) -> None:
        """Give up the gaps that stayed open too long; runs only while something is held."""
        self.timer = None
        self.looks += 1
        try:
            for line in list(self.lines.values()):
                while line.held and min(entry[2] for entry in line.held) <= self.looks:
                    self.give_up_gap(line)
        finally:
            if self.in_flight and not self.is_closed:
                self.schedule()

    def give_up_gap(self, line: Line) -> None:
        """Go on with the lowest number held, and with all that follows it without a gap."""
        first = line.held[0][0]
        if first > line.next:
            self.gaps += 1
            line.given_up.append((line.next, first - 1))
            line.next = first
        self.release_ready(line)

    def release_ready(self, line: Line) -> None:
        """Let go, in order, of what no gap is before any more."""
        while line.held and line.held[0][0] <= line.next:
            event = heapq.heappop(line.held)[3]
            if event.sequence < line.next:
                self.judge_old(event, line)
            else:
                self.leave(event, line)

    def release_all(self, line: Line) -> None:
        while line.held:
            self.give_up_gap(line)

    def finish(self) -> None:
        for line in list(self.lines.values()):
            self.release_all(line)

    def close(self) -> None:
        self.is_closed = True
        if self.timer is not None:
            self.timer.dispose()
            self.timer = None
        for line in self.lines.values():
            held, line.held = line.held, []
            for entry in held:
                self.dropped["disposed"] += 1
                release(entry[3])
