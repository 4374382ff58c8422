"""What the tests of providers share: virtual time, a scripted transport, and a scripted real server."""

from __future__ import annotations

import asyncio
import selectors
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

import msgspec
import pytest
from aiohttp import WSMsgType, web

from flow.context import Context
from flow.events.frames import Arrival, Connection
from flow.telemetry.occurrences import Occurrence
from nodes.providers.transport import EndOfRecording, NetworkError, Reply, Transport, Wire


class JumpingSelector(selectors.DefaultSelector):
    """Jumps to the next timer instead of waiting for it."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("the test waits for something that never comes")
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at no cost."""

    def __init__(self) -> None:
        self.jumping = JumpingSelector()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now


@pytest.fixture
def virtually() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine on virtual time; what a callback raises fails the test."""

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        faults: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.get_loop().set_exception_handler(lambda loop, fault: faults.append(fault))
            result = runner.run(main)
        assert faults == []
        return result

    return run


class Patient:
    """Can wait for what is not announced."""

    async def until(self, condition: Callable[[], bool], pause_s: float = 0.001) -> None:
        """Return once the condition holds."""
        while True:
            if condition():
                return
            await asyncio.sleep(pause_s)


class ScriptedWire(Wire):
    """Gives what is pushed; acknowledges every request by default. `sent` has (loop time, request)."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | str] = asyncio.Queue()
        self.sent: list[tuple[float, dict[str, Any]]] = []
        self.answer: Callable[[dict[str, Any]], bytes | None] = self.acknowledge
        self.is_closed = False

    @staticmethod
    def acknowledge(request: dict[str, Any]) -> bytes | None:
        return msgspec.json.encode({"result": None, "id": request["id"]})

    async def read(self, connection: Connection, emit: Callable[[Arrival], None]) -> str:
        while not self.is_halted:
            item = await self.incoming.get()
            if isinstance(item, str):
                return item
            emit((connection, item, 0))
        return "halted"

    async def send(self, payload: bytes) -> None:
        if self.is_closed:
            raise NetworkError("the connection is gone")
        request = msgspec.json.decode(payload)
        self.sent.append((asyncio.get_running_loop().time(), request))
        answer = self.answer(request)
        if answer is not None:
            self.incoming.put_nowait(answer)

    async def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.incoming.put_nowait("closed")

    def end(self, reason: str = "closed_by_peer") -> None:
        self.incoming.put_nowait(reason)

    def names(self, method: str = "SUBSCRIBE") -> list[str]:
        return [name for _, request in self.sent if request["method"] == method for name in request["params"]]


