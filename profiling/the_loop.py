"""THE LOOP: the graph's work written by hand in one loop without a framework. The yardstick; leave it alone.

    bytes -> typed struct -> canonical event -> sequence check of the stream -> latest-wins slot
          -> 3 clones -> 3 consumers

Decoding is typed and eager: one tagged union whose tag is the stream's name, so that the decoder itself
finds the stream, with the levels of a depth event as pairs of strings. A clone shares its payload with the
event, which nobody changes. THE BOOK LOOP also assembles the book of each symbol, from its snapshot on, and
knows the best bid and ask after each update. `DecodeOnly` is the bare decoding, the lower bound of both.
"""

import argparse
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Union

import msgspec
from msgspec import Struct, defstruct, field
from msgspec.structs import replace

from profiling import frames as mixer
from profiling.interleave import interleave, save, show

__all__ = ["Book", "Consumer", "DecodeOnly", "Event", "Loop", "candidates"]

BOOK_UPDATE, BEST_QUOTE, TRADE, KLINE = "BookUpdate", "BestQuote", "Trade", "KlineSummary"

Levels = list[tuple[str, str]]


class BookUpdate(Struct, gc=False):
    event_ms: int = field(name="E")
    first_id: int = field(name="U")
    last_id: int = field(name="u")
    bids: Levels = field(name="b")
    asks: Levels = field(name="a")


class BestQuote(Struct, gc=False):
    update_id: int = field(name="u")
    bid_price: str = field(name="b")
    bid_quantity: str = field(name="B")
    ask_price: str = field(name="a")
    ask_quantity: str = field(name="A")


class Trade(Struct, gc=False):
    event_ms: int = field(name="E")
    trade_id: int = field(name="a")
    price: str = field(name="p")
    quantity: str = field(name="q")
    first_fill_id: int = field(name="f")
    last_fill_id: int = field(name="l")
    trade_ms: int = field(name="T")
    is_buyer_maker: bool = field(name="m")


class Bar(Struct, gc=False):
    open_ms: int = field(name="t")
    close_ms: int = field(name="T")
    interval: str = field(name="i")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    close: str = field(name="c")
    volume: str = field(name="v")
    quote_volume: str = field(name="q")
    trades: int = field(name="n")
    is_closed: bool = field(name="x")


class Kline(Struct, gc=False):
    event_ms: int = field(name="E")
    bar: Bar = field(name="k")


class DepthSnapshot(Struct, gc=False):
    last_id: int = field(name="lastUpdateId")
    bids: Levels
    asks: Levels


class Event(Struct, gc=False):
    """The canonical event; times in ns, `exchange_ts` 0 where the exchange gives none."""

    provider: str
    symbol: str
    type: str
    channel: str
    seq_first: int
    seq_last: int
    exchange_ts: int
    ingest_ts: int
    payload: BookUpdate | BestQuote | Trade | Kline


KINDS: dict[str, tuple[str, type[Struct]]] = {
    "depth": (BOOK_UPDATE, BookUpdate),
    "bookTicker": (BEST_QUOTE, BestQuote),
    "aggTrade": (TRADE, Trade),
    "kline": (KLINE, Kline),
}


class Route:
    """What is known of one stream; `last` is 0 before its first event."""

    __slots__ = ("book", "channel", "has_gaps", "key", "last", "provider", "symbol", "type")

    def __init__(self, stream: str) -> None:
        symbol, self.channel = stream.split("@", 1)
        self.key = stream
        self.provider = "binance"
        self.symbol = symbol.upper()
        self.type = KINDS[self.channel.split("@")[0].split("_")[0]][0]
        self.has_gaps = self.type in (BOOK_UPDATE, TRADE)
        self.last = 0
        self.book: Book | None = None


