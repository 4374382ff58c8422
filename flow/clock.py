"""The only reader of wall time.

A clock is a callable that gives ns since the epoch. Operators are handed one through their context, so that
virtual time can drive them; latency and timestamps of a run all come from the same one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["NS_PER_MS", "NS_PER_S", "Clock", "cpu_s", "monotonic_s", "wall_ns"]

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

Clock = Callable[[], int]
"""ns since the epoch."""

wall_ns: Clock = time.time_ns


def cpu_s() -> float:
    """CPU time of this process, in seconds."""
    return time.process_time()


def monotonic_s() -> float:
    """Seconds of a clock that never goes back, for durations."""
    return time.monotonic()
