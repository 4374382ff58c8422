"""Connections over a real socket: envelopes, requests, pings, limits and ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
import pytest

from nodes.exchange import Exchange, LimitParams, SimParams

TEXT, PING, CLOSE = aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING, aiohttp.WSMsgType.CLOSE
QUIET = SimParams(rate=0.001)
FAST = SimParams(rate=200, speed=20, seed=5)


async def frame(ws: aiohttp.ClientWebSocketResponse) -> Any:
    message = await ws.receive()
    assert message.type is TEXT, message
    return msgspec.json.decode(message.data)


async def ask(ws: aiohttp.ClientWebSocketResponse, method: str, params: list[Any] | None = None) -> Any:
    """Send one request; the reply to it, past the events that came before."""
    request = {"method": method, "id": 7} | ({"params": params} if params is not None else {})
    await ws.send_str(msgspec.json.encode(request).decode())
    while True:
        reply = await frame(ws)
        if "result" in reply or "code" in reply:
            return reply


async def test_the_handshake_says_that_it_is_simulated(serve: Any) -> None:
    async with (
        serve(QUIET) as client,
        client.http.get(client.exchange.rest_url + "/ws/btcusdt@trade") as reply,
    ):
        assert (reply.status, reply.headers["X-Flow-Simulated"]) == (400, "1")
    async with serve(QUIET) as client:
        ws = await client.connect("/ws/btcusdt@trade")
        assert ws._response.headers["X-Flow-Simulated"] == "1"


async def test_a_raw_stream_is_not_wrapped_and_a_combined_one_is(serve: Any) -> None:
    async with serve(FAST) as client:
        raw = await client.connect("/ws/btcusdt@trade")
        assert (await frame(raw))["e"] == "trade"
        combined = await client.connect("/stream?streams=ethusdt@trade/ethusdt@bookTicker")
        names = set()
        while len(names) < 2:
            event = await frame(combined)
            assert set(event) == {"stream", "data"}
            names.add(event["stream"])
        assert names == {"ethusdt@trade", "ethusdt@bookTicker"}


async def test_streams_are_changed_while_connected(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect("/ws")
        assert (await ask(ws, "LIST_SUBSCRIPTIONS"))["result"] == []
        assert await ask(ws, "SUBSCRIBE", ["btcusdt@trade", "nothing@trade"]) == {"result": None, "id": 7}
        assert (await frame(ws))["e"] == "trade"
        assert (await ask(ws, "LIST_SUBSCRIPTIONS"))["result"] == ["btcusdt@trade", "nothing@trade"]
        assert (await ask(ws, "UNSUBSCRIBE", ["btcusdt@trade"]))["result"] is None
        assert (await ask(ws, "LIST_SUBSCRIPTIONS"))["result"] == ["nothing@trade"]


async def test_the_combined_property_wraps_from_then_on(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect("/ws/btcusdt@trade")
        assert (await ask(ws, "GET_PROPERTY", ["combined"]))["result"] is False
        assert (await ask(ws, "SET_PROPERTY", ["combined", True]))["result"] is None
        assert (await frame(ws))["stream"] == "btcusdt@trade"
        assert (await ask(ws, "GET_PROPERTY", ["combined"]))["result"] is True


async def test_an_error_reply_leaves_the_connection_open(serve: Any) -> None:
    async with serve(QUIET) as client:
        ws = await client.connect("/ws")
        await ws.send_str("{nonsense")
        assert await frame(ws) == {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 2"}
        assert (await ask(ws, "PING"))["code"] == 2
        assert (await ask(ws, "LIST_SUBSCRIPTIONS"))["result"] == []


async def test_subscribing_twice_sends_once_and_unknown_streams_stay_silent(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect(
            "/stream?streams=btcusdt@trade/BTCUSDT@trade/btcusdt@nothing/btcusdt@kline_7m"
        )
        await ask(ws, "SUBSCRIBE", ["btcusdt@trade", "btcusdt@trade"])
        ids = []
        for _ in range(50):
            event = await frame(ws)
            assert event["stream"] == "btcusdt@trade"
            ids.append(event["data"]["t"])
        assert ids == sorted(set(ids))


@pytest.mark.parametrize("unit", ["MICROSECOND", "microsecond"])
async def test_times_are_in_the_unit_of_the_url(serve: Any, unit: str) -> None:
    async with serve(FAST) as client:
        ms = await client.connect("/ws/btcusdt@trade")
        us = await client.connect(f"/ws/btcusdt@trade?timeUnit={unit}")
        late = await frame(us)
        same = await frame(ms)
        while same["t"] != late["t"]:
            older = ms if same["t"] < late["t"] else us
            fresh = await frame(older)
            same, late = (fresh, late) if older is ms else (same, fresh)
        assert late["E"] // 1000 == same["E"]
        assert late["T"] // 1000 == same["T"]
        assert late["p"] == same["p"]


async def test_an_unknown_time_unit_is_refused(serve: Any) -> None:
    async with serve(QUIET) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.connect("/ws?timeUnit=HOUR")
        assert caught.value.status == 400


async def test_the_server_pings_and_a_pong_keeps_the_connection(serve: Any, hand_clock: Any) -> None:
    async with serve(QUIET, clock=hand_clock) as client:
        ws = await client.connect("/ws", autoping=False)
        for _ in range(6):
            hand_clock.advance(20)
            ping = await ws.receive()
            assert ping.type is PING
            await ws.pong(ping.data)
        assert (await ask(ws, "LIST_SUBSCRIPTIONS"))["result"] == []
        assert client.exchange.counters.disconnects == {}


@pytest.mark.parametrize("pong", [None, b"", b"something else"])
async def test_without_the_pings_own_payload_the_connection_ends(
    serve: Any, hand_clock: Any, pong: bytes | None
) -> None:
    async with serve(QUIET, clock=hand_clock) as client:
        ws = await client.connect("/ws", autoping=False)
        for _ in range(3):
            hand_clock.advance(20)
            assert (await ws.receive()).type is PING
            if pong is not None:
                await ws.pong(pong)
        hand_clock.advance(20)
        last = await ws.receive()
        assert (last.type, last.data, last.extra) == (CLOSE, 1008, "Pong timeout")
        assert client.exchange.counters.disconnects == {"pong_timeout": 1}


async def test_a_pong_does_not_answer_a_later_ping(serve: Any, hand_clock: Any) -> None:
    async with serve(QUIET, clock=hand_clock) as client:
        ws = await client.connect("/ws", autoping=False)
        payloads = []
        for _ in range(4):
            hand_clock.advance(20)
            payloads.append((await ws.receive()).data)
            if len(payloads) == 2:
                await ws.pong(payloads[0])
        hand_clock.advance(20)
        last = await ws.receive()
        assert (last.type, last.extra) == (CLOSE, "Pong timeout")


async def test_a_clients_ping_is_answered_with_its_payload(serve: Any) -> None:
    async with serve(QUIET) as client:
        ws = await client.connect("/ws", autoping=False)
        await ws.ping(b"are you there")
        pong = await ws.receive()
        assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"are you there")


@pytest.mark.parametrize("kind", ["request", "ping", "pong"])
async def test_more_than_five_messages_a_second_end_the_connection(
    serve: Any, hand_clock: Any, kind: str
) -> None:
    async with serve(QUIET, clock=hand_clock) as client:
        ws = await client.connect("/ws", autoping=False)
        sends = {"request": lambda: ws.send_str("{}"), "ping": ws.ping, "pong": ws.pong}
        for _ in range(6):
            await sends[kind]()
        while (message := await ws.receive()).type is not CLOSE:
            assert message.type in (TEXT, aiohttp.WSMsgType.PONG)
        assert (message.data, message.extra) == (1008, "Too many requests")
        assert client.exchange.counters.disconnects == {"too_many_messages": 1}


async def test_a_connection_has_1024_streams_at_most(serve: Any) -> None:
    async with serve(QUIET) as client:
        ws = await client.connect("/ws")
        names = [f"x{number}@trade" for number in range(1024)]
        assert (await ask(ws, "SUBSCRIBE", names))["result"] is None
        await ws.send_str('{"method":"SUBSCRIBE","params":["one@more"],"id":1}')
        while (message := await ws.receive()).type is TEXT:
            pass
        assert (message.type, message.data) == (CLOSE, 1008)


async def test_connection_attempts_are_limited(serve: Any, hand_clock: Any) -> None:
    params = SimParams(rate=0.001, limits=LimitParams(connects_per_5_min=2))
    async with serve(params, clock=hand_clock) as client:
        for _ in range(2):
            await client.connect("/ws")
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.connect("/ws")
        assert caught.value.status == 429
        assert caught.value.headers is not None
        assert caught.value.headers["Retry-After"] == "300"
        hand_clock.advance(300)
        await client.connect("/ws")


async def test_a_connection_ends_with_its_lifetime(serve: Any, hand_clock: Any) -> None:
    async with serve(SimParams(rate=0.001, ping_interval_s=1e6), clock=hand_clock) as client:
        ws = await client.connect("/ws")
        hand_clock.advance(86_399)
        assert (await ask(ws, "LIST_SUBSCRIPTIONS"))["result"] == []
        hand_clock.advance(1)
        last = await ws.receive()
        assert (last.type, last.data) == (CLOSE, 1001)
        assert client.exchange.counters.disconnects == {"lifetime": 1}


async def test_a_shutdown_is_announced_and_then_happens(serve: Any, hand_clock: Any) -> None:
    async with serve(QUIET, clock=hand_clock) as client:
        raw, combined = await client.connect("/ws"), await client.connect("/stream")
        assert await client.post("/sim/shutdown_notice", {"close_after_s": 5}) == (200, {"connections": 2})
        event = {"e": "serverShutdown", "E": 1_700_000_000_000}
        assert await frame(raw) == event
        assert await frame(combined) == {"stream": "!serverShutdown", "data": event}
        later = await client.connect("/ws")
        hand_clock.advance(5)
        assert (await raw.receive()).type is CLOSE
        assert (await combined.receive()).type is CLOSE
        assert (await ask(later, "LIST_SUBSCRIPTIONS"))["result"] == []


async def test_stopping_tells_and_closes_every_connection() -> None:
    exchange = Exchange(QUIET)
    await exchange.start()
    async with aiohttp.ClientSession() as http:
        ws = await http.ws_connect(exchange.ws_url + "/ws")
        await exchange.stop()
        assert (await frame(ws))["e"] == "serverShutdown"
        assert (await ws.receive()).data == 1001
        assert exchange.counters.open_connections == 0


class Awaited:
    """A market listener that sets an event once the exchange is in a state."""

    def __init__(self, exchange: Exchange, is_so: Callable[[], bool]) -> None:
        self._is_so = is_so
        self.happened = asyncio.Event()
        exchange.market.listeners.append(self)

    def on_execution(self, listing: Any, execution: Any) -> None:
        if self._is_so():
            self.happened.set()

    def on_depth(self, *_: Any, **__: Any) -> None:
        """Nothing to see."""

    on_ticker = on_bar = on_depth


async def test_a_client_that_does_not_read_is_cut_off(serve: Any) -> None:
    limits = LimitParams(send_buffer_bytes=4096)
    params = SimParams(symbols=20, rate=20_000, limits=limits, book_levels=20)
    async with serve(params) as client:
        awaited = Awaited(client.exchange, lambda: bool(client.exchange.counters.disconnects))
        with socket.socket() as sleeper:
            await fall_asleep(sleeper, client.exchange)
            await awaited.happened.wait()
            assert client.exchange.counters.disconnects == {"slow_client": 1}
        ws = await client.connect("/ws/btcusdt@trade")
        assert (await frame(ws))["e"] == "trade"


async def test_a_client_that_does_not_read_its_close_frame_is_cut_off(serve: Any, hand_clock: Any) -> None:
    limits = LimitParams(send_buffer_bytes=64 * 1024 * 1024)
    params = SimParams(symbols=20, rate=20_000, lifetime_s=8, book_levels=20, limits=limits)
    async with serve(params, clock=hand_clock) as client:
        exchange = client.exchange
        with socket.socket() as sleeper:
            await fall_asleep(sleeper, exchange)
            for _ in range(30):
                hand_clock.advance(0.9)
                reached = exchange.market.now_ms + 800
                done = Awaited(exchange, lambda reached=reached: exchange.market.now_ms >= reached)
                await done.happened.wait()
                exchange.market.listeners.remove(done)
                if exchange.counters.connections and not exchange.counters.open_connections:
                    break
            assert exchange.counters.disconnects == {"lifetime": 1}
            assert exchange.counters.open_connections == 0


async def test_stopping_does_not_wait_for_who_does_not_read() -> None:
    exchange = Exchange(SimParams(symbols=20, rate=20_000, book_levels=20))
    await exchange.start()
    awaited = Awaited(exchange, lambda: exchange.counters.bytes_sent > 4_000_000)
    with socket.socket() as sleeper:
        await fall_asleep(sleeper, exchange)
        await awaited.happened.wait()
        await exchange.stop()
        assert exchange.counters.open_connections == 0


async def fall_asleep(sleeper: socket.socket, exchange: Exchange) -> None:
    """Connect to the trades of every symbol, and never read."""
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sleeper.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sleeper, ("127.0.0.1", int(exchange.ws_url.rpartition(":")[2])))
    await loop.sock_sendall(sleeper, handshake([*exchange.market.by_name]))


def handshake(names: list[str]) -> bytes:
    """The request that opens a connection to the trades of canonical symbols."""
    streams = "/".join(f"{name.replace('-', '').lower()}@trade" for name in names)
    lines = (
        f"GET /stream?streams={streams} HTTP/1.1",
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()
