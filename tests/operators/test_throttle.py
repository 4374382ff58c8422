"""Throttle on virtual time: what leaves when, what waits and how, and what is lost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.context import Context
from flow.errors import ConfigurationError
from flow.events.payloads import BookSnapshotData, BookUpdateData, GapData
from flow.events.stream import EventType
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import make_event, make_stream
from operators.throttle import ThrottleParams, throttle
from tests.operators.throttle_rig import (
    GAPS,
    KLINES,
    MERGED,
    OTHERS,
    REPORTS,
    SNAPSHOTS,
    TICKERS,
    TRADES,
    UPDATES,
    Pipe,
    kline,
)

# --- rates -------------------------------------------------------------------------------------------


def test_without_limits_a_run_passes_untouched() -> None:
    pipe = Pipe()
    runs: list[Any] = []
    pipe.machine.emit_many = runs.append
    run = [make_event(number, TRADES) for number in range(500)]
    pipe.machine.add_many(run)
    assert runs[0] is run
    assert (pipe.machine.passed, pipe.machine.in_flight, pipe.timers) == (500, 0, 0)


def test_a_stream_leaves_at_its_rate_after_its_burst() -> None:
    pipe = Pipe(rate_per_s=10, burst=2)
    pipe.push(TRADES, 1, 2, 3, 4, 5)
    assert pipe.taken() == [(0, 1), (0, 2)]
    pipe.advance(1)
    assert pipe.taken() == [(100, 3), (200, 4), (300, 5)]


def test_a_run_leaves_as_its_events_would_one_by_one() -> None:
    pipe = Pipe(rate_per_s=10, burst=2)
    pipe.run(TRADES, 1, 2, 3, 4)
    pipe.advance(0.1)
    assert pipe.taken() == [(0, 1), (0, 2), (100, 3)]


@pytest.mark.parametrize(("at_s", "expected"), [(0.1, (100, 2)), (0.099999, (100, 2)), (0.15, (150, 2))])
def test_an_event_that_finds_a_token_leaves_in_the_same_call_and_not_a_moment_before(
    at_s: float, expected: tuple[int, int]
) -> None:
    pipe = Pipe(rate_per_s=10)
    pipe.push(TRADES, 1)
    pipe.advance(at_s)
    pipe.push(TRADES, 2)
    assert len(pipe.left) == (2 if at_s >= 0.1 else 1)
    pipe.advance(1)
    assert pipe.taken()[1] == expected


def test_no_more_than_the_burst_is_saved_up() -> None:
    pipe = Pipe(rate_per_s=10, burst=3)
    pipe.advance(1000)
    pipe.push(TRADES, *range(1, 6))
    assert pipe.taken() == [(1_000_000, 1), (1_000_000, 2), (1_000_000, 3)]


def test_each_stream_has_its_own_rate() -> None:
    pipe = Pipe(rate_per_s=10)
    pipe.push(TRADES, 1, 2)
    pipe.push(OTHERS, 11, 12)
    pipe.advance(0.1)
    assert pipe.taken() == [(0, 1), (0, 11), (100, 2), (100, 12)]


def test_the_bandwidth_is_for_all_streams_which_take_turns() -> None:
    pipe = Pipe(bandwidth_per_s=10)
    pipe.push(TRADES, *range(1, 7))
    pipe.push(OTHERS, 11, 12, 13)
    pipe.push(TRADES, 7)
    pipe.advance(1)
    numbers = [number for _, number in pipe.taken()]
    assert numbers == [1, 2, 11, 3, 12, 4, 13, 5, 6, 7]


def test_a_tenth_of_a_seconds_bandwidth_may_leave_at_once() -> None:
    pipe = Pipe(bandwidth_per_s=50)
    pipe.push(TRADES, *range(1, 9))
    pipe.advance(0.02)
    assert pipe.taken() == [(0, number) for number in range(1, 6)] + [(20, 6)]


def test_who_comes_later_does_not_overtake_who_waits() -> None:
    pipe = Pipe(bandwidth_per_s=10)
    pipe.scheduler.schedule_relative(0.1, lambda *_: pipe.push(OTHERS, 11))
    pipe.push(TRADES, 1, 2)
    pipe.advance(0.1)
    assert pipe.taken() == [(0, 1), (100, 2)]
    pipe.advance(1)
    assert pipe.taken() == [(200, 11)]


def test_both_limits_hold() -> None:
    pipe = Pipe(rate_per_s=5, bandwidth_per_s=10)
    pipe.push(TRADES, 1, 2, 3)
    pipe.push(OTHERS, 11, 12, 13)
    pipe.advance(1)
    assert pipe.taken() == [(0, 1), (100, 11), (200, 2), (300, 12), (400, 3), (500, 13)]


# --- what waits --------------------------------------------------------------------------------------


def test_of_a_ticker_the_latest_waits() -> None:
    pipe = Pipe(rate_per_s=10)
    pipe.push(TICKERS, 1, 2, 3, 4)
    assert pipe.machine.in_flight == 1
    pipe.advance(1)
    assert pipe.taken() == [(0, 1), (100, 4)]
    assert (pipe.machine.passed, pipe.machine.coalesced, pipe.machine.dropped.total()) == (2, 2, 0)


def test_of_a_book_the_state_waits_and_its_two_streams_are_one() -> None:
    pipe = Pipe(rate_per_s=10)
    pipe.push(SNAPSHOTS, 1, payload=BookSnapshotData([("5", "1")], [("6", "1")]))
    pipe.push(UPDATES, 2, payload=BookUpdateData([("5", "0"), ("4", "1")], []))
    pipe.push(UPDATES, 3, payload=BookUpdateData([("4", "2")], [("6", "2")]))
    pipe.advance(1)
    assert pipe.taken() == [(0, 1), (100, 3)]
    update = pipe.recorder.elements[1]
    assert (update.stream, update.first_sequence) == (UPDATES, 2)
    assert update.payload == BookUpdateData([("5", "0"), ("4", "2")], [("6", "2")])
    assert pipe.machine.coalesced == 1


def test_a_closed_kline_waits_and_takes_the_place_of_an_open_one_only() -> None:
    pipe = Pipe(rate_per_s=10)
    for number, is_closed in enumerate([False, False, True, True, False, False], 1):
        pipe.push(KLINES, number, payload=kline(is_closed=is_closed))
    pipe.advance(1)
    assert [number for _, number in pipe.taken()] == [1, 3, 4, 6]
    assert pipe.machine.coalesced == 2


@pytest.mark.parametrize("stream", [TRADES, MERGED])
def test_trades_and_merged_events_all_wait(stream: Any) -> None:
    pipe = Pipe(rate_per_s=10)
    pipe.push(stream, 1, 2, 3, 4)
    pipe.advance(1)
    assert pipe.taken() == [(0, 1), (100, 2), (200, 3), (300, 4)]
    assert pipe.machine.coalesced == 0


def test_beyond_the_capacity_the_oldest_is_dropped_and_a_marker_says_so() -> None:
    letters = DeadLetters()
    pipe = Pipe(rate_per_s=10, capacity=2, letters=letters)
    pipe.push(TRADES, 1, 2, 3)
    assert pipe.machine.dropped == {}
    pipe.push(TRADES, 4, 5)
    pipe.advance(0.1)
    pipe.push(TRADES, 6, 7)
    pipe.advance(1)
    kinds = [(at, kind, number) for at, kind, number in pipe.left]
    assert kinds == [
        (0, "Trade", 1),
        *((100, "Gap", 3), (100, "Trade", 4)),
        *((200, "Gap", 5), (200, "Trade", 6)),
        (300, "Trade", 7),
    ]
    markers = [event for event in pipe.recorder.elements if event.event_type is EventType.GAP]
    assert [marker.payload for marker in markers] == [
        GapData(2, 2, 3, "throttled"),
        GapData(1, 5, 5, "throttled"),
    ]
    assert (markers[0].symbol, markers[0].channel, markers[0].ingest_ts) == ("BTC-USDT", "trade", 77)
    assert markers[0].stream is markers[1].stream
    assert letters.by_reason() == {"throttled": 3}
    machine = pipe.machine
    assert (machine.dropped, machine.markers) == ({"throttled": 3}, 2)
    assert 7 + machine.markers == machine.passed + machine.dropped.total()


@pytest.mark.parametrize("level", [("much", "5"), (1.5, "5"), ("1", None)])
def test_what_can_not_be_folded_is_lost_and_told(level: Any) -> None:
    letters = DeadLetters()
    pipe = Pipe(rate_per_s=10, letters=letters)
    pipe.push(UPDATES, 1, payload=BookUpdateData([("5", "1")], []))
    pipe.push(UPDATES, 2, payload=kline(is_closed=False))
    assert [(kind, number) for _, kind, number in pipe.left] == [("BookUpdate", 1), ("Gap", 2)]
    pipe.push(UPDATES, 3, payload=BookUpdateData([("5", "3")], []))
    pipe.push(UPDATES, 4, payload=kline(is_closed=False))
    pipe.push(SNAPSHOTS, 5, payload=BookSnapshotData([level], []))
    pipe.advance(1)
    assert [(kind, number) for _, kind, number in pipe.left[2:]] == [("Gap", 5)]
    assert pipe.recorder.elements[2].payload == GapData(2, 4, 5, "unreadable")
    assert letters.by_reason() == {"unreadable": 3}
    machine = pipe.machine
    assert 5 + machine.markers == machine.passed + machine.coalesced + machine.dropped.total()
    assert pipe.timers == 0


@pytest.mark.parametrize("stream", [REPORTS, GAPS])
def test_critical_events_pass_at_once_and_take_no_token(stream: Any) -> None:
    pipe = Pipe(rate_per_s=10, bandwidth_per_s=10)
    pipe.run(stream, *range(100))
    pipe.push(TRADES, 1, 2)
    pipe.push(stream, 200, 201)
    assert pipe.taken() == [*((0, number) for number in range(100)), (0, 1), (0, 200), (0, 201)]
    pipe.advance(1)
    assert pipe.taken() == [(100, 2)]


# --- timers and occurrences --------------------------------------------------------------------------


def test_there_is_one_timer_while_something_waits_and_none_while_nothing_does() -> None:
    pipe = Pipe(rate_per_s=10, bandwidth_per_s=100, total_per_s=100)
    assert pipe.timers == 0
    pipe.push(TRADES, 1)
    assert pipe.timers == 0
    pipe.push(TRADES, 2)
    pipe.push(OTHERS, 11, 12)
    for number in range(20):
        pipe.push(make_stream(symbol=f"S{number}"), 1, 2)
    assert pipe.timers == 1
    pipe.advance(0.15)
    assert pipe.timers == 1
    pipe.advance(1)
    assert (pipe.timers, pipe.machine.in_flight) == (0, 0)


def test_no_timer_is_left_where_what_waited_left_before_it_was_due() -> None:
    pipe = Pipe(rate_per_s=10)
    left: list[tuple[int, int]] = []

    def push() -> None:
        pipe.push(OTHERS, 11)
        left.append((len(pipe.left), pipe.timers))

    pipe.scheduler.schedule_relative(0.1, lambda *_: push())
    pipe.push(TRADES, 1, 2)
    pipe.advance(1)
    assert left == [(3, 0)]


def test_an_episode_is_reported_once() -> None:
    pipe = Pipe(rate_per_s=10)
    reported: list[tuple[str, Any]] = []
    pipe.context.telemetry.listeners.append(lambda node, one: reported.append((node, one)))
    for _ in range(2):
        pipe.push(TICKERS, 1, 2, 3)
        pipe.advance(1)
        assert [(node, one.name) for node, one in reported] == [
            ("slow", "backpressure.triggered"),
            ("slow", "coalescing.applied"),
        ]
        assert (reported[0][1].where, reported[0][1].reason) == ("slow", "throttled")
        assert reported[1][1].consumer == "slow"
        reported.clear()
    pipe.push(TRADES, 1, 2)
    pipe.advance(1)
    assert [one.name for _, one in reported] == ["backpressure.triggered"]


# --- the share ---------------------------------------------------------------------------------------


class Together:
    """Throttles of one share, pushed at together; how many events each let through."""

    def __init__(self, *bandwidths: float, total: float) -> None:
        self.scheduler: Any = TestScheduler()
        self.sources: list[Subject[Any]] = [Subject() for _ in bandwidths]
        self.counts = [0] * len(bandwidths)
        context = Context()
        self.subscriptions = [
            source.pipe(
                throttle(ThrottleParams(bandwidth_per_s=bandwidth, total_per_s=total, share="one"), context)
            ).subscribe(self.counting(number), scheduler=self.scheduler)
            for number, (source, bandwidth) in enumerate(zip(self.sources, bandwidths, strict=True))
        ]

    def counting(self, number: int) -> Any:
        def count(event: Any) -> None:
            self.counts[number] += 1

        return count

    def press(self, *which: int) -> None:
        """More than these can let through."""
        for number in which:
            for sequence in range(1000):
                self.sources[number].on_next(make_event(sequence, TRADES))

    def passed(self, seconds: float) -> list[int]:
        before = list(self.counts)
        self.scheduler.advance_by(seconds)
        return [now - then for now, then in zip(self.counts, before, strict=True)]


def test_throttles_of_one_share_have_one_total() -> None:
    both = Together(40, 40, total=20)
    both.press(0)
    assert both.passed(10) == [pytest.approx(200, abs=5), 0], "alone it has all"
    both.press(1)
    assert both.passed(10) == [pytest.approx(100, abs=5), pytest.approx(100, abs=5)]


def test_two_that_wait_have_what_the_third_leaves_in_equal_parts() -> None:
    three = Together(100, 100, 100, total=90)
    three.press(0, 1)
    three.passed(1)
    assert three.passed(8) == [pytest.approx(360, abs=8), pytest.approx(360, abs=8), 0]


def test_those_that_wait_have_what_another_leaves_by_their_bandwidths() -> None:
    three = Together(240, 80, 320, total=160)
    three.press(0, 1)
    three.passed(1)
    assert three.passed(6) == [pytest.approx(720, abs=20), pytest.approx(240, abs=20), 0]


def test_a_throttle_that_ends_leaves_its_part_to_the_others() -> None:
    both = Together(100, 100, total=50)
    both.press(0, 1)
    both.passed(1)
    both.subscriptions[1].dispose()
    assert both.passed(8) == [pytest.approx(400, abs=8), 0]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"total_per_s": 10.0}, None, "bandwidth_per_s has to be there too"),
        ({"total_per_s": 10.0, "bandwidth_per_s": 41.0}, None, "10 events/s for subscriptions of 41"),
        (
            {"total_per_s": 10.0, "bandwidth_per_s": 20.0},
            {"total_per_s": 10.0, "bandwidth_per_s": 20.1},
            "10 events/s for subscriptions of 40.1",
        ),
        (
            {"total_per_s": 10.0, "bandwidth_per_s": 20.0},
            {"total_per_s": 11.0, "bandwidth_per_s": 20.0},
            "^the share 'default' has total_per_s 10 elsewhere, 11 here$",
        ),
    ],
)
def test_a_share_that_could_not_keep_its_word_is_refused(
    first: dict[str, float], second: dict[str, float] | None, said: str
) -> None:
    context = Context()
    if second is not None:
        throttle(msgspec.convert(first, ThrottleParams), context)
    with pytest.raises(ConfigurationError, match=said):
        throttle(msgspec.convert(second or first, ThrottleParams), context)


def test_shares_of_two_names_have_nothing_to_do_with_each_other() -> None:
    context = Context()
    for total, share in ((10.0, "one"), (11.0, "other")):
        throttle(ThrottleParams(bandwidth_per_s=20.0, total_per_s=total, share=share), context)
    assert [context.services[f"share {name}"].total_per_s for name in ("one", "other")] == [10.0, 11.0]


NO_RATES = (-1.0, 0.0, 1e-300, 1e10, float("inf"), float("nan"))


@pytest.mark.parametrize(
    "params",
    [
        *({name: rate} for name in ("rate_per_s", "bandwidth_per_s", "total_per_s") for rate in NO_RATES),
        *({"burst": 0}, {"share": ""}, {"capacity": 0}, {"x": 1}),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        throttle(**params)


@pytest.mark.parametrize("rate", [0.0001, 1e9])
@pytest.mark.parametrize("limit", ["rate_per_s", "bandwidth_per_s"])
def test_the_least_and_the_highest_rate_let_all_through_in_the_end(rate: float, limit: str) -> None:
    pipe = Pipe(**{limit: rate})
    pipe.push(TRADES, 1, 2, 3)
    pipe.advance(2 / rate + 0.001)
    assert [number for _, _, number in pipe.left] == [1, 2, 3]
    assert pipe.timers == 0
