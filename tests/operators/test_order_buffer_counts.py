"""Where the exchange begins to count anew: told by its time, or by a long run of numbers without one."""

from __future__ import annotations

import pytest

from flow.clock import NS_PER_MS, NS_PER_S
from flow.events import Sequence
from flow.testing import Bench
from operators.order_buffer import OrderBufferParams, order_buffer

RUN = 32
"""Numbers behind that make a new count, where they were received over a second."""


def bench_of(kind: Sequence = Sequence.CONTIGUOUS, **params: int) -> Bench:
    made = OrderBufferParams(**params)
    return Bench(lambda context: order_buffer(made, context), kind)


def without_time(bench: Bench, number: int, received_ns: int) -> None:
    bench.push(number, exchange_ts=0, ingest_ts=received_ns)


def test_a_new_count_is_followed_by_exchange_time() -> None:
    bench = bench_of()
    bench.push(1000, 1001, 1003)
    later = bench.recorder.elements[-1].exchange_ts + 151 * NS_PER_MS
    bench.push(1, exchange_ts=later)
    assert bench.left == [1000, 1001, 1003, 1], "what was held belongs before the new count"
    bench.push(2, exchange_ts=later + 1)
    assert bench.left[-1] == 2
    bench.check()


def test_a_new_count_forgets_what_was_given_up() -> None:
    bench = bench_of()
    bench.push(10, 13)
    bench.scheduler.advance_by(0.2)
    later = bench.recorder.elements[-1].exchange_ts + 151 * NS_PER_MS
    bench.push(9, 10, 11, 11, exchange_ts=later)
    assert bench.left == [10, 13, 9, 10, 11]
    assert bench.machine.dropped == {"duplicate": 1}


def test_equal_or_slightly_newer_exchange_times_are_no_new_count() -> None:
    bench = bench_of()
    for n in (5, 6, 7):
        bench.push(n, exchange_ts=10**18)
    bench.push(6, exchange_ts=10**18)
    bench.push(6, exchange_ts=10**18 + 150 * NS_PER_MS)
    assert bench.left == [5, 6, 7]
    assert bench.machine.dropped == {"duplicate": 2}


def test_without_exchange_time_a_run_of_32_behind_over_a_second_is_a_new_count() -> None:
    for start_ns in (0, 10 * NS_PER_S):
        bench = bench_of(Sequence.MONOTONE)
        without_time(bench, 1000, start_ns)
        for n in range(1, RUN + 4):
            without_time(bench, n, start_ns + n * 40 * NS_PER_MS)
        assert bench.left == [1000, *range(RUN, RUN + 4)]


@pytest.mark.parametrize(("last_ns", "is_new"), [(NS_PER_S - 1, False), (NS_PER_S, True)])
def test_the_run_takes_a_second_from_its_first_number_to_its_last(last_ns: int, is_new: bool) -> None:
    bench = bench_of(Sequence.MONOTONE)
    received_ns = 5 * NS_PER_S
    without_time(bench, 1000, received_ns)
    for n in range(1, RUN):
        without_time(bench, n, received_ns)
    without_time(bench, RUN, received_ns + last_ns)
    assert bench.left == [1000, *[RUN] * is_new]


def test_the_backlog_of_a_connection_that_lags_is_no_new_count() -> None:
    bench = bench_of(Sequence.MONOTONE)
    without_time(bench, 1000, 5 * NS_PER_S)
    for n in range(1, 100):
        without_time(bench, n, 5 * NS_PER_S + n * NS_PER_MS)
    assert bench.left == [1000]


def test_numbers_behind_among_events_in_line_are_no_new_count() -> None:
    bench = bench_of(Sequence.MONOTONE)
    for n in range(100):
        received_ns = n * 40 * NS_PER_MS
        without_time(bench, 1000 + n, received_ns)
        without_time(bench, 900 + n, received_ns)
    assert bench.left == list(range(1000, 1100))


@pytest.mark.parametrize("behind", [[5] * 100, list(range(200, 100, -1)), [5, 6] * 50])
def test_numbers_that_do_not_rise_are_no_new_count(behind: list[int]) -> None:
    bench = bench_of(Sequence.MONOTONE)
    without_time(bench, 1000, 0)
    for at, number in enumerate(behind):
        without_time(bench, number, at * 40 * NS_PER_MS)
    assert bench.left == [1000]


def test_a_time_that_only_one_of_the_two_has_says_nothing() -> None:
    bench = bench_of(Sequence.MONOTONE)
    without_time(bench, 1000, 0)
    bench.push(7, exchange_ts=10**18)
    assert bench.left == [1000], "the one before has no time to compare with"
    timed = bench_of(Sequence.MONOTONE)
    timed.push(1000, exchange_ts=10**18)
    for n in range(1, RUN + 1):
        without_time(timed, n, n * 40 * NS_PER_MS)
    assert timed.left == [1000, RUN], "the run of those without time counts all the same"
