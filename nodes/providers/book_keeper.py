"""Keeps the books of one provider: a component between `decode` and everything that wants only trusted books.

    events   --U1--T--U2--------------U3--Q--U4--▶     U book update, T trade, Q best quote, S book snapshot
    books    ------T--------[S(1,2)]--U3--Q--U4--▶

Everything but book updates passes at once. The updates of a book that is not trusted are held as copies
of their own, and a snapshot is fetched; it leaves once, with the held updates in it, and then updates
pass again. What is dropped is counted by reason in `dropped`; `in_snapshot` are those that left inside
a snapshot. Every loss of trust is reported as `BookResynced`. An update that can't be read goes to the
dead letters. Time is the event loop's.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Final, NamedTuple, Protocol

from msgspec import Meta, Struct

from flow.component import Transform
from flow.context import Context
from flow.errors import OwnershipBug, ProviderError, Retryable, Terminal
from flow.events.canonical import CanonicalEvent, OwnedEvent
from flow.events.payloads import BookSnapshotData, Levels
from flow.events.stream import EventType, Stream
from flow.pool import release
from flow.stage import many
from flow.telemetry.occurrences import BookResynced
from nodes.providers.book import Book
from nodes.providers.book_sync import BookSync, Diff, Reason
from nodes.providers.kept_book import KeptBook
from nodes.providers.transport import EndOfRecording

__all__ = ["BookKeeper", "BookKeeperParams", "Carriers", "FetchSnapshot", "Snapshot"]

BOOK_UPDATE: Final = EventType.BOOK_UPDATE
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 10.0
FETCH_TIMEOUT_S: Final = 60.0
PATIENCE: Final = 4
"""How many snapshots in a row may be too old before what is held is suspected instead."""
QUIET_S: Final = 1.0
"""How long after a reconnect a symbol may be silent before its snapshot is fetched all the same."""


class BookKeeperParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    depth: Annotated[
        int, Meta(ge=5, le=5000, description="levels a side of a snapshot; more cost more weight")
    ] = 1000
    concurrency: Annotated[int, Meta(ge=1, le=64, description="snapshots fetched at a time")] = 4
    max_held: Annotated[int, Meta(ge=1, le=100_000, description="updates held per book without trust")] = 1000
    stale_after_s: Annotated[
        float, Meta(gt=0, description="a book without an update for so long is fetched anew")
    ] = 60.0
    refresh_s: Annotated[float, Meta(ge=0, description="how often a live book is compared; 0 for never")] = (
        180.0
    )
    refresh_depth: Annotated[int, Meta(ge=5, le=5000, description="levels a side that are compared")] = 500


class Snapshot(NamedTuple):
    """A whole book as the exchange gave it."""

    last_id: int
    bids: Levels
    asks: Levels


FetchSnapshot = Callable[[str, int], Awaitable[Snapshot]]
"""(canonical symbol, levels a side) -> its book. Raises ProviderError, ValueError for an unreadable one."""
Coverage = Callable[[Any, AbstractSet[str]], None]


class Carriers(Protocol):
    """Who says which symbols are carried by a connection, and which by none any more."""

    on_connected: list[Coverage]
    on_disconnected: list[Coverage]


class BookKeeper(Transform[CanonicalEvent, CanonicalEvent]):
    """`on_state` sees (stream, number, book) after each applied update and each sync."""

    guards_itself = True

    def __init__(
        self,
        params: BookKeeperParams,
        context: Context,
        fetch: FetchSnapshot,
        carriers: Carriers,
        on_state: Callable[[Stream, int, Book], None] | None = None,
    ) -> None:
        self.params = params
        self.context = context
        self.fetch = fetch
        self.carriers = carriers
        self.on_state = on_state
        self.taken = 0
        self.snapshots_emitted = 0
        self.dead_lettered = 0
        self.dropped: Counter[str] = Counter()
        self.fetch_failures: Counter[str] = Counter()
        self._books: dict[Stream, KeptBook] = {}
        self._slots = asyncio.Semaphore(params.concurrency)
        self._watcher: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._is_stopped = False

    @property
    def emitted(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Elements passed on and snapshots."""
        return self.taken + self.snapshots_emitted

    @property
    def made_by_stream(self) -> dict[Stream, int]:
        """Snapshots, by stream; everything else was there before."""
        return {kept.snapshots: kept.made for kept in self._books.values() if kept.made}

    @property
    def in_flight(self) -> int:
        return sum(len(kept.sync.held) for kept in self._books.values())

    async def start(self) -> None:
        """Listen for reconnects and watch for stale books; a recording is complete as it is."""
        self.carriers.on_connected.append(self._connected)
        self.carriers.on_disconnected.append(self._disconnected)
        if self.context.mode != "replay":
            self._watcher = self._spawn(self._watch())

    async def stop(self) -> None:
        """Cancel what is under way, drop what is held. Raises what broke a fetch and was not raised yet."""
        self._is_stopped = True
        for listeners, ours in (
            (self.carriers.on_connected, self._connected),
            (self.carriers.on_disconnected, self._disconnected),
        ):
            if ours in listeners:
                listeners.remove(ours)
        tasks = [
            task for task in (self._watcher, *(k.task for k in self._books.values())) if task is not None
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for kept in self._books.values():
            kept.sync.discard("stopped")
        self._raise_failure()

    def add(self, element: CanonicalEvent) -> None:
        self.add_many([element])

    def add_many(self, elements: list[CanonicalEvent]) -> None:
        """Take a run; what may pass leaves as a run."""
        if self._failure is not None:
            self._raise_failure()
        books = self._books
        passing: list[CanonicalEvent] = []
        for event in elements:
            stream = event.stream
            if stream.event_type is BOOK_UPDATE:
                kept = books.get(stream) or self._open(stream)
                sync = kept.sync
                try:
                    verdict = sync.on_update(event.first_sequence, event.sequence, event.payload)  # type: ignore[arg-type]
                except OwnershipBug:
                    raise
                except Exception as error:
                    self._refuse(kept, event, error)
                    sync.resync(Reason.MALFORMED, str(error), lost=event.sequence)
                    release(event)
                    self._ask(kept)
                    continue
                if verdict != "applied":
                    self._keep_back(kept, event, verdict)
                    continue
                if self.on_state is not None:
                    self.on_state(stream, sync.sequence, sync.book)
            passing.append(event)
        if passing:
            self.taken += len(passing)
            many(self.emit)(passing)

    def _keep_back(self, kept: KeptBook, event: CanonicalEvent, verdict: str) -> None:
        """An update that does not leave: held for a snapshot, or dropped and counted by the sync."""
        if verdict == "hold":
            kept.sync.hold(event.own())
        release(event)
        if not kept.sync.is_live:
            self._ask(kept)

    def summary(self) -> dict[str, Any]:
        """The state of each book, its last number, its resyncs by reason and its best 20 levels a side."""
        return {"books": {kept.name: kept.figures() for kept in self._books.values()}}

    def _open(self, stream: Stream) -> KeptBook:
        def report(reason: Reason, detail: str) -> None:
            self.context.occurred(BookResynced(stream.provider, stream.symbol, reason.value, detail))

        sync = BookSync(self.dropped, capacity=self.params.max_held, on_resync=report)
        kept = self._books[stream] = KeptBook(stream, sync, len(self._books))
        return kept

    def _refuse(self, kept: KeptBook, event: CanonicalEvent | Diff, error: Exception) -> None:
        if self.context.dead_letters is None:
            self.dropped[Reason.MALFORMED.value] += 1
            return
        self.dead_lettered += 1
        self.context.refuse(event, "malformed_book", f"{kept.stream.symbol}: {error}")

    def _ask(self, kept: KeptBook) -> None:
        """Have a snapshot fetched, unless that is under way."""
        if kept.task is None and not self._is_stopped and not kept.is_hopeless:
            kept.task = self._spawn(self._serve(kept))

    async def _serve(self, kept: KeptBook) -> None:
        """Fetch until the book is live, or compare it once if it is."""
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                delay_s = await self._serve_once(kept, pause_s)
                if delay_s is None:
                    return
                await asyncio.sleep(delay_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            kept.task = None

    async def _serve_once(self, kept: KeptBook, pause_s: float) -> float | None:
        """Fetch and use one snapshot; how long to wait before the next, None where none is needed."""
        sync = kept.sync
        is_refresh = sync.is_live
        if is_refresh:
            sync.begin_refresh()
        try:
            async with self._slots, asyncio.timeout(FETCH_TIMEOUT_S):
                depth = self.params.refresh_depth if is_refresh else self.params.depth
                snapshot = await self.fetch(kept.stream.symbol, depth)
        except EndOfRecording:
            kept.is_hopeless = True
            return None
        except (ProviderError, TimeoutError, ValueError) as error:
            return self._failed(kept, error, pause_s)
        if is_refresh:
            sync.on_refresh(*snapshot)
            return None if sync.is_live else 0.0
        if not kept.is_connected and not sync.held:
            return None
        return self._take(kept, snapshot, pause_s)

    def _failed(self, kept: KeptBook, error: Exception, pause_s: float) -> float | None:
        self.fetch_failures[type(error).__name__] += 1
        if kept.sync.is_live:
            kept.sync.refresh = None
            return None
        if isinstance(error, ValueError):
            kept.sync.reject_snapshot(str(error))
        if isinstance(error, Terminal):
            return LONGEST_PAUSE_S
        return max(pause_s, error.retry_after_s if isinstance(error, Retryable) else 0.0)

    def _take(self, kept: KeptBook, snapshot: Snapshot, pause_s: float) -> float | None:
        sync = kept.sync
        verdict = sync.on_snapshot(*snapshot)
        if verdict == "synced":
            kept.too_old = 0
            self._synced(kept)
            return None
        if sync.culprit is not None:
            self._refuse(kept, *sync.culprit)
        if verdict == "too_old":
            kept.too_old += 1
            if kept.too_old % PATIENCE == 0:
                sync.restart()
        return None if verdict == "not_needed" else pause_s

    def _synced(self, kept: KeptBook) -> None:
        sync = kept.sync
        now = asyncio.get_running_loop().time()
        kept.seen, kept.seen_at = sync.sequence, now
        kept.refresh_at = now + self.params.refresh_s * (2 / 3 + 2 / 3 * (kept.number * 0.618034 % 1))
        newest: Any = sync.newest
        event = OwnedEvent(
            kept.snapshots,
            BookSnapshotData(sync.book.bids(), sync.book.asks()),
            sequence=sync.sequence,
            first_sequence=sync.sequence,
            exchange_ts=newest.exchange_ts if newest is not None else 0,
            ingest_ts=newest.ingest_ts if newest is not None else self.context.clock(),
            trace_id=newest.trace_id if newest is not None else 0,
        )
        if self.on_state is not None:
            self.on_state(kept.stream, sync.sequence, sync.book)
        self.snapshots_emitted += 1
        kept.made += 1
        self.emit(event)

    def _connected(self, connection: Any, symbols: AbstractSet[str]) -> None:
        """Diffs come again; a silent symbol is asked for by the watch."""
        now = asyncio.get_running_loop().time()
        for kept in self._books.values():
            if kept.stream.symbol in symbols:
                kept.is_connected, kept.connected_at, kept.too_old = True, now, 0

    def _disconnected(self, connection: Any, symbols: AbstractSet[str]) -> None:
        for kept in self._books.values():
            if kept.stream.symbol in symbols and kept.is_connected:
                kept.is_connected = False
                kept.sync.resync(Reason.RECONNECT, f"{connection} is gone")

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        tick_s = min(1.0, self.params.stale_after_s / 4)
        while True:
            await asyncio.sleep(tick_s)
            for kept in self._books.values():
                self._inspect(kept, loop.time())

    def _inspect(self, kept: KeptBook, now: float) -> None:
        """Find a book that needs a snapshot although no update says so."""
        sync = kept.sync
        if not sync.is_live:
            if kept.is_connected and now - kept.connected_at >= QUIET_S:
                self._ask(kept)
            return
        if sync.sequence != kept.seen:
            kept.seen, kept.seen_at = sync.sequence, now
        elif now - kept.seen_at >= self.params.stale_after_s:
            sync.resync(Reason.STALE, f"no update for {now - kept.seen_at:.0f} s")
            self._ask(kept)
            return
        if self.params.refresh_s and now >= kept.refresh_at:
            kept.refresh_at = now + self.params.refresh_s
            self._ask(kept)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What a snapshot met downstream is raised from the next update, where the graph sees it."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._failure = error
        task.get_loop().call_exception_handler(
            {"message": f"{self.context.node_id}: a book could not be kept", "exception": error, "task": task}
        )

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
