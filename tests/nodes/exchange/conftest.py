"""A clock that a test moves, an independent book, and an exchange to connect to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from nodes.exchange import Exchange, SimParams

START_NS = 1_700_000_000_000 * 1_000_000


class HandClock:
    """Epoch ns that stand still until they are moved."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


class Client:
    """A plain aiohttp client of one exchange."""

    def __init__(self, exchange: Exchange, http: aiohttp.ClientSession) -> None:
        self.exchange = exchange
        self.http = http
        self.sockets: list[aiohttp.ClientWebSocketResponse] = []

    async def connect(self, path: str, **more: Any) -> aiohttp.ClientWebSocketResponse:
        self.sockets.append(await self.http.ws_connect(self.exchange.ws_url + path, max_msg_size=0, **more))
        return self.sockets[-1]

    def release(self) -> None:
        """Let go of all connections: aiohttp leaves one that was cut to the collector, which then warns."""
        for socket in self.sockets:
            socket._response.close()

    async def get(self, path: str, **more: Any) -> tuple[int, Any, Any]:
        """Status, headers and decoded body."""
        async with self.http.get(self.exchange.rest_url + path, **more) as reply:
            body = await reply.read()
            return reply.status, reply.headers, msgspec.json.decode(body) if body else None

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        async with self.http.post(self.exchange.rest_url + path, data=msgspec.json.encode(body)) as reply:
            return reply.status, msgspec.json.decode(await reply.read())


class LevelBook:
    """A book made of wire levels, apart from the code under test."""

    def __init__(self, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> None:
        self.bids: dict[str, str] = dict(bids)
        self.asks: dict[str, str] = dict(asks)

    def apply(self, event: dict[str, Any]) -> None:
        for side, changes in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, quantity in changes:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)

    def levels(self) -> tuple[list[list[str]], list[list[str]]]:
        bids = sorted(self.bids.items(), key=lambda level: -float(level[0]))
        asks = sorted(self.asks.items(), key=lambda level: float(level[0]))
        return [list(level) for level in bids], [list(level) for level in asks]


Serve = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()


@pytest.fixture
def level_book() -> type[LevelBook]:
    return LevelBook


@pytest.fixture
def serve() -> Serve:
    """`async with serve(SimParams(...)) as client`; `clock=` for a clock moved by hand."""

    @asynccontextmanager
    async def serve(params: SimParams | None = None, **more: Any) -> AsyncIterator[Client]:
        async with Exchange(params, **more) as exchange, aiohttp.ClientSession() as http:
            client = Client(exchange, http)
            yield client
            client.release()

    return serve
