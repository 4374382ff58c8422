"""Binance's books against what was recorded: no gap, and the top is what bookTicker says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flow.component import Transform
from flow.context import Context
from flow.events import CanonicalEvent, EventType, PooledEvent, Sequence, Stream
from flow.events.payloads import BestQuoteData, BookUpdateData
from flow.pool import Pool, Pools, release
from flow.registry import registry
from flow.telemetry.dead_letters import DeadLetters
from nodes.providers.binance.books import binance_books, read_depth
from nodes.providers.book import Book
from nodes.providers.book_keeper import BookKeeper, BookKeeperParams

SYMBOLS = {"NKNUSDT": "NKN-USDT", "BLZETH": "BLZ-ETH", "LRCBTC": "LRC-BTC", "RUNEEUR": "RUNE-EUR"}


class FakeProvider:
    """The part of the provider that the books use."""

    def __init__(self, bodies: dict[str, bytes]) -> None:
        self.bodies = bodies
        self.asked: list[tuple[str, int]] = []
        self.is_ready = False
        self.on_connected: list[Any] = []
        self.on_disconnected: list[Any] = []

    async def ready(self) -> None:
        await asyncio.sleep(0)
        self.is_ready = True

    async def depth_snapshot(self, symbol: str, limit: int = 5000) -> bytes:
        assert self.is_ready
        self.asked.append((symbol, limit))
        await asyncio.sleep(0)
        return self.bodies[symbol]


def read_stream(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().splitlines()
    return [msgspec.json.decode(line[line.index(b": {") + 2 :]) for line in lines if b': {"stream"' in line]


def read_bodies(path: Path) -> dict[str, bytes]:
    bodies: dict[str, bytes] = {}
    for line in path.read_bytes().splitlines():
        if b"/depth?" in line:
            wire = line.split(b"symbol=")[1].split(b"&")[0].decode()
            bodies[SYMBOLS[wire]] = line[line.index(b": {") + 2 :]
    return bodies


class Rig:
    """The registered node with pooled events of recorded frames; `states` are all states of its books."""

    def __init__(self, provider: FakeProvider) -> None:
        self.provider = provider
        self.pools = Pools()
        self.pool: Pool[PooledEvent] = self.pools.of("CanonicalEvent", PooledEvent)
        self.letters = DeadLetters()
        self.context = Context(
            "books",
            pools=self.pools,
            dead_letters=self.letters,
            services={"binance": provider},
            mode="replay",
        )
        keeper = binance_books(BookKeeperParams(), self.context)
        assert isinstance(keeper, BookKeeper)
        self.keeper = keeper
        self.keeper.emit = self.consume
        self.keeper.on_state = self.remember
        self.streams: dict[str, Stream] = {}
        self.states: dict[tuple[str, int], tuple[Any, Any]] = {}
        self.quotes: list[tuple[str, int, tuple[str, str], tuple[str, str]]] = []
        self.out: Counter[str] = Counter()
        self.books: dict[str, Book] = {}
        self.last: dict[str, int] = {}

    def remember(self, stream: Stream, number: int, book: Book) -> None:
        self.states[stream.symbol, number] = book.best_bid, book.best_ask

    def consume(self, event: CanonicalEvent) -> None:
        self.out[event.event_type.value] += 1
        payload: Any = event.payload
        symbol = event.symbol
        if event.event_type is EventType.BOOK_SNAPSHOT:
            self.books[symbol] = Book(payload.bids, payload.asks)
        elif event.event_type is EventType.BOOK_UPDATE:
            assert event.first_sequence <= self.last[symbol] + 1 <= event.sequence
            self.books[symbol].apply(payload.bids, payload.asks)
        if event.event_type is not EventType.BEST_QUOTE:
            self.last[symbol] = event.sequence
        release(event)

    def stream(self, name: str, event_type: EventType) -> Stream:
        wire, _, channel = name.partition("@")
        if name not in self.streams:
            self.streams[name] = Stream("binance", SYMBOLS[wire.upper()], event_type, channel, Sequence.RANGE)
        return self.streams[name]

    def feed(self, frame: dict[str, Any]) -> None:
        name, data = frame["stream"], frame["data"]
        if "@depth" in name:
            event = self.pool.shelf(self.stream(name, EventType.BOOK_UPDATE)).get()
            event.first_sequence, event.sequence = data["U"], data["u"]
            event.payload = BookUpdateData(data["b"], data["a"])
            self.keeper.add(event)
        elif "@bookTicker" in name:
            event = self.pool.shelf(self.stream(name, EventType.BEST_QUOTE)).get()
            event.first_sequence = event.sequence = data["u"]
            event.payload = BestQuoteData(data["b"], data["B"], data["a"], data["A"])
            self.quotes.append((event.symbol, data["u"], (data["b"], data["B"]), (data["a"], data["A"])))
            self.keeper.add(event)

    def compare(self) -> int:
        """How many quotes bear the number of a book state, earlier or later; each must be its very top."""
        compared = 0
        for symbol, number, bid, ask in self.quotes:
            if (symbol, number) in self.states:
                compared += 1
                assert self.states[symbol, number] == (bid, ask)
        return compared


@pytest.fixture
def frames(recordings: Path) -> list[dict[str, Any]]:
    return read_stream(recordings / "binance" / "stream.raw")


@pytest.fixture
def bodies(recordings: Path) -> dict[str, bytes]:
    return read_bodies(recordings / "binance" / "http.raw")


def expected_comparisons(frames: list[dict[str, Any]], bodies: dict[str, bytes]) -> int:
    """Quotes that bear the last number of a diff after its symbol's snapshot, found without any book."""
    since = {symbol: read_depth(body).last_id for symbol, body in bodies.items()}
    ends = {
        (SYMBOLS[f["data"]["s"]], f["data"]["u"])
        for f in frames
        if "@depth" in f["stream"] and f["data"]["u"] > since[SYMBOLS[f["data"]["s"]]]
    }
    quotes = [(SYMBOLS[f["data"]["s"]], f["data"]["u"]) for f in frames if "@bookTicker" in f["stream"]]
    return sum(quote in ends for quote in quotes)


