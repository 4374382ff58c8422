"""Conflation: a consumer that is behind ends with exactly the book of one that got everything."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.context import Context
from flow.events.merged import merged_stream
from flow.events.payloads import BookSnapshotData, BookUpdateData, GapData, KlineData
from flow.events.stream import EventType
from flow.graph.spec import MailboxSpec
from flow.runtime.conflation import BookFold, is_final, slot_key
from flow.runtime.mailbox import Mailbox
from flow.testing import make_event, make_stream

SNAPSHOTS = make_stream(event_type=EventType.BOOK_SNAPSHOT, channel="depth")
UPDATES = make_stream(event_type=EventType.BOOK_UPDATE, channel="depth")
ZEROS = ("0", "0.0", "0.00000000")


def snapshot(number: int, bids: Any, asks: Any) -> Any:
    return make_event(number, SNAPSHOTS, payload=BookSnapshotData(bids, asks))


def update(number: int, bids: Any, asks: Any, first: int | None = None) -> Any:
    return make_event(number, UPDATES, first=first, payload=BookUpdateData(bids, asks))


class Reader:
    """A consumer's book: levels by their number."""

    def __init__(self) -> None:
        self.sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})

    def read(self, event: Any) -> None:
        if event.event_type is EventType.BOOK_SNAPSHOT:
            self.sides = ({}, {})
        for side, levels in zip(self.sides, (event.payload.bids, event.payload.asks), strict=True):
            for price, quantity in levels:
                if Decimal(quantity):
                    side[Decimal(price)] = Decimal(quantity)
                else:
                    side.pop(Decimal(price), None)


class TextReader(Reader):
    """One that takes prices for names, as it may where the exchange always writes a price the same way."""

    def read(self, event: Any) -> None:
        if event.event_type is EventType.BOOK_SNAPSHOT:
            self.sides = ({}, {})
        for side, levels in zip(self.sides, (event.payload.bids, event.payload.asks), strict=True):
            for price, quantity in levels:
                side.pop(price, None)  # type: ignore[arg-type]
                if float(quantity):
                    side[price] = quantity  # type: ignore[index, assignment]


quantities = st.sampled_from(["1", "2.50", "0.00000001", *ZEROS])
one_text = st.integers(1, 9).map(lambda n: f"{n}.50000000")
many_texts = st.builds(
    lambda n, form: form.format(n), st.integers(1, 6), st.sampled_from(["{}", "{}.0", "{}.00", "{}e0"])
)
long_prices = st.integers(1, 6).map(lambda n: f"0.12345678901234567890{n}")


def books(prices: st.SearchStrategy[str]) -> st.SearchStrategy[list[Any]]:
    levels = st.lists(st.tuples(prices, quantities), max_size=6)
    kinds = st.sampled_from(["update", "update", "update", "snapshot"])
    event = st.tuples(kinds, levels, levels)
    return st.lists(st.one_of(event, event, event, st.just("take")), max_size=60)


def deliver(script: list[Any], capacity: int, slow: Reader, prompt: Reader) -> None:
    """Give `prompt` every event and `slow` what a small mailbox leaves of them; equal after every take."""
    mailbox = Mailbox("slow", MailboxSpec(capacity=capacity), Context())
    for number, step in enumerate([*script, "take"], 1):
        if step != "take":
            kind, bids, asks = step
            event = snapshot(number, bids, asks) if kind == "snapshot" else update(number, bids, asks)
            prompt.read(event)
            mailbox.put(event)
            continue
        for event in mailbox.take_now():
            slow.read(event)
        assert slow.sides == prompt.sides
    assert mailbox.dropped.total() == 0


@given(script=books(one_text), capacity=st.integers(1, 5))
def test_a_slow_reader_has_the_book_of_a_prompt_one(script: list[Any], capacity: int) -> None:
    deliver(script, capacity, Reader(), Reader())


@given(script=books(one_text), capacity=st.integers(1, 5))
def test_also_where_prices_are_taken_for_names(script: list[Any], capacity: int) -> None:
    deliver(script, capacity, TextReader(), TextReader())


@given(script=books(many_texts), capacity=st.integers(1, 5))
def test_also_where_a_price_is_written_in_several_ways(script: list[Any], capacity: int) -> None:
    deliver(script, capacity, Reader(), Reader())


@given(script=books(long_prices), capacity=st.integers(1, 5))
def test_also_where_floats_cannot_tell_prices_apart(script: list[Any], capacity: int) -> None:
    deliver(script, capacity, Reader(), Reader())


def test_updates_become_one_update_with_the_range_of_all() -> None:
    fold = BookFold(update(12, [("5", "1")], [("6", "1")], first=10))
    fold.add(update(15, [("4", "2"), ("5", "0")], [], first=13))
    fold.add(update(17, [("5", "3")], [("6", "9")], first=16))
    folded = fold.event()
    assert folded.stream is UPDATES
    assert (folded.first_sequence, folded.sequence) == (10, 17)
    assert folded.payload == BookUpdateData([("5", "3"), ("4", "2")], [("6", "9")])


def test_an_update_that_was_folded_is_sorted_like_those_of_the_exchange() -> None:
    fold = BookFold(update(1, [("9", "1"), ("8", "0")], [("11", "1")]))
    fold.add(update(2, [("9", "2"), ("10", "1")], [("12", "0"), ("9.5", "1")]))
    assert fold.event().payload == BookUpdateData(
        [("10", "1"), ("9", "2"), ("8", "0")], [("9.5", "1"), ("11", "1"), ("12", "0")]
    )


