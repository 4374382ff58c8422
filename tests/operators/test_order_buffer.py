"""The order-buffer: in line at once, real gaps wait, late and repeated ones are told apart."""

from __future__ import annotations

from typing import Any

import pytest

from flow.events import CRITICAL, EventType, Sequence
from flow.pool import release
from flow.telemetry.occurrences import LateEventDropped
from flow.testing import Bench, assert_nothing_out, make_event, make_stream
from operators.order_buffer import OrderBufferParams, order_buffer


def bench_of(kind: Sequence = Sequence.CONTIGUOUS, **params: int) -> Bench:
    made = OrderBufferParams(**params)
    return Bench(lambda context: order_buffer(made, context), kind)


def test_what_is_next_in_line_leaves_in_the_same_call() -> None:
    bench = bench_of()
    for n in (7, 8, 9):
        bench.push(n)
        assert bench.left == list(range(7, n + 1))
    assert bench.machine.timer is None


@pytest.mark.parametrize("kind", Sequence)
def test_a_stream_may_start_anywhere(kind: Sequence) -> None:
    for start in (0, 1, 10**15):
        bench = bench_of(kind)
        bench.push(start)
        assert bench.left == [start]


def test_a_reorder_is_healed_at_once_when_the_missing_one_comes() -> None:
    bench = bench_of()
    bench.push(1, 2, 4, 5)
    assert bench.left == [1, 2]
    assert bench.machine.in_flight == 2
    bench.push(3)
    assert bench.left == [1, 2, 3, 4, 5]
    assert bench.machine.gaps == 0
    bench.push(6)
    assert bench.left[-1] == 6
    bench.check()


def test_a_gap_waits_150_ms_and_then_the_stream_goes_on() -> None:
    bench = bench_of()
    bench.push(1, 3, 4, 5)
    bench.scheduler.advance_by(0.1499)
    assert bench.left == [1]
    bench.scheduler.advance_by(0.0002)
    assert bench.left == [1, 3, 4, 5]
    assert bench.machine.gaps == 1
    assert bench.machine.timer is None
    bench.push(6)
    assert bench.left[-1] == 6
    bench.check()


def test_each_gap_has_a_time_of_its_own() -> None:
    bench = bench_of()
    bench.push(1, 3)
    bench.scheduler.advance_by(0.1)
    bench.push(5)
    bench.scheduler.advance_by(0.051)
    assert bench.left == [1, 3]
    bench.scheduler.advance_by(0.05)
    assert bench.left == [1, 3]
    bench.scheduler.advance_by(0.1)
    assert bench.left == [1, 3, 5]
    assert bench.machine.gaps == 2


def test_no_gap_is_given_up_before_its_lateness_nor_kept_past_one_flush_more() -> None:
    for offset_ms in range(0, 60, 7):
        bench = bench_of()
        bench.push(1, 3)
        bench.scheduler.advance_by(offset_ms / 1000)
        other = make_stream(Sequence.CONTIGUOUS)
        bench.push(1, 3, stream=other)
        bench.scheduler.advance_by(0.1499)
        assert bench.left.count(3) <= 1, "the second gap had less than 150 ms"
        bench.scheduler.advance_by(0.0502)
        assert bench.left.count(3) == 2


def test_lateness_and_flush_are_parameters() -> None:
    bench = bench_of(lateness_ms=0, flush_ms=10)
    bench.push(1, 3)
    bench.scheduler.advance_by(0.011)
    assert bench.left == [1, 3]


@pytest.mark.parametrize("kind", [Sequence.MONOTONE, Sequence.NONE])
def test_streams_that_have_no_gaps_never_wait(kind: Sequence) -> None:
    bench = bench_of(kind)
    bench.push(1, 5, 6, 100)
    assert bench.left == [1, 5, 6, 100]
    assert bench.machine.timer is None


def test_a_monotone_stream_drops_what_is_behind() -> None:
    bench = bench_of(Sequence.MONOTONE)
    bench.push(5, 9, 7, 9, 10)
    assert bench.left == [5, 9, 10]
    assert bench.machine.dropped == {"duplicate": 2}
    assert_nothing_out(bench.pools)


def test_a_stream_without_numbers_passes_as_it_comes() -> None:
    bench = bench_of(Sequence.NONE)
    bench.push(0, 0, 9, 3, 0)
    assert bench.left == [0, 0, 9, 3, 0]
    bench.check()


def test_ranges_follow_each_other() -> None:
    bench = bench_of(Sequence.RANGE)
    bench.push(10, first=1)
    bench.push(12, first=11)
    assert bench.left == [10, 12]
    bench.push(30, first=21)
    assert bench.left == [10, 12]
    bench.push(20, first=13)
    assert bench.left == [10, 12, 20, 30]


def test_a_range_that_overlaps_passes_and_one_that_is_contained_is_a_duplicate() -> None:
    bench = bench_of(Sequence.RANGE)
    bench.push(10, first=1)
    bench.push(15, first=8)
    bench.push(14, first=12)
    bench.push(20, first=16)
    assert bench.left == [10, 15, 20]
    assert bench.machine.dropped == {"duplicate": 1}


