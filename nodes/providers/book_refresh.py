"""Holds a live book against a fresh snapshot without stopping it.

From the moment the snapshot is asked for, the updates that the book takes are noted. The snapshot with
the noted updates after it must give the same book; where the snapshot is ahead of the book, the
comparison waits for it.
"""

from __future__ import annotations

from typing import Literal

from flow.events.payloads import BookLevels, Levels
from nodes.providers.book import Book

__all__ = ["Outcome", "Refresh"]

Outcome = Literal["equal", "waiting", "too_old", "mismatch", "given_up"]


class Refresh:
    """One comparison. `since` is the book's number when it began; `capacity` bounds the updates noted."""

    __slots__ = ("_capacity", "_noted", "_snapshot", "_snapshot_id", "detail", "since")

    def __init__(self, since: int, capacity: int) -> None:
        self.since = since
        self.detail = ""
        """What differs."""
        self._capacity = capacity
        self._noted: list[tuple[int, BookLevels]] = []
        self._snapshot: Book | None = None
        self._snapshot_id = 0

    def on_snapshot(self, last_id: int, bids: Levels, asks: Levels, sequence: int, book: Book) -> Outcome:
        """Take the snapshot. Raises ValueError where it is malformed."""
        if last_id < self.since:
            return "too_old"
        self._snapshot_id = last_id
        self._snapshot = Book(bids, asks)
        return "waiting" if sequence < last_id else self._compare(book)

    def on_applied(self, sequence: int, update: BookLevels, book: Book) -> Outcome:
        """Note what the book has taken, and compare if the snapshot waits for it."""
        if len(self._noted) >= self._capacity:
            return "given_up"
        self._noted.append((sequence, update))
        if self._snapshot is None or sequence < self._snapshot_id:
            return "waiting"
        return self._compare(book)

    def _compare(self, book: Book) -> Outcome:
        assert self._snapshot is not None
        for sequence, update in self._noted:
            if sequence > self._snapshot_id:
                self._snapshot.apply(update.bids, update.asks)
        self.detail = book.difference(self._snapshot)
        # A book's sides know each other: its levels would wait for the collector, which hardly ever runs.
        self._snapshot.clear()
        return "mismatch" if self.detail else "equal"
