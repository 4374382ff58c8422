"""Dedupe: each id once within the window, exactly, in bounded memory."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.clock import NS_PER_MS
from flow.context import Context
from flow.events import CRITICAL, EventType, Sequence
from flow.pool import Pools, release
from flow.stage import Stage
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import Recorder, assert_nothing_out, make_event, make_stream, values
from operators.dedupe import DedupeParams, Deduper, dedupe
from operators.order_buffer import order_buffer


def unique(numbers: list[int], kind: Sequence = Sequence.MONOTONE, window: int = 256) -> list[int]:
    """What passes of one stream's numbers; nothing may stay out of the pool."""
    pools, stream, recorder = Pools(), make_stream(kind), Recorder()
    source: Subject[Any] = Subject()
    source.pipe(dedupe(window=window)).subscribe(recorder)
    for number in numbers:
        source.on_next(make_event(number, stream, pools=pools))
    source.on_completed()
    assert recorder.is_completed
    assert_nothing_out(pools, used=bool(numbers))
    return values(recorder)


def naive(numbers: list[int], window: int) -> list[int]:
    remembered: deque[int] = deque(maxlen=window)
    passed: list[int] = []
    for number in numbers:
        if number not in remembered:
            remembered.append(number)
            passed.append(number)
    return passed


def test_repeats_are_dropped() -> None:
    assert unique([1, 2, 2, 3, 1, 4]) == [1, 2, 3, 4]


def test_events_of_streams_without_numbers_pass() -> None:
    assert unique([0, 0, 5, 5, 1], Sequence.NONE) == [0, 0, 5, 5, 1]


def test_what_left_the_window_passes_again() -> None:
    assert unique([9, 1, 2, 9, 1, 2, 9], window=2) == [9, 1, 2, 9, 1, 2, 9]
    assert unique([9, 1, 2, 9], window=3) == [9, 1, 2]


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 6))
def test_it_agrees_with_a_search_of_the_whole_window(numbers: list[int], window: int) -> None:
    assert unique(numbers, window=window) == naive(numbers, window)


def timed(*events: tuple[int, int]) -> list[int]:
    """What passes of (number, exchange's time in ms)."""
    recorder, stream = Recorder(), make_stream()
    source: Subject[Any] = Subject()
    source.pipe(dedupe()).subscribe(recorder)
    for number, at_ms in events:
        source.on_next(make_event(number, stream, exchange_ts=at_ms * NS_PER_MS))
    return values(recorder)


def test_an_exchange_that_counts_anew_is_followed() -> None:
    before, anew = [(1, 10), (2, 20), (3, 30)], [(1, 1031), (2, 1041), (2, 1041), (3, 1051)]
    assert timed(*before, *anew) == [1, 2, 3, 1, 2, 3]


def test_a_repeat_may_be_a_second_late() -> None:
    assert timed((1, 10), (2, 20), (1, 1020), (2, 20)) == [1, 2]


def test_without_the_exchanges_time_a_number_counts() -> None:
    assert timed((1, 0), (2, 0), (1, 5000)) == [1, 2]
    assert timed((1, 10), (2, 20), (1, 0)) == [1, 2]


@pytest.mark.parametrize("event_type", sorted(CRITICAL))
def test_critical_events_always_pass(event_type: EventType) -> None:
    recorder, stream = Recorder(), make_stream(event_type=event_type)
    source: Subject[Any] = Subject()
    source.pipe(dedupe()).subscribe(recorder)
    for number in (1, 2, 2, 1, 3):
        source.on_next(make_event(number, stream))
    assert values(recorder) == [1, 2, 2, 1, 3]


def test_streams_are_told_apart() -> None:
    recorder = Recorder()
    source: Subject[Any] = Subject()
    source.pipe(dedupe()).subscribe(recorder)
    for stream in (make_stream(), make_stream()):
        source.on_next(make_event(1, stream))
        source.on_next(make_event(1, stream))
    assert values(recorder) == [1, 1]


def test_merged_events_go_by_their_merge_id() -> None:
    recorder = Recorder()
    source: Subject[Any] = Subject()
    source.pipe(dedupe(window=2)).subscribe(recorder)
    for kind in (Sequence.NONE, Sequence.MONOTONE):
        stream = make_stream(kind, event_type=EventType.MERGED)
        for sequence, merge_id in ((0, "a"), (1, "a"), (0, "b"), (9, "b"), (9, "c"), (9, "a")):
            source.on_next(make_event(sequence, stream, merge_id=merge_id))
    assert [event.merge_id for event in recorder.elements] == ["a", "b", "c", "a"] * 2