def test_a_held_range_that_another_covers_is_dropped() -> None:
    bench = bench_of(Sequence.RANGE)
    bench.push(1, first=1)
    bench.push(6, first=5)
    bench.push(9, first=7)
    bench.push(8, first=2)
    assert bench.left == [1, 8, 9]
    assert bench.machine.dropped == {"duplicate": 1}
    bench.check()


def test_late_and_duplicate_are_told_apart() -> None:
    bench = bench_of()
    bench.push(1, 4)
    bench.scheduler.advance_by(0.2)
    bench.push(2, 1, 4, 3)
    assert bench.left == [1, 4]
    assert bench.machine.dropped == {"late": 2, "duplicate": 2}
    assert bench.occurred == [
        LateEventDropped(repr(bench.stream), sequence, reason)
        for sequence, reason in ((2, "late"), (1, "duplicate"), (4, "duplicate"), (3, "late"))
    ]
    bench.check()


def test_a_held_event_that_comes_twice_leaves_once() -> None:
    bench = bench_of()
    bench.push(1, 3, 3, 2)
    assert bench.left == [1, 2, 3]
    assert bench.machine.dropped == {"duplicate": 1}
    assert_nothing_out(bench.pools)


def test_of_two_held_with_one_number_the_first_leaves() -> None:
    bench = bench_of()
    bench.push(1)
    for received_ns in (10, 20, 30):
        bench.push(3, ingest_ts=received_ns)
    bench.push(2)
    assert [(event.sequence, event.ingest_ts) for event in bench.recorder.elements[-2:]] == [(2, 0), (3, 10)]


def test_of_the_gaps_given_up_the_last_16_are_remembered() -> None:
    bench = bench_of(lateness_ms=0)
    bench.push(1)
    for n in range(3, 3 + 2 * 17, 2):
        bench.push(n)
        bench.scheduler.advance_by(0.1)
    assert bench.machine.gaps == 17
    bench.push(2, 4)
    assert bench.machine.dropped == {"duplicate": 1, "late": 1}


def test_a_repeat_long_after_the_start_is_no_new_count() -> None:
    bench = bench_of()
    bench.push(*range(1, 1001))
    bench.push(999, 1000, 1001)
    assert bench.left == list(range(1, 1002))
    assert bench.machine.dropped == {"duplicate": 2}


def test_more_than_the_capacity_gives_the_gap_up_at_once() -> None:
    bench = bench_of()
    bench.push(1)
    bench.push(*range(3, 203))
    assert (bench.left, bench.machine.in_flight) == ([1], 200)
    bench.push(203)
    assert bench.left == [1, *range(3, 204)]
    assert (bench.machine.gaps, bench.machine.in_flight) == (1, 0)
    bench.check()


def test_capacity_is_per_stream_and_only_the_first_gap_goes() -> None:
    bench = bench_of(capacity=3)
    bench.push(1, 3, 4, 6)
    bench.push(1, 3, stream=make_stream())
    bench.push(7)
    assert bench.left == [1, 1, 3, 4]
    assert bench.machine.in_flight == 3


def test_streams_do_not_wait_for_each_other() -> None:
    bench = bench_of()
    other = make_stream()
    bench.push(1, 3)
    bench.push(1, 2, 3, stream=other)
    assert bench.left == [1, 1, 2, 3]


def run_of(bench: Bench, *numbers: int) -> None:
    """Give the machine these events in one call."""
    bench.pushed += len(numbers)
    bench.machine.add_many([make_event(number, bench.stream, pools=bench.pools) for number in numbers])


def test_a_run_leaves_as_its_events_would_one_by_one() -> None:
    bench = bench_of()
    run_of(bench, 1, 2, 3)
    assert bench.left == [1, 2, 3]
    run_of(bench, 4, 7, 5, 5, 9, 6)
    assert bench.left == [1, 2, 3, 4, 5, 6, 7]
    run_of(bench, 8, 10)
    assert bench.left == list(range(1, 11))
    assert bench.machine.dropped == {"duplicate": 1}
    bench.check()


def test_of_a_run_what_is_in_line_leaves_as_runs() -> None:
    bench = bench_of()
    runs: list[list[int]] = []

    def receive(elements: list[Any]) -> None:
        runs.append([event.sequence for event in elements])
        for event in elements:
            release(event)

    run_of(bench, 1)
    bench.machine.emit_many = receive
    run_of(bench, 2, 3, 4)
    run_of(bench, 5, 6, 6, 7, 8)
    assert runs == [[2, 3, 4], [5, 6], [7, 8]]


@pytest.mark.parametrize("kind", Sequence)
@pytest.mark.parametrize("event_type", sorted(CRITICAL))
def test_critical_events_leave_as_they_come(event_type: EventType, kind: Sequence) -> None:
    bench = bench_of()
    reports = make_stream(kind, event_type=event_type)
    bench.push(1, 2, 5, 3, 3, 9, 4, stream=reports)
    assert bench.left == [1, 2, 5, 3, 3, 9, 4]
    assert bench.machine.dropped == {}
    bench.subscription.dispose()
    bench.check_over()
