# pyright: reportIncompatibleVariableOverride=false
# The views name attributes; here some of them are computed.
"""The payloads of Binance's public streams as they are on the wire, which are the canonical payloads too.

Each struct reads the fields that something uses, under canonical names, and is the view of its event type;
nothing is copied afterwards. Times stay in ms as sent (`event_ms`), views give ns. A payload whose `e`
contradicts its struct is refused. The `Lazy` structs keep levels and candles as the bytes received until
somebody reads them, and then keep what was read: a malformed part raises `ValueError` there, not while
decoding.

Source: Binance spot API, "WebSocket Streams", 2026-06.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from flow.events.payloads import (
    BestQuote,
    BookLevels,
    BookSnapshot,
    BookUpdate,
    Kline,
    Level,
    Side,
    Ticker,
    Trade,
)

__all__ = [
    "NS_PER_MS",
    "AggTrade",
    "Bar",
    "BookTicker",
    "DayTicker",
    "DepthUpdate",
    "FourHourTicker",
    "HourTicker",
    "KlineUpdate",
    "LazyDepthUpdate",
    "LazyKlineUpdate",
    "LazyPartialDepth",
    "MiniTicker",
    "OneDayTicker",
    "PartialDepth",
    "SingleTrade",
]

NS_PER_MS: Final = 1_000_000

Milliseconds = Annotated[int, Meta(ge=0, le=(2**63 - 1) // NS_PER_MS)]
"""Since the epoch; what would not fit into 64 bits as ns is no time."""
Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Pairs = list[tuple[str, str]]


class _Execution(
    Struct,
    Trade,
    frozen=True,
    gc=False,
    rename={"event_ms": "E", "price": "p", "quantity": "q", "trade_ms": "T", "is_buyer_maker": "m"},
):
    event_ms: Milliseconds
    price: str
    quantity: str
    trade_ms: Milliseconds
    is_buyer_maker: bool

    @property
    def taker_side(self) -> Side:
        """Where the buyer is the maker, the taker sold."""
        return "sell" if self.is_buyer_maker else "buy"

    @property
    def trade_ts(self) -> int:
        return self.trade_ms * NS_PER_MS


class SingleTrade(_Execution, frozen=True, gc=False, tag_field="e", tag="trade", rename={"trade_id": "t"}):
    """`@trade`."""

    trade_id: Id


class AggTrade(_Execution, frozen=True, gc=False, tag_field="e", tag="aggTrade", rename={"trade_id": "a"}):
    """`@aggTrade`: the fills of one taker order at one price; `trade_id` numbers the aggregates."""

    trade_id: Id


class BookTicker(
    Struct,
    BestQuote,
    frozen=True,
    gc=False,
    rename={
        "update_id": "u",
        "bid_price": "b",
        "bid_quantity": "B",
        "ask_price": "a",
        "ask_quantity": "A",
    },
):
    """`@bookTicker`, which has neither a kind nor a time."""

    update_id: Id
    bid_price: str
    bid_quantity: str
    ask_price: str
    ask_quantity: str


class _Statistics(
    Struct,
    Ticker,
    frozen=True,
    gc=False,
    rename={
        "event_ms": "E",
        "last_price": "c",
        "open_price": "o",
        "high_price": "h",
        "low_price": "l",
        "volume": "v",
        "quote_volume": "q",
    },
):
    event_ms: Milliseconds
    last_price: str
    open_price: str
    high_price: str
    low_price: str
    volume: str
    quote_volume: str


class DayTicker(_Statistics, frozen=True, gc=False, tag_field="e", tag="24hrTicker"):
    """`@ticker`, over the last 24 hours."""


class MiniTicker(_Statistics, frozen=True, gc=False, tag_field="e", tag="24hrMiniTicker"):
    """`@miniTicker`, over the last 24 hours."""


class HourTicker(_Statistics, frozen=True, gc=False, tag_field="e", tag="1hTicker"):
    """`@ticker_1h`."""


class FourHourTicker(_Statistics, frozen=True, gc=False, tag_field="e", tag="4hTicker"):
    """`@ticker_4h`."""


class OneDayTicker(_Statistics, frozen=True, gc=False, tag_field="e", tag="1dTicker"):
    """`@ticker_1d`."""


class Bar(
    Struct,
    Kline,
    frozen=True,
    gc=False,
    rename={
        "open_ms": "t",
        "close_ms": "T",
        "interval": "i",
        "open": "o",
        "high": "h",
        "low": "l",
        "close": "c",
        "volume": "v",
        "quote_volume": "q",
        "trade_count": "n",
        "is_closed": "x",
    },
):
    """`k` of `@kline_<interval>`: one candle."""

    open_ms: Milliseconds
    close_ms: Milliseconds
    interval: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str
    trade_count: Id
    is_closed: bool

    @property
    def open_ts(self) -> int:
        return self.open_ms * NS_PER_MS

    @property
    def close_ts(self) -> int:
        return self.close_ms * NS_PER_MS


class KlineUpdate(
    Struct, frozen=True, gc=False, tag_field="e", tag="kline", rename={"event_ms": "E", "bar": "k"}
):
    """`@kline_<interval>`; its `bar` is the canonical payload."""

    event_ms: Milliseconds
    bar: Bar


_bar: Callable[[Raw], Bar] = msgspec.json.Decoder(Bar).decode
_pairs: Callable[[Raw], Pairs] = msgspec.json.Decoder(Pairs).decode


def _read(owner: Any, field: str, decode: Callable[[Raw], Any]) -> Any:
    """Parse a field that holds bytes still, and let it hold what was read."""
    try:
        value = decode(getattr(owner, field))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"malformed {field}: {error}") from error
    setattr(owner, field, value)
    return value


def _of_bar(field: str) -> Any:
    return property(attrgetter(f"bar.{field}"))


class LazyKlineUpdate(
    Struct, Kline, eq=False, gc=False, tag_field="e", tag="kline", rename={"event_ms": "E", "candle": "k"}
):
    """`@kline_<interval>`, the candle unread."""

    event_ms: Milliseconds
    candle: Raw

    @property
    def bar(self) -> Bar:
        """The candle. Raises `ValueError` where it is malformed."""
        candle: Any = self.candle
        return candle if type(candle) is Bar else _read(self, "candle", _bar)

    interval = _of_bar("interval")
    open_ts = _of_bar("open_ts")
    close_ts = _of_bar("close_ts")
    open = _of_bar("open")
    high = _of_bar("high")
    low = _of_bar("low")
    close = _of_bar("close")
    volume = _of_bar("volume")
    quote_volume = _of_bar("quote_volume")
    trade_count = _of_bar("trade_count")
    is_closed = _of_bar("is_closed")


class _LazyLevels(BookLevels):
    """Levels that are read from two fields."""

    __slots__ = ()

    bid_levels: Raw
    ask_levels: Raw

    @property
    def bids(self) -> list[Level]:
        """Raises `ValueError` where they are malformed."""
        levels: Any = self.bid_levels
        return levels if type(levels) is list else _read(self, "bid_levels", _pairs)

    @property
    def asks(self) -> list[Level]:
        """Raises `ValueError` where they are malformed."""
        levels: Any = self.ask_levels
        return levels if type(levels) is list else _read(self, "ask_levels", _pairs)


class DepthUpdate(
    Struct,
    BookUpdate,
    frozen=True,
    gc=False,
    tag_field="e",
    tag="depthUpdate",
    rename={"event_ms": "E", "first_id": "U", "last_id": "u", "bids": "b", "asks": "a"},
):
    """`@depth`, `@depth@100ms`: the levels that changed from update `first_id` to `last_id`."""

    event_ms: Milliseconds
    first_id: Id
    last_id: Id
    bids: Pairs
    asks: Pairs


class LazyDepthUpdate(
    Struct,
    _LazyLevels,
    BookUpdate,
    eq=False,
    gc=False,
    tag_field="e",
    tag="depthUpdate",
    rename={"event_ms": "E", "first_id": "U", "last_id": "u", "bid_levels": "b", "ask_levels": "a"},
):
    """`@depth`, `@depth@100ms`, the levels unread."""

    event_ms: Milliseconds
    first_id: Id
    last_id: Id
    bid_levels: Raw
    ask_levels: Raw


class PartialDepth(Struct, BookSnapshot, frozen=True, gc=False, rename={"last_id": "lastUpdateId"}):
    """`@depth5`, `@depth10`, `@depth20`: the top of the book, without symbol, kind and time."""

    last_id: Id
    bids: Pairs
    asks: Pairs


class LazyPartialDepth(
    Struct,
    _LazyLevels,
    BookSnapshot,
    eq=False,
    gc=False,
    rename={"last_id": "lastUpdateId", "bid_levels": "bids", "ask_levels": "asks"},
):
    """`@depth5`, `@depth10`, `@depth20`, the levels unread."""

    last_id: Id
    bid_levels: Raw
    ask_levels: Raw