def test_single_events_of_one_merge_are_no_repeats_of_each_other() -> None:
    recorder = Recorder()
    source: Subject[Any] = Subject()
    source.pipe(dedupe()).subscribe(recorder)
    stream = make_stream()
    for sequence in (1, 2, 3, 2):
        source.on_next(make_event(sequence, stream, merge_id="same"))
    assert values(recorder) == [1, 2, 3]


def test_memory_is_bounded() -> None:
    machine = Deduper(DedupeParams(window=10), Context())
    machine.emit = release
    streams = [make_stream(), make_stream(), make_stream(Sequence.NONE, event_type=EventType.MERGED)]
    for number in range(1000):
        for stream in streams:
            machine.add(make_event(number, stream, merge_id=str(number)))
            machine.add(make_event(1000 - number, stream))
    assert len(machine.seen) == 3
    assert all(len(seen.recent) <= 10 and len(seen.merge_ids) <= 10 for seen in machine.seen.values())


def test_drops_are_counted() -> None:
    source: Subject[Any] = Subject()
    staged = source.pipe(dedupe())
    staged.subscribe(Recorder())
    assert isinstance(staged, Stage)
    stream = make_stream()
    for number in (1, 2, 1, 1):
        source.on_next(make_event(number, stream))
    assert staged.machine is not None
    assert (staged.machine.passed, staged.machine.dropped) == (2, {"duplicate": 2})


@pytest.mark.parametrize("garbage", [None, 7, object(), {}])
@pytest.mark.parametrize("with_letters", [True, False])
def test_what_is_no_event_is_refused(garbage: Any, with_letters: bool) -> None:
    letters = DeadLetters() if with_letters else None
    recorder = Recorder()
    source: Subject[Any] = Subject()
    source.pipe(dedupe(context=Context(dead_letters=letters))).subscribe(recorder)
    source.on_next(make_event(1))
    source.on_next(garbage)
    source.on_next(make_event(2))
    assert values(recorder) == ([1] if letters is None else [1, 2])
    assert (recorder.error is None) == with_letters
    assert letters is None or letters.by_reason() == {"AttributeError": 1}


def test_a_number_that_is_none_is_refused() -> None:
    pools, letters = Pools(), DeadLetters()
    source: Subject[Any] = Subject()
    source.pipe(dedupe(context=Context(dead_letters=letters))).subscribe(Recorder())
    event = make_event(1, pools=pools)
    event.sequence = None  # type: ignore[assignment]
    source.on_next(event)
    assert letters.by_reason() == {"TypeError": 1}
    assert_nothing_out(pools)


def test_errors_pass_and_a_new_subscription_remembers_nothing() -> None:
    source: Subject[Any] = Subject()
    chain = source.pipe(dedupe())
    stream = make_stream()
    for _ in range(2):
        recorder = Recorder()
        subscription = chain.subscribe(recorder)
        source.on_next(make_event(1, stream))
        assert values(recorder) == [1]
        subscription.dispose()
        source.on_next(make_event(2, stream))
        assert values(recorder) == [1]
    recorder = Recorder()
    chain.subscribe(recorder)
    boom = ValueError("boom")
    source.on_error(boom)
    assert recorder.error is boom


STEPS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.booleans()), max_size=80)


@given(STEPS, st.sampled_from([Sequence.CONTIGUOUS, Sequence.RANGE]), st.booleans())
def test_ordered_then_unique_gives_each_number_once_and_rising(
    steps: list[tuple[int, int, bool]], kind: Sequence, is_fused: bool
) -> None:
    scheduler, pools, recorder = TestScheduler(), Pools(), Recorder()
    source: Subject[Any] = Subject()
    ordered = source.pipe(order_buffer(capacity=4))
    joint = [] if is_fused else [ops.map(lambda element: element)]
    chain = ordered.pipe(*joint, dedupe(window=8))
    subscription = chain.subscribe(recorder, scheduler=scheduler)
    assert isinstance(ordered, Stage)
    assert isinstance(chain, Stage)
    streams = make_stream(kind), make_stream(kind)
    entered = 0
    for number, width, is_first in steps:
        stream = streams[0] if is_first else streams[1]
        first = max(0, number - width) if kind is Sequence.RANGE else None
        source.on_next(make_event(number, stream, first=first, exchange_ts=10**18, pools=pools))
        entered += 1
        scheduler.advance_by(width / 20)
        buffer, deduper = ordered.machine, chain.machine
        assert buffer is not None
        assert deduper is not None
        assert entered == buffer.passed + sum(buffer.dropped.values()) + buffer.in_flight
        assert buffer.passed == deduper.passed + sum(deduper.dropped.values())
        for one in streams:
            left = [event.sequence for event in recorder.elements if event.stream is one]
            assert left == sorted(set(left))
        assert pools.of("CanonicalEvent", lambda key: recorder.elements[0]).out == buffer.in_flight
    subscription.dispose()
    assert_nothing_out(pools, used=entered > 0)
