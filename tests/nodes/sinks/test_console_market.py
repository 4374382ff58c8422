"""What the console knows: a right top of every book, behind a full mailbox too."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.context import Context
from flow.events.payloads import (
    BestQuoteData,
    BookSnapshotData,
    BookUpdateData,
    GapData,
    KlineData,
    TickerData,
    TradeData,
)
from flow.events.stream import EventType
from flow.graph.spec import MailboxSpec
from flow.runtime.mailbox import Mailbox
from flow.testing import make_event, make_stream
from nodes.sinks.console_market import Market, Row, trimmed

SECOND = 1_000_000_000
BOOKS = (EventType.BOOK_SNAPSHOT, EventType.BOOK_UPDATE)
STREAMS = {
    (kind, symbol): make_stream(
        event_type=kind, symbol=symbol, channel="depth" if kind in BOOKS else kind.value
    )
    for kind in EventType
    for symbol in ("BTC-USDT", "ETH-USDT")
}


def event(kind: EventType, payload: Any, *, at: int = 0, symbol: str = "BTC-USDT", number: int = 1) -> Any:
    return make_event(number, STREAMS[kind, symbol], payload=payload, ingest_ts=at)


def quote(bid: str, ask: str, **more: Any) -> Any:
    return event(EventType.BEST_QUOTE, BestQuoteData(bid, "1", ask, "2"), **more)


def trade(price: str = "5", side: Any = "buy", **more: Any) -> Any:
    return event(EventType.TRADE, TradeData(price, "1", 1, side), **more)


def snapshot(bids: Any, asks: Any, **more: Any) -> Any:
    return event(EventType.BOOK_SNAPSHOT, BookSnapshotData(bids, asks), **more)


def update(bids: Any, asks: Any, **more: Any) -> Any:
    return event(EventType.BOOK_UPDATE, BookUpdateData(bids, asks), **more)


def market(*events: Any, now: int = 0) -> Market:
    made = Market()
    for one in events:
        made.add(one, now)
    return made


def row(*events: Any, now: int = 0) -> Row:
    (only,) = market(*events, now=now).rows(5, now)
    return only


def test_the_top_comes_from_the_best_quote() -> None:
    shown = row(quote("64210.10000000", "64210.20000000"))
    assert (shown.bid, shown.bid_size, shown.ask, shown.ask_size) == (
        "64210.10000000",
        "1",
        "64210.20000000",
        "2",
    )
    assert shown.spread == "0.10000000"
    assert shown.book == ""


def test_the_top_comes_from_the_book_where_there_is_no_quote() -> None:
    shown = row(
        snapshot([("9", "1"), ("8", "2")], [("11", "3"), ("10", "4")]),
        update([("9.0", "0.00")], [("9.5", "7")], at=SECOND),
        now=3 * SECOND,
    )
    assert (shown.bid, shown.bid_size, shown.ask, shown.ask_size) == ("8", "2", "9.5", "7")
    assert (shown.book, shown.book_age_s) == ("live", 2.0)


def test_a_quote_that_is_much_older_than_the_book_gives_way() -> None:
    old = quote("1", "2", at=0)
    assert row(old, snapshot([("9", "1")], [("10", "1")], at=SECOND)).bid == "1"
    assert row(old, snapshot([("9", "1")], [("10", "1")], at=3 * SECOND)).bid == "9"


def test_updates_without_a_snapshot_make_no_book() -> None:
    shown = row(update([("9", "1")], [("10", "1")]))
    assert (shown.book, shown.bid, shown.ask) == ("partial", "", "")


def test_a_crossed_book_is_called_so_and_an_empty_side_is_no_fault() -> None:
    assert row(snapshot([("10", "1")], [("10", "1")])).book == "crossed"
    empty = row(snapshot([("10", "1")], []))
    assert (empty.book, empty.bid, empty.ask, empty.spread) == ("live", "10", "", "")


def test_a_gap_is_counted_and_a_book_with_one_is_not_trusted() -> None:
    gap = event(EventType.GAP, GapData(7, 1, 7, "mailbox_full"))
    shown = market(trade(), gap, gap)
    assert (shown.missed, shown.rows(1, 0)[0].missed, shown.events) == (14, 14, 1)

    lost = make_event(
        1, make_stream(event_type=EventType.GAP, channel="depth"), payload=GapData(1, 1, 1, "unreadable")
    )
    whole = snapshot([("9", "1")], [("10", "1")])
    assert row(whole, lost).book == "partial"
    assert row(whole, lost, whole).book == "live"


def test_a_book_that_cannot_be_read_is_not_trusted() -> None:
    made = market(snapshot([("9", "1")], [("10", "1")]))
    with pytest.raises(ValueError, match="x"):
        made.add(update([("8", "1"), ("x", "1")], []), 0)
    assert made.rows(1, 0)[0].book == "partial"


def test_the_last_price_is_a_trade_or_what_comes_nearest() -> None:
    ticker = event(EventType.TICKER, TickerData("102", "100", "1", "1", "1", "1"))
    kline = event(EventType.KLINE, KlineData("1m", 0, 1, "1", "1", "1", "103", "1", "1", 1, False))
    assert (row(ticker).last, row(ticker).side, row(ticker).change_percent) == ("102", "", pytest.approx(2.0))
    assert row(ticker, kline).last == "103"
    shown = row(trade("101", "sell"), ticker, kline)
    assert (shown.last, shown.side) == ("101", "sell")
    nothing = event(EventType.TICKER, TickerData("0", "0", "0", "0", "0", "0"))
    assert row(nothing).change_percent is None


def test_events_of_other_types_are_counted() -> None:
    assert market(event(EventType.EXEC_REPORT, None)).events == 1


def test_rates_lag_and_the_most_active_first() -> None:
    made = market(*[trade(at=SECOND)] * 30, *[trade(symbol="ETH-USDT", at=2 * SECOND)] * 60, now=3 * SECOND)
    made.sample(2.0)
    assert made.rate == 45.0
    first, second = made.rows(5, 0)
    assert (first.name, first.rate, first.lag_ms) == ("ETH-USDT", 30.0, 1000.0)
    assert (second.name, second.rate, second.lag_ms) == ("BTC-USDT", 15.0, 2000.0)
    assert [shown.name for shown in made.rows(1, 0)] == ["ETH-USDT"]
    made.sample(1.0)
    assert (made.rate, made.rows(5, 0)[0].lag_ms) == (0.0, 0.0)


def test_rows_keep_their_places_until_one_is_clearly_more_active() -> None:
    made = market(*[trade()] * 100, *[trade(symbol="ETH-USDT")] * 100)
    names = []
    for busy in (220, 100, 150, 1000, 1000, 100):
        made.sample(1.0)
        names.append([shown.name for shown in made.rows(5, 0)])
        for one in (*[trade()] * 100, *[trade(symbol="ETH-USDT")] * busy):
            made.add(one, 0)
    assert names == [["BTC-USDT", "ETH-USDT"]] * 4 + [["ETH-USDT", "BTC-USDT"]] * 2


def test_a_symbol_that_came_late_is_shown_too() -> None:
    made = market(trade())
    made.sample(1.0)
    made.add(trade(symbol="ETH-USDT"), 0)
    assert [shown.name for shown in made.rows(5, 0)] == ["BTC-USDT", "ETH-USDT"]
    made.sample(1.0)
    assert [shown.name for shown in made.rows(5, 0)] == ["BTC-USDT", "ETH-USDT"]


def test_providers_are_named_where_there_are_several() -> None:
    other = make_event(1, make_stream(provider="kraken"), payload=TradeData("1", "1", 1, "buy"))
    assert {shown.name for shown in market(trade(), other).rows(5, 0)} == {
        "binance BTC-USDT",
        "kraken BTC-USDT",
    }


levels = st.lists(
    st.tuples(
        st.sampled_from(["1.10", "1.20", "1.3", "1.30", "2"]), st.sampled_from(["0", "0.00", "1", "2.5"])
    ),
    max_size=4,
)
script = st.lists(
    st.one_of(st.tuples(st.sampled_from(["snapshot", "update", "update"]), levels, levels), st.just("take")),
    max_size=40,
)


@given(script=script, capacity=st.integers(1, 4))
def test_the_top_is_right_behind_a_mailbox_that_folds(script: list[Any], capacity: int) -> None:
    mailbox = Mailbox("console", MailboxSpec(capacity=capacity), Context())
    shown = market(snapshot([], []))
    truth: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})
    for number, step in enumerate([*script, "take"], 1):
        if step == "take":
            for one in mailbox.take_now():
                shown.add(one, 0)
            only = shown.rows(1, 0)[0]
            assert Decimal(only.bid or -1) == max(truth[0], default=-1)
            assert Decimal(only.ask or -1) == min(truth[1], default=-1)
            continue
        kind, *sides = step
        mailbox.put((snapshot if kind == "snapshot" else update)(*sides, number=number))
        if kind == "snapshot":
            truth = ({}, {})
        for side, changes in zip(truth, sides, strict=True):
            side.update({Decimal(price): Decimal(quantity) for price, quantity in changes})
            for price in [price for price, quantity in side.items() if not quantity]:
                del side[price]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64210.10000000", "64210.10"),
        ("0.00001234", "0.00001234"),
        ("5.00000000", "5.00"),
        ("5.5", "5.5"),
        ("17", "17"),
        ("", ""),
        ("100", "100"),
    ],
)
def test_zeros_that_say_nothing_are_left_out(text: str, expected: str) -> None:
    assert trimmed(text) == expected
