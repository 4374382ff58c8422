"""Throttle's ends: completion, errors, disposal and raises, also in the middle of what leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.events.canonical import PooledEvent
from flow.events.payloads import BookUpdateData, GapData
from flow.pool import Pools
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import assert_nothing_out, make_event
from operators.throttle import throttle
from tests.operators.throttle_rig import OTHERS, TICKERS, TRADES, UPDATES, Pipe


def test_a_timer_that_an_arrival_made_needless_does_not_hinder_the_next() -> None:
    pipe = Pipe(rate_per_s=10)
    pipe.push(TRADES, 1, 2)
    pipe.scheduler.sleep(0.1)
    pipe.push(OTHERS, 11)
    assert (pipe.machine.in_flight, pipe.timers) == (0, 0)
    pipe.push(TRADES, 3)
    assert pipe.timers == 1
    pipe.advance(1)
    assert pipe.taken() == [(0, 1), (100, 2), (100, 11), (200, 3)]


def test_completion_lets_all_go_at_once_in_order_of_arrival() -> None:
    pipe = Pipe(rate_per_s=1, capacity=2)
    pipe.push(TRADES, 1, 2)
    pipe.push(OTHERS, 11, 12)
    pipe.push(TICKERS, 21, 22)
    pipe.push(TRADES, 3, 4)
    pipe.push(TICKERS, 23)
    pipe.taken()
    pipe.source.on_completed()
    assert pipe.taken() == [(0, 12), (0, 2), (0, 3), (0, 4), (0, 23)]
    assert pipe.recorder.elements[-4].payload == GapData(1, 2, 2, "throttled")
    assert pipe.recorder.is_completed
    assert (pipe.timers, pipe.machine.in_flight) == (0, 0)
    assert 9 + pipe.machine.markers == pipe.machine.passed + pipe.machine.coalesced + 1


def test_a_book_leaves_when_the_last_that_it_took_in_arrived() -> None:
    pipe = Pipe(rate_per_s=1)
    for number, stream in ((1, UPDATES), (2, UPDATES), (3, TRADES), (4, TRADES), (5, UPDATES)):
        payload = BookUpdateData([("5", str(number))], []) if stream is UPDATES else None
        pipe.push(stream, number, payload=payload)
    pipe.source.on_completed()
    assert [number for _, number in pipe.taken()] == [1, 3, 4, 5]


@pytest.mark.parametrize(
    "end", [lambda p: p.source.on_error(ValueError("x")), lambda p: p.subscription.dispose()]
)
def test_what_waits_at_an_error_or_a_disposal_is_counted(end: Callable[[Pipe], None]) -> None:
    pipe = Pipe(rate_per_s=1, bandwidth_per_s=2)
    pipe.push(TRADES, 1, 2, 3)
    pipe.push(OTHERS, 11)
    end(pipe)
    pipe.advance(100)
    assert [number for _, number in pipe.taken()] == [1]
    assert (pipe.machine.dropped, pipe.machine.in_flight, pipe.timers) == ({"disposed": 3}, 0, 0)
    assert not pipe.machine.lines.by_stream


def test_disposal_in_the_middle_of_what_leaves() -> None:
    def dispose(event: Any) -> None:
        if event.sequence == 2:
            pipe.subscription.dispose()

    pipe = Pipe(bandwidth_per_s=10, on_element=dispose)
    pipe.push(TRADES, 1, 2, 3, 4)
    pipe.scheduler.sleep(0.3)
    pipe.machine.wake()
    assert [number for _, number in pipe.taken()] == [1, 2]
    assert (pipe.machine.passed, dict(pipe.machine.dropped)) == (2, {"disposed": 2})


def test_disposal_in_the_middle_of_a_run_puts_back_what_had_not_left() -> None:
    def dispose(event: Any) -> None:
        if event.sequence == 2:
            pipe.subscription.dispose()
        event.put()

    pools = Pools()
    pipe = Pipe(pools=pools, rate_per_s=10, burst=3, on_element=dispose)
    pipe.machine.add_many([make_event(number, TRADES, pools=pools) for number in range(1, 6)])
    assert (pipe.machine.passed, pipe.machine.dropped) == (2, {"disposed": 3})
    assert_nothing_out(pools)


def test_what_comes_after_the_end_is_put_back_and_counted() -> None:
    pools = Pools()
    pipe = Pipe(pools=pools, rate_per_s=10)
    pipe.subscription.dispose()
    pipe.machine.add_many([make_event(number, TRADES, pools=pools) for number in (1, 2)])
    assert pipe.machine.dropped == {"disposed": 2}
    assert_nothing_out(pools)


def test_completion_in_the_middle_of_what_leaves_loses_nothing() -> None:
    def complete(event: Any) -> None:
        if event.sequence == 2:
            pipe.push(TRADES, 5)
            pipe.source.on_completed()

    pipe = Pipe(bandwidth_per_s=10, on_element=complete)
    pipe.push(TRADES, 1, 2, 3, 4)
    pipe.scheduler.sleep(0.1)
    pipe.machine.wake()
    assert [number for _, number in pipe.taken()] == [1, 2, 3, 4, 5]
    assert pipe.recorder.is_completed
    assert pipe.recorder.after_end == 0


def test_what_comes_back_in_stays_behind_what_is_leaving() -> None:
    depths: list[int] = []
    depth = 0

    def push_more(event: Any) -> None:
        nonlocal depth
        depth += 1
        depths.append(depth)
        if event.sequence == 2:
            pipe.push(TRADES, 5)
        depth -= 1

    pipe = Pipe(rate_per_s=10, burst=3, on_element=push_more)
    pipe.push(TRADES, 1)
    pipe.push(TRADES, 0)
    pipe.push(TRADES, 0)
    pipe.push(TRADES, 2, 3)
    pipe.scheduler.sleep(0.3)
    pipe.machine.wake()
    assert [number for _, number in pipe.taken()] == [1, 0, 0, 2, 3, 5]
    assert depths == [1] * 6, "nothing is handed over within another handover"


@pytest.mark.parametrize("is_pressed", [True, False])
def test_what_an_observer_raises_only_delays_the_rest(is_pressed: bool) -> None:
    def raise_once(event: Any) -> None:
        if event.sequence == 2:
            raise RuntimeError("mine")

    pipe = Pipe(rate_per_s=10, burst=3, on_element=raise_once)
    with pytest.raises(BaseException, match="mine"):
        pipe.run(TRADES, 1, 2, 3, *([4] if is_pressed else []))
    assert pipe.machine.in_flight == 1 + is_pressed
    assert pipe.timers == 1
    pipe.advance(1)
    assert pipe.taken() == [(0, 1), (0, 2), (0, 3), *([(100, 4)] if is_pressed else [])]
    assert (pipe.machine.passed, pipe.machine.in_flight, pipe.timers) == (3 + is_pressed, 0, 0)


def test_what_is_no_event_is_refused_between_its_neighbours() -> None:
    letters = DeadLetters()
    pipe = Pipe(rate_per_s=10, letters=letters)
    pipe.machine.add_many([make_event(1, TRADES), None, "b", make_event(2, TRADES), make_event(11, OTHERS)])
    assert pipe.taken() == [(0, 1), (0, 11)]
    assert (pipe.machine.dead_lettered, letters.by_reason()) == (2, {"AttributeError": 2})
    assert [letter.original for letter in letters.read()] == [{"repr": "None"}, {"repr": "'b'"}]
    assert pipe.machine.in_flight == 1


def test_what_waited_and_gave_way_is_in_the_dead_letters() -> None:
    letters = DeadLetters()
    pipe = Pipe(rate_per_s=10, capacity=1, letters=letters)
    pipe.push(TRADES, 1, 2, 3)
    [letter] = letters.read()
    assert (letter.reason, letter.detail) == ("throttled", "waited in slow")
    assert isinstance(letter.original, dict)
    assert letter.original["sequence"] == 2


def test_without_dead_letters_what_is_no_event_ends_the_stream() -> None:
    pipe = Pipe(rate_per_s=10)
    pipe.push(TRADES, 1, 2)
    pipe.source.on_next("b")
    assert isinstance(pipe.recorder.error, AttributeError)
    assert pipe.machine.dropped == {"disposed": 1}
    pipe.machine.add(make_event(3, TRADES))
    pipe.advance(1)
    assert (pipe.taken(), pipe.timers) == ([(0, 1)], 0)


def test_the_rest_of_a_run_whose_element_ended_the_stream_is_counted() -> None:
    pipe = Pipe(rate_per_s=10, burst=5)
    pipe.machine.add_many([make_event(1, TRADES), None, make_event(2, TRADES), make_event(11, OTHERS)])
    assert isinstance(pipe.recorder.error, AttributeError)
    assert pipe.taken() == [(0, 1)]
    assert (pipe.machine.passed, pipe.machine.dropped) == (1, {"disposed": 2})


def test_pooled_events_pass_as_they_are_and_wait_as_clones() -> None:
    pools = Pools()
    pipe = Pipe(pools=pools, rate_per_s=10)
    pipe.push(TRADES, 1, 2, 3)
    first = pipe.recorder.elements[0]
    assert isinstance(first, PooledEvent)
    first.put()
    assert_nothing_out(pools)
    pipe.advance(1)
    assert [type(event).__name__ for event in pipe.recorder.elements[1:]] == ["OwnedEvent", "OwnedEvent"]
    assert pipe.taken() == [(0, 1), (100, 2), (200, 3)]


def test_each_subscription_begins_with_full_buckets_of_streams() -> None:
    scheduler: Any = TestScheduler()
    source: Subject[Any] = Subject()
    output = source.pipe(ops.filter(lambda event: event.sequence != 2), throttle(rate_per_s=10))
    for _ in range(2):
        got: list[int] = []
        subscription = output.pipe(ops.map(lambda event: event.sequence)).subscribe(
            got.append, scheduler=scheduler
        )
        for number in range(1, 5):
            source.on_next(make_event(number, TRADES))
        assert got == [1]
        scheduler.advance_by(0.1)
        assert got == [1, 3]
        subscription.dispose()
