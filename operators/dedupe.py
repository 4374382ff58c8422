"""Passes each event of a stream once.

    events   --1--2--2--3--1--4-->
    unique   --1--2-----3-----4-->

An id is (stream, sequence), or the `merge_id` where an event has one. The last `window` ids of a stream are remembered;
a repeat among them is dropped as `duplicate`. Events of streams without numbers pass. Completes and fails with its source.
Holds no event; memory is bounded by `window` numbers a stream.
"""

from collections import deque
from typing import Annotated

from msgspec import Meta, Struct

from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.events.stream import Sequence, Stream
from flow.registry import Operator, operator
from flow.stage import Machine, stage

__all__ = ["DedupeParams", "Deduper", "dedupe"]


class DedupeParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    window: Annotated[int, Meta(ge=1, le=100_000, description="ids remembered per stream")] = 256


@operator("dedupe", pooled=True)
def dedupe(params: DedupeParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Drops events whose id was seen among the last ones of their stream."""
    return stage(lambda: Deduper(params, context))


class Seen:
    """The last ids of a stream, and the highest of them: a higher one needs no search."""

    __slots__ = ("append", "highest", "recent")

    def __init__(self, window: int) -> None:
        self.recent: deque[int] = deque(maxlen=window)
        self.append = self.recent.append
        self.highest = -1


class Deduper(Machine[CanonicalEvent, CanonicalEvent]):
    guards_itself = True

    def __init__(self, params: DedupeParams, context: Context) -> None:
        super().__init__(context)
        self.window = params.window
        self.seen: dict[Stream, Seen] = {}
        self.merge_ids: deque[str] = deque(maxlen=params.window)

    def add(self, element: CanonicalEvent) -> None:
        try:
            seen = self.seen[element.stream]
        except KeyError:
            seen = self.seen[element.stream] = Seen(self.window)
        sequence = element.sequence
        if sequence > seen.highest:
            seen.highest = sequence
            seen.append(sequence)
        elif self.is_repeat(element, seen):
            self.drop(element, "duplicate")
            return
        self.passed += 1
        self.emit(element)

    def is_repeat(self, event: CanonicalEvent, seen: Seen) -> bool:
        """Whether an event that does not raise its stream's highest number was seen; remembers it if not."""
        if event.merge_id is not None:
            repeat = event.merge_id in self.merge_ids
            if not repeat:
                self.merge_ids.append(event.merge_id)
            return repeat
        if event.stream.sequence is Sequence.NONE:
            return False
        if event.sequence in seen.recent:
            return True
        seen.append(event.sequence)
        seen.highest = max(seen.recent)
        return False
