"""The order-buffer's ends: completion, errors, disposal, what raises; and every event accounted for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.testing import TestScheduler

from flow.errors import DoublePut, PoolTimeout
from flow.events import Sequence
from flow.pool import Pools
from flow.stage import Stage
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import Bench, Recorder, assert_nothing_out, make_event, make_stream, pushed, values
from operators.order_buffer import OrderBufferParams, order_buffer


def bench_of(
    kind: Sequence = Sequence.CONTIGUOUS,
    recorder: Recorder | None = None,
    dead_letters: DeadLetters | None = None,
    **params: int,
) -> Bench:
    made = OrderBufferParams(**params)
    return Bench(lambda context: order_buffer(made, context), kind, recorder, dead_letters)


def test_completion_flushes_in_order() -> None:
    bench = bench_of()
    bench.push(1, 9, 5, 6, 3)
    bench.source.on_completed()
    assert bench.left == [1, 3, 5, 6, 9]
    assert bench.recorder.is_completed
    bench.check_over()


def test_an_error_releases_what_is_held() -> None:
    bench = bench_of()
    bench.push(1, 3, 4)
    bench.source.on_error(ValueError("the source failed"))
    assert bench.left == [1]
    assert isinstance(bench.recorder.error, ValueError)
    assert bench.machine.dropped == {"disposed": 2}
    bench.check_over()


def test_disposal_in_a_gap_releases_what_is_held() -> None:
    bench = bench_of()
    bench.push(1, 3, 4)
    bench.subscription.dispose()
    assert bench.left == [1]
    assert bench.machine.dropped == {"disposed": 2}
    bench.check_over()


@pytest.mark.parametrize("how", ["heal", "time", "overflow", "completion"])
def test_disposal_between_two_elements_of_one_emission(how: str) -> None:
    bench = bench_of(
        recorder=Recorder(lambda event: event.sequence == 3 and bench.subscription.dispose()), capacity=3
    )
    bench.push(1, 3, 4, 5)
    if how == "heal":
        bench.push(2)
    elif how == "time":
        bench.scheduler.advance_by(0.2)
    elif how == "overflow":
        bench.push(6)
    else:
        bench.source.on_completed()
    assert bench.left == ([1, 2, 3] if how == "heal" else [1, 3])
    assert not bench.recorder.is_over
    bench.check_over()


def test_what_comes_after_disposal_in_a_gap_is_released() -> None:
    bench = bench_of(recorder=Recorder(lambda event: event.sequence == 1 and bench.subscription.dispose()))
    bench.pushed += 3
    bench.machine.add_many([make_event(number, bench.stream, pools=bench.pools) for number in (1, 3, 4)])
    assert bench.left == [1]
    assert bench.machine.dropped == {"disposed": 2}
    bench.check_over()


def test_closing_twice_is_closing_once() -> None:
    bench = bench_of()
    bench.push(1, 3)
    bench.machine.close()
    bench.machine.close()
    assert bench.machine.dropped == {"disposed": 1}
    bench.check_over()


def test_what_is_ready_after_a_raise_is_no_gap() -> None:
    def refuse(event: Any) -> None:
        if event.sequence == 3:
            raise ValueError("not three")

    bench = bench_of(recorder=Recorder(refuse))
    bench.push(1, 3, 4)
    with pytest.raises(ValueError, match="not three"):
        bench.push(2)
    bench.scheduler.advance_by(1)
    assert bench.left == [1, 2, 4]
    assert bench.machine.gaps == 0


@pytest.mark.parametrize("how", ["heal", "time", "overflow", "completion"])
def test_what_an_observer_raises_reaches_whoever_pushed_and_nothing_is_left_out(how: str) -> None:
    def refuse(event: Any) -> None:
        if event.sequence == 3:
            raise ValueError("not three")

    letters = DeadLetters()
    bench = bench_of(recorder=Recorder(refuse), dead_letters=letters, capacity=3)
    bench.push(1, 3, 4, 5)
    acts: dict[str, Callable[[], Any]] = {
        "heal": lambda: bench.push(2),
        "time": lambda: bench.scheduler.advance_by(0.2),
        "overflow": lambda: bench.push(6),
        "completion": bench.source.on_completed,
    }
    with pytest.raises(ValueError, match="not three"):
        acts[how]()
    assert not letters.read()
    if how != "completion":
        bench.scheduler.stop()
        bench.push(7)
        bench.check()
        assert bench.left[-2:] == ([6, 7] if how == "overflow" else [4, 5]), (
            "what is ready waits for no timer"
        )
        bench.scheduler.advance_by(1)
        assert bench.left == {"heal": [1, 2], "time": [1], "overflow": [1]}[how] + (
            [4, 5, 6, 7] if how == "overflow" else [4, 5, 7]
        )
        bench.source.on_completed()
    bench.check_over()


@pytest.mark.parametrize("error", [PoolTimeout("Thing", 1), DoublePut("again")])
def test_dry_pools_and_bugs_downstream_pass(error: Exception) -> None:
    def refuse(event: Any) -> None:
        raise error

    bench = bench_of(recorder=Recorder(refuse), dead_letters=DeadLetters())
    with pytest.raises(type(error)):
        bench.push(1)
    assert_nothing_out(bench.pools)


class Odd:
    stream = make_stream()
    sequence = None
    first_sequence = None
    exchange_ts = 0


@pytest.mark.parametrize("garbage", [None, 7, "text", Odd(), object()])
@pytest.mark.parametrize("with_letters", [True, False])
def test_what_is_no_event_is_refused(garbage: Any, with_letters: bool) -> None:
    bench = bench_of(dead_letters=DeadLetters() if with_letters else None)
    bench.push(1, 2)
    bench.push_any(garbage)
    if with_letters:
        bench.push(3)
        assert bench.left == [1, 2, 3]
        assert bench.machine.dead_lettered == 1
        bench.check()
    else:
        assert isinstance(bench.recorder.error, (AttributeError, TypeError))
        assert bench.left == [1, 2]
    assert_nothing_out(bench.pools)


def test_a_refused_event_goes_back_to_its_pool_and_is_described() -> None:
    letters = DeadLetters()
    bench = bench_of(dead_letters=letters)
    bench.push(1)
    broken: Any = make_event(2, bench.stream, pools=bench.pools)
    broken.sequence = None
    bench.push_any(broken)
    [letter] = letters.read()
    assert (letter.node, letter.reason, letter.provider) == ("bench", "TypeError", "binance")
    assert_nothing_out(bench.pools)
    bench.check()


class Deceptive:
    """Raises what a stream that is not known raises."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.sequence = 1
        self.exchange_ts = 0

    @property
    def first_sequence(self) -> int:
        raise KeyError("first_sequence")


