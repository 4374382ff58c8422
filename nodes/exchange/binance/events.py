"""From what the market tells to the payloads of Binance's streams.

Each function takes the listing's wire symbol and the event time: `now` in the connection's unit, and `scale`,
1 for milliseconds or 1000 for microseconds.
"""

from nodes.exchange.bars import Bar, Interval
from nodes.exchange.binance.messages import (
    AggTradeEvent,
    BookTickerEvent,
    DepthEvent,
    DepthReply,
    KlineBody,
    KlineEvent,
    MiniTickerEvent,
    TickerEvent,
    TradeEvent,
)
from nodes.exchange.engine import Fill
from nodes.exchange.instruments import Instrument
from nodes.exchange.market import DepthWindow, Listing, Snapshot

__all__ = [
    "agg_trade",
    "book_ticker",
    "depth",
    "depth_reply",
    "kline",
    "mini_ticker",
    "partial_depth",
    "ticker",
    "trade",
]

NOTHING = "0.00000000"


def trade(listing: Listing, symbol: str, fill: Fill, now: int, scale: int) -> TradeEvent:
    each = listing.instrument
    price, quantity = each.price(fill.price), each.quantity(fill.quantity)
    return TradeEvent("trade", now, symbol, fill.trade_id, price, quantity, now, fill.is_buyer_maker, True)


def agg_trade(
    listing: Listing, symbol: str, fills: list[Fill], aggregate_id: int, now: int, scale: int
) -> AggTradeEvent:
    """`fills` are those of one taker order at one price."""
    each, first = listing.instrument, fills[0]
    return AggTradeEvent(
        "aggTrade",
        now,
        symbol,
        aggregate_id,
        each.price(first.price),
        each.quantity(sum(fill.quantity for fill in fills)),
        first.trade_id,
        fills[-1].trade_id,
        now,
        first.is_buyer_maker,
        True,
    )


def book_ticker(listing: Listing, symbol: str, now: int, scale: int) -> BookTickerEvent:
    bid, bid_quantity, ask, ask_quantity = _top(listing)
    return BookTickerEvent(listing.engine.update_id, symbol, bid, bid_quantity, ask, ask_quantity)


def depth(listing: Listing, symbol: str, window: DepthWindow, now: int, scale: int) -> DepthEvent:
    each = listing.instrument
    bids = [
        (each.price(price), each.quantity(lots)) for price, lots in sorted(window.bids.items(), reverse=True)
    ]
    asks = [(each.price(price), each.quantity(lots)) for price, lots in sorted(window.asks.items())]
    return DepthEvent("depthUpdate", now, symbol, window.first_id, window.last_id, bids, asks)


def depth_reply(instrument: Instrument, book: Snapshot, limit: int) -> DepthReply:
    bids, asks = book.bids[:limit], book.asks[:limit]
    return DepthReply(
        book.update_id,
        [(instrument.price(price), instrument.quantity(lots)) for price, lots in bids],
        [(instrument.price(price), instrument.quantity(lots)) for price, lots in asks],
    )


def partial_depth(listing: Listing, symbol: str, limit: int, now: int, scale: int) -> DepthReply:
    return depth_reply(listing.instrument, Snapshot(listing.engine, limit), limit)


def kline(
    listing: Listing, symbol: str, interval: Interval, bar: Bar, is_closed: bool, now: int, scale: int
) -> KlineEvent:
    each = listing.instrument
    body = KlineBody(
        start_time=bar.start_ms * scale,
        close_time=bar.end_ms * scale - 1,
        symbol=symbol,
        interval=interval.name,
        first_id=bar.first_id,
        last_id=bar.last_id,
        open=each.price(bar.open),
        close=each.price(bar.close),
        high=each.price(bar.high),
        low=each.price(bar.low),
        volume=each.quantity(bar.volume),
        count=bar.count,
        is_closed=is_closed,
        value=each.value(bar.value),
        taker_volume=each.quantity(bar.taker_volume),
        taker_value=each.value(bar.taker_value),
        ignored="0",
    )
    return KlineEvent("kline", now, symbol, body)


def mini_ticker(listing: Listing, symbol: str, day: Bar, now: int, scale: int) -> MiniTickerEvent:
    each = listing.instrument
    return MiniTickerEvent(
        "24hrMiniTicker",
        now,
        symbol,
        close=each.price(day.close),
        open=each.price(day.open),
        high=each.price(day.high),
        low=each.price(day.low),
        volume=each.quantity(day.volume),
        value=each.value(day.value),
    )


def ticker(listing: Listing, symbol: str, day: Bar, before: int, now: int, scale: int) -> TickerEvent:
    each = listing.instrument
    bid, bid_quantity, ask, ask_quantity = _top(listing)
    return TickerEvent(
        "24hrTicker",
        now,
        symbol,
        change=_signed(each, day.close - day.open),
        change_percent=_percent(day.close - day.open, day.open),
        average=each.price(round(day.value / day.volume)) if day.volume else each.price(day.close),
        before=each.price(before),
        last=each.price(day.close),
        last_quantity=each.quantity(listing.last_trade[1]),
        bid=bid,
        bid_quantity=bid_quantity,
        ask=ask,
        ask_quantity=ask_quantity,
        open=each.price(day.open),
        high=each.price(day.high),
        low=each.price(day.low),
        volume=each.quantity(day.volume),
        value=each.value(day.value),
        open_time=day.start_ms * scale,
        close_time=day.end_ms * scale,
        first_id=day.first_id,
        last_id=day.last_id,
        count=day.count,
    )


def _top(listing: Listing) -> tuple[str, str, str, str]:
    each = listing.instrument
    bid, ask = listing.engine.best_bid(), listing.engine.best_ask()
    bid_price, bid_quantity = (each.price(bid[0]), each.quantity(bid[1])) if bid else (NOTHING, NOTHING)
    ask_price, ask_quantity = (each.price(ask[0]), each.quantity(ask[1])) if ask else (NOTHING, NOTHING)
    return bid_price, bid_quantity, ask_price, ask_quantity


def _signed(instrument: Instrument, ticks: int) -> str:
    return f"-{instrument.price(-ticks)}" if ticks < 0 else instrument.price(ticks)


def _percent(change: int, whole: int) -> str:
    """`change` of `whole` in percent, 3 decimals, cut off."""
    sign = "-" if change < 0 else ""
    units, parts = divmod(abs(change) * 100_000 // whole, 1000)
    return f"{sign}{units}.{parts:03d}"
