"""A latency histogram: units of 1,024 ns up to 1 ms, above that buckets of better than 1 %.

Batches are counted without a line of Python per event, which is what makes timing every delivery affordable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from flow.clock import NS_PER_MS

__all__ = ["Latency"]

_UNIT_BITS: Final = 10
_FINE: Final = 1024
"""Units that are kept one by one; coarser ones have at least 128 steps to the doubling."""
_KEEP_BITS: Final = 7
_MOST_KEYS: Final = 5000
"""Keys above which counts are merged into coarse buckets."""
_LONG: Final = 64
_RUN: Final = 32


def _coarse(units: int) -> int:
    """The lowest number of units that shares a bucket with `units`."""
    shift = max(0, units.bit_length() - _KEEP_BITS - 1)
    return units >> shift << shift


class Latency:
    """Counts by unit. Negative values (a clock that was set back) count as 0."""

    __slots__ = ("_counts", "max_ns")

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.max_ns = 0

    @property
    def total(self) -> int:
        return self._counts.total()

    def record(self, ns: int) -> None:
        """Count one value."""
        if ns > self.max_ns:
            self.max_ns = ns
        self._counts[ns >> _UNIT_BITS] += 1
        if len(self._counts) > _MOST_KEYS:
            self._fold()

    def record_batch(self, now: int, events: Sequence[Any]) -> None:
        """Count `now - event.ingest_ts` of events that are in order of arrival.

        Long batches are counted in runs of 32 by the oldest of each: never better than the truth.
        """
        if len(events) < _LONG:
            for event in events:
                self.record(now - event.ingest_ts)
            return
        counts = self._counts
        oldest = now - events[0].ingest_ts
        if oldest > self.max_ns:
            self.max_ns = oldest
        known = counts.get
        units = 0
        for event in events[::_RUN]:
            units = (now - event.ingest_ts) >> _UNIT_BITS
            counts[units] = known(units, 0) + _RUN
        counts[units] -= -len(events) % _RUN
        if len(counts) > _MOST_KEYS:
            self._fold()

    def _fold(self) -> None:
        """Merge into coarse buckets what is not kept one by one."""
        folded: Counter[int] = Counter()
        for units, n in self._counts.items():
            folded[max(0, units) if units < _FINE else _coarse(units)] += n
        self._counts = folded

    def percentile(self, percent: float) -> int:
        """The value in ns that `percent` of the values do not exceed; 0 where there are none."""
        wanted = self.total * percent / 100
        seen = 0
        for units in sorted(self._counts):
            seen += self._counts[units]
            if seen >= wanted:
                return min(((max(0, units) + 1) << _UNIT_BITS) - 1, self.max_ns)
        return self.max_ns

    def figures_ms(self) -> dict[str, float]:
        """p50, p99, p999 and max, in ms."""
        marks = {"p50": 50.0, "p99": 99.0, "p999": 99.9}
        figures = {name: round(self.percentile(mark) / NS_PER_MS, 6) for name, mark in marks.items()}
        return {**figures, "max": round(max(0, self.max_ns) / NS_PER_MS, 6)}
