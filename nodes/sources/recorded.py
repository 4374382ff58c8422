"""One provider's recordings put in order: a timeline of frames, and replies by what was asked for."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from nodes.sources.capture import CaptureError, Frames, HttpReply, Note, Open, read_replies, read_runs

__all__ = ["Replies", "Run", "Timeline"]

REFERENCE_PATHS: Final = ("/exchangeInfo", "/AssetPairs", "/products")
"""Ends of paths whose replies describe the market, not a moment: given again, whatever the parameters."""
OTHER_THAN_SUBJECT: Final = frozenset(
    {"limit", "depth", "count", "level", "timestamp", "recvwindow", "signature", "apikey", "nonce"}
)
"""Parameters, in lower case, that don't name what is asked for."""


class Run:
    """Consecutive frames of a connection; those before `at` have been played."""

    __slots__ = ("at", "payloads", "times_ns")

    def __init__(self, times_ns: list[int], payloads: list[bytes]) -> None:
        self.times_ns = times_ns
        self.payloads = payloads
        self.at = 0


class _Cursor:
    """A place in one file: `opening` or `run` is what comes next."""

    def __init__(self, path: Path) -> None:
        self.first_ns: int | None = None
        self.opening: Open | None = None
        self.run = Run([], [])
        self.is_begun = False
        self._items = read_runs(path)
        for item in self._items:
            if not isinstance(item, Note):
                self.first_ns = item.times_ns[0] if isinstance(item, Frames) else item.ts_ns
                self._accept(item)
                break

    def load(self) -> bool:
        """Whether anything is left to play."""
        while self.opening is None and self.run.at >= len(self.run.times_ns):
            item = next(self._items, None)
            if item is None:
                return False
            self._accept(item)
        return True

    @property
    def next_ns(self) -> int:
        return self.run.times_ns[self.run.at] if self.opening is None else self.opening.ts_ns

    def open(self) -> None:
        """Go on to the frames behind the opening."""
        self.opening = None
        self.is_begun = True

    def take(self, bound_ns: int | None) -> Run:
        """The next frames, as far as they were received by `bound_ns`; one at least."""
        run = self.run
        if bound_ns is None:
            self.run = Run([], [])
            return run
        start = run.at
        run.at = max(start + 1, bisect_right(run.times_ns, bound_ns, start))
        return Run(run.times_ns[start : run.at], run.payloads[start : run.at])

    def _accept(self, item: object) -> None:
        if isinstance(item, Frames):
            self.run = Run(item.times_ns, item.payloads)
            self.is_begun = True
        elif isinstance(item, Open):
            self.opening = item


class Timeline:
    """The frames of several files in order of time, cut into connections. Raises `CaptureError`."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._cursors: list[_Cursor] = []
        for path in self.paths:
            cursor = _Cursor(path)
            if cursor.first_ns is None:
                raise CaptureError(path, 0, "holds no record")
            self._cursors.append(cursor)
        if not self._cursors:
            raise ValueError("a timeline needs a recording at least")
        self.start_ns = min(cursor.first_ns for cursor in self._cursors if cursor.first_ns is not None)
        self._run = Run([], [])

    def open_next(self) -> int | None:
        """Go to the next connection, or the rest of the present one; when it opens, None at the end."""
        if self._run.at < len(self._run.times_ns):
            return self._run.times_ns[self._run.at]
        first, _ = self._first()
        if first is None:
            return None
        opens_at_ns = first.next_ns
        if first.opening is not None:
            first.open()
        return opens_at_ns

    def take(self) -> Run | None:
        """The next frames of this connection, or the rest of those taken last; None where it ends."""
        if self._run.at < len(self._run.times_ns):
            return self._run
        while True:
            first, bound_ns = self._first()
            if first is None:
                return None
            if first.opening is None:
                self._run = first.take(bound_ns)
                return self._run
            if first.is_begun or bound_ns is None:
                return None
            first.open()

    def has_more(self) -> bool:
        """Whether anything is left to play."""
        return self._run.at < len(self._run.times_ns) or self._first()[0] is not None

    def _first(self) -> tuple[_Cursor | None, int | None]:
        """The file that goes on first, and when the next of the others does."""
        live = [cursor for cursor in self._cursors if cursor.load()]
        if not live:
            return None, None
        first = min(live, key=lambda cursor: cursor.next_ns)
        return first, min((cursor.next_ns for cursor in live if cursor is not first), default=None)


class Replies:
    """Recorded replies by path and subject, each handed out once, in order, whatever the host.

    A reply of `REFERENCE_PATHS` answers every request for its path until the time of a later one has come.
    Files are read as far as what is asked for; memory holds the replies that were passed on the way.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._unread: Iterator[HttpReply] = heapq.merge(
            *(read_replies(path) for path in paths), key=lambda reply: reply.ts_ns
        )
        self._ahead: HttpReply | None = next(self._unread, None)
        self._waiting: defaultdict[str, deque[HttpReply]] = defaultdict(deque)

    def take(self, url: str, params: Mapping[str, str], now_ns: int) -> tuple[str, HttpReply | None]:
        """What was asked for, in words, and the reply, which may have been recorded later than `now_ns`."""
        subject, is_reference = _subject(url, params)
        waiting = self._waiting[subject]
        while not waiting and self._ahead is not None:
            self._read_one()
        if not is_reference:
            return subject, waiting.popleft() if waiting else None
        while self._ahead is not None and self._ahead.ts_ns <= now_ns:
            self._read_one()
        while len(waiting) > 1 and waiting[1].ts_ns <= now_ns:
            waiting.popleft()
        return subject, waiting[0] if waiting else None

    def _read_one(self) -> None:
        reply, self._ahead = self._ahead, next(self._unread, None)
        if reply is not None:
            self._waiting[_subject(reply.url, {})[0]].append(reply)


def _subject(url: str, params: Mapping[str, str]) -> tuple[str, bool]:
    parts = urlsplit(url)
    if parts.path.endswith(REFERENCE_PATHS):
        return parts.path, True
    named = sorted(
        (name, value)
        for name, value in [*parse_qsl(parts.query), *params.items()]
        if name.lower() not in OTHER_THAN_SUBJECT
    )
    return " ".join([parts.path, *(f"{name}={value}" for name, value in named)]), False
