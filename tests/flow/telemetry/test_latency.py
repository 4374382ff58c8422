"""The latency histogram against exact figures."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.telemetry.latency import Latency

NOW = 10**18
UNIT_NS = 1024
values = st.one_of(
    st.integers(0, 10**5), st.integers(0, 10**8), st.integers(10**9, 10**12), st.integers(-(10**9), 10**10)
)


def recorded(sample: list[int]) -> Latency:
    latency = Latency()
    for value in sample:
        latency.record(value)
    return latency


def batched(sample: list[int], size: int) -> Latency:
    latency = Latency()
    events: list[Any] = [SimpleNamespace(ingest_ts=NOW - value) for value in sample]
    for start in range(0, len(events), size):
        latency.record_batch(NOW, events[start : start + size])
    return latency


def exact(sample: list[int], percent: float) -> int:
    """The smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(max(0, value) for value in sample)
    return ordered[max(0, math.ceil(round(len(ordered) * percent / 100, 9)) - 1)]


@given(
    sample=st.lists(values, min_size=1, max_size=300), percent=st.sampled_from([1, 25, 50, 90, 99, 99.9, 100])
)
def test_percentiles_are_right_within_one_percent(sample: list[int], percent: float) -> None:
    truth = exact(sample, percent)
    assert recorded(sample).percentile(percent) == pytest.approx(truth, rel=0.01, abs=UNIT_NS)


def test_the_marks_of_a_summary() -> None:
    sample = [number * 10_000_000 for number in range(1, 1001)]
    figures = recorded(sample).figures_ms()
    assert figures == pytest.approx({"p50": 5000.0, "p99": 9900.0, "p999": 9990.0, "max": 10_000.0}, rel=0.01)
    assert figures["max"] == 10_000.0


def test_many_different_values_stay_bounded_and_right() -> None:
    sample = [1_000_000 + 1_500_000 * number for number in range(40_000)]
    latency = recorded(sample)
    assert latency.total == len(sample)
    for percent in (10, 50, 99, 99.9):
        assert latency.percentile(percent) == pytest.approx(exact(sample, percent), rel=0.01)


def test_nothing_recorded_is_zero() -> None:
    assert Latency().figures_ms() == {"p50": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}


def test_a_clock_that_was_set_back_counts_as_zero() -> None:
    latency = recorded([-5_000_000, -1])
    assert latency.total == 2
    assert latency.figures_ms() == {"p50": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}


@given(sample=st.lists(values, max_size=60), size=st.integers(1, 60))
def test_a_short_batch_is_the_same_as_its_events(sample: list[int], size: int) -> None:
    ordered = sorted(sample, reverse=True)
    batch, one_by_one = batched(ordered, size), recorded(ordered)
    assert batch.total == one_by_one.total
    assert batch.figures_ms() == one_by_one.figures_ms()


@given(first=st.integers(0, 10**9), steps=st.lists(st.integers(0, 10**6), min_size=1, max_size=400))
def test_a_long_batch_counts_every_event_and_never_flatters(first: int, steps: list[int]) -> None:
    sample = [first]
    for step in steps:
        sample.append(sample[-1] + step)
    sample.reverse()
    batch, one_by_one = batched(sample, len(sample)), recorded(sample)
    assert batch.total == one_by_one.total
    assert batch.max_ns == one_by_one.max_ns
    for percent in (50, 99, 99.9):
        estimate = batch.percentile(percent)
        assert estimate >= one_by_one.percentile(percent)
        later = sample[max(0, sample.index(exact(sample, percent)) - 15)]
        assert estimate <= later * 1.01 + UNIT_NS
