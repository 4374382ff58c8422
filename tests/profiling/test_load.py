"""A short load from an exchange in another process, and what is made of its figures."""

import sys

import pytest
from msgspec.structs import replace

from profiling.load import LoadFigures, LoadParams, measure, report
from profiling.vitals import Quantiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is read")


@pytest.fixture(scope="module")
def figures() -> LoadFigures:
    return measure(LoadParams(symbols=3, rate=300, duration_s=3, is_frozen=False))


def test_frames_reach_all_consumers(figures: LoadFigures) -> None:
    assert figures.frames > 0
    assert figures.exchange["frames"] >= figures.frames
    assert set(figures.delivered) == {"consumer_1", "consumer_2", "consumer_3"}
    assert min(figures.delivered.values()) > 0
    assert figures.books == {"live": 3}


def test_what_is_measured(figures: LoadFigures) -> None:
    assert 0 < figures.latency_ms["p50"] <= figures.latency_ms["p99"] <= figures.latency_ms["max"]
    assert figures.age_ms.count > 0
    assert len(figures.rss) >= 8
    assert all(size > 10_000_000 for _, size in figures.rss)
    assert 0 < figures.cpu_share < 2
    assert figures.exchange_cpu_share > 0
    assert figures.pauses["all"].count == figures.pauses["all, CPU time"].count


def test_the_report_says_what_was_missed(figures: LoadFigures) -> None:
    good = replace(
        figures,
        latency_ms={"p50": 0.1, "p99": 4.9, "p999": 9.0, "max": 20.0},
        rss=[(0.0, 10_000_000), (0.6, 30_000_000), (2.7, 30_900_000)],
        pauses={"all": Quantiles(9, 0.1, 9.9, 12.0)},
    )
    assert good.growth_bytes == 900_000
    assert good.misses() == []
    assert report(good).endswith(": met")
    slow = replace(good, latency_ms={**good.latency_ms, "p99": 5.0})
    fat = replace(good, rss=[*good.rss, (3.0, 31_000_000)])
    halting = replace(good, pauses={"all": Quantiles(9, 0.1, 10.0, 12.0)})
    assert [len(each.misses()) for each in (slow, fat, halting)] == [1, 1, 1]
    assert "MISSED: p99 5.00 ms" in report(slow)
    assert "MISSED: RSS growth 1.00 MB" in report(fat)
    assert "MISSED: pauses p99 10.00 ms" in report(halting)


def test_the_first_minute_does_not_count() -> None:
    assert LoadParams(duration_s=300).first_s == 60
    assert LoadParams(duration_s=50).first_s == 10