def test_of_the_texts_of_one_price_the_last_that_changed_comes_last() -> None:
    fold = BookFold(update(1, [("5", "1"), ("5.0", "2")], []))
    fold.add(update(2, [("5", "0")], []))
    assert fold.event().payload.bids == [("5.0", "2"), ("5", "0")]


def test_updates_fold_into_a_snapshot_which_stays_sorted_and_without_zeros() -> None:
    fold = BookFold(update(1, [("1", "1")], []))
    fold.add(snapshot(5, [("5", "1"), ("4", "1")], [("6", "1"), ("10", "1")]))
    fold.add(update(8, [("4.5", "2"), ("5", "0.000")], [("7", "3")], first=6))
    folded = fold.event()
    assert folded.stream is SNAPSHOTS
    assert (folded.first_sequence, folded.sequence) == (5, 8)
    assert folded.payload == BookSnapshotData(
        [("4.5", "2"), ("4", "1")], [("6", "1"), ("7", "3"), ("10", "1")]
    )


def test_a_snapshot_replaces_what_waited() -> None:
    fold = BookFold(update(3, [("1", "1")], [("2", "1")]))
    fold.add(snapshot(9, [("5", "1")], []))
    assert fold.event().payload == BookSnapshotData([("5", "1")], [])


@pytest.mark.parametrize(
    ("waiting", "later"),
    [
        ("5", "5.0"),
        ("5.00", "5"),
        ("0.50", "5e-1"),
        ("50", "5e1"),
        ("5E1", "50"),
        ("100", "1.00e+2"),
        ("1.50", "1.500"),
    ],
)
def test_however_a_price_is_written_a_snapshot_has_it_once(waiting: str, later: str) -> None:
    fold = BookFold(snapshot(1, [(waiting, "1")], [("900", "1"), (waiting, "1")]))
    fold.add(update(2, [(later, "2")], [(later, "0")]))
    assert fold.event().payload == BookSnapshotData([(later, "2")], [("900", "1")])


@pytest.mark.parametrize(
    "prices", [("10", "1"), ("100", "1e1"), ("10.0", "1.0"), ("0.5", "0.05"), ("1.10", "1.01")]
)
def test_prices_that_look_alike_stay_apart(prices: tuple[str, str]) -> None:
    fold = BookFold(snapshot(1, [(prices[0], "1")], []))
    fold.add(update(2, [(prices[1], "2")], []))
    assert fold.event().payload.bids == [(prices[0], "1"), (prices[1], "2")]


def test_prices_that_floats_cannot_tell_apart_are_sorted() -> None:
    low, middle, high = (f"0.12345678901234567890{digit}" for digit in (1, 2, 3))
    sides = [(middle, "1"), (low, "1"), (high, "1")]
    assert float(low) == float(high)
    folded = BookFold(snapshot(1, sides, sides)).event()
    assert [price for price, _ in folded.payload.bids] == [high, middle, low]
    assert [price for price, _ in folded.payload.asks] == [low, middle, high]


def test_the_fold_bears_the_times_of_its_latest_event_and_leaves_the_events_alone() -> None:
    first = make_event(1, UPDATES, ingest_ts=100, payload=BookUpdateData([("5", "1")], []))
    second = make_event(2, UPDATES, ingest_ts=200, payload=BookUpdateData([("5", "2")], []))
    fold = BookFold(first)
    fold.add(second)
    assert fold.event().ingest_ts == 200
    assert (first.payload.bids, second.first_sequence) == ([("5", "1")], 2)


@pytest.mark.parametrize(
    ("event_type", "is_closed", "expected"),
    [
        (EventType.KLINE, True, True),
        (EventType.KLINE, False, False),
        (EventType.TICKER, False, False),
        (EventType.BEST_QUOTE, False, False),
        (EventType.TRADE, False, True),
        (EventType.MERGED, False, True),
        (EventType.EXEC_REPORT, False, True),
        (EventType.CONTROL_ACK, False, True),
    ],
)
def test_what_nothing_later_replaces(event_type: EventType, is_closed: bool, expected: bool) -> None:
    payload = KlineData("1m", 0, 60, "1", "1", "1", "1", "1", "1", 1, is_closed)
    event = make_event(1, make_stream(event_type=event_type), payload=payload)
    assert is_final(event) is expected


def test_merged_events_wait_each_for_itself_and_a_gap_says_what_is_missing() -> None:
    merged = merged_stream("BTC-USDT", EventType.BEST_QUOTE)
    mailbox = Mailbox("slow", MailboxSpec(capacity=2), Context())
    for number in range(1, 6):
        mailbox.put(make_event(number, merged))
    marker, *kept = mailbox.take_now()
    assert [event.sequence for event in kept] == [4, 5]
    assert (marker.stream.provider, marker.stream.event_type) == ("merged", EventType.GAP)
    assert marker.payload == GapData(3, 1, 3, "mailbox_full")
    assert (mailbox.coalesced, mailbox.dropped) == (0, {"mailbox_full": 3})


def test_keys() -> None:
    assert slot_key(SNAPSHOTS) == slot_key(UPDATES)
    assert slot_key(SNAPSHOTS) != slot_key(
        make_stream(event_type=EventType.BOOK_UPDATE, channel="depth", symbol="ETH-USDT")
    )
    minute, five = (make_stream(event_type=EventType.KLINE, channel=c) for c in ("kline_1m", "kline_5m"))
    assert slot_key(minute) != slot_key(five)
