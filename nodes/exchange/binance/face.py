"""Binance's public half over one market: the WebSocket streams and the REST endpoints of one server."""

import asyncio
from collections.abc import Callable

import msgspec
from aiohttp import web

from nodes.exchange.binance.limits import ConnectLimit
from nodes.exchange.binance.messages import ShutdownEvent
from nodes.exchange.binance.rest import RestFace
from nodes.exchange.binance.session import GOING_AWAY, Session, SessionRoom
from nodes.exchange.binance.streams import Streams
from nodes.exchange.counters import Counters
from nodes.exchange.faults import Faults
from nodes.exchange.market import Market
from nodes.exchange.params import SimParams

__all__ = ["BinanceFace"]

TIME_UNITS = {"MICROSECOND": True, "MILLISECOND": False}
MOST_REQUEST_BYTES = 1024 * 1024


class BinanceFace:
    """Routes, connections and streams. `now_ms` gives the wall time in epoch ms, for the limits."""

    def __init__(
        self, params: SimParams, market: Market, faults: Faults, counters: Counters, now_ms: Callable[[], int]
    ) -> None:
        self._market = market
        self._counters = counters
        self._params = params
        self._now_ms = now_ms
        self._connects = ConnectLimit(params.limits)
        self._rest = RestFace(params, market, faults, counters, now_ms)
        streams = Streams(market)
        market.listeners.append(streams)
        self._room = SessionRoom(params, market, streams, faults, counters)

    def routes(self) -> list[web.RouteDef]:
        return [
            *self._rest.routes(),
            web.get("/ws", self._raw),
            web.get("/ws/{streams:.*}", self._raw),
            web.get("/stream", self._combined),
        ]

    def before(self) -> None:
        """Called before the market is run on: set the time and do what connections are due for."""
        self._room.run_due(self._now_ms())

    def flush(self) -> None:
        """Called after the market was run on: write what it sent."""
        self._room.flush()

    def announce_shutdown(self, close_after_s: float) -> int:
        """Send `serverShutdown` to every connection and close it later; returns how many there are."""
        sessions = list(self._room.sessions)
        for session in sessions:
            now = self._market.now_us if session.form & 2 else self._market.now_ms
            event = msgspec.json.encode(ShutdownEvent("serverShutdown", now))
            wrapped = b'{"stream":"!serverShutdown","data":' + event + b"}"
            session.notify(wrapped if session.combined else event)
            session.end_within(round(close_after_s * 1000))
        self.flush()
        return len(sessions)

    def close(self) -> None:
        """Close every connection."""
        for session in list(self._room.sessions):
            session.close(GOING_AWAY, "Server is shutting down", "stopped")

    async def _raw(self, request: web.Request) -> web.StreamResponse:
        text = request.match_info.get("streams", "")
        return await self._serve(request, [name for name in text.split("/") if name], combined=False)

    async def _combined(self, request: web.Request) -> web.StreamResponse:
        # A plus sign that was not percent-encoded (kline_1d@+08:00) reads as a space.
        text = request.query.get("streams", "").replace(" ", "+")
        return await self._serve(request, [name for name in text.split("/") if name], combined=True)

    async def _serve(self, request: web.Request, names: list[str], *, combined: bool) -> web.StreamResponse:
        now_ms = self._now_ms()
        if not self._connects.allows(now_ms):
            self._counters.refused += 1
            retry = {"Retry-After": str(self._connects.retry_after_s(now_ms))}
            return web.Response(status=429, headers=retry)
        unit = request.query.get("timeUnit", "MILLISECOND").upper()
        if unit not in TIME_UNITS:
            msg = "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."
            return web.Response(status=400, body=msgspec.json.encode({"code": -1194, "msg": msg}))
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=MOST_REQUEST_BYTES)
        if not socket.can_prepare(request):
            return web.Response(status=400)
        await socket.prepare(request)
        transport = request.transport
        if not isinstance(transport, asyncio.WriteTransport):
            return socket
        self._room.now_ms = now_ms
        session = Session(self._room, transport, combined=combined, in_microseconds=TIME_UNITS[unit])
        session.subscribe(names)
        await session.run(socket)
        return socket
