"""An exchange as the nodes of one graph see it: one object per graph, got with `context.service`.

It owns the transport, the symbol table, the REST client and the limits that hold for the whole address,
and it tells its listeners which symbols are carried by a connection. What an exchange does its own way is
in its subclass.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Set
from functools import cached_property
from random import Random
from typing import Any, ClassVar, Final

from msgspec import Struct

from flow.context import Context
from flow.errors import ProviderError, Retryable
from flow.events.frames import Connection
from flow.telemetry.occurrences import Occurrence
from nodes.providers.backoff import Backoff
from nodes.providers.http_transport import HttpTransport
from nodes.providers.limits import SlidingWindow
from nodes.providers.rest import RestClient
from nodes.providers.symbols import SymbolInfo, Symbols
from nodes.providers.transport import EndOfRecording, Transport

__all__ = ["Coverage", "Endpoints", "Provider", "ProviderUnreachable"]

Coverage = Callable[[Connection, Set[str]], None]
"""Told of a connection and of the canonical symbols that it newly carries, or that nothing carries any
more."""

LONGEST_DELAY_S: Final = 30.0


class Endpoints(Struct, frozen=True):
    """Base URLs, without a slash at the end."""

    ws: str
    rest: str


class ProviderUnreachable(Occurrence, frozen=True, gc=False):
    """The exchange can't be reached, or does not serve us; it is tried again."""

    name: ClassVar[str] = "provider.unreachable"
    level: ClassVar[str] = "error"
    labels: ClassVar[tuple[str, ...]] = ("provider",)
    provider: str
    url: str
    detail: str
    advice: str
    retry_in_s: float


class Provider(ABC):
    """What all nodes of a graph share of one exchange."""

    rest: RestClient
    connects: SlidingWindow
    """Connection attempts."""

    def __init__(self, context: Context, name: str, endpoints: Endpoints) -> None:
        self.name = name
        self.context = context.for_node(name)
        chosen: Mapping[str, Any] = context.refs.get("endpoints", {}).get(name, {})
        self.endpoints = Endpoints(
            ws=chosen.get("ws", endpoints.ws).rstrip("/"), rest=chosen.get("rest", endpoints.rest).rstrip("/")
        )
        self.symbols = Symbols()
        seed = context.refs.get("seed")
        self.rng = Random(0 if seed is None and context.mode == "replay" else seed)
        self.on_connected: list[Coverage] = []
        self.on_disconnected: list[Coverage] = []
        self.activity: Callable[[], Mapping[str, int]] | None = None
        """Frames decoded so far by wire stream name, set by the codec; staleness is judged by what
        changes."""
        self._connections = 0
        self._users = 0
        self._is_ready = False
        self._loading = asyncio.Lock()

    @cached_property
    def transport(self) -> Transport:
        """The network, or what `context.refs["transports"][name]` makes."""
        factory = self.context.refs.get("transports", {}).get(self.name)
        return HttpTransport() if factory is None else factory(self.context)

    @abstractmethod
    async def load_symbols(self) -> list[SymbolInfo]:
        """Ask the exchange once. Raises `ProviderError`."""

    @abstractmethod
    async def depth_snapshot(self, symbol: str, limit: int = 5000) -> bytes:
        """The body of a book snapshot of a canonical symbol, as the exchange sent it. Raises
        `ProviderError`."""

    async def ready(self) -> None:
        """Return once the symbols are known. Tries for ever, and reports each failure; a recording is
        read once.

        Raises what a recording raises where the exchange's symbols are not in it.
        """
        async with self._loading:
            backoff = Backoff(self.rng, cap_s=LONGEST_DELAY_S)
            while not self._is_ready:
                try:
                    self.symbols.load(await self.load_symbols())
                    self._is_ready = True
                except EndOfRecording:
                    raise
                except ProviderError as error:
                    if self.transport.is_recording:
                        raise
                    await self._failed(error, backoff)

    async def _failed(self, error: ProviderError, backoff: Backoff) -> None:
        asked = error.retry_after_s if isinstance(error, Retryable) else 0.0
        delay = max(asked, backoff.next_s())
        self.context.occurred(
            ProviderUnreachable(self.name, self.endpoints.rest, str(error), self.advice, round(delay, 3))
        )
        await asyncio.sleep(delay)

    @property
    def advice(self) -> str:
        """What a user can do without the exchange."""
        return f"--sim runs on simulated data, --replay {self.name}=FILE on a recording"

    def new_connection(self) -> Connection:
        """A connection with the next number; ids count from 1."""
        self._connections += 1
        return Connection(self.name, self._connections)

    def connected(self, connection: Connection, symbols: Set[str]) -> None:
        """Tell the listeners that the connection starts to carry these symbols."""
        for listener in self.on_connected:
            listener(connection, symbols)

    def disconnected(self, connection: Connection, symbols: Set[str]) -> None:
        """Tell the listeners that the connection is gone, and these symbols with it."""
        for listener in self.on_disconnected:
            listener(connection, symbols)

    def attach(self) -> None:
        """One more node needs the transport."""
        self._users += 1

    async def detach(self) -> None:
        """One node less; the last one closes the transport."""
        self._users -= 1
        if self._users <= 0:
            await self.close()

    async def close(self) -> None:
        """Close the transport. Idempotent."""
        if "transport" in self.__dict__:
            await self.transport.close()

    def summary(self) -> dict[str, Any]:
        """REST outcomes and the number of symbols."""
        return {"symbols": len(self.symbols), "requests": dict(sorted(self.rest.outcomes.items()))}
