"""A mailbox: order, lanes, what gives way when it is full, and an account that balances at every step."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from flow.context import Context
from flow.errors import UsedAfterPut, WrongThread
from flow.events.payloads import BookSnapshotData, BookUpdateData, GapData, KlineData
from flow.events.stream import EventType
from flow.graph.spec import MailboxSpec
from flow.runtime.mailbox import Gate
from flow.telemetry.dead_letters import DeadLetter, DeadLetters
from flow.testing import make_event, make_stream
from flow.testing.mailboxes import CountingMailbox

POLICIES = ("latest_by_key", "drop_oldest", "drop_newest", "block")
TYPES = [kind for kind in EventType if kind not in (EventType.GAP, EventType.MERGED)]
CHANNELS = {EventType.BOOK_SNAPSHOT: "depth", EventType.BOOK_UPDATE: "depth"}
STREAMS = {
    (kind, symbol): make_stream(event_type=kind, symbol=symbol, channel=CHANNELS.get(kind, kind.value))
    for kind in TYPES
    for symbol in ("BTC-USDT", "ETH-USDT")
}


def kline(*, is_closed: bool = False) -> KlineData:
    return KlineData("1m", 0, 60, "1", "1", "1", "1", "1", "1", 1, is_closed)


def payload_of(kind: EventType, number: int) -> Any:
    if kind is EventType.KLINE:
        return kline(is_closed=number % 5 == 0)
    if kind is EventType.BOOK_UPDATE:
        return BookUpdateData([(str(number % 7), str(number))], [])
    if kind is EventType.BOOK_SNAPSHOT:
        return BookSnapshotData([(str(number % 7), "1")], [])
    return None


def event(kind: EventType, number: int, symbol: str = "BTC-USDT", **more: Any) -> Any:
    more.setdefault("payload", payload_of(kind, number))
    return make_event(number, STREAMS[kind, symbol], **more)


def box(capacity: int = 4, when_full: Any = "latest_by_key", **more: Any) -> CountingMailbox:
    context = more.pop("context", None) or Context("bus", clock=lambda: 77)
    return CountingMailbox("consumer", MailboxSpec(capacity=capacity, when_full=when_full), context, **more)


def numbers(batch: list[Any]) -> list[int]:
    return [element.sequence for element in batch]


def balance(mailbox: CountingMailbox, taken: int) -> None:
    assert mailbox.offered == taken + mailbox.coalesced + mailbox.dropped.total() + mailbox.in_flight


# --- while there is room --------------------------------------------------------------------------------


def test_gives_everything_in_order_of_arrival_while_there_is_room() -> None:
    mailbox = box(capacity=8)
    kinds = [EventType.TRADE, EventType.TICKER, EventType.EXEC_REPORT, EventType.TICKER, EventType.KLINE]
    for number, kind in enumerate(kinds, 1):
        mailbox.put(event(kind, number))
    assert mailbox.in_flight == 5
    assert numbers(mailbox.take_now()) == [1, 2, 3, 4, 5]
    assert mailbox.is_in_order
    assert (mailbox.in_flight, mailbox.coalesced, mailbox.dropped.total()) == (0, 0, 0)
    assert mailbox.take_now() == []


async def test_a_taker_waits_for_the_first_element_and_ends_with_the_stream() -> None:
    mailbox = box()
    taking = asyncio.ensure_future(mailbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    mailbox.put(event(EventType.TRADE, 1))
    mailbox.put(event(EventType.TRADE, 2))
    assert numbers(await taking) == [1, 2]
    mailbox.put(event(EventType.TRADE, 3))
    mailbox.complete()
    assert numbers(await mailbox.take()) == [3]
    assert await mailbox.take() == []


async def test_completion_wakes_a_waiting_taker() -> None:
    mailbox = box()
    taking = asyncio.ensure_future(mailbox.take())
    await asyncio.sleep(0)
    mailbox.complete()
    assert await taking == []


async def test_an_element_put_after_a_taker_was_cancelled_is_kept_for_the_next() -> None:
    mailbox = box()
    taking = asyncio.ensure_future(mailbox.take())
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    mailbox.put(event(EventType.TRADE, 1))
    assert numbers(await mailbox.take()) == [1]


async def test_a_nudge_lets_the_taker_go_on_once() -> None:
    mailbox = box()
    mailbox.nudge()
    assert await mailbox.take() == []
    taking = asyncio.ensure_future(mailbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    mailbox.put(event(EventType.TRADE, 1))
    assert numbers(await taking) == [1]


async def test_another_thread_may_not_put() -> None:
    mailbox = box()
    taking = asyncio.ensure_future(mailbox.take())
    await asyncio.sleep(0)
    raised: list[BaseException] = []

    def intrude() -> None:
        try:
            mailbox.put(event(EventType.TRADE, 1))
        except WrongThread as error:
            raised.append(error)

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert len(raised) == 1
    assert "consumer" in str(raised[0])


# --- when it is full -------------------------------------------------------------------------------------


def test_a_full_mailbox_keeps_the_latest_of_each_stream() -> None:
    mailbox = box(capacity=3)
    for number, symbol in enumerate(("BTC-USDT", "ETH-USDT", "BTC-USDT", "BTC-USDT", "ETH-USDT"), 1):
        mailbox.put(event(EventType.TICKER, number, symbol))
    batch = mailbox.take_now()
    assert [(one.symbol, one.sequence) for one in batch] == [("BTC-USDT", 4), ("ETH-USDT", 5)]
    assert (mailbox.coalesced, mailbox.dropped.total()) == (3, 0)
    assert not mailbox.is_in_order
    assert mailbox.context.telemetry.count("backpressure.triggered") == 1
    assert mailbox.context.telemetry.count("coalescing.applied") == 1
    balance(mailbox, 2)


def test_the_pressure_is_over_with_the_next_take() -> None:
    mailbox = box(capacity=1)
    for number in (1, 2):
        mailbox.put(event(EventType.TICKER, number))
    assert numbers(mailbox.take_now()) == [2]
    mailbox.put(event(EventType.TRADE, 3))
    assert numbers(mailbox.take_now()) == [3]
    assert mailbox.is_in_order


def test_only_what_the_policy_folds_is_folded() -> None:
    folds = {EventType.TICKER}
    mailbox = box(capacity=2, folds=lambda one: one.stream.event_type in folds)
    for number in range(1, 4):
        mailbox.put(event(EventType.TICKER, number))
        mailbox.put(event(EventType.BEST_QUOTE, number))
    batch = mailbox.take_now()
    kept = [(one.event_type.value, one.sequence) for one in batch if one.event_type is not EventType.GAP]
    assert kept == [("BestQuote", 2), ("Ticker", 3), ("BestQuote", 3)]
    assert mailbox.dropped == {"mailbox_full": 1}


def test_closed_klines_survive_and_open_ones_become_one() -> None:
    mailbox = box(capacity=4)
    for number in range(1, 13):
        mailbox.put(event(EventType.KLINE, number))
    batch = mailbox.take_now()
    assert [(one.sequence, one.payload.is_closed) for one in batch] == [(5, True), (10, True), (12, False)]
    balance(mailbox, 3)


def test_an_open_kline_never_follows_the_closed_one_that_ended_it() -> None:
    mailbox = box(capacity=1)
    for number in (4, 5):  # received at the same moment
        mailbox.put(event(EventType.KLINE, number))
    mailbox.put(event(EventType.TICKER, 9))
    assert [(one.event_type.value, one.sequence) for one in mailbox.take_now()] == [
        ("KlineSummary", 4),
        ("KlineSummary", 5),
        ("Ticker", 9),
    ]


def test_what_was_held_back_for_order_stays_in_order() -> None:
    mailbox = box(capacity=2)
    for number, ingest_ts in ((5, 300), (6, 100), (7, 200), (8, 400)):
        mailbox.put(event(EventType.TRADE, number, ingest_ts=ingest_ts))
    assert numbers(mailbox.take_now())[1:] == [7, 8]
    for number, ingest_ts in ((9, 300), (10, 100)):
        mailbox.put(event(EventType.TRADE, number, ingest_ts=ingest_ts))
    mailbox.put(event(EventType.TICKER, 1, ingest_ts=50))
    assert numbers(mailbox.take_now()) == [9, 10, 1]


def test_trades_drop_at_the_old_end_and_a_marker_says_what_is_missing() -> None:
    letters = DeadLetters()
    mailbox = box(capacity=3, context=Context("bus", dead_letters=letters, clock=lambda: 77))
    for number in range(1, 9):
        mailbox.put(event(EventType.TRADE, number))
    for number in (20, 21):
        mailbox.put(event(EventType.TRADE, number, "ETH-USDT"))
    marker, *kept = mailbox.take_now()
    assert numbers(kept) == [8, 20, 21]
    assert marker.event_type is EventType.GAP
    assert (marker.provider, marker.symbol, marker.channel) == ("binance", "BTC-USDT", "Trade")
    assert marker.payload == GapData(7, 1, 7, "mailbox_full")
    assert marker.ingest_ts == 77
    assert mailbox.dropped == {"mailbox_full": 7}
    assert letters.by_reason() == {"mailbox_full": 7}
    assert mailbox.markers == 1
    balance(mailbox, 4)


def test_a_gap_is_told_once_and_its_stream_is_one_object() -> None:
    mailbox = box(capacity=1)
    markers = []
    for start in (1, 10):
        for number in range(start, start + 3):
            mailbox.put(event(EventType.TRADE, number))
        marker, kept = mailbox.take_now()
        assert kept.sequence == start + 2
        markers.append(marker)
    assert [marker.payload for marker in markers] == [
        GapData(2, 1, 2, "mailbox_full"),
        GapData(2, 10, 11, "mailbox_full"),
    ]
    assert markers[0].stream is markers[1].stream


@pytest.mark.parametrize(
    ("when_full", "kept", "place", "gap"),
    [("drop_oldest", [4, 5], 0, (1, 3)), ("drop_newest", [1, 2], 2, (3, 5))],
)
def test_market_data_is_dropped_at_the_end_that_the_policy_names(
    when_full: str, kept: list[int], place: int, gap: tuple[int, int]
) -> None:
    mailbox = box(capacity=2, when_full=when_full)
    for number in range(1, 6):
        mailbox.put(event(EventType.TICKER, number))
    batch = mailbox.take_now()
    marker = batch.pop(place)
    assert numbers(batch) == kept
    assert marker.payload == GapData(3, *gap, "mailbox_full")
    assert mailbox.coalesced == 0
    balance(mailbox, 3)


@pytest.mark.parametrize("when_full", POLICIES[:3])
def test_books_fold_whatever_the_policy(when_full: str) -> None:
    mailbox = box(capacity=1, when_full=when_full)
    for number in range(1, 6):
        mailbox.put(event(EventType.BOOK_UPDATE, number))
    (folded,) = mailbox.take_now()
    assert (folded.first_sequence, folded.sequence) == (1, 5)
    assert (mailbox.coalesced, mailbox.dropped.total()) == (4, 0)


def test_books_of_two_channels_do_not_mix() -> None:
    mailbox = box(capacity=1)
    whole, top = (
        make_stream(event_type=EventType.BOOK_SNAPSHOT, channel=channel) for channel in ("depth", "depth5")
    )
    mailbox.put(make_event(1, whole, payload=BookSnapshotData([("9", "1"), ("8", "1")], [])))
    mailbox.put(make_event(2, top, payload=BookSnapshotData([("9", "2")], [])))
    mailbox.put(make_event(3, top, payload=BookSnapshotData([("9", "3")], [])))
    batch = mailbox.take_now()
    assert [(one.channel, one.payload.bids) for one in batch] == [
        ("depth", [("9", "1"), ("8", "1")]),
        ("depth5", [("9", "3")]),
    ]


def test_dead_letters_wait_like_market_data_without_a_key() -> None:
    mailbox = box(capacity=2)
    letters = [DeadLetter("decode", "malformed", str(n), 0, b"{") for n in range(5)]
    for letter in letters:
        mailbox.put(letter)
    assert mailbox.take_now() == letters[3:]
    assert mailbox.dropped == {"mailbox_full": 3}
    balance(mailbox, 2)


class Unreadable:
    """A payload that shows its fault only when it is read."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault or ValueError("malformed levels")

    @property
    def bids(self) -> Any:
        raise self.fault

    @property
    def is_closed(self) -> Any:
        raise ValueError("malformed candle")

    def row(self) -> Any:
        raise ValueError("malformed")


