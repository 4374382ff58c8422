"""What a process says of itself."""

import gc
import os
import sys
from array import array

import pytest

from profiling.vitals import Ages, Pauses, Quantiles, cpu_of, quantiles, rss_bytes

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is read")


def test_quantiles_of_known_values() -> None:
    values = array("q", (n * 1_000_000 for n in range(1, 201)))
    assert quantiles(values) == Quantiles(200, 100.0, 198.0, 200.0)
    assert quantiles(array("q", [5_000_000])) == Quantiles(1, 5.0, 5.0, 5.0)
    assert quantiles(array("q")) == Quantiles(0, 0.0, 0.0, 0.0)


def test_ages_count_from_the_least() -> None:
    ages = Ages()
    assert ages.above_least() == Quantiles(0, 0.0, 0.0, 0.0)
    for ms in [300] * 60 + [305] * 39 + [320, 60_000]:
        ages.add(ms * 1_000_000)
    ages.add(-5)  # a clock that was set back
    assert ages.above_least() == Quantiles(102, 300.0, 320.0, 9999.9)
    later = Ages()
    later.add(7_000_000)
    later.add(9_500_000)
    assert later.above_least() == Quantiles(2, 0.0, 2.5, 2.5)


def test_every_collection_is_timed_while_it_is_watched() -> None:
    was_on = gc.isenabled()
    gc.disable()
    try:
        gc.collect(0)
        with Pauses() as pauses:
            gc.collect(0)
            gc.collect(2)
            gc.collect(2)
        gc.collect(1)
    finally:
        if was_on:
            gc.enable()
    assert [len(values) for values in pauses.by_generation] == [1, 0, 2]
    assert len(pauses.all) == len(pauses.cpu_ns) == 3
    assert all(value > 0 for value in pauses.all)
    assert pauses.latest_s > 0


@linux
def test_memory_is_seen_to_grow() -> None:
    before = rss_bytes()
    block = bytearray(64 * 1024 * 1024)
    block[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(block[:: os.sysconf("SC_PAGE_SIZE")])
    assert rss_bytes() - before > 60 * 1024 * 1024


@linux
def test_cpu_of_a_process() -> None:
    before = cpu_of(os.getpid())
    sum(range(20_000_000))
    assert cpu_of(os.getpid()) > before