def test_every_recorded_snapshot_bridges_and_no_diff_is_missing(
    frames: list[dict[str, Any]], bodies: dict[str, bytes]
) -> None:
    async def story() -> Rig:
        rig = Rig(FakeProvider(bodies))
        await rig.keeper.start()
        for frame in frames:
            rig.feed(frame)
            for _ in range(6):
                await asyncio.sleep(0)
        assert rig.keeper.in_flight == 0
        await rig.keeper.stop()
        return rig

    rig = asyncio.run(story())
    depth = sum("@depth" in frame["stream"] for frame in frames)
    assert depth == 177
    books = rig.keeper.summary()["books"]
    assert set(books) == {f"binance/{symbol}" for symbol in SYMBOLS.values()}
    for name, figures in books.items():
        symbol = name.removeprefix("binance/")
        assert (figures["state"], figures["resyncs"]) == ("live", {})
        assert [tuple(level) for level in figures["bids"]] == rig.books[symbol].bids(20)
        assert [tuple(level) for level in figures["asks"]] == rig.books[symbol].asks(20)
        assert len(figures["bids"]) == 20
    last = {SYMBOLS[f["data"]["s"]]: f["data"]["u"] for f in frames if "@depth" in f["stream"]}
    covered = {symbol: max(number, read_depth(bodies[symbol]).last_id) for symbol, number in last.items()}
    assert {name: figures["sequence"] for name, figures in books.items()} == {
        f"binance/{symbol}": number for symbol, number in covered.items()
    }
    assert rig.out["BookSnapshot"] == 4
    assert rig.out["BookUpdate"] + rig.keeper.dropped.total() == 177
    assert set(rig.keeper.dropped) <= {"in_snapshot", "already_in_snapshot"}
    assert sorted(rig.provider.asked) == sorted((symbol, 1000) for symbol in SYMBOLS.values())
    assert len(rig.letters) == 0
    figures = rig.pools.figures()["CanonicalEvent"]
    assert figures["out"] == 0
    assert figures["gets"] == figures["puts"] == 177 + len(rig.quotes)

    compared = rig.compare()
    print(f"{compared} of {len(rig.quotes)} recorded quotes bear the number of a book state; all are equal")
    assert compared == expected_comparisons(frames, bodies)
    assert compared == 26


def test_a_held_book_ends_where_one_that_was_live_throughout_ends(
    frames: list[dict[str, Any]], bodies: dict[str, bytes]
) -> None:
    async def end(turns_per_frame: int) -> dict[str, Any]:
        rig = Rig(FakeProvider(bodies))
        await rig.keeper.start()
        for frame in frames:
            rig.feed(frame)
            for _ in range(turns_per_frame):
                await asyncio.sleep(0)
        assert rig.keeper.in_flight == (0 if turns_per_frame else 177)
        for _ in range(8):
            await asyncio.sleep(0)
        rig.compare()
        assert (rig.out["BookUpdate"] > 0) == (turns_per_frame > 0)
        await rig.keeper.stop()
        return rig.keeper.summary()

    assert asyncio.run(end(6)) == asyncio.run(end(0))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"lastUpdateId":-1,"bids":[],"asks":[]}',
        b'{"lastUpdateId":1,"bids":[["1"]],"asks":[]}',
        b'{"lastUpdateId":1,"bids":[[1,2]],"asks":[]}',
        b'{"lastUpdateId":"1","bids":[],"asks":[]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_depth_reply_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="malformed depth snapshot"):
        read_depth(body)


def test_it_is_registered_as_a_pooled_transform_of_events() -> None:
    spec = registry.nodes["binance.books"]
    assert (spec.kind, spec.pooled, spec.input, spec.output) == (
        "transform",
        True,
        CanonicalEvent,
        CanonicalEvent,
    )
    assert issubclass(BookKeeper, Transform)
    made: Callable[..., Any] = spec.factory
    assert isinstance(made(spec.params(), Context(services={"binance": FakeProvider({})})), BookKeeper)
