"""What a process says of itself while it works: memory and CPU (on Linux), pauses of the collector."""

import gc
import os
import time
from array import array
from bisect import bisect_left
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

__all__ = ["Ages", "Pauses", "Quantiles", "cpu_of", "quantiles", "rss_bytes"]

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Quantiles(Struct, frozen=True):
    """Of `count` values in ms."""

    count: int
    p50: float
    p99: float
    max: float


def quantiles(values_ns: "array[int]") -> Quantiles:
    """The values that a half and 99 % of them do not exceed, and the largest, in ms; zeros of none."""
    if not values_ns:
        return Quantiles(0, 0.0, 0.0, 0.0)
    ordered = sorted(values_ns)

    def at(percent: int) -> float:
        return round(ordered[-(-len(ordered) * percent // 100) - 1] / 1e6, 3)

    return Quantiles(len(ordered), at(50), at(99), at(100))


class Ages:
    """Counts durations by tenths of a ms, up to 10 s, in memory that does not grow."""

    _STEP_NS = 100_000
    _STEPS = 100_000

    def __init__(self) -> None:
        self.counts = array("L", bytes(array("L").itemsize * self._STEPS))

    def add(self, ns: int) -> None:
        self.counts[min(max(ns // self._STEP_NS, 0), self._STEPS - 1)] += 1

    def above_least(self) -> Quantiles:
        """Quantiles of what the values are above the least of them."""
        totals = list(accumulate(self.counts))
        total = totals[-1]
        if not total:
            return quantiles(array("q"))
        least = bisect_left(totals, 1)

        def at(percent: int) -> float:
            step = bisect_left(totals, -(-total * percent // 100))
            return round((step - least) * self._STEP_NS / 1e6, 3)

        return Quantiles(total, at(50), at(99), at(100))


class Pauses:
    """Times every collection while it is entered: by generation, and all of them by the CPU time they took.

    On a machine with other work a pause is often longer than the collection, which waited for a core.
    """

    def __init__(self) -> None:
        self.by_generation = (array("q"), array("q"), array("q"))
        self.cpu_ns = array("q")
        self.latest_s = 0.0
        """When the latest began, in seconds after this was entered."""
        self._entered_ns = self._begun_ns = self._begun_cpu_ns = 0

    def __enter__(self) -> Self:
        self._entered_ns = time.perf_counter_ns()
        gc.callbacks.append(self._see)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        gc.callbacks.remove(self._see)

    @property
    def all(self) -> "array[int]":
        return sum(self.by_generation[1:], self.by_generation[0])

    def _see(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._begun_ns, self._begun_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        elif self._begun_ns:
            self.cpu_ns.append(time.thread_time_ns() - self._begun_cpu_ns)
            self.by_generation[info["generation"]].append(time.perf_counter_ns() - self._begun_ns)
            self.latest_s = (self._begun_ns - self._entered_ns) / 1e9


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE_BYTES


def cpu_of(pid: int) -> float:
    """CPU seconds that another process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
