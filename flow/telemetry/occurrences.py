"""Occurrences: what operations should know of, a struct each, named by a past participle.

Operators report; nothing that consumers receive comes from here. A counter per (node, name, labels) is always
kept; the listeners (logs, tests) get the structs, and one that raises is logged and disturbs nobody.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import ClassVar

from msgspec import Struct

from flow.errors import OwnershipBug

__all__ = [
    "BackpressureTriggered",
    "BookResynced",
    "CoalescingApplied",
    "ConsumerFailed",
    "ElementRefused",
    "LateEventDropped",
    "MergeLateDropped",
    "MergeSuppressedPartial",
    "MergeUnexpectedDropped",
    "ObjectPutTwice",
    "Occurrence",
    "PoolTimedOut",
    "ProviderConnected",
    "ProviderDisconnected",
    "StreamStale",
    "Telemetry",
]

log = logging.getLogger(__name__)


class Occurrence(Struct, frozen=True, gc=False):
    """The base of all. `name` is how metrics and logs call it, `level` how loud a log line is."""

    name: ClassVar[str] = "occurrence"
    level: ClassVar[str] = "info"
    labels: ClassVar[tuple[str, ...]] = ()
    """The fields that a counter is kept by; the others are detail."""


class BookResynced(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "book.resync"
    level: ClassVar[str] = "warning"
    labels: ClassVar[tuple[str, ...]] = ("provider", "symbol", "reason")
    provider: str
    symbol: str
    reason: str
    detail: str = ""


class LateEventDropped(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "late_event.dropped"
    labels: ClassVar[tuple[str, ...]] = ("reason",)
    stream: str
    sequence: int
    reason: str


class MergeLateDropped(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "merge.late_dropped"
    labels: ClassVar[tuple[str, ...]] = ("symbol", "event_type", "provider")
    symbol: str
    event_type: str
    provider: str
    late_by_ms: float


class MergeSuppressedPartial(Occurrence, frozen=True, gc=False):
    """`missing` are the providers without a fragment, by comma."""

    name: ClassVar[str] = "merge.suppressed_partial"
    level: ClassVar[str] = "warning"
    labels: ClassVar[tuple[str, ...]] = ("symbol", "event_type", "missing")
    symbol: str
    event_type: str
    missing: str
    fragments: int


class MergeUnexpectedDropped(Occurrence, frozen=True, gc=False):
    """Once a provider: events of it come to a merge that does not name it."""

    name: ClassVar[str] = "merge.unexpected_dropped"
    level: ClassVar[str] = "warning"
    labels: ClassVar[tuple[str, ...]] = ("provider",)
    provider: str


class CoalescingApplied(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "coalescing.applied"
    labels: ClassVar[tuple[str, ...]] = ("consumer",)
    consumer: str


class BackpressureTriggered(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "backpressure.triggered"
    level: ClassVar[str] = "warning"
    labels: ClassVar[tuple[str, ...]] = ("where", "reason")
    where: str
    reason: str


class PoolTimedOut(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "pool.timeout"
    level: ClassVar[str] = "warning"
    labels: ClassVar[tuple[str, ...]] = ("kind",)
    kind: str


class ObjectPutTwice(Occurrence, frozen=True, gc=False):
    """A bug that ends the run, which says so itself: that is why this one is quiet."""

    name: ClassVar[str] = "pool.double_put"
    level: ClassVar[str] = "debug"
    detail: str


class ElementRefused(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "element.refused"
    level: ClassVar[str] = "warning"
    labels: ClassVar[tuple[str, ...]] = ("reason",)
    reason: str
    detail: str = ""


class ConsumerFailed(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "consumer.failed"
    level: ClassVar[str] = "error"
    labels: ClassVar[tuple[str, ...]] = ("consumer", "error")
    consumer: str
    error: str
    detail: str = ""


class ProviderConnected(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "provider.connected"
    labels: ClassVar[tuple[str, ...]] = ("provider",)
    provider: str
    connection_id: int
    detail: str = ""


class ProviderDisconnected(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "provider.disconnected"
    level: ClassVar[str] = "warning"
    labels: ClassVar[tuple[str, ...]] = ("provider", "reason")
    provider: str
    connection_id: int
    reason: str
    retry_in_s: float = 0.0
    detail: str = ""


class StreamStale(Occurrence, frozen=True, gc=False):
    name: ClassVar[str] = "stream.stale"
    level: ClassVar[str] = "warning"
    labels: ClassVar[tuple[str, ...]] = ("provider",)
    provider: str
    stream: str
    silent_s: float


class Telemetry:
    """Where occurrences go. `counts` is keyed by (node id, name, label values...)."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.listeners: list[Callable[[str, Occurrence], None]] = []

    def report(self, node_id: str, occurrence: Occurrence) -> None:
        values = [str(getattr(occurrence, label)) for label in occurrence.labels]
        self.counts[(node_id, occurrence.name, *values)] += 1
        for listener in self.listeners:
            try:
                listener(node_id, occurrence)
            except OwnershipBug:
                raise
            except Exception:
                log.exception("a listener of occurrences raised on %s of %s", occurrence.name, node_id)

    def count(self, name: str) -> int:
        """How often the named occurrence was reported, over all nodes and labels."""
        return sum(n for key, n in self.counts.items() if key[1] == name)
