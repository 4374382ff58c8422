"""Endpoints outside the exchanges' own name spaces, for tests and demonstrations: truth, faults, status.

| request | reply |
| --- | --- |
| GET /sim/status | market time, symbols, counters |
| GET /sim/truth?symbol=BTC-USDT&after=U&limit=N | `{symbol, states: [{u, bids, asks}]}` of the engine |
| GET /sim/faults | `{counts: {kind: n}, waiting: n}` |
| POST /sim/fault `{kind, symbol?}` | force one fault at the next frame or request that can suffer it |
| POST /sim/shutdown_notice `{close_after_s?}` | announce a shutdown to every connection |
"""

from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from nodes.exchange.binance.face import BinanceFace
from nodes.exchange.counters import Counters
from nodes.exchange.faults import FaultKind, Faults
from nodes.exchange.market import Market
from nodes.exchange.truth import Truth

__all__ = ["ControlFace"]


class FaultRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /sim/fault; `symbol` is a canonical name."""

    kind: FaultKind
    symbol: str | None = None


class ShutdownRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /sim/shutdown_notice."""

    close_after_s: Annotated[float, Meta(ge=0, le=86_400)] = 10.0


class ControlFace:
    """The `/sim` endpoints. `truth` is None where states are not kept."""

    def __init__(
        self, market: Market, faults: Faults, counters: Counters, truth: Truth | None, binance: BinanceFace
    ) -> None:
        self._market = market
        self._faults = faults
        self._counters = counters
        self._truth = truth
        self._binance = binance

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sim/status", self._status),
            web.get("/sim/truth", self._states),
            web.get("/sim/faults", self._fault_counts),
            web.post("/sim/fault", self._force),
            web.post("/sim/shutdown_notice", self._announce),
        ]

    async def _status(self, request: web.Request) -> web.Response:
        market = self._market
        return _reply(
            {
                "simulated": True,
                "market_ms": market.now_ms,
                "running_ms": market.now_ms - market.start_ms,
                "orders": market.orders,
                "symbols": list(market.by_name),
                "truth": self._truth is not None,
                "counters": self._counters,
            }
        )

    async def _states(self, request: web.Request) -> web.Response:
        name, after, limit = (request.query.get(key, default) for key, default in STATE_QUERY)
        if self._truth is None:
            return _refuse("states are not kept: start with truth=true", 409)
        if name not in self._market.by_name:
            return _refuse(f"unknown symbol {name!r}", 404)
        if not (after.isdecimal() and limit.isdecimal()):
            return _refuse("after and limit must be whole numbers", 400)
        states = self._truth.states(name, int(after), int(limit))
        return _reply({"symbol": name, "states": states})

    async def _fault_counts(self, request: web.Request) -> web.Response:
        return _reply({"counts": self._faults.counts, "waiting": self._faults.forced})

    async def _force(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=FaultRequest)
        except msgspec.DecodeError as error:
            return _refuse(str(error), 400)
        if wanted.symbol is not None and wanted.symbol not in self._market.by_name:
            return _refuse(f"unknown symbol {wanted.symbol!r}", 404)
        self._faults.force(wanted.kind, wanted.symbol)
        return _reply({"waiting": self._faults.forced})

    async def _announce(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read() or b"{}", type=ShutdownRequest)
        except msgspec.DecodeError as error:
            return _refuse(str(error), 400)
        return _reply({"connections": self._binance.announce_shutdown(wanted.close_after_s)})


STATE_QUERY = (("symbol", ""), ("after", "0"), ("limit", "1000000"))


def _reply(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def _refuse(reason: str, status: int) -> web.Response:
    return _reply({"error": reason}, status)