class ScriptedTransport(Transport, Patient):
    """Connects by script: each entry of `connects` is an error to raise, or a wire; then fresh wires."""

    def __init__(self) -> None:
        self.connects: deque[Exception | ScriptedWire] = deque()
        self.wires: list[ScriptedWire] = []
        self.connected_at: list[float] = []
        self.replies: deque[Exception | Reply] = deque()
        self.requests: list[tuple[float, str, dict[str, str]]] = []
        self.closes = 0

    async def connect(self, url: str) -> Wire:
        self.connected_at.append(asyncio.get_running_loop().time())
        item = self.connects.popleft() if self.connects else ScriptedWire()
        if isinstance(item, Exception):
            raise item
        self.wires.append(item)
        return item

    async def get(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Reply:
        self.requests.append((asyncio.get_running_loop().time(), url, dict(params)))
        await asyncio.sleep(0)
        item = self.replies.popleft()
        if isinstance(item, Exception):
            raise item
        return item

    async def close(self) -> None:
        self.closes += 1


class RecordedTransport(ScriptedTransport):
    """A recording: no connection after the scripted ones."""

    is_recording = True

    async def connect(self, url: str) -> Wire:
        if not self.connects:
            raise EndOfRecording("nothing more was recorded")
        return await super().connect(url)


@pytest.fixture
def scripted() -> ScriptedTransport:
    return ScriptedTransport()


@pytest.fixture
def recorded() -> RecordedTransport:
    return RecordedTransport()


@pytest.fixture
def make_wire() -> type[ScriptedWire]:
    return ScriptedWire


class Collector:
    """Stands for the graph: keeps market data, hands everything else back to its connection."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.unknown: list[bytes] = []
        self.arrived = asyncio.Event()

    def __call__(self, arrival: Arrival) -> None:
        connection, payload, _ = arrival
        if payload.startswith(b'{"stream":') and b"serverShutdown" not in payload:
            self.frames.append((connection.connection_id, payload))
            self.arrived.set()
        elif not connection.on_control(payload):
            self.unknown.append(payload)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at after each arrival and every 2 ms."""
        while not condition():
            self.arrived.clear()
            try:
                async with asyncio.timeout(0.002):
                    await self.arrived.wait()
            except TimeoutError:
                continue


@pytest.fixture
def collector() -> Collector:
    return Collector()


class Journal(Patient):
    """The occurrences that were reported."""

    def __init__(self) -> None:
        self.all: list[Occurrence] = []

    def of(self, kind: type[Any]) -> list[Any]:
        return [occurrence for occurrence in self.all if isinstance(occurrence, kind)]


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def make_context(journal: Journal) -> Callable[..., Context]:
    """A context with a seed, whose occurrences go to the journal."""

    def make(**refs: Any) -> Context:
        context = Context("socket", refs={"seed": 7, **refs})
        context.telemetry.listeners.append(lambda node, occurrence: journal.all.append(occurrence))
        return context

    return make


class FakeServer(Patient):
    """A real HTTP and WebSocket server on loopback; what it answers is set by the test."""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.transports: list[asyncio.Transport] = []
        self.requests: list[dict[str, Any]] = []
        self.messages: list[Any] = []
        self.replies: dict[str, deque[web.Response]] = defaultdict(deque)
        self.calls: list[web.Request] = []
        self.handshakes: deque[web.Response] = deque()
        self.answer: Callable[[dict[str, Any]], bytes | None] = ScriptedWire.acknowledge
        self.streams: dict[web.WebSocketResponse, set[str]] = {}
        self.autoping = True
        self.is_deaf = False
        self.base = ""
        self.offers: list[str | None] = []
        """The WebSocket extensions that clients asked for."""

    async def socket(self, request: web.Request) -> web.StreamResponse:
        self.offers.append(request.headers.get("Sec-WebSocket-Extensions"))
        if self.handshakes:
            return self.handshakes.popleft()
        socket = web.WebSocketResponse(compress=False, autoping=self.autoping)
        await socket.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        self.transports.append(request.transport)
        self.sockets.append(socket)
        self.streams[socket] = set()
        if self.is_deaf:
            await asyncio.get_running_loop().create_future()
        async for message in socket:
            self.messages.append(message)
            if message.type is WSMsgType.TEXT:
                await self.take(socket, msgspec.json.decode(message.data))
        return socket

    async def take(self, socket: web.WebSocketResponse, request: dict[str, Any]) -> None:
        self.requests.append(request)
        answer = self.answer(request)
        if answer is None or b'"code"' in answer:
            pass
        elif request["method"] == "SUBSCRIBE":
            self.streams[socket] |= set(request["params"])
        else:
            self.streams[socket] -= set(request["params"])
        if answer is not None:
            await socket.send_str(answer.decode())

    async def publish(self, stream: str, data: dict[str, Any]) -> None:
        """Send one event to every connection that is subscribed to its stream."""
        text = msgspec.json.encode({"stream": stream, "data": data}).decode()
        for socket, names in self.streams.items():
            if stream in names and not socket.closed:
                await socket.send_str(text)

    def reply(
        self, path: str, body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        self.replies[path].append(web.Response(status=status, body=encoded, headers=headers))

    async def rest(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(request)
        if request.path == "/silent":
            await asyncio.get_running_loop().create_future()
        return self.replies[request.path].popleft()

    @property
    def ws_url(self) -> str:
        return f"ws://{self.base}"

    @property
    def rest_url(self) -> str:
        return f"http://{self.base}"


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    app = web.Application()
    app.router.add_get("/stream", fake.socket)
    app.router.add_get("/{path:.*}", fake.rest)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.base = f"127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()
