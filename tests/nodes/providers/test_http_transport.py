from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import WSMsgType, web

from flow.errors import PoolTimeout
from flow.events.frames import Arrival, Connection
from nodes.providers import http_transport
from nodes.providers.http_transport import BURST, HttpTransport, HttpWire
from nodes.providers.transport import NetworkError

CONNECTION = Connection("binance", 1)


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    made = HttpTransport(connect_timeout_s=2.0, reply_timeout_s=5.0)
    yield made
    await made.close()


class Reading:
    """A wire that is being read into a list."""

    def __init__(self, wire: HttpWire) -> None:
        self.wire = wire
        self.payloads: list[bytes] = []
        self.task = asyncio.create_task(wire.read(CONNECTION, self.take))

    def take(self, arrival: Arrival) -> None:
        assert arrival[0] is CONNECTION
        self.payloads.append(arrival[1])


@pytest.fixture
def read(server, transport: HttpTransport) -> Callable:
    async def start() -> Reading:
        reading = Reading(await transport.connect(f"{server.ws_url}/stream"))
        await server.until(lambda: bool(server.sockets))
        return reading

    return start


async def test_messages_arrive_as_bytes_in_order_and_a_close_says_why_it_ended(server, read) -> None:
    reading = await read()
    [socket] = server.sockets
    await socket.send_str('{"a":"é"}')
    await socket.send_bytes(b"\x00\x01")
    await socket.send_frame(b"\xff\xfe not utf-8", WSMsgType.TEXT)
    await socket.close(code=1001, message=b"maintenance")
    assert await reading.task == "closed_by_peer"
    assert reading.payloads == ['{"a":"é"}'.encode(), b"\x00\x01", b"\xff\xfe not utf-8"]
    assert all(type(payload) is bytes for payload in reading.payloads)
    assert reading.wire.detail == "code 1001: maintenance"


async def test_a_ping_is_answered_with_its_own_payload(server, read) -> None:
    server.autoping = False
    reading = await read()
    await server.sockets[0].ping(b"1795458451144")
    await server.until(lambda: bool(server.messages))
    [pong] = server.messages
    assert (pong.type, bytes(pong.data)) == (WSMsgType.PONG, b"1795458451144")
    assert reading.payloads == []
    await reading.wire.close()
    assert await reading.task == "closed"


async def test_a_connection_that_is_cut_is_a_network_error_after_all_that_arrived(server, read) -> None:
    reading = await read()
    await server.sockets[0].send_str("last words")
    await server.until(lambda: bool(reading.payloads))
    server.transports[0].abort()
    assert await reading.task == "network_error"
    assert reading.payloads == [b"last words"]
    assert reading.wire.detail


async def test_a_peer_that_answers_no_ping_counts_as_gone(server) -> None:
    server.is_deaf = True
    transport = HttpTransport(heartbeat_s=0.05)
    reading = Reading(await transport.connect(f"{server.ws_url}/stream"))
    assert await reading.task == "ping_timeout"
    assert "PONG" in reading.wire.detail
    await transport.close()


async def test_a_message_that_is_too_big_ends_the_connection(server, transport, monkeypatch) -> None:
    monkeypatch.setattr(http_transport, "MAX_MESSAGE_BYTES", 1000)
    reading = Reading(await transport.connect(f"{server.ws_url}/stream"))
    await server.until(lambda: bool(server.sockets))
    await server.sockets[0].send_str("x" * 999)
    await server.sockets[0].send_str("x" * 1001)
    assert await reading.task == "message_too_big"
    assert [len(payload) for payload in reading.payloads] == [999]


async def test_what_breaks_the_protocol_ends_the_connection(server, read) -> None:
    reading = await read()
    server.transports[0].write(b"\xf1\x01x")
    assert await reading.task == "protocol_error"


async def test_no_compression_is_offered(server, read) -> None:
    reading = await read()
    assert server.offers == [None]
    await reading.wire.close()


async def test_a_halted_wire_emits_nothing_more(server, transport) -> None:
    wire = await transport.connect(f"{server.ws_url}/stream")
    payloads: list[bytes] = []

    def take(arrival: Arrival) -> None:
        payloads.append(arrival[1])
        wire.halt()

    task = asyncio.create_task(wire.read(CONNECTION, take))
    await server.until(lambda: bool(server.sockets))
    server.transports[0].write(b"\x81\x01a\x81\x01b\x81\x01c")
    assert await task == "halted"
    assert payloads == [b"a"]
    await wire.close()


async def test_a_wire_that_is_halted_while_it_waits_emits_nothing_more(server, read) -> None:
    reading = await read()
    await asyncio.sleep(0)
    reading.wire.halt()
    await server.sockets[0].send_str("too late")
    assert await reading.task == "halted"
    assert reading.payloads == []
    await reading.wire.close()


