"""What the console knows of the market: the latest of every symbol, kept from a conflated stream."""

from __future__ import annotations

from bisect import bisect_left, insort
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

from msgspec import Struct

from flow.clock import NS_PER_MS, NS_PER_S
from flow.events.canonical import CanonicalEvent
from flow.events.payloads import Level, Levels
from flow.events.stream import EventType, Stream
from flow.telemetry.latency import Latency

__all__ = ["LocalBook", "Market", "Row", "SymbolState", "trimmed"]

QUOTE_LEADS_NS = 2 * NS_PER_S
"""A book's top is shown in place of a best quote that is this much older."""
SMOOTHING = 0.5
STEADINESS = 0.1
"""How much of the latest rate goes into the order of the rows."""
ALIKE = 1.5
"""A row goes above another once it is more active by this factor: rows do not jump about."""


class Row(Struct, frozen=True):
    """One symbol as it is shown. Prices and sizes as the exchange writes them, '' where unknown."""

    name: str
    bid: str = ""
    bid_size: str = ""
    ask: str = ""
    ask_size: str = ""
    spread: str = ""
    last: str = ""
    side: str = ""
    change_percent: float | None = None
    rate: float = 0.0
    lag_ms: float = 0.0
    book: str = ""
    """`live`, `partial` (no snapshot yet, or one is missing), `crossed`, or '' without a book."""
    book_age_s: float = 0.0
    missed: int = 0


