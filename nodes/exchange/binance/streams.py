"""Streams and who subscribed to them: each event is encoded once for all that want it in the same form."""

import re
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from nodes.exchange.bars import Bar, Interval, parse_interval
from nodes.exchange.binance import events
from nodes.exchange.engine import Execution, Fill
from nodes.exchange.market import DepthWindow, Listing, Market
from nodes.exchange.wire import text_frame

__all__ = ["Channel", "Streams", "Subscriber", "wire_symbol"]

DIFF_DEPTH = ("depth", "depth@100ms", "depth@1000ms")
PLAIN = ("trade", "aggTrade", "bookTicker", "ticker", "miniTicker", *DIFF_DEPTH)
PARTIAL = re.compile(r"depth(5|10|20)(@100ms|@1000ms)?")
FAST, SLOW = ("@100ms",), ("", "@1000ms")
PARTIAL_LEVELS = (5, 10, 20)
SCALES = (1, 1000)


class Subscriber(Protocol):
    """A connection as a stream sees it. `form` is 0 raw, 1 combined, plus 2 where times are in µs."""

    form: int

    def send(self, channel: "Channel", framed: bytes) -> None: ...


class Channel:
    """One stream that at least one connection subscribed to."""

    __slots__ = ("is_depth", "name", "prefix", "subscribers", "symbol")

    def __init__(self, name: str, symbol: str) -> None:
        self.name = name
        self.symbol = symbol
        self.is_depth = name.partition("@")[2] in DIFF_DEPTH
        self.prefix = b'{"stream":' + msgspec.json.encode(name) + b',"data":'
        self.subscribers: list[Subscriber] = []


def wire_symbol(name: str) -> str:
    """Binance's name of a canonical symbol: BTC-USDT is BTCUSDT."""
    return name.replace("-", "")


class Streams:
    """A market listener that encodes what is subscribed to. Unknown streams are accepted and stay silent."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._encode = msgspec.json.Encoder().encode
        self._symbols = {name: wire_symbol(name) for name in market.by_name}
        self._names = {symbol.lower(): name for name, symbol in self._symbols.items()}
        if len(self._names) < len(self._symbols):
            raise ValueError("two of the symbols have the same name on Binance's wire")
        self._channels: dict[str, dict[str, Channel]] = {name: {} for name in market.by_name}

    def add(self, stream: str, subscriber: Subscriber) -> None:
        """Send a stream to a subscriber; at most once per stream and subscriber."""
        symbol, _, kind = stream.partition("@")
        name = self._names.get(symbol)
        if name is None or not _is_known(kind):
            return
        channels = self._channels[name]
        channel = channels.get(kind)
        if channel is None:
            channel = channels[kind] = Channel(stream, name)
            interval = _interval(kind)
            if interval is not None:
                self._market.watch(name, interval)
        channel.subscribers.append(subscriber)

    def remove(self, stream: str, subscriber: Subscriber) -> None:
        """Undo `add`."""
        symbol, _, kind = stream.partition("@")
        name = self._names.get(symbol)
        channel = self._channels[name].get(kind) if name is not None else None
        if name is None or channel is None or subscriber not in channel.subscribers:
            return
        channel.subscribers.remove(subscriber)
        if not channel.subscribers:
            del self._channels[name][kind]
            interval = _interval(kind)
            if interval is not None:
                self._market.unwatch(name, interval)

    def on_execution(self, listing: Listing, execution: Execution) -> None:
        name = listing.instrument.name
        channels = self._channels[name]
        if execution.fills:
            channel = channels.get("trade")
            if channel is not None:
                for fill in execution.fills:
                    self._publish(channel, events.trade, listing, self._symbols[name], fill)
            self._publish_aggregates(listing, execution.fills, channels.get("aggTrade"))
        if execution.is_best_changed:
            channel = channels.get("bookTicker")
            if channel is not None:
                self._publish(channel, events.book_ticker, listing, self._symbols[name])

    def on_depth(self, listing: Listing, window: DepthWindow, *, is_slow: bool) -> None:
        name = listing.instrument.name
        channels = self._channels[name]
        for suffix in SLOW if is_slow else FAST:
            channel = channels.get("depth" + suffix)
            if channel is not None:
                self._publish(channel, events.depth, listing, self._symbols[name], window)
            for levels in PARTIAL_LEVELS:
                channel = channels.get(f"depth{levels}{suffix}")
                if channel is not None:
                    self._publish(channel, events.partial_depth, listing, self._symbols[name], levels)

    def on_ticker(self, listing: Listing) -> None:
        name = listing.instrument.name
        full, mini = self._channels[name].get("ticker"), self._channels[name].get("miniTicker")
        if full is None and mini is None:
            return
        day, before = listing.bars.day(self._market.now_ms)
        if full is not None:
            self._publish(full, events.ticker, listing, self._symbols[name], day, before)
        if mini is not None:
            self._publish(mini, events.mini_ticker, listing, self._symbols[name], day)

    def on_bar(self, listing: Listing, interval: Interval, bar: Bar, *, is_closed: bool) -> None:
        name = listing.instrument.name
        for kind, channel in self._channels[name].items():
            if _interval(kind) == interval:
                self._publish(channel, events.kline, listing, self._symbols[name], interval, bar, is_closed)

    def _publish_aggregates(self, listing: Listing, fills: list[Fill], channel: Channel | None) -> None:
        """One aggregate per price of one taker order; its ids count on whether or not anybody listens."""
        start = 0
        for end in range(1, len(fills) + 1):
            if end < len(fills) and fills[end].price == fills[start].price:
                continue
            listing.aggregate_id += 1
            if channel is not None:
                part, number = fills[start:end], listing.aggregate_id
                self._publish(channel, events.agg_trade, listing, wire_symbol(channel.symbol), part, number)
            start = end

    def _publish(self, channel: Channel, make: Callable[..., msgspec.Struct], *args: Any) -> None:
        """Encode once per time unit and frame once per form that a subscriber asked for."""
        payloads: list[bytes | None] = [None, None]
        framed: list[bytes | None] = [None, None, None, None]
        for subscriber in channel.subscribers:
            form = subscriber.form
            data = framed[form]
            if data is None:
                unit = form >> 1
                payload = payloads[unit]
                if payload is None:
                    now = self._market.now_us if unit else self._market.now_ms
                    payload = payloads[unit] = self._encode(make(*args, now, SCALES[unit]))
                body = channel.prefix + payload + b"}" if form & 1 else payload
                data = framed[form] = text_frame(body)
            subscriber.send(channel, data)


def _interval(kind: str) -> Interval | None:
    return parse_interval(kind.removeprefix("kline_")) if kind.startswith("kline_") else None


def _is_known(kind: str) -> bool:
    return kind in PLAIN or PARTIAL.fullmatch(kind) is not None or _interval(kind) is not None
