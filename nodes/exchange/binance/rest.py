"""Binance's public REST endpoints ping, time, exchangeInfo and depth, with weights, limits and errors."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from nodes.exchange.binance.events import depth_reply
from nodes.exchange.binance.limits import Refusal, WeightLimit
from nodes.exchange.binance.streams import wire_symbol
from nodes.exchange.counters import Counters
from nodes.exchange.faults import FaultKind, Faults
from nodes.exchange.instruments import Instrument
from nodes.exchange.market import Market, Snapshot
from nodes.exchange.params import SimParams

__all__ = ["RestFace"]

SYMBOL_CHARS = "^[A-Z0-9-_.]{1,20}$"
NUMBER_CHARS = "^[0-9]{1,20}$"
SYMBOLS_CHARS = '^\\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\\]$'
DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50))
MOST_LEVELS, MOST_WEIGHT = 5000, 250
EXCHANGE_INFO_WEIGHT = 20
ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
INTERNAL = {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}
BAD_TIME_UNIT = "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."

Handler = Callable[[web.Request], Any]


class _BadRequest(ValueError):
    """A request that is answered with HTTP 400, a code and a message."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg


class RestFace:
    """The REST endpoints over one market. `now_ms` gives the time in epoch ms that limits are counted by."""

    def __init__(
        self, params: SimParams, market: Market, faults: Faults, counters: Counters, now_ms: Callable[[], int]
    ) -> None:
        self._market = market
        self._params = params
        self._faults = faults
        self._counters = counters
        self._now_ms = now_ms
        self._weights = WeightLimit(params.limits)
        self._names = {wire_symbol(name): name for name in market.by_name}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v3/ping", self._guarded(self._ping)),
            web.get("/api/v3/time", self._guarded(self._time)),
            web.get("/api/v3/exchangeInfo", self._guarded(self._exchange_info)),
            web.get("/api/v3/depth", self._guarded(self._depth)),
        ]

    def _guarded(self, handle: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Around an endpoint: its weight, the limits, the faults, the headers and the error replies."""

        async def respond(request: web.Request) -> web.Response:
            self._counters.requests += 1
            refusal = self._weights.charge(_weight(request), self._now_ms())
            response = self._refuse(refusal) if refusal else self._handled(request, handle)
            response.headers["X-MBX-USED-WEIGHT"] = str(self._weights.used)
            response.headers["X-MBX-USED-WEIGHT-1M"] = str(self._weights.used)
            return response

        return respond

    def _refuse(self, refusal: Refusal) -> web.Response:
        self._counters.refused += 1
        response = _reply({"code": -1003, "msg": refusal.msg}, status=refusal.status)
        response.headers["Retry-After"] = str(refusal.retry_after_s)
        return response

    def _handled(self, request: web.Request, handle: Handler) -> web.Response:
        """The reply of the endpoint, or what a fault makes of it."""
        name = self._names.get(request.query.get("symbol", ""))
        kind = self._faults.on_request(name, is_depth=request.path.endswith("/depth") and name is not None)
        if kind is not None:
            self._faults.made(kind)
        if kind is FaultKind.HTTP_429:
            return self._refuse(self._weights.too_much(self._faults.params.retry_after_s))
        if kind is FaultKind.HTTP_5XX:
            return _reply(INTERNAL, status=503)
        try:
            if kind is FaultKind.STALE_SNAPSHOT:
                return _reply(self._depth(request, is_stale=True))
            return _reply(handle(request))
        except _BadRequest as error:
            return _reply({"code": error.code, "msg": error.msg}, status=400)

    def _ping(self, request: web.Request) -> dict[str, Any]:
        _only(request, ())
        return {}

    def _time(self, request: web.Request) -> dict[str, Any]:
        _only(request, ())
        unit = request.headers.get("X-MBX-TIME-UNIT", "MILLISECOND").upper()
        if unit not in ("MILLISECOND", "MICROSECOND"):
            raise _BadRequest(-1194, BAD_TIME_UNIT)
        return {"serverTime": self._market.now_us if unit == "MICROSECOND" else self._market.now_ms}

    def _depth(self, request: web.Request, *, is_stale: bool = False) -> msgspec.Struct:
        _only(request, ("symbol", "limit"))
        name = self._known(_text(request, "symbol", SYMBOL_CHARS))
        limit = int(_text(request, "limit", NUMBER_CHARS)) if "limit" in request.query else 100
        if limit < 1:
            raise _BadRequest(-1130, "Data sent for parameter 'limit' is not valid.")
        listing = self._market.by_name[name]
        limit = min(limit, MOST_LEVELS, self._params.snapshot_levels)
        book = listing.early if is_stale else Snapshot(listing.engine, limit)
        return depth_reply(listing.instrument, book, limit)

    def _exchange_info(self, request: web.Request) -> dict[str, Any]:
        _only(request, ("symbol", "symbols"))
        if "symbol" in request.query and "symbols" in request.query:
            raise _BadRequest(-1128, "Combination of optional parameters invalid.")
        names = list(self._market.by_name)
        if "symbol" in request.query:
            names = [self._known(_text(request, "symbol", SYMBOL_CHARS))]
        elif "symbols" in request.query:
            wanted = msgspec.json.decode(_text(request, "symbols", SYMBOLS_CHARS), type=list[str])
            names = [self._known(symbol) for symbol in wanted]
        return {
            "timezone": "UTC",
            "serverTime": self._market.now_ms,
            "rateLimits": self._rate_limits(),
            "exchangeFilters": [],
            "symbols": [_symbol_info(self._market.by_name[name].instrument) for name in names],
        }

    def _known(self, symbol: str) -> str:
        name = self._names.get(symbol)
        if name is None:
            raise _BadRequest(-1121, "Invalid symbol.")
        return name

    def _rate_limits(self) -> list[dict[str, Any]]:
        rows = (
            ("REQUEST_WEIGHT", "MINUTE", 1, self._params.limits.weight_per_min),
            ("ORDERS", "SECOND", 10, 100),
            ("ORDERS", "DAY", 1, 200_000),
            ("RAW_REQUESTS", "MINUTE", 5, 61_000),
        )
        return [
            {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
            for kind, interval, number, limit in rows
        ]


def _reply(body: Any, status: int = 200) -> web.Response:
    headers = {"Content-Type": "application/json;charset=UTF-8"}
    return web.Response(body=msgspec.json.encode(body), status=status, headers=headers)


def _weight(request: web.Request) -> int:
    """The weight of a request: depth by its limit, exchangeInfo 20, anything else 1."""
    if request.path.endswith("/exchangeInfo"):
        return EXCHANGE_INFO_WEIGHT
    if not request.path.endswith("/depth"):
        return 1
    text = request.query.get("limit", "100")
    limit = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 1
    return next((weight for most, weight in DEPTH_WEIGHTS if limit <= most), MOST_WEIGHT)


def _only(request: web.Request, names: tuple[str, ...]) -> None:
    """Refuse parameters that the endpoint does not know or that are given twice."""
    sent = [name for name, _ in request.query.items()]
    if len(set(sent)) != len(sent):
        raise _BadRequest(-1101, "Duplicate values for a parameter detected.")
    if set(sent) - set(names):
        raise _BadRequest(-1101, f"Too many parameters; expected '{len(names)}' and received '{len(sent)}'.")


def _text(request: web.Request, name: str, legal: str) -> str:
    """A mandatory parameter whose characters must be legal."""
    value = request.query.get(name)
    if value is None:
        msg = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
        raise _BadRequest(-1102, msg)
    if not value:
        raise _BadRequest(-1105, f"Parameter '{name}' was empty.")
    if not re.fullmatch(legal, value, re.ASCII):
        raise _BadRequest(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")
    return value


def _symbol_info(each: Instrument) -> dict[str, Any]:
    return {
        "symbol": wire_symbol(each.name),
        "status": "TRADING",
        "baseAsset": each.base,
        "baseAssetPrecision": 8,
        "quoteAsset": each.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ORDER_TYPES,
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(each),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _filters(each: Instrument) -> list[dict[str, Any]]:
    tick, lot, highest = each.price(1), each.quantity(1), each.price(each.first_price * 16)
    most = each.quantity(each.usual_lots * 10_000)
    least_value = each.value(each.first_price * max(1, each.usual_lots // 40))
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": highest, "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": most, "stepSize": lot},
        {"filterType": "ICEBERG_PARTS", "limit": 10},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": most, "stepSize": "0.00000000"},
        {
            "filterType": "NOTIONAL",
            "minNotional": least_value,
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]
