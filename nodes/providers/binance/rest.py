"""Binance's REST in its own words: header names, weights, error bodies and exchangeInfo."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from msgspec import Struct, field

from flow.errors import Terminal
from nodes.providers.rest import RestRules
from nodes.providers.symbols import SymbolInfo
from nodes.providers.transport import Reply

__all__ = [
    "DEPTH",
    "EXCHANGE_INFO",
    "EXCHANGE_INFO_WEIGHT",
    "BinanceRules",
    "ExchangeInfo",
    "depth_weight",
    "read_exchange_info",
]

DEPTH = "/api/v3/depth"
EXCHANGE_INFO = "/api/v3/exchangeInfo"
EXCHANGE_INFO_WEIGHT = 20
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))
MOST_LEVELS = 5000
SHOWN_CHARS = 200
SECONDS = {"SECOND": 1, "MINUTE": 60, "DAY": 86_400}


class _Error(Struct):
    code: int
    msg: str


class _Filter(Struct):
    kind: str = field(name="filterType")
    tick: str = field(name="tickSize", default="")
    step: str = field(name="stepSize", default="")


class _Symbol(Struct):
    symbol: str
    status: str
    base: str = field(name="baseAsset")
    quote: str = field(name="quoteAsset")
    filters: list[_Filter] = []


class _RateLimit(Struct):
    kind: str = field(name="rateLimitType")
    interval: str
    count: int = field(name="intervalNum")
    limit: int


class ExchangeInfo(Struct):
    """The part of exchangeInfo that is used."""

    symbols: list[_Symbol]
    limits: list[_RateLimit] = field(name="rateLimits", default_factory=list[_RateLimit])

    def infos(self) -> list[SymbolInfo]:
        """Every symbol that is listed, trading or not."""
        return [_info(symbol) for symbol in self.symbols]

    def weight_per_minute(self) -> float | None:
        """The REST weight allowed in a minute; None where it is not said."""
        return self._within("REQUEST_WEIGHT", 60)

    def requests_per_s(self) -> float | None:
        """The requests allowed in a second, whatever their weight; None where it is not said."""
        return self._within("RAW_REQUESTS", 1)

    def _within(self, kind: str, seconds: int) -> float | None:
        for limit in self.limits:
            span_s = SECONDS.get(limit.interval, 0) * limit.count
            if limit.kind == kind and span_s > 0 and limit.limit > 0:
                return limit.limit * seconds / span_s
        return None


_exchange_info = msgspec.json.Decoder(ExchangeInfo)
_error = msgspec.json.Decoder(_Error)


class BinanceRules(RestRules):
    """429 and 418 hold everybody back; errors are `code: message`."""

    waits: ClassVar[Mapping[int, float]] = {429: 10.0, 418: 120.0}

    def used_weight(self, reply: Reply) -> float | None:
        value = reply.headers.get("X-MBX-USED-WEIGHT-1M") or reply.headers.get("X-MBX-USED-WEIGHT", "")
        return float(value) if value.isascii() and value.isdigit() else None

    def error_of(self, reply: Reply) -> str:
        try:
            error = _error.decode(reply.body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            text: Any = reply.body[:SHOWN_CHARS].decode("utf-8", "replace")
            return f"HTTP {reply.status}" + (f": {text}" if text else "")
        return f"HTTP {reply.status}, code {error.code}: {error.msg}"


def depth_weight(limit: int) -> int:
    """What a snapshot of so many levels a side costs."""
    return next(weight for levels, weight in DEPTH_WEIGHTS if limit <= levels)


def read_exchange_info(body: bytes) -> ExchangeInfo:
    """Raises `Terminal` where the body is no exchangeInfo."""
    try:
        return _exchange_info.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Terminal(f"binance {EXCHANGE_INFO}: not the reply expected: {error}") from error


def _info(symbol: _Symbol) -> SymbolInfo:
    ticks = {filter_.kind: filter_ for filter_ in symbol.filters}
    price, lot = ticks.get("PRICE_FILTER"), ticks.get("LOT_SIZE")
    return SymbolInfo(
        canonical=f"{symbol.base}-{symbol.quote}",
        wire=symbol.symbol,
        base=symbol.base,
        quote=symbol.quote,
        status=symbol.status,
        is_trading=symbol.status == "TRADING",
        tick=price.tick if price else "",
        quantity_step=lot.step if lot else "",
    )