class Consumer:
    """Counts the events it is handed by type."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, int] = dict.fromkeys((BOOK_UPDATE, BEST_QUOTE, TRADE, KLINE), 0)

    def on_next(self, event: Event) -> None:
        self.counts[event.type] += 1


class Ladder:
    """One side of a book: quantities by price, both exact, and the prices as numbers in order, best last.

    Asks are kept negated. The exchange writes a price in one way only, so its text is its identity.
    """

    __slots__ = ("keys", "quantities", "sign", "texts")

    def __init__(self, sign: int, levels: Levels) -> None:
        self.sign = sign
        self.quantities = dict(levels)
        self.texts = {sign * float(price): price for price in self.quantities}
        self.keys = sorted(self.texts)

    def apply(self, levels: Levels) -> None:
        quantities = self.quantities
        for price, quantity in levels:
            if quantity[0] == "0" and not float(quantity):
                if quantities.pop(price, None) is not None:
                    key = self.sign * float(price)
                    del self.texts[key]
                    del self.keys[bisect_left(self.keys, key)]
            else:
                if price not in quantities:
                    key = self.sign * float(price)
                    self.texts[key] = price
                    insort(self.keys, key)
                quantities[price] = quantity

    def best(self) -> tuple[str, str] | None:
        """Price and quantity of the best level, None when the side is empty."""
        if not self.keys:
            return None
        price = self.texts[self.keys[-1]]
        return price, self.quantities[price]


class Book:
    """The book of one symbol: bridged from its snapshot, begun anew after a gap or when it crosses."""

    __slots__ = ("asks", "bids", "resyncs", "sequence", "snapshot")

    def __init__(self, snapshot: Callable[[], bytes]) -> None:
        self.snapshot = snapshot
        self.sequence = 0
        self.resyncs = 0
        self.bids = Ladder(1, [])
        self.asks = Ladder(-1, [])

    def follow(self, update: BookUpdate) -> bool:
        """Applies one update; False when the book does not stand at it afterwards."""
        if update.first_id != self.sequence + 1 and not self._is_bridged(update):
            return False
        if update.bids:
            self.bids.apply(update.bids)
        if update.asks:
            self.asks.apply(update.asks)
        bids, asks = self.bids.keys, self.asks.keys
        if bids and asks and bids[-1] >= -asks[-1]:
            self.sequence = 0
            self.resyncs += 1
            return False
        self.sequence = update.last_id
        return True

    def _is_bridged(self, update: BookUpdate) -> bool:
        if self.sequence and update.first_id > self.sequence + 1:
            self.sequence = 0
            self.resyncs += 1
        if not self.sequence:
            begin = msgspec.json.decode(self.snapshot(), type=DepthSnapshot)
            self.bids, self.asks = Ladder(1, begin.bids), Ladder(-1, begin.asks)
            self.sequence = begin.last_id
        if update.first_id <= self.sequence + 1 <= update.last_id:
            return True
        if update.first_id > self.sequence:
            self.sequence = 0
        return False


class Loop:
    """The loop for the given streams: THE LOOP, or with REST snapshots by exchange symbol THE BOOK LOOP.

    A frame of any other stream raises msgspec.ValidationError, a depth stream without its snapshot KeyError.
    """

    def __init__(self, streams: Iterable[str], snapshots: Mapping[str, bytes] | None = None) -> None:
        self._streams = list(streams)
        self._snapshots = snapshots
        self.clear()

    def clear(self) -> None:
        """Forgets all sequences, slots, books and counts."""
        self.books: dict[str, Book] = {}
        if self._snapshots is not None:
            self.books = {s: Book(lambda reply=reply: reply) for s, reply in self._snapshots.items()}
        self.routes = [Route(name) for name in self._streams]
        for route in self.routes:
            if self.books and route.type == BOOK_UPDATE:
                route.book = self.books[route.symbol]
        self.latest: dict[str, Event] = {}
        self.consumers = (Consumer(), Consumer(), Consumer())
        self.gaps = self.duplicates = self.untrusted = 0
        self._decode = _decoder(self.routes)

    def run(self, frames: Sequence[bytes]) -> int:
        """Handles the frames; the number of events that reached the consumers."""
        decode, latest = self._decode, self.latest
        now_ns = time.time_ns  # noqa: TID251  the yardstick uses nothing of the framework
        consumers = tuple(consumer.on_next for consumer in self.consumers)
        has_books, events = bool(self.books), 0
        for frame in frames:
            ingest_ts = now_ns()
            message = decode(frame)
            route = message.route
            payload = message.data
            kind = route.type
            if kind is BOOK_UPDATE:
                first, last = payload.first_id, payload.last_id
                exchange_ts = payload.event_ms * 1_000_000
            elif kind is BEST_QUOTE:
                first = last = payload.update_id
                exchange_ts = 0
            elif kind is TRADE:
                first = last = payload.trade_id
                exchange_ts = payload.event_ms * 1_000_000
            else:
                first = last = payload.event_ms
                exchange_ts = payload.event_ms * 1_000_000
            before = route.last
            if first != before + 1:
                if last <= before:
                    self.duplicates += 1
                    continue
                if before and route.has_gaps and first > before + 1:
                    self.gaps += 1
            route.last = last
            if has_books and kind is BOOK_UPDATE and not route.book.follow(payload):
                self.untrusted += 1
                continue
            event = Event(
                route.provider,
                route.symbol,
                kind,
                route.channel,
                first,
                last,
                exchange_ts,
                ingest_ts,
                payload,
            )
            latest[route.key] = event
            for consume in consumers:
                consume(replace(event))
            events += 1
        return events


class DecodeOnly:
    """Bare typed decoding of the given streams' frames."""

    def __init__(self, streams: Iterable[str]) -> None:
        self._decode = _decoder([Route(name) for name in streams])

    def run(self, frames: Sequence[bytes]) -> int:
        """Decodes the frames; their number."""
        decode = self._decode
        for frame in frames:
            decode(frame)
        return len(frames)


