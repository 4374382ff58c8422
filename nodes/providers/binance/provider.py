"""Binance as the nodes of one graph share it. Public data only: no credentials."""

from typing import Final

from flow.context import Context
from flow.errors import Terminal
from flow.registry import service
from nodes.providers.binance.rest import (
    DEPTH,
    EXCHANGE_INFO,
    EXCHANGE_INFO_WEIGHT,
    MOST_LEVELS,
    BinanceRules,
    depth_weight,
    read_exchange_info,
)
from nodes.providers.limits import SlidingWindow, TokenBucket
from nodes.providers.provider import Endpoints, Provider
from nodes.providers.rest import RestClient
from nodes.providers.symbols import SymbolInfo

__all__ = ["PUBLIC", "BinanceProvider", "binance"]

PUBLIC: Final = Endpoints(ws="wss://stream.binance.com:9443", rest="https://api.binance.com")
SHARE: Final = 0.9
"""How much of a limit is used: the exchange's clock and its windows are not ours."""
WEIGHT_PER_MINUTE: Final = 6000
REQUESTS_PER_S: Final = 61_000 / 300
BURST: Final = 50
CONNECTS: Final = 300
CONNECTS_WINDOW_S: Final = 300.0


@service("binance")
def binance(context: Context) -> "BinanceProvider":
    """Binance spot."""
    return BinanceProvider(context)


class BinanceProvider(Provider):
    """Limits that hold per address: `rest.window` for weight, `connects` for connection attempts."""

    def __init__(self, context: Context, endpoints: Endpoints = PUBLIC) -> None:
        super().__init__(context, "binance", endpoints)
        self.connects = SlidingWindow(CONNECTS * SHARE, CONNECTS_WINDOW_S)
        self.rest = RestClient(
            self.context,
            self.name,
            self.transport,
            self.endpoints.rest,
            BinanceRules(),
            SlidingWindow(WEIGHT_PER_MINUTE * SHARE, 60.0),
            TokenBucket(REQUESTS_PER_S * SHARE, BURST),
            self.rng,
        )

    async def load_symbols(self) -> list[SymbolInfo]:
        """One request; the weight and the requests allowed are learnt from the reply."""
        weight = EXCHANGE_INFO_WEIGHT
        reply = await self.rest.get(EXCHANGE_INFO, weight=weight, attempts=1, is_reported=False)
        info = read_exchange_info(reply.body)
        per_minute, per_s = info.weight_per_minute(), info.requests_per_s()
        if per_minute:
            self.rest.window.limit = per_minute * SHARE
        if per_s:
            self.rest.bucket.rate = per_s * SHARE
        return info.infos()

    async def depth_snapshot(self, symbol: str, limit: int = MOST_LEVELS) -> bytes:
        """`{lastUpdateId, bids, asks}` of a canonical symbol, `limit` levels a side, 1 to 5000.

        Raises `Terminal` for an unknown symbol or what the exchange refuses, `Retryable` for what may
        work later.
        """
        wire = self.symbols.wire(symbol)
        if wire is None:
            raise Terminal(f"binance has no symbol {symbol!r}")
        limit = min(max(limit, 1), MOST_LEVELS)
        params = {"symbol": wire, "limit": str(limit)}
        reply = await self.rest.get(DEPTH, params, weight=depth_weight(limit))
        return reply.body
