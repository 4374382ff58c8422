"""Merged events: what several providers said of one symbol within one window of time.

A merged event is a canonical event of a stream of its own, (`merged`, symbol, `MergedEvent`, the event type
that was merged), so whatever takes canonical events takes it unchanged. What the window held is its payload.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from flow.events.canonical import OwnedEvent, PooledEvent
from flow.events.stream import CRITICAL, EventType, Sequence, Stream

__all__ = ["MERGEABLE", "MERGED_PROVIDER", "Merged", "MergedData", "MergedEvent", "merged_stream"]

MERGED_PROVIDER: Final = "merged"
"""The provider of all merged events, as the routing table knows it."""

MERGEABLE: Final = frozenset(EventType) - CRITICAL - {EventType.MERGED, EventType.GAP}


def merged_stream(symbol: str, event_type: EventType) -> Stream:
    """A stream of merged events. Its numbers rise by one; none of them waits for another."""
    return Stream(MERGED_PROVIDER, symbol, EventType.MERGED, event_type.value, Sequence.MONOTONE)


class MergedEvent(PooledEvent):
    """A slot of the `MergedEvent` pool, keyed by its stream; got when a window closes.

    Beside the fields of every event: `sequence` counts the stream's merged events, `ingest_ts` is the close
    of the window, `exchange_ts` the newest of the fragments, `trace_id` that of the fragment that came last,
    and `merge_id` is `symbol/type/sequence`, which all fragments bear too.
    """

    __slots__ = ()


class Merged:
    """What a window held. Times in ns since the epoch; `missing` names the expected providers without a
    fragment, `completeness` is the share of those with one, 0 to 1. Fragments are owned, by provider in the
    order in which the providers are named, then by arrival."""

    __slots__ = ()

    event_type: EventType
    window_open: int
    window_close: int
    fragments: tuple[OwnedEvent, ...]
    missing: tuple[str, ...]
    completeness: float

    def fragment(self, provider: str) -> OwnedEvent | None:
        """The latest fragment of a provider; None where it has none."""
        return next((one for one in reversed(self.fragments) if one.provider == provider), None)

    def row(self) -> dict[str, Any]:
        return {
            "event_type": self.event_type.value,
            "window_open": self.window_open,
            "window_close": self.window_close,
            "fragments": [fragment.row() for fragment in self.fragments],
            "missing": list(self.missing),
            "completeness": self.completeness,
        }


class MergedData(Struct, Merged, gc=False, frozen=True):
    event_type: EventType
    window_open: int
    window_close: int
    fragments: tuple[OwnedEvent, ...]
    missing: tuple[str, ...] = ()
    completeness: float = 1.0
