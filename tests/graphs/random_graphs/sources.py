"""The sources of the random graphs. They wait on dry pools and closed gates as those of real exchanges do."""

import asyncio
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from flow.component import Source
from flow.context import Context
from flow.errors import PoolTimeout
from flow.events.canonical import CanonicalEvent, OwnedEvent, PooledEvent
from flow.events.frames import Arrival, Connection
from flow.registry import registry
from flow.runtime.mailbox import Gate
from flow.stage import door, many
from nodes.providers.symbols import SymbolInfo
from tests.graphs.random_graphs.feed import Draft, Pause, drafts, frames, streams
from tests.graphs.random_graphs.world import Injected, World, here, report_of

__all__ = ["FeedParams", "arrivals", "events", "owned_events", "reports"]

MOST_REFUSALS = 3
POOL_TIMEOUT = "pool_timeout"


class FeedParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    feed: Annotated[str, Meta(description="two hexadecimal digits an action; see feed.py")] = ""
    provider: str = "p1"
    as_runs: bool = True
    then: Literal["end", "raise", "wait"] = "end"


def events(params: FeedParams, context: Context) -> Source[CanonicalEvent]:
    """Pooled events of ordinary streams."""
    return Events(params, context, has_reports=False)


def reports(params: FeedParams, context: Context) -> Source[CanonicalEvent]:
    """Pooled events, critical ones among them."""
    return Events(params, context, has_reports=True)


def owned_events(params: FeedParams, context: Context) -> Source[CanonicalEvent]:
    """Unpooled events."""
    return OwnedEvents(params, context, has_reports=False)


def arrivals(params: FeedParams, context: Context) -> Source[Arrival]:
    """Frames of an exchange's wire."""
    return Arrivals(params, context)


class Fed(Source[Any]):
    """Emits its feed run by run, and begins to rest as soon as it is paused."""

    def __init__(self, params: FeedParams, context: Context) -> None:
        self.params = params
        self.context = context
        self.world: World = here.get()
        self.gate: Gate = context.service("gate", lambda _: Gate())
        self.given_up: Counter[str] = Counter()
        self.is_paused = False
        self.resting: asyncio.Task[None] | None = None

    @property
    def refused(self) -> dict[str, int]:
        return dict(self.given_up)

    def pause(self) -> None:
        self.is_paused = True
        if self.resting is not None:
            self.resting.cancel()

    async def run(self) -> None:
        if self.is_paused:
            return
        try:
            await self.emit_all()
        except asyncio.CancelledError:
            if not self.is_paused:
                raise

    async def emit_all(self) -> None:
        run: deque[Any] = deque()
        for step in self.steps():
            if not isinstance(step, Pause):
                run.append(step)
                continue
            await self.offer(run)
            await self.rest(asyncio.sleep(step.ms / 1000))
        await self.offer(run)
        if self.params.then == "raise":
            self.world.struck["source raised"] += 1
            raise Injected(f"source {self.context.node_id}")
        if self.params.then == "wait":
            await self.rest(asyncio.Event().wait())

    async def rest(self, what: Any) -> Any:
        """Wait for something, or until the source is paused."""
        self.resting = asyncio.current_task()
        try:
            return await what
        finally:
            self.resting = None

    async def offer(self, run: deque[Any]) -> None:
        """Emit a run, and what a dry pool refused of it again."""
        refusals = 0
        while run:
            opening = self.gate()
            if opening is not None:
                self.world.struck["gate closed"] += 1
                await self.rest(opening)
            before = len(run)
            try:
                self.push(run)
            except PoolTimeout as dry:
                refusals = refusals + 1 if len(run) == before else 1
                if not await self.may_go_on(dry, refusals):
                    run.popleft()
                    self.emitted += 1
                    self.given_up[POOL_TIMEOUT] += 1
                    refusals = 0

    async def may_go_on(self, dry: PoolTimeout, refusals: int) -> bool:
        """Wait for a free object; False where there will be none."""
        self.world.struck["pool ran dry"] += 1
        try:
            await self.rest(self.context.pools.by_kind[dry.kind].wait_free())
            await self.rest(asyncio.sleep(0))
        except PoolTimeout:
            return False
        return refusals < MOST_REFUSALS

    def hand_over(self, elements: list[Any]) -> None:
        self.emitted += len(elements)
        for element in elements:
            report = report_of(element)
            if report is not None:
                self.world.reports.setdefault(self.context.node_id, []).append(report)
        if self.params.as_runs and door(self.emit) is not None:
            many(self.emit)(elements)
        else:
            for element in elements:
                self.emit(element)

    @abstractmethod
    def steps(self) -> Iterator[Any]:
        """What is emitted, and the pauses in between."""

    @abstractmethod
    def push(self, run: deque[Any]) -> None:
        """Emit from the front of a run, and take off what was taken. Raises `PoolTimeout` for the rest."""


class Events(Fed):
    """Takes an event from the pool for each draft."""

    def __init__(self, params: FeedParams, context: Context, *, has_reports: bool) -> None:
        super().__init__(params, context)
        self.streams = streams(params.provider)
        self.has_reports = has_reports
        self.pool = context.pools.of("CanonicalEvent", PooledEvent)

    def steps(self) -> Iterator[Any]:
        return drafts(self.params.feed, self.streams, reports=self.has_reports)

    def push(self, run: deque[Any]) -> None:
        made: list[Any] = []
        try:
            while run:
                made.append(self.make(run[0]))
                run.popleft()
        finally:
            if made:
                self.hand_over(made)

    def make(self, step: Any) -> Any:
        if not isinstance(step, Draft):
            self.world.struck["garbage"] += 1
            return step
        event = self.pool.shelf(step.stream).get()
        self.world.taken["CanonicalEvent"] += 1
        step.write(event, self.context.clock())
        return event


class OwnedEvents(Events):
    """Makes ordinary events."""

    def make(self, step: Any) -> Any:
        if not isinstance(step, Draft):
            return super().make(step)
        event = OwnedEvent(step.stream, step.payload)
        step.write(event, self.context.clock())
        return event


class Arrivals(Fed):
    """Emits what a socket would."""

    def __init__(self, params: FeedParams, context: Context) -> None:
        super().__init__(params, context)
        provider: Any = context.service("binance", registry.services["binance"])
        symbols = (("AAA-USDT", "AAAUSDT"), ("BBB-USDT", "BBBUSDT"))
        provider.symbols.load(
            SymbolInfo(canonical=name, wire=wire, base="", quote="") for name, wire in symbols
        )
        self.connection = Connection(params.provider, 1, lambda payload: b"result" in payload)

    def steps(self) -> Iterator[Any]:
        return frames(self.params.feed)

    def push(self, run: deque[Any]) -> None:
        now = self.context.clock()
        is_text = [isinstance(payload, bytes) for payload in run]
        self.world.struck["garbage"] += is_text.count(False)
        made: list[Any] = [
            (self.connection, payload, now) if is_bytes else payload
            for payload, is_bytes in zip(run, is_text, strict=True)
        ]
        if not self.params.as_runs or door(self.emit) is None:
            for element in made:
                self.push_one(element)
                run.popleft()
            return
        left = 0
        try:
            many(self.emit)(made)
        except PoolTimeout as dry:
            left = dry.left
            raise
        finally:
            taken = len(run) - left
            self.emitted += taken
            for _ in range(taken):
                run.popleft()

    def push_one(self, arrival: Any) -> None:
        self.emitted += 1
        try:
            self.emit(arrival)
        except PoolTimeout:
            self.emitted -= 1
            raise
