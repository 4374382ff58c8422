"""window-merge: which fragments are late, and what a clock that is set back does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flow.clock import NS_PER_MS
from flow.telemetry.occurrences import MergeLateDropped

Rig = Callable[..., Any]


@pytest.mark.parametrize(("received_ms", "is_late"), [(99.999999, True), (100, False)])
def test_late_is_what_was_received_before_the_last_close(
    merge_rig: Rig, received_ms: float, is_late: bool
) -> None:
    rig = merge_rig(window_ms=100)
    rig.push("a", 1)
    rig.push("b", 1)
    rig.until(130)
    rig.push("a", 2, received_ms=received_ms)
    assert rig.dropped == ({"late": 1} if is_late else {})
    assert rig.machine.in_flight == (0 if is_late else 1)


def test_each_late_fragment_is_reported_with_how_late_it_is(merge_rig: Rig) -> None:
    rig = merge_rig(window_ms=100)
    rig.push("a", 1)
    rig.until(150)
    rig.occurred.clear()
    for received_ms in (40, 97.5):
        rig.push("b", 2, received_ms=received_ms)
    assert rig.occurred == [MergeLateDropped("BTC-USDT", "BestQuote", "b", by) for by in (60.0, 2.5)]
    rig.check()


def test_late_is_judged_also_while_the_next_window_is_open(merge_rig: Rig) -> None:
    rig = merge_rig(window_ms=100)
    for at in (0, 110):
        rig.until(at)
        rig.push("a", at)
        rig.push("b", at)
    rig.push("b", 7, received_ms=99)
    rig.until(210)
    assert rig.held == [[("a", 0), ("b", 0)], [("a", 110), ("b", 110)]]
    assert rig.dropped == {"late": 1}


def test_a_suppressed_window_has_closed_too(merge_rig: Rig) -> None:
    rig = merge_rig(window_ms=100)
    rig.push("a", 1)
    rig.until(110)
    rig.push("b", 1, received_ms=99)
    assert rig.dropped == {"suppressed_partial": 1, "late": 1}


def test_late_is_a_matter_of_each_pair(merge_rig: Rig) -> None:
    rig = merge_rig(merges=[["*", "BestQuote"]], window_ms=100)
    rig.push("a", 1)
    rig.until(110)
    rig.push("b", 1, received_ms=50, symbol="ETH-USDT")
    assert rig.machine.in_flight == 1
    assert "late" not in rig.dropped


def test_before_the_first_close_nothing_is_late(merge_rig: Rig) -> None:
    rig = merge_rig(window_ms=100)
    rig.push("a", 1, received_ms=-5_000)
    rig.push("b", 1, received_ms=-9_000)
    rig.until(150)
    assert len(rig.merged) == 1
    assert rig.dropped == {}


@pytest.mark.parametrize("received_ns", [0, 1])
def test_a_time_of_receipt_of_0_is_unknown_and_never_late(merge_rig: Rig, received_ns: int) -> None:
    rig = merge_rig(window_ms=100)
    rig.push("a", 1)
    rig.push("b", 1)
    rig.until(150)
    event = rig.event("a", 2)
    event.ingest_ts = received_ns
    rig.push_any(event)
    assert rig.dropped == ({"late": 1} if received_ns else {})
    assert rig.machine.in_flight == 1 - received_ns


def test_a_count_makes_late_what_was_received_before_the_event_that_filled_it(merge_rig: Rig) -> None:
    rig = merge_rig(most_events=2)
    rig.until(50)
    rig.push("a", 1, received_ms=30)
    rig.push("b", 1, received_ms=40)
    rig.push("a", 2, received_ms=40)
    rig.push("b", 2, received_ms=39.999999)
    assert rig.dropped == {"late": 1}
    assert rig.machine.in_flight == 1


def test_a_clock_that_is_set_back_makes_nothing_late(merge_rig: Rig) -> None:
    rig = merge_rig(window_ms=100)
    rig.push("a", 1)
    rig.push("b", 1)
    rig.until(100)
    rig.start_ns -= 1_000_000 * NS_PER_MS
    for number in (2, 3):
        rig.push("a", number)
        rig.push("b", number)
    assert rig.dropped == {}
    rig.until(200)
    assert [event.payload.window_open for event in rig.merged[1:]] == [rig.start_ns + 100 * NS_PER_MS]
    assert len(rig.merged) == 2
    rig.check()


def test_a_window_is_never_closed_before_it_was_opened(merge_rig: Rig) -> None:
    rig = merge_rig(window_ms=100)
    rig.push("a", 1)
    rig.push("b", 1)
    rig.start_ns -= 1_000_000 * NS_PER_MS
    rig.until(100)
    [event] = rig.merged
    assert event.payload.window_close == event.payload.window_open == event.ingest_ts


def test_a_timer_that_comes_early_by_the_clock_makes_nothing_late(merge_rig: Rig) -> None:
    rig = merge_rig(window_ms=100)
    rig.push("a", 1)
    rig.push("b", 1)
    rig.start_ns -= 3 * NS_PER_MS
    rig.until(100)
    assert rig.merged[0].payload.window_close == rig.now_ns()
    rig.push("a", 2)
    assert rig.dropped == {}
