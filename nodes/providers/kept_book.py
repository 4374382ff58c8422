"""One book of a keeper, and what is under way for it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from flow.events.stream import EventType, Sequence, Stream
from nodes.providers.book_sync import BookSync

__all__ = ["KeptBook"]

SHOWN_LEVELS: Final = 20


class KeptBook:
    """One symbol's book and what is under way for it. Times are the event loop's, in seconds."""

    __slots__ = (
        "connected_at",
        "is_connected",
        "is_hopeless",
        "made",
        "number",
        "refresh_at",
        "seen",
        "seen_at",
        "snapshots",
        "stream",
        "sync",
        "task",
        "too_old",
    )

    def __init__(self, stream: Stream, sync: BookSync, number: int) -> None:
        self.stream = stream
        self.sync = sync
        self.number = number
        self.snapshots = Stream(
            stream.provider, stream.symbol, EventType.BOOK_SNAPSHOT, stream.channel, Sequence.NONE
        )
        self.task: asyncio.Task[None] | None = None
        self.is_connected = True
        self.is_hopeless = False
        self.connected_at = self.seen_at = self.refresh_at = 0.0
        self.seen = self.made = 0
        self.too_old = 0
        """Snapshots in a row that could not be used for their age."""

    @property
    def name(self) -> str:
        """As the summary names the book."""
        return f"{self.stream.provider}/{self.stream.symbol}"

    def figures(self) -> dict[str, Any]:
        """State, last number, resyncs by reason, and the best 20 levels a side."""
        sync = self.sync
        return {
            "state": sync.state.value,
            "sequence": sync.sequence,
            "resyncs": dict(sorted(sync.resyncs.items())),
            "bids": [list(level) for level in sync.book.bids(SHOWN_LEVELS)],
            "asks": [list(level) for level in sync.book.asks(SHOWN_LEVELS)],
        }
