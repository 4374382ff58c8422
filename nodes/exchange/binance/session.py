"""One WebSocket connection: its subscriptions, its outgoing frames, its pings and its limits."""

import asyncio

from aiohttp import WSMsgType, web

from nodes.exchange.binance.limits import MessageLimit
from nodes.exchange.binance.requests import answer
from nodes.exchange.binance.streams import Channel, Streams
from nodes.exchange.counters import Counters
from nodes.exchange.faults import FaultKind, Faults
from nodes.exchange.market import Market
from nodes.exchange.params import SimParams
from nodes.exchange.wire import close_frame, payload_of, ping_frame, pong_frame, text_frame

__all__ = ["Session", "SessionRoom"]

POLICY_VIOLATION = 1008
GOING_AWAY = 1001
LINGER_MS = 5_000
OPEN_ENDED = frozenset((WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR))


class SessionRoom:
    """What all connections share: params, market, streams, faults, counters, time, who has unsent frames."""

    def __init__(
        self, params: SimParams, market: Market, streams: Streams, faults: Faults, counters: Counters
    ) -> None:
        self.params = params
        self.market = market
        self.streams = streams
        self.faults = faults
        self.counters = counters
        self.now_ms = 0
        self.sessions: list[Session] = []
        self.unflushed: list[Session] = []

    def run_due(self, now_ms: int) -> None:
        """Send the pings and end the connections whose time has come."""
        self.now_ms = now_ms
        for session in list(self.sessions):
            if now_ms >= session.due_ms:
                session.run_due(now_ms)

    def flush(self) -> None:
        """Hand what was sent since the last call to the sockets, one write a connection."""
        sessions, self.unflushed = self.unflushed, []
        for session in sessions:
            session.flush()


