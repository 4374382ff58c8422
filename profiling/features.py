"""What each feature of the graph costs: the whole graph in turns with variants that lack one thing.

The base reads frames from memory, in runs as long as a replay at top speed makes them, and assembles no
books. A socket makes shorter runs: one frame where the exchange is slow. Where the graph has no switch for a
feature its code is replaced for the run; such rows say so.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flow.runtime import delivery
from flow.telemetry.latency import Latency
from profiling.graphs import Variant
from profiling.interleave import Comparison, interleave
from profiling.workload import Workload

__all__ = ["features"]

BASE = "everything on"
POOLED = ("WsFrame", "ProviderRaw", "CanonicalEvent")


def features(work: Workload, rounds: int) -> Comparison:
    """The variants in turns; ratios are to the whole graph. Raises `WrongWork`."""
    runs: dict[str, Callable[[], int]] = {name: _runner(work, one) for name, one in _variants(work).items()}
    base = work.from_memory()
    for name, replaced in (
        ("no latencies (replaced)", _untimed),
        ("no by_type (replaced)", _uncounted),
    ):
        runs[name] = _runner(work, base, replaced)
    return interleave(runs, rounds, title=f"One feature less, or one more: {work.title}")


def _variants(work: Workload) -> dict[str, Variant]:
    make = work.from_memory
    return {
        BASE: make(),
        **{f"pool of {kind} off": make(unpooled=(kind,)) for kind in POOLED},
        "all pools off": make(unpooled=POOLED),
        **{f"no {name}": make(without=(name,)) for name in ("order-buffer", "dedupe", "route")},
        "one consumer": make(consumers=1),
        "two consumers": make(consumers=2),
        "levels eager": make(levels="eager"),
        "no window-merge": make(without=("window-merge",)),
        "coalesce and throttle before none": make(shaped=0),
        "coalesce and throttle before all three": make(shaped=3),
        "books": make(has_books=True),
        "frames from the file": work.from_file(),
        **{f"runs of {length} at most": make(longest_run=length) for length in (64, 8, 1)},
    }


def _runner(work: Workload, variant: Variant, replaced: Callable[[], Any] | None = None) -> Callable[[], int]:
    def run() -> int:
        if replaced is None:
            return work.handled(variant)
        with replaced():
            return work.handled(variant)

    return run


@contextmanager
def _untimed() -> Iterator[None]:
    """No delivery is timed."""
    timed = Latency.record_batch
    Latency.record_batch = lambda self, now, events: None
    try:
        yield
    finally:
        Latency.record_batch = timed


@contextmanager
def _uncounted() -> Iterator[None]:
    """Deliveries count their events, but not by stream."""
    counts = delivery._counts
    delivery._counts = lambda batch: Counter()
    try:
        yield
    finally:
        delivery._counts = counts
