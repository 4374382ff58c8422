"""A keeper of books on virtual time: a pool, an exchange that can misbehave, a consumer that checks."""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from flow.context import Context
from flow.events import CanonicalEvent, EventType, OwnedEvent, PooledEvent, Sequence, Stream
from flow.events.payloads import BestQuoteData, BookUpdateData, Levels
from flow.pool import Pool, Pools, PoolSettings, release
from flow.telemetry.dead_letters import DeadLetters
from nodes.providers.book import Book
from nodes.providers.book_keeper import BookKeeper, BookKeeperParams, Snapshot

NOW_NS = 1_700_000_000_000_000_000
ASKS: Levels = [("100", "1"), ("101", "1")]


class VirtualSelector(selectors.SelectSelector):
    """Passes the time at once that the loop would have waited."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("nothing will ever happen again")
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual = VirtualSelector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now


class Market:
    """One symbol: a bid that takes a new quantity with each number."""

    def __init__(self, symbol: str) -> None:
        self.stream = Stream("binance", symbol, EventType.BOOK_UPDATE, "depth@100ms", Sequence.RANGE)
        self.quotes = Stream("binance", symbol, EventType.BEST_QUOTE, "bookTicker", Sequence.MONOTONE)
        self.number = 100

    def whole(self, number: int) -> Snapshot:
        book = Book([("99", "100")], ASKS)
        for n in range(101, number + 1):
            book.apply(self.change(n), [])
        return Snapshot(number, book.bids(), book.asks())

    def change(self, number: int) -> Levels:
        return [("99", str(number)), (str(number % 50 + 1), str(number))]


class Rig:
    """A keeper with a pool, an exchange that can misbehave, and a consumer that checks every book."""

    def __init__(self, *, dead_letters: bool = True, capacity: int = 64, **params: Any) -> None:
        self.pools = Pools({"CanonicalEvent": PoolSettings(capacity)})
        self.pool: Pool[PooledEvent] = self.pools.of("CanonicalEvent", PooledEvent)
        letters = DeadLetters() if dead_letters else None
        self.context = Context("books", pools=self.pools, dead_letters=letters, clock=lambda: NOW_NS)
        self.on_connected: list[Any] = []
        self.on_disconnected: list[Any] = []
        self.markets: dict[str, Market] = {}
        self.answers: dict[str, deque[Callable[[], Awaitable[Snapshot]]]] = {}
        self.latency_s = 0.05
        self.asked: list[tuple[float, str, int]] = []
        self.under_way = self.most_under_way = 0
        self.out: list[OwnedEvent] = []
        self.books: dict[str, Book] = {}
        self.sent = 0
        params = {"refresh_s": 0.0} | params
        self.keeper = BookKeeper(BookKeeperParams(**params), self.context, self.fetch, self)
        self.keeper.emit = self.consume

    def market(self, symbol: str = "BTC-USDT") -> Market:
        return self.markets.setdefault(symbol, Market(symbol))

    async def fetch(self, symbol: str, depth: int) -> Snapshot:
        self.asked.append((asyncio.get_running_loop().time(), symbol, depth))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            answers = self.answers.get(symbol)
            if answers:
                return await answers.popleft()()
            await asyncio.sleep(self.latency_s)
            market = self.market(symbol)
            return market.whole(market.number)
        finally:
            self.under_way -= 1

    def answer(self, *replies: Snapshot | Exception, symbol: str = "BTC-USDT") -> None:
        """What the next fetches give, in order."""
        for reply in replies:

            async def give(reply: Snapshot | Exception = reply) -> Snapshot:
                await asyncio.sleep(self.latency_s)
                if isinstance(reply, Exception):
                    raise reply
                return reply

            self.answers.setdefault(symbol, deque()).append(give)

    def consume(self, event: CanonicalEvent) -> None:
        """A consumer's book: begun by a snapshot, continued without a gap, always the exchange's own."""
        symbol = event.symbol
        self.out.append(event.own())
        payload: Any = event.payload
        if event.event_type is EventType.BOOK_SNAPSHOT:
            assert isinstance(event, OwnedEvent)
            self.books[symbol] = Book(payload.bids, payload.asks)
        elif event.event_type is EventType.BOOK_UPDATE:
            self.books[symbol].apply(payload.bids, payload.asks)
        if event.event_type is not EventType.BEST_QUOTE:
            expected = self.markets[symbol].whole(event.sequence)
            assert self.books[symbol].bids() == expected.bids
        release(event)

    def send(self, first: int, last: int | None = None, symbol: str = "BTC-USDT", **fields: Any) -> None:
        """One update that covers first..last."""
        market = self.market(symbol)
        last = first if last is None else last
        levels = [level for n in range(first, last + 1) for level in market.change(n)]
        event = self.pool.shelf(market.stream).get()
        event.first_sequence, event.sequence = first, last
        event.ingest_ts, event.exchange_ts, event.trace_id = NOW_NS + last, last, last
        event.payload = fields.get("payload", BookUpdateData(levels, []))
        market.number = max(market.number, last)
        self.sent += 1
        self.keeper.add(event)

    def quote(self, symbol: str = "BTC-USDT") -> None:
        event = self.pool.shelf(self.market(symbol).quotes).get()
        event.payload = BestQuoteData("99", "1", "100", "1")
        self.sent += 1
        self.keeper.add(event)

    def check_balance(self) -> None:
        keeper = self.keeper
        accounted = keeper.taken + keeper.dropped.total() + keeper.dead_lettered + keeper.in_flight
        assert self.sent == accounted
        assert keeper.emitted == len(self.out)
        assert self.pool.out == 0

    def kinds(self) -> str:
        letters = {EventType.BOOK_SNAPSHOT: "S", EventType.BOOK_UPDATE: "U", EventType.BEST_QUOTE: "Q"}
        return "".join(letters[event.event_type] for event in self.out)

    def figures(self, symbol: str = "BTC-USDT") -> dict[str, Any]:
        return self.keeper.summary()["books"][f"binance/{symbol}"]

    async def synced(self, symbol: str = "BTC-USDT") -> None:
        """Send one update and let its snapshot come."""
        self.send(self.market(symbol).number + 1, symbol=symbol)
        await asyncio.sleep(1)
        assert self.figures(symbol)["state"] == "live"

    async def __aenter__(self) -> Rig:
        await self.keeper.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.keeper.stop()
        if exc[0] is None:
            self.check_balance()
            assert self.keeper.in_flight == 0


def run(story: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on virtual time."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(story)
    finally:
        loop.close()
