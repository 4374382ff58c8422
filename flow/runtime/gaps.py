"""What a consumer did not get: noted for each stream as it is lost, and told by a marker."""

from __future__ import annotations

from flow.events.canonical import CanonicalEvent, OwnedEvent
from flow.events.payloads import GapData
from flow.events.stream import EventType, Sequence, Stream

__all__ = ["gap_marker", "gap_stream", "widened"]


def widened(known: GapData | None, lost: CanonicalEvent, reason: str) -> GapData:
    """A gap with one more event in it."""
    if known is None:
        return GapData(1, lost.first_sequence, lost.sequence, reason)
    first = min(known.first_sequence, lost.first_sequence)
    last = max(known.last_sequence, lost.sequence)
    return GapData(known.missed + 1, first, last, reason)


def gap_stream(stream: Stream) -> Stream:
    """The gaps of a stream are a stream of their own: keep it, as there is one object per stream."""
    return Stream(stream.provider, stream.symbol, EventType.GAP, stream.channel, Sequence.NONE)


def gap_marker(where: Stream, gap: GapData, now: int) -> OwnedEvent:
    """The event that tells of a gap. `where` is a `gap_stream`, `now` in ns."""
    return OwnedEvent(where, gap, gap.last_sequence, gap.first_sequence, ingest_ts=now)