class _Side:
    """One side of a book by price as a number, the best key last. Good to 15 digits, enough to show."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.levels: dict[float, Level] = {}
        self.keys: list[float] = []

    def replace(self, levels: Levels) -> None:
        latest = {self.sign * float(level[0]): level for level in levels}
        self.levels = {key: level for key, level in latest.items() if float(level[1])}
        self.keys = sorted(self.levels)

    def apply(self, levels: Levels) -> None:
        for price, quantity in levels:
            key = self.sign * float(price)
            if float(quantity):
                if key not in self.levels:
                    insort(self.keys, key)
                self.levels[key] = (price, quantity)
            elif self.levels.pop(key, None) is not None:
                del self.keys[bisect_left(self.keys, key)]

    @property
    def best(self) -> Level:
        return self.levels[self.keys[-1]] if self.keys else ("", "")


class LocalBook:
    """The book of one channel, kept from snapshots and updates. It is trusted from the first snapshot on."""

    def __init__(self) -> None:
        self.bids, self.asks = _Side(1), _Side(-1)
        self.is_trusted = False
        self.updated_at = 0

    def add(self, event: CanonicalEvent) -> None:
        payload: Any = event.payload
        if event.stream.event_type is EventType.BOOK_SNAPSHOT:
            self.bids.replace(payload.bids)
            self.asks.replace(payload.asks)
            self.is_trusted = True
        elif self.is_trusted:
            self.bids.apply(payload.bids)
            self.asks.apply(payload.asks)
        self.updated_at = event.ingest_ts

    @property
    def top(self) -> tuple[Level, Level]:
        return self.bids.best, self.asks.best


class SymbolState:
    """The latest of one symbol of one provider."""

    def __init__(self, provider: str, symbol: str) -> None:
        self.provider = provider
        self.symbol = symbol
        self.events = 0
        self.rate = self.activity = 0.0
        self.books: dict[str, LocalBook] = {}
        self.quote: tuple[Level, Level] | None = None
        self.quoted_at = 0
        self.last = ""
        self.side = ""
        self.last_kind = EventType.TRADE
        self.change_percent: float | None = None
        self.missed = 0
        self.lag_ns = 0
        self.shown_lag_ns = 0
        self._sampled = 0

    def sample(self, elapsed_s: float, *, is_first: bool) -> None:
        """Take the rate and the worst lag of the time since the last sample."""
        rate = (self.events - self._sampled) / elapsed_s
        self.rate = rate if is_first else self.rate + SMOOTHING * (rate - self.rate)
        self.activity = rate if is_first else self.activity + STEADINESS * (rate - self.activity)
        self._sampled = self.events
        self.shown_lag_ns, self.lag_ns = self.lag_ns, 0

    def row(self, now: int, *, with_provider: bool) -> Row:
        (bid, bid_size), (ask, ask_size) = self.top()
        book = self._latest_book()
        return Row(
            name=f"{self.provider} {self.symbol}" if with_provider else self.symbol,
            bid=bid,
            bid_size=bid_size,
            ask=ask,
            ask_size=ask_size,
            spread=_spread(bid, ask),
            last=self.last,
            side=self.side,
            change_percent=self.change_percent,
            rate=self.rate,
            lag_ms=self.shown_lag_ns / NS_PER_MS,
            book=_book_state(book),
            book_age_s=max(0.0, (now - book.updated_at) / NS_PER_S) if book else 0.0,
            missed=self.missed,
        )

    def top(self) -> tuple[Level, Level]:
        """Best bid and ask, from the best quote or, where that is missing or old, from the book."""
        book = self._latest_book()
        if book is None or not book.is_trusted:
            return self.quote or (("", ""), ("", ""))
        if self.quote is None or book.updated_at - self.quoted_at > QUOTE_LEADS_NS:
            return book.top
        return self.quote

    def _latest_book(self) -> LocalBook | None:
        books = self.books.values()
        return max(books, key=lambda book: (book.is_trusted, book.updated_at)) if books else None


class Market:
    """Takes every event; gives rows, the most active symbols first."""

    def __init__(self) -> None:
        self.symbols: dict[tuple[str, str], SymbolState] = {}
        self.events = 0
        self.missed = 0
        self.rate = 0.0
        self.lag = Latency()
        self.recent_lag = Latency()
        self.shown_lag = Latency()
        self._ranked: list[SymbolState] = []
        self._by_stream: dict[Stream, SymbolState] = {}
        self._sampled = 0
        self.is_sampled = False

    def add(self, event: CanonicalEvent, now: int) -> None:
        """Take an event that reached its handler at `now`."""
        stream = event.stream
        state = self._by_stream.get(stream) or self._state_of(stream)
        if stream.event_type is EventType.GAP:
            _note_gap(state, event)
            self.missed += event.payload.missed  # type: ignore[attr-defined]
            return
        self.events += 1
        state.events += 1
        lag_ns = now - event.ingest_ts
        state.lag_ns = max(state.lag_ns, lag_ns)
        self.recent_lag.record(lag_ns)
        self.lag.record(lag_ns)
        note = _NOTES.get(stream.event_type)
        if note is not None:
            note(state, event)

    def sample(self, elapsed_s: float) -> None:
        """Take the rates since the last sample."""
        is_first, self.is_sampled = not self.is_sampled, True
        self.rate = (self.events - self._sampled) / elapsed_s
        self._sampled = self.events
        self.shown_lag, self.recent_lag = self.recent_lag, Latency()
        for state in self.symbols.values():
            state.sample(elapsed_s, is_first=is_first)

        self._rank(is_first=is_first)

    def rows(self, n: int, now: int) -> list[Row]:
        """The `n` most active symbols."""
        with_provider = len({provider for provider, _ in self.symbols}) > 1
        return [state.row(now, with_provider=with_provider) for state in self._all_ranked()[:n]]

    def _all_ranked(self) -> list[SymbolState]:
        """The ranked symbols, and behind them those that came since."""
        return [*self._ranked, *islice(self.symbols.values(), len(self._ranked), None)]

    def _rank(self, *, is_first: bool) -> None:
        ranked = self._all_ranked()
        if is_first:
            ranked.sort(key=lambda state: (-state.activity, state.symbol, state.provider))
        for place, state in enumerate(ranked):
            while place and state.activity > ALIKE * ranked[place - 1].activity:
                ranked[place] = ranked[place - 1]
                place -= 1
            ranked[place] = state
        self._ranked = ranked

    def _state_of(self, stream: Stream) -> SymbolState:
        key = (stream.provider, stream.symbol)
        state = self.symbols.get(key)
        if state is None:
            state = self.symbols[key] = SymbolState(*key)
        self._by_stream[stream] = state
        return state


def _note_trade(state: SymbolState, event: CanonicalEvent) -> None:
    payload: Any = event.payload
    state.last, state.side, state.last_kind = payload.price, payload.taker_side, EventType.TRADE


def _note_quote(state: SymbolState, event: CanonicalEvent) -> None:
    payload: Any = event.payload
    bid, ask = (payload.bid_price, payload.bid_quantity), (payload.ask_price, payload.ask_quantity)
    state.quote, state.quoted_at = (bid, ask), event.ingest_ts


def _note_book(state: SymbolState, event: CanonicalEvent) -> None:
    book = state.books.get(event.stream.channel)
    if book is None:
        book = state.books[event.stream.channel] = LocalBook()
    try:
        book.add(event)
    except Exception:
        book.is_trusted = False
        raise


def _note_ticker(state: SymbolState, event: CanonicalEvent) -> None:
    payload: Any = event.payload
    opened = float(payload.open_price)
    state.change_percent = (float(payload.last_price) / opened - 1) * 100 if opened else None
    _note_indirect(state, payload.last_price, EventType.TICKER)


def _note_kline(state: SymbolState, event: CanonicalEvent) -> None:
    payload: Any = event.payload
    _note_indirect(state, payload.close, EventType.KLINE)


def _note_indirect(state: SymbolState, price: str, kind: EventType) -> None:
    """A last price that is no trade of its own: shown until there is a trade."""
    if not state.last or state.last_kind is not EventType.TRADE:
        state.last, state.side, state.last_kind = price, "", kind


def _note_gap(state: SymbolState, event: CanonicalEvent) -> None:
    payload: Any = event.payload
    state.missed += payload.missed
    book = state.books.get(event.stream.channel)
    if book is not None:
        book.is_trusted = False


_NOTES = {
    EventType.TRADE: _note_trade,
    EventType.BEST_QUOTE: _note_quote,
    EventType.BOOK_SNAPSHOT: _note_book,
    EventType.BOOK_UPDATE: _note_book,
    EventType.TICKER: _note_ticker,
    EventType.KLINE: _note_kline,
}


def _book_state(book: LocalBook | None) -> str:
    if book is None:
        return ""
    if not book.is_trusted:
        return "partial"
    bids, asks = book.bids.keys, book.asks.keys
    return "crossed" if bids and asks and bids[-1] >= -asks[-1] else "live"


def _spread(bid: str, ask: str) -> str:
    if not bid or not ask:
        return ""
    try:
        return format(Decimal(ask) - Decimal(bid), "f")
    except InvalidOperation:
        return ""


def trimmed(number: str) -> str:
    """A decimal without the zeros that say nothing: two places stay where there were any."""
    whole, point, places = number.partition(".")
    if not point:
        return number
    return f"{whole}.{places.rstrip('0').ljust(min(2, len(places)), '0')}"
