"""When a book may be trusted: the state machine of one symbol, without any I/O.

    buffering ──snapshot that bridges──► live ──gap, crossed, stale, ...──► resyncing ──snapshot──► live

Until a snapshot has come the diffs are held. A snapshot is usable if it is no older than the first held
diff; held diffs that it covers are dropped, the others are applied, and all of them are then in the
snapshot that the caller passes on. A live book takes a diff that continues its sequence, ignores what
it already holds, and loses its trust at anything else. Without numbers (`is_sequenced=False`) order of
arrival is the sequence, and a `check` such as a checksum can take the place of the numbers.

Source: Binance spot API, "How to manage a local order book correctly", 2026-06.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, Literal, Protocol

from flow.events.payloads import BookLevels, Levels
from nodes.providers.book import Book
from nodes.providers.book_refresh import Outcome, Refresh

__all__ = ["BookState", "BookSync", "Diff", "Reason", "SnapshotVerdict", "UpdateVerdict"]


class BookState(StrEnum):
    BUFFERING = "buffering"
    """Never trusted yet: waiting for the first diff and a snapshot."""
    LIVE = "live"
    RESYNCING = "resyncing"


class Reason(StrEnum):
    """Why a book was given up."""

    GAP = "gap"
    CROSSED = "crossed"
    CHECKSUM = "checksum"
    STALE = "stale"
    RECONNECT = "reconnect"
    BAD_SNAPSHOT = "bad_snapshot"
    BUFFER_OVERFLOW = "buffer_overflow"
    MALFORMED = "malformed"
    REFRESH_MISMATCH = "refresh_mismatch"


IN_SNAPSHOT: Final = "in_snapshot"
ALREADY_IN_SNAPSHOT: Final = "already_in_snapshot"
DUPLICATE: Final = "duplicate"
UNBRIDGEABLE: Final = "unbridgeable"

UpdateVerdict = Literal["applied", "hold", "dropped"]
"""applied: pass it on; hold: give a copy to `hold`; dropped: counted, forget it."""
SnapshotVerdict = Literal["synced", "too_old", "unusable", "not_needed"]
"""Only after `synced` the book may be passed on; `too_old` and `unusable` ask for another snapshot."""

Check = Callable[[Book, BookLevels], bool]


class Diff(Protocol):
    """What is held: an update with its numbers, the property of the state machine."""

    @property
    def first_sequence(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def payload(self) -> Any: ...


def _unreported(reason: Reason, detail: str) -> None:
    return


class BookSync:
    """One symbol. `dropped` counts diffs that are neither passed on nor held; the caller may give its own.

    An update that can't be read or applied raises out of `on_update`; the caller then calls `resync`.
    """

    def __init__(
        self,
        dropped: Counter[str] | None = None,
        *,
        capacity: int = 1000,
        is_sequenced: bool = True,
        check: Check | None = None,
        on_resync: Callable[[Reason, str], None] = _unreported,
    ) -> None:
        self.dropped: Counter[str] = Counter() if dropped is None else dropped
        self.capacity = capacity
        self.is_sequenced = is_sequenced
        self.check = check
        self.on_resync = on_resync
        self.book = Book()
        self.state = BookState.BUFFERING
        self.is_live = False
        self.sequence = 0
        """The last number applied; of an untrusted book the last one it was trusted at."""
        self.snapshot_id = 0
        self.oldest_usable = 0
        """A snapshot below this number would miss diffs that are lost, or would lead back in time."""
        self.held: deque[Diff] = deque()
        self.newest: Diff | None = None
        """The last held diff that went into the book at the last sync."""
        self.culprit: tuple[Diff, Exception] | None = None
        """The held diff that made the last snapshot unusable, for the caller to refuse."""
        self.resyncs: Counter[str] = Counter()
        self.refresh: Refresh | None = None
        self.refreshes: Counter[str] = Counter()

    def on_update(self, first: int, last: int, update: BookLevels) -> UpdateVerdict:
        """Take a diff that covers the numbers `first..last`."""
        if not self.is_live:
            return self._on_untrusted(first, last)
        if not first - 1 == self.sequence < last:
            if not self.is_sequenced:
                last = self.sequence + 1
            elif (verdict := self._on_unexpected(first, last)) is not None:
                return verdict
        book = self.book
        book.apply(update.bids, update.asks)
        if book.is_crossed:
            return self._give_up(Reason.CROSSED, f"{book.best_bid} against {book.best_ask}")
        if self.check is not None and not self.check(book, update):
            return self._give_up(Reason.CHECKSUM, f"at {last}")
        self.sequence = last
        return "applied" if self.refresh is None else self._refreshed(self.refresh, update)

    def hold(self, diff: Diff) -> None:
        """Keep a diff until a snapshot comes; after `hold` was the verdict."""
        self.held.append(diff)

    def on_snapshot(self, last_id: int, bids: Levels, asks: Levels) -> SnapshotVerdict:
        """Take the whole book as it was at `last_id`; with the held diffs it may become live."""
        self.newest = self.culprit = None
        if self.is_live:
            return "not_needed"
        if self.is_sequenced and self._is_too_old(last_id):
            return "too_old"
        try:
            self.book.replace(bids, asks)
        except ValueError as error:
            return self._unusable(Reason.BAD_SNAPSHOT, str(error))
        if self.book.is_crossed:
            return self._unusable(Reason.BAD_SNAPSHOT, "the snapshot is crossed")
        return self._absorb_held(last_id)

    def resync(self, reason: Reason, detail: str = "", *, lost: int = 0) -> None:
        """Trust the book no more, drop what is held. `lost` is the number of a diff that is gone for good."""
        self._drop_held(reason)
        self.oldest_usable = max(self.oldest_usable, self.sequence, lost)
        self._distrust(reason, detail)

    def reject_snapshot(self, detail: str) -> None:
        """A snapshot came that can't be read."""
        self._distrust(Reason.BAD_SNAPSHOT, detail)

    def restart(self) -> None:
        """No snapshot bridges what is held, so a number in it may be wrong: begin with nothing."""
        self._drop_held(UNBRIDGEABLE)
        self.oldest_usable = 0

    def begin_refresh(self) -> None:
        """A snapshot is asked for, to hold the live book against it."""
        self.refresh = Refresh(self.sequence, self.capacity)

    def on_refresh(self, last_id: int, bids: Levels, asks: Levels) -> None:
        """Compare now, or as soon as the book has got there. A mismatch costs the book its trust."""
        if self.refresh is not None:
            try:
                outcome = self.refresh.on_snapshot(last_id, bids, asks, self.sequence, self.book)
            except ValueError:
                outcome = "given_up"
            self._judge_refresh(outcome)

    def discard(self, reason: str) -> None:
        """Drop what is held: no snapshot will come."""
        self._drop_held(reason)

    def _refreshed(self, refresh: Refresh, update: BookLevels) -> UpdateVerdict:
        self._judge_refresh(refresh.on_applied(self.sequence, update, self.book))
        if self.is_live:
            return "applied"
        self._count(Reason.REFRESH_MISMATCH)
        return "dropped"

    def _give_up(self, reason: Reason, detail: str) -> UpdateVerdict:
        self._count(reason)
        self.resync(reason, detail)
        return "dropped"

    def _on_unexpected(self, first: int, last: int) -> UpdateVerdict | None:
        """What becomes of a diff that is not simply the next one; None to apply it."""
        _check_range(first, last)
        if last <= self.sequence:
            self._count(ALREADY_IN_SNAPSHOT if last <= self.snapshot_id else DUPLICATE)
            return "dropped"
        if first > self.sequence + 1:
            self.resync(Reason.GAP, f"{self.sequence + 1}..{first - 1} missing")
            return "hold"
        return None

    def _on_untrusted(self, first: int, last: int) -> UpdateVerdict:
        if self.is_sequenced:
            _check_range(first, last)
        if self.held and self.is_sequenced:
            tail = self.held[-1].sequence
            if last <= tail:
                self._count(DUPLICATE)
                return "dropped"
            if first > tail + 1:
                self._drop_held(Reason.GAP)
        if len(self.held) >= self.capacity:
            self.resync(Reason.BUFFER_OVERFLOW, f"{self.capacity} diffs and no snapshot")
        return "hold"

    def _is_too_old(self, last_id: int) -> bool:
        if last_id < self.oldest_usable:
            return True
        return bool(self.held) and last_id < self.held[0].first_sequence - 1

    def _absorb_held(self, last_id: int) -> SnapshotVerdict:
        book, held, sequence, absorbed = self.book, self.held, last_id, 0
        while held:
            diff = held.popleft()
            absorbed += 1
            if not self.is_sequenced or diff.sequence <= sequence:
                continue
            try:
                book.apply(diff.payload.bids, diff.payload.asks)
            except Exception as error:
                self._count(Reason.MALFORMED, absorbed - 1)
                self.culprit = diff, error
                self.oldest_usable = max(self.oldest_usable, diff.sequence)
                return self._unusable(Reason.MALFORMED, str(error))
            sequence, self.newest = diff.sequence, diff
        if book.is_crossed:
            self._count(Reason.CROSSED, absorbed)
            self.oldest_usable = max(self.oldest_usable, sequence)
            return self._unusable(Reason.CROSSED, f"{book.best_bid} against {book.best_ask}")
        self._count(IN_SNAPSHOT, absorbed)
        self.sequence, self.snapshot_id = sequence, last_id
        self.state, self.is_live, self.oldest_usable = BookState.LIVE, True, 0
        return "synced"

    def _unusable(self, reason: Reason, detail: str) -> SnapshotVerdict:
        self._distrust(reason, detail)
        return "unusable"

    def _distrust(self, reason: Reason, detail: str) -> None:
        self.state, self.is_live, self.refresh = BookState.RESYNCING, False, None
        self.book.clear()
        self.resyncs[reason.value] += 1
        self.on_resync(reason, detail)

    def _count(self, reason: str, n: int = 1) -> None:
        if n:
            self.dropped[str(reason)] += n

    def _drop_held(self, reason: str) -> None:
        self._count(reason, len(self.held))
        self.held.clear()

    def _judge_refresh(self, outcome: Outcome) -> None:
        if outcome == "waiting":
            return
        refresh, self.refresh = self.refresh, None
        self.refreshes[outcome] += 1
        if outcome == "mismatch":
            self.resync(Reason.REFRESH_MISMATCH, refresh.detail if refresh is not None else "")


def _check_range(first: int, last: int) -> None:
    if first > last:
        raise ValueError(f"the numbers {first}..{last} end before they begin")
