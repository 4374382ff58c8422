"""The wire structs: what they read, under which names, and when malformed parts are found."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flow.events.payloads import BestQuote, BookSnapshot, BookUpdate, Kline, Ticker, Trade
from nodes.providers.binance import wire

TRADE = {
    "e": "trade",
    "E": 12,
    "s": "BNBBTC",
    "t": 345,
    "p": "0.001",
    "q": "100",
    "T": 11,
    "m": True,
    "M": True,
}
AGG_TRADE = {**TRADE, "e": "aggTrade", "a": 99, "f": 100, "l": 105}
QUOTE = {"u": 7, "s": "BNBUSDT", "b": "25.35190000", "B": "31.21", "a": "25.36520000", "A": "40.66"}
BAR = {
    "t": 60_000,
    "T": 119_999,
    "s": "BNBBTC",
    "i": "1m",
    "f": -1,
    "L": -1,
    "o": "1.0",
    "c": "2.0",
    "h": "2.5",
    "l": "0.5",
    "v": "1000",
    "n": 3,
    "x": True,
    "q": "1500.0",
    "V": "500",
    "Q": "0.5",
    "B": "0",
}
KLINE = {"e": "kline", "E": 60_001, "s": "BNBBTC", "k": BAR}
DEPTH = {"e": "depthUpdate", "E": 5, "s": "BNBBTC", "U": 157, "u": 160, "b": [["0.0024", "10"]], "a": []}
PARTIAL = {"lastUpdateId": 160, "bids": [["0.0024", "10"]], "asks": [["0.0026", "100"], ["0.0027", "1"]]}
STATISTICS = {"E": 9, "c": "0.0025", "o": "0.0010", "h": "0.0026", "l": "0.0009", "v": "10000", "q": "18"}
TWO_SIDES = b'{"e":"depthUpdate","E":5,"U":1,"u":2,"b":%b,"a":%b}'


def read(data: dict[str, Any], kind: type[Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(data), type=kind)


@pytest.mark.parametrize(
    ("data", "kind", "view"),
    [
        (TRADE, wire.SingleTrade, Trade),
        (AGG_TRADE, wire.AggTrade, Trade),
        (QUOTE, wire.BookTicker, BestQuote),
        (BAR, wire.Bar, Kline),
        (KLINE, wire.LazyKlineUpdate, Kline),
        (DEPTH, wire.DepthUpdate, BookUpdate),
        (DEPTH, wire.LazyDepthUpdate, BookUpdate),
        (PARTIAL, wire.PartialDepth, BookSnapshot),
        (PARTIAL, wire.LazyPartialDepth, BookSnapshot),
        ({"e": "24hrTicker", **STATISTICS}, wire.DayTicker, Ticker),
        ({"e": "24hrMiniTicker", **STATISTICS}, wire.MiniTicker, Ticker),
        ({"e": "1hTicker", **STATISTICS}, wire.HourTicker, Ticker),
        ({"e": "4hTicker", **STATISTICS}, wire.FourHourTicker, Ticker),
        ({"e": "1dTicker", **STATISTICS}, wire.OneDayTicker, Ticker),
    ],
)
def test_a_payload_is_the_view_of_its_type(data: dict[str, Any], kind: type[Any], view: type[Any]) -> None:
    payload = read(data, kind)
    assert isinstance(payload, view)
    assert payload.row() == msgspec.json.decode(msgspec.json.encode(payload.row()))


def test_a_trade_says_who_took_and_when() -> None:
    assert read(TRADE, wire.SingleTrade).row() == {
        "price": "0.001",
        "quantity": "100",
        "trade_id": 345,
        "taker_side": "sell",
        "trade_ts": 11_000_000,
    }
    assert read({**AGG_TRADE, "m": False}, wire.AggTrade).row() == {
        "price": "0.001",
        "quantity": "100",
        "trade_id": 99,
        "taker_side": "buy",
        "trade_ts": 11_000_000,
    }


def test_a_quote_keeps_the_digits_of_the_exchange() -> None:
    assert read(QUOTE, wire.BookTicker).row() == {
        "bid_price": "25.35190000",
        "bid_quantity": "31.21",
        "ask_price": "25.36520000",
        "ask_quantity": "40.66",
    }


def test_statistics_are_read_under_canonical_names() -> None:
    assert read({"e": "24hrTicker", **STATISTICS}, wire.DayTicker).row() == {
        "last_price": "0.0025",
        "open_price": "0.0010",
        "high_price": "0.0026",
        "low_price": "0.0009",
        "volume": "10000",
        "quote_volume": "18",
    }


def test_a_candle_is_the_same_read_at_once_and_later() -> None:
    at_once, later = read(KLINE, wire.KlineUpdate), read(KLINE, wire.LazyKlineUpdate)
    assert type(later.candle) is msgspec.Raw
    assert (
        later.row()
        == at_once.bar.row()
        == {
            "interval": "1m",
            "open_ts": 60_000_000_000,
            "close_ts": 119_999_000_000,
            "open": "1.0",
            "high": "2.5",
            "low": "0.5",
            "close": "2.0",
            "volume": "1000",
            "quote_volume": "1500.0",
            "trade_count": 3,
            "is_closed": True,
        }
    )
    assert later.bar is later.bar
    assert later.close_float == 2.0


@pytest.mark.parametrize(
    ("data", "eager", "lazy"),
    [
        (DEPTH, wire.DepthUpdate, wire.LazyDepthUpdate),
        (PARTIAL, wire.PartialDepth, wire.LazyPartialDepth),
    ],
)
def test_levels_are_the_same_read_at_once_and_later(
    data: dict[str, Any], eager: type[Any], lazy: type[Any]
) -> None:
    at_once, later = read(data, eager), read(data, lazy)
    assert type(later.bid_levels) is type(later.ask_levels) is msgspec.Raw
    assert later.bids == at_once.bids == [("0.0024", "10")]
    assert later.asks == at_once.asks
    assert later.bids is later.bids, "what was read is kept"
    assert later.asks is later.asks
    assert later.row() == at_once.row()


def test_a_depth_update_gives_its_range() -> None:
    for kind in (wire.DepthUpdate, wire.LazyDepthUpdate):
        update = read(DEPTH, kind)
        assert (update.event_ms, update.first_id, update.last_id) == (5, 157, 160)


@pytest.mark.parametrize(
    "levels",
    [
        b"5",
        b'"x"',
        b"null",
        b"{}",
        b"[[1,2]]",
        b'[["1"]]',
        b'[["1","2","3"]]',
        b'[["\xff","1"]]',
        b'["1","2"]',
    ],
)
@pytest.mark.parametrize("side", ["bids", "asks"])
def test_malformed_levels_are_refused_at_once_or_where_they_are_read(levels: bytes, side: str) -> None:
    parts = (levels, b"[]") if side == "bids" else (b"[]", levels)
    data = TWO_SIDES % parts
    with pytest.raises((msgspec.ValidationError, UnicodeDecodeError)):
        msgspec.json.decode(data, type=wire.DepthUpdate)
    later = msgspec.json.decode(data, type=wire.LazyDepthUpdate)
    assert getattr(later, "asks" if side == "bids" else "bids") == []
    for _ in range(2):
        with pytest.raises(ValueError, match=f"malformed {side[:3]}_levels"):
            getattr(later, side)
    with pytest.raises(ValueError, match="malformed"):
        later.row()


def test_a_malformed_candle_is_refused_where_it_is_read() -> None:
    later = read({**KLINE, "k": {"t": 1}}, wire.LazyKlineUpdate)
    with pytest.raises(ValueError, match=r"malformed candle: .*missing required field"):
        _ = later.is_closed


@pytest.mark.parametrize("field", ["E", "t", "p", "q", "T", "m"])
def test_nothing_that_is_read_may_be_missing(field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"`{field}`"):
        read({key: value for key, value in TRADE.items() if key != field}, wire.SingleTrade)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("E", -1),
        ("E", 2**63 // 1_000_000 + 1),
        ("E", 1_672_515_782_136_000),
        ("E", 1.5),
        ("E", "12"),
        ("t", -1),
        ("t", 2**63),
        ("t", 2**64),
        ("t", None),
        ("p", 0.001),
        ("m", 1),
        ("e", "aggTrade"),
        ("e", 5),
    ],
)
def test_what_is_no_such_thing_is_refused(field: str, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"`\$\.{field}`"):
        read({**TRADE, field: value}, wire.SingleTrade)


def test_the_largest_numbers_pass() -> None:
    trade = read({**TRADE, "t": 2**63 - 1, "T": (2**63 - 1) // 1_000_000}, wire.SingleTrade)
    assert trade.trade_id == 2**63 - 1
    assert trade.trade_ts < 2**63
