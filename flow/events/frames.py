"""What arrives on a wire, before anything is known of it.

Both types are pooled. A `Connection` is the key of a frame's slot, a route of the codec is the key of a
raw's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flow.events.home import Home, refuse_put
from flow.events.stream import Stream

__all__ = ["TEXT", "Arrival", "Connection", "ProviderRaw", "WsFrame"]

TEXT: Final = "text"


def _ignore_control(payload: bytes) -> bool:
    return False


class Connection:
    """One connection of one provider: what frames name as their origin.

    `on_control` takes the payloads that are not market data (acknowledgements, errors, notices) back to
    whoever keeps the connection; it returns whether it understood them.
    """

    __slots__ = ("connection_id", "on_control", "provider")

    def __init__(
        self, provider: str, connection_id: int, on_control: Callable[[bytes], bool] = _ignore_control
    ) -> None:
        self.provider = provider
        self.connection_id = connection_id
        self.on_control = on_control

    def __repr__(self) -> str:
        return f"Connection({self.provider}#{self.connection_id})"


Arrival = tuple[Connection, bytes, int]
"""What a socket, a recording or a simulator hands to `ingest`: where it came from, the bytes, and when it was
received (ns since the epoch; 0: now)."""


class WsFrame:
    """One received frame. Keyed by `connection`; `received_at` in ns since the epoch, the one clock
    reading."""

    __slots__ = ("connection", "home", "message_type", "payload", "received_at")

    home: Home | None

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.home = None
        self.reset()

    @property
    def provider(self) -> str:
        return self.connection.provider

    @property
    def connection_id(self) -> int:
        return self.connection.connection_id

    def own(self) -> WsFrame:
        """An ordinary copy that belongs to the caller."""
        copy = WsFrame(self.connection)
        copy.payload, copy.message_type, copy.received_at = self.payload, self.message_type, self.received_at
        return copy

    def reset(self) -> None:
        """Clear every field but the key (`connection`)."""
        self.payload = b""
        self.message_type = TEXT
        self.received_at = 0

    def put(self) -> None:
        """Give the frame back to its pool, cleared as by `reset`."""
        home = self.home
        if home is None:
            refuse_put(self)
        self.home = None
        self.payload = b""
        self.message_type = TEXT
        self.received_at = 0
        home.append(self)
        home.puts += 1


class ProviderRaw:
    """One decoded message in the exchange's own shape. Keyed by `stream`; `received_at` in ns."""

    __slots__ = ("home", "payload", "received_at", "stream")

    home: Home | None
    payload: Any

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.home = None
        self.reset()

    @property
    def provider(self) -> str:
        return self.stream.provider

    @property
    def stream_name(self) -> str:
        return self.stream.channel

    def reset(self) -> None:
        """Clear every field but the key (`stream`)."""
        self.payload = None
        self.received_at = 0

    def put(self) -> None:
        """Give the object back to its pool, cleared as by `reset`."""
        home = self.home
        if home is None:
            refuse_put(self)
        self.home = None
        self.payload = None
        self.received_at = 0
        home.append(self)
        home.puts += 1