def test_a_payload_that_cannot_be_read_costs_only_itself() -> None:
    letters = DeadLetters()
    mailbox = box(capacity=1, context=Context("bus", dead_letters=letters))
    mailbox.put(event(EventType.BOOK_UPDATE, 1))
    mailbox.put(event(EventType.BOOK_UPDATE, 2, payload=Unreadable()))
    mailbox.put(event(EventType.BOOK_UPDATE, 3))
    marker, folded = mailbox.take_now()
    assert marker.payload == GapData(1, 2, 2, "unreadable")
    assert folded.payload.bids == [("3", "3"), ("1", "1")]
    assert letters.by_reason() == {"unreadable": 1}
    assert mailbox.coalesced == 1
    balance(mailbox, 2)


def test_a_bug_of_ownership_is_no_unreadable_payload() -> None:
    mailbox = box(capacity=1)
    mailbox.put(event(EventType.BOOK_UPDATE, 1))
    with pytest.raises(UsedAfterPut):
        mailbox.put(event(EventType.BOOK_UPDATE, 2, payload=Unreadable(UsedAfterPut("gone"))))
    assert mailbox.dropped == {}


@pytest.mark.parametrize("level", [("x", "y"), (1.5, "1"), ("1", None), (("1",), "1")])
def test_a_folded_book_whose_levels_are_no_numbers_is_given_up(level: Any) -> None:
    mailbox = box(capacity=1)
    mailbox.put(event(EventType.BOOK_SNAPSHOT, 1, payload=BookSnapshotData([level], [])))
    mailbox.put(event(EventType.BOOK_UPDATE, 2))
    (marker,) = mailbox.take_now()
    assert marker.payload.reason == "unreadable"
    balance(mailbox, 1)