class Session:
    """One connection. `send` only collects; `SessionRoom.flush` writes."""

    def __init__(
        self, room: SessionRoom, transport: asyncio.WriteTransport, *, combined: bool, in_microseconds: bool
    ) -> None:
        self.form = int(combined) + 2 * int(in_microseconds)
        self._room = room
        self._transport = transport
        self._names: dict[str, None] = {}
        self._pending: list[bytes] = []
        self._messages = MessageLimit(room.params.limits)
        self._pings: dict[bytes, int] = {}
        params = room.params
        self._ends_ms = room.now_ms + round(params.lifetime_s * 1000)
        self._next_ping_ms = room.now_ms + round(params.ping_interval_s * 1000)
        self._held: dict[str, bytes] = {}
        self._stalled: dict[str, int] = {}
        self.due_ms = 0
        self.is_closed = False

    @property
    def combined(self) -> bool:
        """Whether events come wrapped with their stream's name."""
        return bool(self.form & 1)

    def set_combined(self, value: bool) -> None:
        self.form = (self.form & 2) + int(value)

    def subscribe(self, names: list[str]) -> None:
        for name in names:
            if name not in self._names:
                self._names[name] = None
                self._room.streams.add(name, self)
        if len(self._names) > self._room.params.limits.streams_per_connection:
            self.close(POLICY_VIOLATION, "Too many streams", "too_many_streams")

    def unsubscribe(self, names: list[str]) -> None:
        for name in names:
            if name in self._names:
                del self._names[name]
                self._held.pop(name, None)
                self._stalled.pop(name, None)
                self._room.streams.remove(name, self)

    def subscriptions(self) -> list[str]:
        return list(self._names)

    async def run(self, socket: web.WebSocketResponse) -> None:
        """Serve the connection until either side ends it."""
        room = self._room
        room.sessions.append(self)
        room.counters.connections += 1
        room.counters.open_connections += 1
        try:
            while not self.is_closed:
                message = await socket.receive()
                if message.type in OPEN_ENDED:
                    break
                self._receive(message.type, message.data)
        finally:
            self.is_closed = True
            room.sessions.remove(self)
            room.counters.open_connections -= 1
            self.unsubscribe(self.subscriptions())

    def _receive(self, kind: WSMsgType, data: str | bytes | bytearray) -> None:
        room = self._room
        room.counters.messages += 1
        payload = data.encode() if isinstance(data, str) else bytes(data)
        if not self._messages.allows(room.now_ms):
            self.close(POLICY_VIOLATION, "Too many requests", "too_many_messages")
        elif kind is WSMsgType.PING:
            self._write(pong_frame(payload))
        elif kind is WSMsgType.PONG:
            self._take_pong(payload)
        else:
            self._write(text_frame(answer(payload, self)))

    def _take_pong(self, payload: bytes) -> None:
        """A pong that echoes a ping answers it and those before it; any other does not count."""
        sent_ms = self._pings.get(payload)
        if sent_ms is not None:
            self._pings = {key: at_ms for key, at_ms in self._pings.items() if at_ms > sent_ms}

    def send(self, channel: Channel, framed: bytes) -> None:
        """Send one event, or what a fault makes of it."""
        if self.is_closed:
            return
        if self._room.faults.is_on_frames or self._held or self._stalled:
            self._send_with_faults(channel, framed)
        else:
            self._write(framed)

    def _send_with_faults(self, channel: Channel, framed: bytes) -> None:
        faults, name, market_ms = self._room.faults, channel.name, self._room.market.now_ms
        if market_ms < self._stalled.get(name, market_ms):
            return
        self._stalled.pop(name, None)
        held = self._held.pop(name, None)
        if held is not None:
            self._write(framed)
            self._write(held)
            faults.made(FaultKind.REORDER)
            return
        kind = faults.on_frame(channel.symbol, is_depth=channel.is_depth)
        if kind is FaultKind.REORDER:
            self._held[name] = framed
            return
        if kind is not None:
            faults.made(kind)
        if kind is FaultKind.STALL:
            self._stalled[name] = market_ms + faults.params.stall_ms
        elif kind is FaultKind.DISCONNECT:
            self.abort("fault")
        elif kind is not FaultKind.GAP:
            self._write_twice_or_broken(kind, framed)

    def _write_twice_or_broken(self, kind: FaultKind | None, framed: bytes) -> None:
        if kind is FaultKind.DUPLICATE:
            self._write(framed)
        elif kind is FaultKind.MALFORMED:
            payload = payload_of(framed)
            self._write(text_frame(payload[: len(payload) * 2 // 3]))
        self._write(framed)

    def notify(self, payload: bytes) -> None:
        """Send a payload that belongs to no stream."""
        self._write(text_frame(payload))

    def end_within(self, span_ms: int) -> None:
        """Bring the end of the connection forward."""
        self._ends_ms = min(self._ends_ms, self._room.now_ms + span_ms)
        self.due_ms = min(self.due_ms, self._ends_ms)

    def run_due(self, now_ms: int) -> None:
        """Ping, and close what lived long enough or did not answer."""
        if self.is_closed:
            self._transport.abort()
            return
        params = self._room.params
        if now_ms >= self._ends_ms:
            self.close(GOING_AWAY, "Connection lifetime is over", "lifetime")
            return
        oldest_ms = min(self._pings.values(), default=None)
        timeout_ms = round(params.pong_timeout_s * 1000)
        if oldest_ms is not None and now_ms >= oldest_ms + timeout_ms:
            self.close(POLICY_VIOLATION, "Pong timeout", "pong_timeout")
            return
        if now_ms >= self._next_ping_ms:
            payload = b"%d" % now_ms
            self._pings[payload] = now_ms
            self._next_ping_ms = now_ms + round(params.ping_interval_s * 1000)
            self._write(ping_frame(payload))
        pong_due_ms = min(self._pings.values(), default=self._ends_ms) + timeout_ms
        self.due_ms = min(self._ends_ms, self._next_ping_ms, pong_due_ms)

    def _write(self, framed: bytes) -> None:
        if not self._pending:
            self._room.unflushed.append(self)
        self._pending.append(framed)

    def flush(self) -> None:
        """Write what is pending; a client that has not read `send_buffer_bytes` of it is cut off."""
        pending, self._pending = self._pending, []
        transport, counters = self._transport, self._room.counters
        if transport.is_closing() or not pending:
            return
        data = b"".join(pending)
        transport.write(data)
        counters.frames += len(pending)
        counters.bytes_sent += len(data)
        if transport.get_write_buffer_size() > self._room.params.limits.send_buffer_bytes:
            self.abort("slow_client")

    def close(self, code: int, reason: str, counted_as: str) -> None:
        """Send what is pending and a close frame, then close the socket; who does not read it is cut off."""
        if self.is_closed:
            return
        self.is_closed = True
        self.due_ms = self._room.now_ms + LINGER_MS
        self._room.counters.disconnected(counted_as)
        self._write(close_frame(code, reason))
        self.flush()
        self._transport.close()

    def abort(self, counted_as: str) -> None:
        """Cut the socket; what is unsent is lost."""
        if self.is_closed:
            return
        self.is_closed = True
        self._room.counters.disconnected(counted_as)
        self._transport.abort()
