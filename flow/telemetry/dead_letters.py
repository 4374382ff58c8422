"""The dead-letter queue: what could not be processed, with the reason and the original, bounded.

Critical entries are evicted last: when the queue is full the oldest entry of the lowest priority goes, and is
counted. Describing an element never fails, whatever is wrong with it, except for ownership bugs, which pass.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from msgspec import Struct

from flow.errors import OwnershipBug
from flow.events.canonical import CanonicalEvent
from flow.events.frames import ProviderRaw, WsFrame
from flow.events.stream import CRITICAL

__all__ = ["DeadLetter", "DeadLetters", "raised_at"]

MAX_ORIGINAL_BYTES: Final = 4096
MAX_LEVELS: Final = 50
"""Levels a side that are kept of a book."""

FRAMEWORK: Final = str(Path(__file__).parents[1])

log = logging.getLogger(__name__)


class DeadLetter(Struct, gc=False):
    """One refused element. `original` is the bytes as received (cut at 4096) or the event as plain data."""

    node: str
    reason: str
    detail: str
    at: int
    """ns since the epoch."""
    original: bytes | dict[str, Any]
    original_bytes: int = 0
    """How long the original was before it was cut; 0 where it is no bytes."""
    provider: str = ""
    is_critical: bool = False

    @classmethod
    def of(cls, node: str, reason: str, element: Any, detail: str, at: int) -> DeadLetter:
        """Describe any element; nothing of it is kept but copies."""
        try:
            return cls._described(node, reason, detail, at, element)
        except OwnershipBug:
            raise
        except Exception as error:
            kept = {"type": type(element).__name__, "unreadable": f"{type(error).__name__}: {error}"[:500]}
            return cls(node, reason, detail, at, kept)

    @classmethod
    def _described(cls, node: str, reason: str, detail: str, at: int, element: Any) -> DeadLetter:
        if isinstance(element, WsFrame):
            payload = _bytes(element.payload)
            return cls(node, reason, detail, at, payload[:MAX_ORIGINAL_BYTES], len(payload), element.provider)
        if isinstance(element, CanonicalEvent):
            is_critical = element.stream.event_type in CRITICAL
            return cls(node, reason, detail, at, _row(element), 0, element.provider, is_critical)
        if isinstance(element, ProviderRaw):
            return cls(node, reason, detail, at, {"repr": _repr(element.payload)}, 0, element.provider)
        if isinstance(element, (bytes, bytearray, memoryview)):
            payload = _bytes(cast(Any, element))
            return cls(node, reason, detail, at, payload[:MAX_ORIGINAL_BYTES], len(payload))
        return cls(node, reason, detail, at, {"repr": _repr(element)})


def _bytes(payload: Any) -> bytes:
    return payload.encode("utf-8", "replace") if isinstance(payload, str) else bytes(payload)


def _repr(element: Any) -> str:
    return repr(element)[:MAX_ORIGINAL_BYTES]


def _row(event: CanonicalEvent) -> dict[str, Any]:
    try:
        row = event.row()
    except OwnershipBug:
        raise
    except Exception as error:  # a lazily read payload may be what is wrong with it
        return {"event_id": event.event_id, "unreadable": str(error)[:500]}
    payload = row["payload"]
    for side in ("bids", "asks"):
        if len(payload.get(side, ())) > MAX_LEVELS:
            payload[f"{side}_cut_from"] = len(payload[side])
            payload[side] = payload[side][:MAX_LEVELS]
    return row


class DeadLetters:
    """The queue of one graph. `counts` by (node, reason) covers what was evicted too."""

    def __init__(self, capacity: int = 10_000) -> None:
        self.capacity = capacity
        self.counts: Counter[tuple[str, str]] = Counter()
        self.evicted = 0
        self.listeners: dict[str, list[Callable[[DeadLetter], None]]] = {}
        """By node id: who reads the node's `dead_letters` port."""
        self._ordinary: deque[DeadLetter] = deque()
        self._critical: deque[DeadLetter] = deque()

    def __len__(self) -> int:
        return len(self._ordinary) + len(self._critical)

    def add(self, letter: DeadLetter) -> None:
        """Keep a letter, and log the first of each node and reason, with the line that raised."""
        kind = letter.node, letter.reason
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            log.info("first dead letter of %s: %s: %s%s", *kind, letter.detail, raised_at(sys.exception()))
        (self._critical if letter.is_critical else self._ordinary).append(letter)
        if len(self) > self.capacity:
            (self._ordinary or self._critical).popleft()
            self.evicted += 1
        for listener in self.listeners.get(letter.node, ()):
            try:
                listener(letter)
            except OwnershipBug:
                raise
            except Exception:
                log.exception("a reader of the dead letters of %s raised", letter.node)

    def read(self) -> list[DeadLetter]:
        """The letters kept, oldest first, those of critical events after the others."""
        return [*self._ordinary, *self._critical]

    def by_reason(self) -> dict[str, int]:
        totals: Counter[str] = Counter()
        for (_, reason), n in self.counts.items():
            totals[reason] += n
        return dict(sorted(totals.items()))

    def of_node(self, node: str) -> dict[str, int]:
        return {reason: n for (name, reason), n in self.counts.items() if name == node}


def raised_at(error: BaseException | None) -> str:
    """` at file:line`, the innermost that is none of the framework; '' where there is none."""
    trace = None if error is None else error.__traceback__
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(trace)]
    own = [f" at {file}:{line}" for file, line in frames if not file.startswith(FRAMEWORK)]
    return own[-1] if own else ""
