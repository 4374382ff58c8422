"""The door to an exchange: one WebSocket or one HTTP reply at a time, over the network or out of a recording.

Providers are written against `Transport` and `Wire` and never know which one they have. Time is the event
loop's own (`loop.time()`, `asyncio.sleep`), so that a recording can be played on virtual time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import ClassVar, Final, Protocol

from flow.context import Context
from flow.errors import PoolTimeout, ProviderError, Retryable
from flow.events.frames import Arrival, Connection

__all__ = [
    "END_OF_RECORDING",
    "Counting",
    "EndOfRecording",
    "Headers",
    "NetworkError",
    "Reply",
    "Transport",
    "TransportFactory",
    "Wire",
]

END_OF_RECORDING: Final = "end_of_recording"
"""What `Wire.read` returns when nothing was recorded after this connection."""


class NetworkError(Retryable):
    """The exchange could not be reached, or the connection broke. `status` is set where a handshake was
    answered."""

    def __init__(self, message: str, retry_after_s: float = 0.0, status: int = 0) -> None:
        self.status = status
        super().__init__(message, retry_after_s)


class EndOfRecording(ProviderError):
    """A recording has no further connection: what was asked for will never come."""


class Headers(Mapping[str, str]):
    """Header values by name, whatever the case of the name; of a repeated header the last value."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Reply:
    """An HTTP reply, its body read to the end."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = Headers(headers)
        self.body = body

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


class Counting(Protocol):
    """Who keeps count of arrivals: a source."""

    emitted: int


class Wire(ABC):
    """One WebSocket. Exactly one `read` at a time; `send` and `close` from any task of the loop."""

    detail: str = ""
    """What the peer said when it closed, or what broke; for reports only."""
    is_halted: bool = False
    counting: Counting | None = None
    """Whose `emitted` is raised by each arrival that `emit` took, or that was given up."""
    on_exhausted: Callable[[bytes, PoolTimeout, int], Awaitable[bool]] | None = None
    """(refused payload, error, how often it was refused) -> whether to offer it again. None lets the
    error through."""

    @abstractmethod
    async def read(self, connection: Connection, emit: Callable[[Arrival], None]) -> str:
        """Emit `(connection, payload)` for each message, in order, until the connection ends; return why
        it ended.

        The reason is a short snake_case word: closed_by_peer, network_error, ping_timeout, message_too_big,
        protocol_error, closed (by `close`), halted, end_of_recording. What `emit` raises goes through.
        """

    @abstractmethod
    async def send(self, payload: bytes) -> None:
        """Send one text message. Raises `NetworkError` where the connection is gone."""

    @abstractmethod
    async def close(self) -> None:
        """End the connection. Idempotent; a pending `read` returns."""

    async def offer_again(
        self, arrival: Arrival, emit: Callable[[Arrival], None], error: PoolTimeout
    ) -> bool:
        """For `read`, where `emit` raised `error`: offer the arrival until it is taken or given up.

        False where it was neither, as the wire was halted meanwhile.
        """
        refusals = 1
        while True:
            if self.on_exhausted is None:
                raise error
            if not await self.on_exhausted(arrival[1], error, refusals):
                return True
            if self.is_halted:
                return False
            try:
                emit(arrival)
                return True
            except PoolTimeout as again:
                error = again
                refusals += 1

    def halt(self) -> None:
        """From now on `read` emits nothing more; what has not been read is lost with the connection."""
        self.is_halted = True


class Transport(ABC):
    """Where wires and replies come from."""

    is_recording: ClassVar[bool] = False
    """Requests go nowhere and nothing answers them: no acknowledgements, no staleness, no renewal."""

    @abstractmethod
    async def connect(self, url: str) -> Wire:
        """Open a WebSocket. Raises `NetworkError`, or `EndOfRecording` where a recording has no further
        connection."""

    @abstractmethod
    async def get(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Fetch a reply of any status. Raises `NetworkError` where none came."""

    @abstractmethod
    async def close(self) -> None:
        """Close what is open. Idempotent."""


TransportFactory = Callable[[Context], Transport]
"""What `context.refs["transports"][provider name]` holds where the network is not to be used."""
