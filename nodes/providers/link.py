"""One connection of a provider, from the open WebSocket to its end.

A link reads in one task and speaks in another, at the exchange's pace. What is asked for and how answers
are told apart is the exchange's; `Link` has what is the same for all.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Final

from flow.events.frames import Arrival, Connection
from nodes.providers.transport import END_OF_RECORDING, NetworkError, Wire

__all__ = ["SERVER_SHUTDOWN", "Link"]

SERVER_SHUTDOWN: Final = "server_shutdown"
LONGEST_READ_S: Final = 1.0
"""How long a read may go on after its wire was closed."""


class Link(ABC):
    """`names` are the wire names of the streams asked for. `answered` is set while no request waits for
    its answer."""

    def __init__(self, wire: Wire, connection: Connection, opened_at: float) -> None:
        self.wire = wire
        self.connection = connection
        self.opened_at = opened_at
        self.names: dict[str, None] = {}
        self.answered = asyncio.Event()
        self.answered.set()
        self.due = ""
        """Why this connection is to be replaced while it still works; "" where it is not."""
        self.reading: asyncio.Task[str]
        self._speaking: asyncio.Task[None]
        self._closing: asyncio.Task[None] | None = None
        self._wake: Callable[[], None]
        self._fault = ""
        connection.on_control = self.take_control

    def start(self, emit: Callable[[Arrival], None], wake: Callable[[], None]) -> None:
        """Read and speak from now on; `wake` is called when the reading has ended or a renewal is due."""
        self._wake = wake
        self.reading = asyncio.create_task(self.wire.read(self.connection, emit))
        self.reading.add_done_callback(lambda _: wake())
        self._speaking = asyncio.create_task(self._speak())

    @property
    def is_over(self) -> bool:
        return self.reading.done()

    @property
    def is_end_of_recording(self) -> bool:
        """Whether nothing follows: what was known at the end stays true."""
        reading = self.reading
        is_whole = reading.done() and not reading.cancelled() and reading.exception() is None
        return is_whole and reading.result() == END_OF_RECORDING

    def outcome(self) -> str:
        """Why a link that is over ended. Raises what the graph raised while it took an element."""
        reason = "closed" if self.reading.cancelled() else self.reading.result()
        return self._fault or reason

    def renew(self, reason: str) -> None:
        """Have this connection replaced."""
        self.due = self.due or reason
        self._wake()

    @abstractmethod
    def subscribe(self, names: Iterable[str]) -> None:
        """Ask for streams."""

    @abstractmethod
    def unsubscribe(self, names: Iterable[str]) -> None:
        """Ask for streams no longer."""

    @abstractmethod
    def take_control(self, payload: bytes) -> bool:
        """Take a message that is no market data; whether it was understood."""

    @abstractmethod
    async def speak(self) -> None:
        """Send what there is to send, for ever. Raises `NetworkError`."""

    async def _speak(self) -> None:
        try:
            await self.speak()
        except NetworkError as error:
            self.wire.detail = self.wire.detail or str(error)
            await self.wire.close()

    def give_up(self, fault: str) -> None:
        """End a connection that does not do what it should."""
        if not self._fault and not self.is_over:
            self._fault = fault
            self._closing = asyncio.create_task(self.wire.close())

    async def close(self) -> None:
        """End the connection and both tasks. What the graph raised is kept for `outcome`."""
        self._speaking.cancel()
        self.answered.set()
        await self.wire.close()
        await asyncio.wait([self.reading, self._speaking], timeout=LONGEST_READ_S)
        if not self.reading.done():
            self.reading.cancel()
            await asyncio.wait([self.reading])
