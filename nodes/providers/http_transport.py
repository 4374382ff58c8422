"""The network, by aiohttp: one session, text frames taken as bytes, no compression, no task per frame.

A read takes every message that has already arrived without a task switch, and lets others run after
`BURST` messages at the latest. What is not read stays in aiohttp's queue (128 KiB), then in the kernel,
then with the exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import aiohttp
from aiohttp import WSCloseCode, WSMsgType

from flow.errors import PoolTimeout
from flow.events.frames import Arrival, Connection
from nodes.providers.transport import NetworkError, Reply, Transport, Wire

__all__ = ["HttpTransport", "HttpWire"]

BURST: Final = 64
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
MAX_REPLY_BYTES: Final = 128 * 1024 * 1024
CHUNK_BYTES: Final = 64 * 1024
CLOSE_TIMEOUT: Final = aiohttp.ClientWSTimeout(ws_close=2.0)  # pyright: ignore[reportCallIssue]

_CLOSE_REASONS: Final = {
    WSCloseCode.MESSAGE_TOO_BIG: "message_too_big",
    WSCloseCode.PROTOCOL_ERROR: "protocol_error",
    WSCloseCode.INVALID_TEXT: "protocol_error",
}
_Socket = aiohttp.ClientWebSocketResponse[Any]


class _Uncounted:
    emitted = 0


class HttpWire(Wire):
    """One WebSocket of aiohttp's."""

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket
        self._is_closed_here = False

    async def read(self, connection: Connection, emit: Callable[[Arrival], None]) -> str:
        receive, left = self._socket.receive, BURST
        counting = self.counting or _Uncounted()
        while True:
            message = await receive()
            if self.is_halted:
                return "halted"
            kind = message.type
            if kind is not WSMsgType.TEXT and kind is not WSMsgType.BINARY:
                return self._ended(kind, message.data, message.extra)
            try:
                emit((connection, message.data, 0))
                counting.emitted += 1
            except PoolTimeout as error:
                counting.emitted += await self.offer_again((connection, message.data, 0), emit, error)
            left -= 1
            if not left:
                left = BURST
                await asyncio.sleep(0)

    def _ended(self, kind: WSMsgType, data: Any, extra: str | None) -> str:
        if kind is WSMsgType.CLOSE:
            self.detail = f"code {data}" + (f": {extra}" if extra else "")
            return "closed_by_peer"
        if kind is WSMsgType.ERROR:
            self.detail = str(data)
            if isinstance(data, aiohttp.ServerTimeoutError):
                return "ping_timeout"
            code: Any = getattr(data, "code", None)
            return _CLOSE_REASONS.get(code, "network_error")
        if kind is WSMsgType.CLOSING or self._is_closed_here:
            return "closed"
        if isinstance(self._socket.exception(), aiohttp.ServerTimeoutError):
            self.detail = str(self._socket.exception())
            return "ping_timeout"
        self.detail = "the connection broke without a close frame"
        return "network_error"

    async def send(self, payload: bytes) -> None:
        try:
            await self._socket.send_frame(payload, WSMsgType.TEXT)
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkError(f"the connection is gone: {error}") from error

    async def close(self) -> None:
        self._is_closed_here = True
        await self._socket.close()
        # aiohttp leaves the connection of a socket that was cut to the collector.
        self._socket._response.close()  # pyright: ignore[reportPrivateUsage]


class HttpTransport(Transport):
    """WebSockets and GET requests of one provider. The session is made in the loop that uses it first.

    `heartbeat_s`: after so long without a byte a ping is sent, and half of it later the peer counts as gone.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float = 5.0,
        reply_timeout_s: float = 15.0,
        heartbeat_s: float | None = 30.0,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._timeout = aiohttp.ClientTimeout(
            total=reply_timeout_s, connect=connect_timeout_s, sock_connect=connect_timeout_s
        )
        self._heartbeat_s = heartbeat_s
        self._session: aiohttp.ClientSession | None = None

    @property
    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=self._timeout,
                headers={"User-Agent": "flow-gateway"},
            )
        return self._session

    async def connect(self, url: str) -> Wire:
        try:
            async with asyncio.timeout(2 * self._connect_timeout_s):
                return HttpWire(
                    await self._opened.ws_connect(
                        url,
                        timeout=CLOSE_TIMEOUT,
                        heartbeat=self._heartbeat_s,
                        compress=0,
                        max_msg_size=MAX_MESSAGE_BYTES,
                        decode_text=False,
                    )
                )
        except aiohttp.WSServerHandshakeError as error:
            after = _retry_after(error.headers)
            raise NetworkError(f"handshake refused with HTTP {error.status}", after, error.status) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _fail(error)

    async def get(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Reply:
        try:
            async with self._opened.get(url, params=params, headers=headers) as response:
                body = await _body(response.content)
                return Reply(response.status, response.headers, body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _fail(error)

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()


async def _body(content: aiohttp.StreamReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in content.iter_chunked(CHUNK_BYTES):
        size += len(part)
        if size > MAX_REPLY_BYTES:
            raise NetworkError(f"the reply is longer than {MAX_REPLY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _retry_after(headers: Mapping[str, str] | None) -> float:
    value = "" if headers is None else headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else 0.0


def _fail(error: Exception) -> NoReturn:
    raise NetworkError(str(error) or type(error).__name__) from error