# --- critical events ---------------------------------------------------------------------------------------


def test_critical_events_come_first_and_past_the_bound_the_mailbox_says_so() -> None:
    mailbox = box(capacity=2)
    mailbox.critical_bound = 3
    for number in range(1, 8):
        mailbox.put(event(EventType.TICKER, number))
        mailbox.put(event(EventType.EXEC_REPORT, number))
    triggered = mailbox.context.telemetry.counts
    assert triggered[("bus", "backpressure.triggered", "consumer", "critical_bound")] == 1
    assert [(one.event_type.value, one.sequence) for one in mailbox.take_now()] == [
        *(("ExecReport", n) for n in range(1, 8)),
        ("Ticker", 7),
    ]


# --- block ---------------------------------------------------------------------------------------


async def test_a_full_block_mailbox_pauses_the_sources_until_it_is_taken() -> None:
    gate = Gate()
    first, second = (box(capacity=1, when_full="block", gate=gate) for _ in range(2))
    assert gate() is None
    for mailbox in (first, second):
        mailbox.put(event(EventType.TRADE, 1))
        mailbox.put(event(EventType.TRADE, 2))
    waiting = gate()
    assert waiting is not None
    first.take_now()
    assert not waiting.done()
    second.take_now()
    assert waiting.done()
    assert gate() is None


async def test_a_source_that_was_cancelled_at_the_gate_does_not_hinder_the_others() -> None:
    gate = Gate()
    mailbox = box(capacity=1, when_full="block", gate=gate)
    for number in (1, 2):
        mailbox.put(event(EventType.TRADE, number))
    gone, waiting = gate(), gate()
    assert gone is not None
    assert waiting is not None
    gone.cancel()
    mailbox.take_now()
    assert waiting.done()
