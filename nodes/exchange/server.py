"""The embedded exchange as a server on one loopback port."""

import asyncio
from types import TracebackType
from typing import Self

from aiohttp import web

from flow.clock import Clock, wall_ns
from nodes.exchange.binance.face import BinanceFace
from nodes.exchange.control import ControlFace
from nodes.exchange.counters import Counters
from nodes.exchange.faults import Faults
from nodes.exchange.market import Market
from nodes.exchange.params import SimParams
from nodes.exchange.truth import Truth

__all__ = ["Exchange"]

LABEL = {"X-Flow-Simulated": "1"}
SLICE_MS = 50
MOST_BEHIND_MS = 1_000


class Exchange:
    """A simulated exchange that speaks Binance's public WebSocket and REST wire; an async context manager.

    `clock` gives wall time in epoch ns; all times of the exchange follow it. Raises ValueError for parameters
    that do not fit together, OSError from `start` where the port can't be had.
    """

    def __init__(self, params: SimParams | None = None, *, clock: Clock = wall_ns) -> None:
        self.params = params or SimParams()
        self.counters = Counters()
        self.faults = Faults(self.params.faults, self.params.seed)
        self._clock = clock
        self._start_ns = clock()
        self.market = Market(self.params, self._start_ns // 1_000_000)
        self._binance = BinanceFace(self.params, self.market, self.faults, self.counters, self._now_ms)
        self._truth = Truth(self.market, self.params.truth_states) if self.params.truth else None
        if self._truth is not None:
            self.market.listeners.append(self._truth)
        self._runner: web.AppRunner | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: BaseException | None = None
        self._stopped = asyncio.Event()
        self._port = 0

    @property
    def ws_url(self) -> str:
        """The base of the WebSocket URLs, as `wss://stream.binance.com:9443` is."""
        return f"ws://{self._address()}"

    @property
    def rest_url(self) -> str:
        """The base of the REST URLs, as `https://api.binance.com` is."""
        return f"http://{self._address()}"

    async def start(self) -> None:
        """Open the port and start the market."""
        if self._runner is not None:
            raise RuntimeError("the exchange has been started already")
        app = web.Application()
        app.on_response_prepare.append(_label)
        control = ControlFace(self.market, self.faults, self.counters, self._truth, self._binance)
        app.add_routes([*self._binance.routes(), *control.routes()])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.params.host, self.params.port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._port = self._runner.addresses[0][1]
        self._start_ns = self._clock() - (self.market.now_ms - self.market.start_ms) * 1_000_000
        self._tick()

    async def stop(self) -> None:
        """Announce the shutdown, close all connections and the port. Stopping twice does nothing."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        runner, self._runner = self._runner, None
        if runner is not None:
            self._binance.announce_shutdown(0.0)
            self._binance.close()
            await runner.cleanup()

    async def run_forever(self) -> None:
        """Serve until `stop` is called or the task is cancelled. Raises what broke the market."""
        if self._runner is None:
            await self.start()
        try:
            await self._stopped.wait()
        finally:
            await self.stop()
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._failure is not None and error is None:
            raise self._failure

    def _address(self) -> str:
        if not self._port:
            raise RuntimeError("the exchange has no address before it is started")
        host = self.params.host
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000

    def _tick(self) -> None:
        """Run what is due of the market, write it out, and come again."""
        try:
            self._binance.before()
            is_behind = self._run_market()
            self._binance.flush()
        except Exception as error:
            self._failure = error
            self._stopped.set()
            raise
        delay_s = 0.0 if is_behind else self.params.tick_ms / 1000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _run_market(self) -> bool:
        """Run the market up to now, at most a slice at a time; True where more is due."""
        speed, market = self.params.speed, self.market
        target_ms = market.start_ms + int((self._clock() - self._start_ns) * speed / 1_000_000)
        slice_ms = max(1, round(SLICE_MS * speed))
        if target_ms - market.now_ms > MOST_BEHIND_MS * max(1.0, speed):
            self.counters.skipped_ms += target_ms - slice_ms - market.now_ms
            market.skip(target_ms - slice_ms)
        market.advance(min(target_ms, market.now_ms + slice_ms))
        return market.now_ms < target_ms


async def _label(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(LABEL)