async def test_a_wire_that_is_closed_between_two_messages_says_closed(server, transport) -> None:
    wire = await transport.connect(f"{server.ws_url}/stream")
    closing: list[asyncio.Task[None]] = []

    def take(arrival: Arrival) -> None:
        if not closing:
            closing.append(asyncio.create_task(wire.close()))

    task = asyncio.create_task(wire.read(CONNECTION, take))
    await server.until(lambda: bool(server.sockets))
    server.transports[0].write(b"\x81\x01a" * 3 * BURST)
    assert await task == "closed"
    await closing[0]


async def test_others_run_at_least_once_in_a_burst_of_messages(server, transport) -> None:
    wire = await transport.connect(f"{server.ws_url}/stream")
    turns, turns_at = 0, []

    def take(arrival: Arrival) -> None:
        turns_at.append(turns)

    async def consumer() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(consumer())
    task = asyncio.create_task(wire.read(CONNECTION, take))
    await server.until(lambda: bool(server.sockets))
    server.transports[0].write(b"\x81\x01a" * 10 * BURST)
    await server.sockets[0].close()
    await task
    other.cancel()
    assert len(turns_at) == 10 * BURST
    assert max(turns_at.count(turn) for turn in set(turns_at)) <= BURST + 1
    assert turns_at[-1] - turns_at[0] >= 9


async def test_what_finds_a_pool_dry_is_offered_again_before_the_next_message(server, transport) -> None:
    wire = await transport.connect(f"{server.ws_url}/stream")
    offered, is_dry = [], True

    def take(arrival: Arrival) -> None:
        offered.append(arrival[1])
        if is_dry:
            raise PoolTimeout("WsFrame", 1)

    async def wait(payload: bytes, error: PoolTimeout, refusals: int) -> bool:
        nonlocal is_dry
        is_dry = False
        return True

    wire.on_exhausted = wait
    task = asyncio.create_task(wire.read(CONNECTION, take))
    await server.until(lambda: bool(server.sockets))
    server.transports[0].write(b"\x81\x01a\x81\x01b")
    await server.sockets[0].close()
    assert await task == "closed_by_peer"
    assert offered == [b"a", b"a", b"b"]


async def test_what_the_graph_raises_goes_through_the_read(server, transport) -> None:
    wire = await transport.connect(f"{server.ws_url}/stream")

    def broken(arrival: Arrival) -> None:
        raise RuntimeError("a bug")

    task = asyncio.create_task(wire.read(CONNECTION, broken))
    await server.until(lambda: bool(server.sockets))
    await server.sockets[0].send_str("x")
    with pytest.raises(RuntimeError, match="a bug"):
        await task
    await wire.close()


async def test_sending_is_text_and_fails_once_the_connection_is_gone(server, read) -> None:
    reading = await read()
    await reading.wire.send(b'{"method":"LIST_SUBSCRIPTIONS","params":[],"id":1}')
    await server.until(lambda: bool(reading.payloads))
    assert server.messages[0].type is WSMsgType.TEXT
    assert reading.payloads == [b'{"result":null,"id":1}']
    await reading.wire.close()
    await reading.wire.close()
    with pytest.raises(NetworkError, match="the connection is gone"):
        await reading.wire.send(b"x")
    assert await reading.task == "closed"


async def test_a_refused_handshake_says_how_long_to_wait(server, transport) -> None:
    server.handshakes.append(web.Response(status=429, headers={"Retry-After": "17"}))
    with pytest.raises(NetworkError, match="HTTP 429") as caught:
        await transport.connect(f"{server.ws_url}/stream")
    assert (caught.value.status, caught.value.retry_after_s) == (429, 17.0)


async def test_where_nobody_listens_both_ways_in_fail_at_once(transport) -> None:
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1:1"):
        await transport.connect("ws://127.0.0.1:1/stream")
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1:1"):
        await transport.get("http://127.0.0.1:1/api", {})


async def test_a_reply_of_any_status_is_given_whole(server, transport) -> None:
    server.reply("/api/v3/depth", b"x" * 300_000, 418, {"Retry-After": "9"})
    reply = await transport.get(f"{server.rest_url}/api/v3/depth", {"symbol": "BTCUSDT"}, {"X-A": "b"})
    assert (reply.status, len(reply.body), reply.headers["retry-after"]) == (418, 300_000, "9")
    [call] = server.calls
    assert dict(call.query) == {"symbol": "BTCUSDT"}
    assert call.headers["X-A"] == "b"


async def test_a_reply_that_does_not_end_is_a_network_error(server, transport, monkeypatch) -> None:
    monkeypatch.setattr(http_transport, "MAX_REPLY_BYTES", 1000)
    server.reply("/large", b"x" * 1001)
    with pytest.raises(NetworkError, match="longer than 1000 bytes"):
        await transport.get(f"{server.rest_url}/large", {})


async def test_a_reply_that_does_not_come_is_a_network_error(server) -> None:
    transport = HttpTransport(reply_timeout_s=0.05)
    with pytest.raises(NetworkError):
        await transport.get(f"{server.rest_url}/silent", {})
    assert len(server.calls) == 1
    await transport.close()


async def test_closing_twice_or_unused_does_nothing() -> None:
    transport = HttpTransport()
    await transport.close()
    await transport.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