def candidates(frames: Sequence[bytes], snapshots: Mapping[str, bytes]) -> dict[str, Callable[[], int]]:
    """What the harness takes: each begins anew, handles all the frames and returns their number."""
    names = mixer.streams(frames)
    decoding = DecodeOnly(names)

    def anew(loop: Loop) -> int:
        loop.clear()
        return loop.run(frames)

    return {
        "THE LOOP": partial(anew, Loop(names)),
        "THE BOOK LOOP": partial(anew, Loop(names, snapshots)),
        "decoding only": lambda: decoding.run(frames),
    }


def _decoder(routes: Iterable[Route]) -> Callable[[bytes], Any]:
    """Decodes a frame into an object with the stream's `route` and its typed `data`."""
    kinds = dict(KINDS.values())
    envelopes = [
        defstruct(
            "Envelope",
            [("data", kinds[route.type])],
            namespace={"route": route},
            tag_field="stream",
            tag=route.key,
            gc=False,
        )
        for route in routes
    ]
    return msgspec.json.Decoder(Union[tuple(envelopes)]).decode  # noqa: UP007


def main() -> None:
    """Measures decoding, THE LOOP and THE BOOK LOOP in turns over one mix."""
    parser = argparse.ArgumentParser(prog="profiling.the_loop", description=main.__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--fold", type=int, default=1, help="consecutive depth events joined into one")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="where the figures are saved as JSON")
    args = parser.parse_args()
    recording = mixer.recording_folder()
    frames = mixer.mix(recording, args.count, args.seed, fold=args.fold)
    figures = mixer.describe(frames)
    comparison = interleave(
        candidates(frames, mixer.snapshots(recording)),
        args.rounds,
        title=f"{figures.frames:,} frames, {figures.mean_bytes} bytes, "
        f"{figures.levels_a_depth_frame} levels a depth frame",
    )
    show(comparison)
    if args.out:
        save(comparison, args.out)


if __name__ == "__main__":
    main()
