"""Keeps one connection up for a set of streams: reconnects what broke, and replaces what still works
without a gap.

    connection 1  ====================x                       broke: reported, symbols lost, backoff
    connection 2                         ==================:  its time is up, or it was told so
    connection 3                                      =====:====   asked for all streams before 2 is closed

Two connections that overlap give each frame twice; the operators behind drop duplicates by sequence.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Set
from typing import Final

from msgspec import Struct

from flow.events.frames import Arrival, Connection
from flow.telemetry.occurrences import ProviderConnected, ProviderDisconnected
from nodes.providers.backoff import Backoff
from nodes.providers.limits import TOLERANCE_S
from nodes.providers.link import Link
from nodes.providers.provider import Provider
from nodes.providers.transport import END_OF_RECORDING, EndOfRecording, NetworkError, Wire

__all__ = ["Carrier", "CarrierParams", "CarrierStats"]

LIFETIME: Final = "lifetime"
CONNECT_FAILED: Final = "connect_failed"
SPREAD: Final = 0.05
"""The share of a lifetime by which connections differ, so that they are not all renewed at once."""


class CarrierParams(Struct, frozen=True, kw_only=True):
    """Times in seconds. `overlap_s` is how long a replaced connection is still read once its successor is
    answered."""

    url: str
    lifetime_s: float
    overlap_s: float = 1.0
    answer_timeout_s: float = 10.0
    first_delay_s: float = 0.25
    longest_delay_s: float = 30.0
    stable_after_s: float = 60.0


class CarrierStats:
    """Counted over all carriers of one source."""

    def __init__(self) -> None:
        self.opened = 0
        self.reconnects: Counter[str] = Counter()


class Carrier:
    """The streams of `names`, whichever connection they are on at the moment."""

    def __init__(
        self,
        provider: Provider,
        params: CarrierParams,
        stats: CarrierStats,
        make_link: Callable[[Wire, Connection], Link],
        emit: Callable[[Arrival], None],
        symbols_of: Callable[[Iterable[str]], Set[str]],
    ) -> None:
        self.names: dict[str, None] = {}
        self.link: Link | None = None
        self._provider = provider
        self._params = params
        self._stats = stats
        self._make_link = make_link
        self._emit = emit
        self._symbols_of = symbols_of
        self._open_links: list[Link] = []
        self._wake = asyncio.Event()
        self._is_up = asyncio.Event()
        self._backoff = Backoff(
            provider.rng,
            first_s=params.first_delay_s,
            cap_s=params.longest_delay_s,
            stable_after_s=params.stable_after_s,
        )
        self._lifetime_s = params.lifetime_s * (1 - SPREAD * provider.rng.random())

    async def run(self) -> None:
        """Carry the streams until a recording ends or the task is cancelled. Raises what the graph raises."""
        try:
            link = await self._opened()
            while link is not None:
                link = await self._next(link)
        except EndOfRecording:
            return
        finally:
            await self._close_all()

    def renew(self, reason: str) -> None:
        """Replace the present connection while it still works."""
        if self.link is not None:
            self.link.renew(reason)

    def halt(self) -> None:
        """Emit nothing more."""
        for link in self._open_links:
            link.wire.halt()

    def subscribe(self, names: Iterable[str]) -> None:
        """Carry more streams, at once where there is a connection."""
        added = [name for name in names if name not in self.names]
        before = self._symbols_of(self.names)
        self.names.update(dict.fromkeys(added))
        if self.link is not None:
            self._provider.connected(self.link.connection, self._symbols_of(added) - before)
        for link in self._open_links:
            link.subscribe(added)

    def unsubscribe(self, names: Iterable[str]) -> None:
        """Carry these streams no longer."""
        removed = [name for name in names if name in self.names]
        for name in removed:
            del self.names[name]
        for link in self._open_links:
            link.unsubscribe(removed)
        if self.link is not None:
            lost = self._symbols_of(removed) - self._symbols_of(self.names)
            self._provider.disconnected(self.link.connection, lost)

    async def settled(self) -> None:
        """Return once there is a connection and the exchange has answered all its requests."""
        await self._is_up.wait()
        if self.link is not None:
            await self.link.answered.wait()

    @property
    def connections(self) -> int:
        """Open connections: 1, 0 while reconnecting, 2 while one replaces the other."""
        return len(self._open_links)

    async def _next(self, link: Link) -> Link | None:
        """The connection after this one; None after a recording's last."""
        await self._over_or_due(link)
        if not link.is_over:
            return await self._successor(link)
        reason = await self._ended(link, covered=False)
        if reason == END_OF_RECORDING:
            return None
        lasted_s = self._now() - link.opened_at
        delay = 0.0 if self._provider.transport.is_recording else self._backoff.next_s(lasted_s)
        self._stats.reconnects[reason] += 1
        self._report_end(link.connection, reason, delay, link.wire.detail)
        await asyncio.sleep(delay)
        return await self._opened()

    async def _over_or_due(self, link: Link) -> None:
        ends_at = link.opened_at + self._lifetime_s
        while not link.is_over and not link.due:
            left = None if self._provider.transport.is_recording else ends_at - self._now()
            if left is not None and left <= TOLERANCE_S:
                link.renew(LIFETIME)
                return
            await self._doze(link, left)

    async def _opened(self) -> Link:
        """A new connection for all streams, however long that takes."""
        while True:
            try:
                return await self._connect(is_first=True)
            except NetworkError as error:
                await asyncio.sleep(self._failed(error))

    async def _connect(self, *, is_first: bool) -> Link:
        provider = self._provider
        await provider.connects.acquire()
        wire = await provider.transport.connect(self._params.url)
        connection = provider.new_connection()
        link = self._make_link(wire, connection)
        link.start(self._emit, self._wake.set)
        self._open_links.append(link)
        self._stats.opened += 1
        if is_first:
            self.link = link
            self._is_up.set()
        provider.context.occurred(ProviderConnected(provider.name, connection.connection_id))
        provider.connected(connection, self._symbols_of(self.names) if is_first else frozenset())
        link.subscribe(self.names)
        return link

    def _failed(self, error: NetworkError) -> float:
        """Report an attempt that failed; returns the seconds to wait."""
        provider = self._provider
        delay = max(error.retry_after_s, self._backoff.next_s())
        detail = f"{self._params.url}: {error}; {provider.advice}"
        report = ProviderDisconnected(provider.name, 0, CONNECT_FAILED, round(delay, 3), detail)
        provider.context.occurred(report)
        self._stats.reconnects[CONNECT_FAILED] += 1
        return delay

    async def _successor(self, link: Link) -> Link:
        """Replace a connection that still works; where that fails it stays, and is due again after a
        while."""
        try:
            successor = await self._connect(is_first=False)
        except NetworkError as error:
            await self._doze(link, self._failed(error))
            return link
        await self._answered(successor, link)
        if successor.is_over:
            ended = await self._ended(successor, covered=True)
            delay = self._backoff.next_s(self._now() - successor.opened_at)
            self._report_end(successor.connection, ended, delay, successor.wire.detail)
            await self._doze(link, delay)
            return link
        self.link = successor
        was_lost = link.is_over
        if not was_lost:
            await asyncio.sleep(self._params.overlap_s)
        await self._ended(link, covered=not was_lost)
        if was_lost:
            self._provider.connected(successor.connection, self._symbols_of(self.names))
        self._stats.reconnects[link.due] += 1
        self._report_end(link.connection, link.due, 0.0, link.wire.detail)
        return successor

    async def _answered(self, successor: Link, link: Link) -> None:
        """Return once the successor carries all streams, or either of the two is over, or it takes too
        long."""
        waiting = asyncio.ensure_future(successor.answered.wait())
        watched = {waiting, successor.reading, link.reading}
        try:
            await asyncio.wait(
                watched, timeout=self._params.answer_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()
        if not (successor.answered.is_set() or link.is_over):
            successor.give_up("no_answer")
            await successor.close()

    async def _ended(self, link: Link, *, covered: bool) -> str:
        """Close a link and tell the listeners; why it ended. `covered`: another one carries its streams."""
        await link.close()
        if link in self._open_links:
            self._open_links.remove(link)
        if self.link is link:
            self.link = None
            self._is_up.clear()
        covered = covered or link.is_end_of_recording
        lost = frozenset[str]() if covered else self._symbols_of(link.names)
        self._provider.disconnected(link.connection, lost)
        return link.outcome()

    def _report_end(self, connection: Connection, reason: str, retry_in_s: float, detail: str) -> None:
        number, name = connection.connection_id, self._provider.name
        report = ProviderDisconnected(name, number, reason, round(retry_in_s, 3), detail)
        self._provider.context.occurred(report)

    async def _doze(self, link: Link, seconds: float | None) -> None:
        """Sleep, but wake when the link ends or a renewal becomes due."""
        self._wake.clear()
        if link.is_over:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _close_all(self) -> None:
        links, self._open_links, self.link = self._open_links, [], None
        self._is_up.set()
        for link in links:
            link.wire.halt()
            await link.close()
        for link in links:
            link.outcome()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
