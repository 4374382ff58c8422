"""Typed payloads of canonical events, as views.

A view names the fields and what can be computed from them; it holds nothing. A provider's wire structs
inherit a view and map the wire's names to it, so that normalising a frame copies nothing; the `*Data` structs
are the plain ones, for tests, for conflated states and for providers whose wire differs too much. Prices and
quantities are decimal strings with the exchange's own digits; the `_float` properties are conveniences that
round.
"""

from __future__ import annotations

import collections.abc
from typing import Any, Literal, Protocol

from msgspec import Struct
from msgspec.structs import asdict

__all__ = [
    "BestQuote",
    "BestQuoteData",
    "BookLevels",
    "BookSnapshot",
    "BookSnapshotData",
    "BookUpdate",
    "BookUpdateData",
    "GapData",
    "Kline",
    "KlineData",
    "Level",
    "Levels",
    "Payload",
    "Side",
    "Ticker",
    "TickerData",
    "Trade",
    "TradeData",
]

Side = Literal["buy", "sell"]
Level = tuple[str, str]
"""(price, quantity), decimal strings; quantity zero in a `BookUpdate` deletes the level."""
Levels = collections.abc.Sequence[Level]


class Payload(Protocol):
    """What every payload can do."""

    def row(self) -> dict[str, Any]:
        """The payload as plain data with canonical names."""
        ...


class Trade:
    """One execution. `taker_side` is the side that took liquidity; `trade_ts` in ns."""

    __slots__ = ()

    price: str
    quantity: str
    trade_id: int | str
    taker_side: Side
    trade_ts: int

    @property
    def price_float(self) -> float:
        return float(self.price)

    @property
    def quantity_float(self) -> float:
        return float(self.quantity)

    def row(self) -> dict[str, Any]:
        return {
            "price": self.price,
            "quantity": self.quantity,
            "trade_id": self.trade_id,
            "taker_side": self.taker_side,
            "trade_ts": self.trade_ts,
        }


class BestQuote:
    """The top of a book."""

    __slots__ = ()

    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str

    @property
    def mid_float(self) -> float:
        return (float(self.bid_price) + float(self.ask_price)) / 2

    def row(self) -> dict[str, Any]:
        return {
            "bid_price": self.bid_price,
            "bid_quantity": self.bid_quantity,
            "ask_price": self.ask_price,
            "ask_quantity": self.ask_quantity,
        }


class Ticker:
    """Statistics of a rolling window, 24 h where the exchange says nothing else."""

    __slots__ = ()

    last_price: str
    open_price: str
    high_price: str
    low_price: str
    volume: str
    quote_volume: str

    @property
    def last_float(self) -> float:
        return float(self.last_price)

    def row(self) -> dict[str, Any]:
        return {
            "last_price": self.last_price,
            "open_price": self.open_price,
            "high_price": self.high_price,
            "low_price": self.low_price,
            "volume": self.volume,
            "quote_volume": self.quote_volume,
        }


class Kline:
    """One candle. `open_ts` and `close_ts` in ns; `is_closed` once it can't change any more."""

    __slots__ = ()

    interval: str
    open_ts: int
    close_ts: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trade_count: int
    is_closed: bool

    @property
    def close_float(self) -> float:
        return float(self.close)

    def row(self) -> dict[str, Any]:
        return {
            "interval": self.interval,
            "open_ts": self.open_ts,
            "close_ts": self.close_ts,
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "close": self.close,
            "volume": self.volume,
            "quote_volume": self.quote_volume,
            "trade_count": self.trade_count,
            "is_closed": self.is_closed,
        }


class BookLevels:
    """Levels of a book: bids from the highest price down, asks from the lowest up, where the exchange sorts
    them."""

    __slots__ = ()

    bids: Levels
    asks: Levels

    def row(self) -> dict[str, Any]:
        return {"bids": [list(level) for level in self.bids], "asks": [list(level) for level in self.asks]}


class BookUpdate(BookLevels):
    """Changed levels with their new absolute quantities; quantity zero deletes."""

    __slots__ = ()


class BookSnapshot(BookLevels):
    """A whole book, or all of it that is known."""

    __slots__ = ()


class TradeData(Struct, Trade, gc=False, frozen=True):
    price: str
    quantity: str
    trade_id: int | str
    taker_side: Side
    trade_ts: int = 0


class BestQuoteData(Struct, BestQuote, gc=False, frozen=True):
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str


class TickerData(Struct, Ticker, gc=False, frozen=True):
    last_price: str
    open_price: str
    high_price: str
    low_price: str
    volume: str
    quote_volume: str


class KlineData(Struct, Kline, gc=False, frozen=True):
    interval: str
    open_ts: int
    close_ts: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trade_count: int
    is_closed: bool


class BookUpdateData(Struct, BookUpdate, gc=False, frozen=True):
    bids: Levels
    asks: Levels


class BookSnapshotData(Struct, BookSnapshot, gc=False, frozen=True):
    bids: Levels
    asks: Levels


class GapData(Struct, gc=False, frozen=True):
    """What a consumer did not get of one stream: `missed` events with numbers from first to last."""

    missed: int
    first_sequence: int
    last_sequence: int
    reason: str

    def row(self) -> dict[str, Any]:
        return asdict(self)
