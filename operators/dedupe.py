"""Passes each event of a stream once.

    events   --1--2--2--3--1--4-->
    unique   --1--2-----3-----4-->

An id is (stream, sequence); that of a merged event is its `merge_id`, which the events that went into the
merge bear too and do not go by. The last `window` ids of a stream are remembered; a repeat among them is
dropped as `duplicate`. One that comes again over a second of the exchange's time after the highest is
no repeat: the exchange counts anew. Events of streams without numbers pass, and critical ones always.
Completes and fails with its source. Holds no event; memory is bounded by `window` numbers a stream.
"""

import sys
from collections import deque
from typing import Annotated, Final

from msgspec import Meta, Struct

from flow.clock import NS_PER_S
from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.events.stream import CRITICAL, EventType, Sequence, Stream
from flow.registry import Operator, operator
from flow.stage import Machine, stage

__all__ = ["DedupeParams", "Deduper", "dedupe"]

ANEW_NS: Final = NS_PER_S
"""So much later a number is no copy: those that come over two connections bear nearly the same time."""


class DedupeParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    window: Annotated[int, Meta(ge=1, le=100_000, description="ids remembered per stream")] = 64


@operator("dedupe", pooled=True)
def dedupe(params: DedupeParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Drops events whose id was seen among the last ones of their stream."""
    return stage(lambda: Deduper(params, context))


class Seen:
    """The last ids of a stream, and the highest number among them: a higher one needs no search.

    `exchange_ts` is the time of the last number that rose.
    """

    __slots__ = ("append", "exchange_ts", "highest", "is_merged", "is_numbered", "merge_ids", "recent")

    def __init__(self, stream: Stream, window: int) -> None:
        self.recent: deque[int] = deque(maxlen=window)
        self.merge_ids: deque[str] = deque(maxlen=window)
        self.append = self.recent.append
        self.is_merged = stream.event_type is EventType.MERGED
        self.is_numbered = stream.sequence is not Sequence.NONE and stream.event_type not in CRITICAL
        self.highest = sys.maxsize if self.is_merged else -1
        self.exchange_ts = 0

    def counts_anew(self, event: CanonicalEvent) -> bool:
        """Whether a number that was seen is one of a new count."""
        return self.exchange_ts > 0 and event.exchange_ts > self.exchange_ts + ANEW_NS


class Deduper(Machine[CanonicalEvent, CanonicalEvent]):
    guards_itself = True

    def __init__(self, params: DedupeParams, context: Context) -> None:
        super().__init__(context)
        self.window = params.window
        self.seen: dict[Stream, Seen] = {}

    def add(self, element: CanonicalEvent) -> None:
        self.add_many([element])

    def add_many(self, elements: list[CanonicalEvent]) -> None:
        seen_by, begin = self.seen, 0
        for at, event in enumerate(elements):
            try:
                seen = seen_by[event.stream]
                sequence = event.sequence
                if sequence > seen.highest:
                    seen.highest = sequence
                    seen.exchange_ts = event.exchange_ts
                    seen.append(sequence)
                    continue
            except Exception as error:
                fault = error
            else:
                fault = None
            self.hand_on(elements[begin:at])
            begin = at if self.is_first(event, fault) else at + 1
        self.hand_on(elements[begin:] if begin else elements)

    def is_first(self, event: CanonicalEvent, fault: Exception | None) -> bool:
        """The slow path: whether an event passes. Repeats are dropped, what is no event is refused."""
        try:
            if isinstance(fault, KeyError) and event.stream not in self.seen:
                self.seen[event.stream] = Seen(event.stream, self.window)
            elif fault is not None:
                raise fault
            seen = self.seen[event.stream]
            if event.sequence > seen.highest:
                seen.highest = event.sequence
                seen.exchange_ts = event.exchange_ts
                seen.append(event.sequence)
                return True
            is_repeat = self.is_repeat(event, seen)
        except Exception as error:
            self.refuse(event, error)
            return False
        if is_repeat:
            self.drop(event, "duplicate")
        return not is_repeat

    def is_repeat(self, event: CanonicalEvent, seen: Seen) -> bool:
        """Whether an event that does not raise its stream's highest number was seen; remembers it if not."""
        if seen.is_merged and event.merge_id is not None:
            is_repeat = event.merge_id in seen.merge_ids
            if not is_repeat:
                seen.merge_ids.append(event.merge_id)
            return is_repeat
        if not seen.is_numbered:
            return False
        if event.sequence in seen.recent:
            if not seen.counts_anew(event):
                return True
            seen.recent.clear()
            seen.exchange_ts = event.exchange_ts
        seen.append(event.sequence)
        seen.highest = sys.maxsize if seen.is_merged else max(seen.recent)
        return False
