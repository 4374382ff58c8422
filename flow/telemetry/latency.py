"""A latency histogram with log-linear buckets: every value is kept to better than 1 %, whatever its size.

Values are ns. Recording is two shifts and an add; a batch that arrived in order is recorded bucket by bucket instead of
event by event, which is what makes it affordable for three consumers of every event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flow.clock import NS_PER_MS

__all__ = ["Latency"]

_BITS = 7
_BUCKETS = (64 - _BITS) << _BITS


def _bucket(ns: int) -> int:
    shift = ns.bit_length() - _BITS - 1
    return (shift << _BITS) + (ns >> shift) if shift > 0 else ns


def _highest(bucket: int) -> int:
    shift = max(0, (bucket >> _BITS) - 1)
    return ((bucket - (shift << _BITS) + 1) << shift) - 1


class Latency:
    """Counts by bucket. Negative values (a clock that was set back) count as 0."""

    __slots__ = ("counts", "max_ns", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.max_ns = 0
        self.total = 0

    def record(self, ns: int, n: int = 1) -> None:
        """Count `n` values of `ns`."""
        ns = min(max(ns, 0), (1 << 62) - 1)
        if ns > self.max_ns:
            self.max_ns = ns
        bucket = _bucket(ns)
        self.counts[bucket] = self.counts.get(bucket, 0) + n
        self.total += n

    def record_batch(self, now: int, events: Sequence[Any]) -> None:
        """Count `now - event.ingest_ts` of events that are in order of arrival."""
        spans = [(0, len(events) - 1)] if events else []
        while spans:
            low, high = spans.pop()
            first, last = now - events[low].ingest_ts, now - events[high].ingest_ts
            if low == high or _bucket(max(first, 0)) == _bucket(max(last, 0)):
                self.record(first, high - low + 1)
            else:
                middle = (low + high) // 2
                spans.append((low, middle))
                spans.append((middle + 1, high))

    def percentile(self, percent: float) -> int:
        """The value in ns that `percent` of the values do not exceed; 0 where there are none."""
        wanted = self.total * percent / 100
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted and self.counts[bucket]:
                return min(_highest(bucket), self.max_ns)
        return self.max_ns

    def figures_ms(self) -> dict[str, float]:
        """p50, p99, p999 and max, in ms."""
        marks = {"p50": 50.0, "p99": 99.0, "p999": 99.9}
        figures = {name: round(self.percentile(mark) / NS_PER_MS, 6) for name, mark in marks.items()}
        return {**figures, "max": round(self.max_ns / NS_PER_MS, 6)}