def test_an_element_that_raises_leaves_the_line_of_its_stream_alone() -> None:
    bench = bench_of(dead_letters=DeadLetters())
    bench.push(1, 2)
    bench.push_any(Deceptive(bench.stream))
    bench.push(2, 3)
    assert bench.left == [1, 2, 3]
    assert (bench.machine.dropped, bench.machine.dead_lettered) == ({"duplicate": 1}, 1)


def test_after_a_failure_a_synchronous_source_leaves_no_timer_behind() -> None:
    pools, stream, scheduler = Pools(), make_stream(), TestScheduler()

    def subscribe(observer: Any, _: Any = None) -> Any:
        for element in (make_event(1, stream, pools=pools), "garbage", make_event(3, stream, pools=pools)):
            observer.on_next(element)
        return Disposable()

    recorder = Recorder()
    staged = Observable(subscribe).pipe(order_buffer())
    staged.subscribe(recorder, scheduler=scheduler)
    assert values(recorder) == [1]
    assert isinstance(recorder.error, AttributeError)
    assert isinstance(staged, Stage)
    assert staged.machine is not None
    assert staged.machine.in_flight == 0
    assert_nothing_out(pools)
    assert not scheduler._queue, "a timer was left"  # type: ignore[attr-defined]


def test_every_subscription_counts_for_itself() -> None:
    scheduler = TestScheduler()
    source = pushed(scheduler, (0.0, make_event(1)), (0.1, make_event(2)), completed_at=0.2)
    ordered = source.pipe(order_buffer())
    recorders = [Recorder(), Recorder()]
    for recorder in recorders:
        ordered.subscribe(recorder, scheduler=scheduler)
    scheduler.advance_by(1)
    assert [values(recorder) for recorder in recorders] == [[1, 2], [1, 2]]


def test_between_stock_operators() -> None:
    scheduler = TestScheduler()
    timed = [(n / 10, n) for n in (1, 2, 4, 3, 6, 5)]
    source = pushed(scheduler, *timed, completed_at=1.0)
    stream = make_stream()
    recorder = Recorder()
    source.pipe(
        ops.map(lambda n: make_event(n, stream)),
        ops.share(),
        order_buffer(lateness_ms=200),
        ops.filter(lambda event: event.sequence != 2),
        ops.map(lambda event: event.sequence),
        ops.buffer_with_count(2),
    ).subscribe(recorder, scheduler=scheduler)
    scheduler.advance_by(2)
    assert recorder.elements == [[1, 3], [4, 5], [6]]
    assert recorder.is_completed


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 25), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.05, 0.2]), st.just(0)),
    ),
    max_size=80,
)


@given(STEPS, st.sampled_from([Sequence.CONTIGUOUS, Sequence.RANGE, Sequence.MONOTONE]))
def test_whatever_comes_leaves_once_in_order_and_accounted_for(
    steps: list[tuple[str, Any, int]], kind: Sequence
) -> None:
    bench = bench_of(kind, capacity=5)
    offered: set[int] = set()
    for act, number, width in steps:
        if act == "wait":
            bench.scheduler.advance_by(number)
        else:
            first = max(0, number - width) if kind is Sequence.RANGE else None
            bench.push(number, first=first, exchange_ts=10**18)
            offered.add(number)
        bench.check()
        assert all(before < after for before, after in zip(bench.left, bench.left[1:], strict=False))
        assert set(bench.left) <= offered
        assert bench.machine.in_flight <= 5
        assert (bench.machine.timer is not None) or bench.machine.in_flight == 0
    bench.source.on_completed()
    bench.check_over()
    assert bench.machine.passed == len(bench.left)
