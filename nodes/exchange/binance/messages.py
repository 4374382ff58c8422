"""The payloads of Binance's public streams and REST replies, as they stand on the wire."""

import msgspec
from msgspec import field

__all__ = [
    "AggTradeEvent",
    "BookTickerEvent",
    "DepthEvent",
    "DepthReply",
    "KlineBody",
    "KlineEvent",
    "MiniTickerEvent",
    "ShutdownEvent",
    "TickerEvent",
    "TradeEvent",
]

Levels = list[tuple[str, str]]


class TradeEvent(msgspec.Struct, gc=False):
    """`<symbol>@trade`"""

    event: str = field(name="e")
    event_time: int = field(name="E")
    symbol: str = field(name="s")
    trade_id: int = field(name="t")
    price: str = field(name="p")
    quantity: str = field(name="q")
    trade_time: int = field(name="T")
    is_buyer_maker: bool = field(name="m")
    ignored: bool = field(name="M")


class AggTradeEvent(msgspec.Struct, gc=False):
    """`<symbol>@aggTrade`: the fills of one taker order at one price."""

    event: str = field(name="e")
    event_time: int = field(name="E")
    symbol: str = field(name="s")
    aggregate_id: int = field(name="a")
    price: str = field(name="p")
    quantity: str = field(name="q")
    first_id: int = field(name="f")
    last_id: int = field(name="l")
    trade_time: int = field(name="T")
    is_buyer_maker: bool = field(name="m")
    ignored: bool = field(name="M")


class DepthEvent(msgspec.Struct):
    """`<symbol>@depth` and `<symbol>@depth@100ms`"""

    event: str = field(name="e")
    event_time: int = field(name="E")
    symbol: str = field(name="s")
    first_update_id: int = field(name="U")
    last_update_id: int = field(name="u")
    bids: Levels = field(name="b")
    asks: Levels = field(name="a")


class DepthReply(msgspec.Struct):
    """`GET /api/v3/depth` and `<symbol>@depth5|10|20`"""

    last_update_id: int = field(name="lastUpdateId")
    bids: Levels
    asks: Levels


class BookTickerEvent(msgspec.Struct, gc=False):
    """`<symbol>@bookTicker`"""

    update_id: int = field(name="u")
    symbol: str = field(name="s")
    bid: str = field(name="b")
    bid_quantity: str = field(name="B")
    ask: str = field(name="a")
    ask_quantity: str = field(name="A")


class MiniTickerEvent(msgspec.Struct, gc=False):
    """`<symbol>@miniTicker`"""

    event: str = field(name="e")
    event_time: int = field(name="E")
    symbol: str = field(name="s")
    close: str = field(name="c")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    value: str = field(name="q")


class TickerEvent(msgspec.Struct, gc=False):
    """`<symbol>@ticker`"""

    event: str = field(name="e")
    event_time: int = field(name="E")
    symbol: str = field(name="s")
    change: str = field(name="p")
    change_percent: str = field(name="P")
    average: str = field(name="w")
    before: str = field(name="x")
    last: str = field(name="c")
    last_quantity: str = field(name="Q")
    bid: str = field(name="b")
    bid_quantity: str = field(name="B")
    ask: str = field(name="a")
    ask_quantity: str = field(name="A")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    value: str = field(name="q")
    open_time: int = field(name="O")
    close_time: int = field(name="C")
    first_id: int = field(name="F")
    last_id: int = field(name="L")
    count: int = field(name="n")


class KlineBody(msgspec.Struct, gc=False):
    """The `k` of a kline event."""

    start_time: int = field(name="t")
    close_time: int = field(name="T")
    symbol: str = field(name="s")
    interval: str = field(name="i")
    first_id: int = field(name="f")
    last_id: int = field(name="L")
    open: str = field(name="o")
    close: str = field(name="c")
    high: str = field(name="h")
    low: str = field(name="l")
    volume: str = field(name="v")
    count: int = field(name="n")
    is_closed: bool = field(name="x")
    value: str = field(name="q")
    taker_volume: str = field(name="V")
    taker_value: str = field(name="Q")
    ignored: str = field(name="B")


class KlineEvent(msgspec.Struct, gc=False):
    """`<symbol>@kline_<interval>`"""

    event: str = field(name="e")
    event_time: int = field(name="E")
    symbol: str = field(name="s")
    kline: KlineBody = field(name="k")


class ShutdownEvent(msgspec.Struct, gc=False):
    """Sent to every connection before the server goes down."""

    event: str = field(name="e")
    event_time: int = field(name="E")
