"""Canonical events to check operators with, and traps: elements of which no field can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_args

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from flow.events.canonical import CanonicalEvent, PooledEvent
from flow.events.frames import ProviderRaw, WsFrame
from flow.events.orders import ExecReport, OrderState
from flow.events.payloads import (
    BestQuoteData,
    BookSnapshotData,
    BookUpdateData,
    KlineData,
    Payload,
    TickerData,
    TradeData,
)
from flow.events.stream import EventType, Sequence, Stream
from flow.pool import Pools
from flow.testing.events import make_event

__all__ = ["TRAPPED", "EventRecipe", "Trap", "event_samples", "takes_events"]

LATE_NS: Final = 1
"""When an event that was held up on its way was received: before everything else."""


@dataclass(frozen=True, slots=True)
class EventRecipe:
    """Makes one canonical event. `ingest_ts` in ns; 0 is stamped with the time of the push."""

    stream: Stream
    sequence: int
    first: int
    payload: Payload
    exchange_ts: int | None = None
    ingest_ts: int = 0

    def __call__(self, pools: Pools | None) -> CanonicalEvent:
        is_merged = self.stream.event_type is EventType.MERGED
        return make_event(
            self.sequence,
            self.stream,
            first=self.first,
            exchange_ts=self.exchange_ts,
            ingest_ts=self.ingest_ts,
            payload=self.payload,
            merge_id=f"merge-{self.sequence // 2}" if is_merged else None,
            pools=pools,
        )

    def __repr__(self) -> str:
        numbers = str(self.sequence) if self.first == self.sequence else f"{self.first}..{self.sequence}"
        late = " received late" if self.ingest_ts == LATE_NS else ""
        timeless = " without exchange time" if self.exchange_ts == 0 else ""
        return f"{self.stream!r} #{numbers}{late}{timeless}"


def _body(stream: Stream, number: int) -> Payload:
    """A payload that fits the stream; the number makes it differ from the others."""
    price = f"{100 + number}.50"
    levels = [(price, str(number % 3))]
    match stream.event_type:
        case EventType.BOOK_UPDATE:
            return BookUpdateData(levels, [(f"{200 + number}.0", "1")])
        case EventType.BOOK_SNAPSHOT:
            return BookSnapshotData([(price, "1")], [(f"{200 + number}.0", "1")])
        case EventType.BEST_QUOTE:
            return BestQuoteData(price, "1", f"{101 + number}.50", "2")
        case EventType.TICKER:
            return TickerData(price, "1", "2", "3", "4", "5")
        case EventType.KLINE:
            return KlineData("1m", number, number + 1, "1", "2", "3", price, "5", "6", 7, number % 4 == 0)
        case EventType.EXEC_REPORT:
            return ExecReport(f"order-{number}", OrderState.PARTIAL)
        case _:
            return TradeData(price, "1", number, "buy")


def _streams() -> list[Stream]:
    kinds = [
        ("binance", EventType.TRADE, "trade", Sequence.CONTIGUOUS),
        ("binance", EventType.BOOK_UPDATE, "depth", Sequence.RANGE),
        ("binance", EventType.BOOK_SNAPSHOT, "depth", Sequence.NONE),
        ("binance", EventType.BEST_QUOTE, "bookTicker", Sequence.MONOTONE),
        ("kraken", EventType.BEST_QUOTE, "ticker", Sequence.NONE),
        ("binance", EventType.TICKER, "ticker", Sequence.NONE),
        ("binance", EventType.KLINE, "kline_1m", Sequence.NONE),
        ("binance", EventType.EXEC_REPORT, "orders", Sequence.CONTIGUOUS),
        ("coinbase", EventType.TRADE, "matches", Sequence.CONTIGUOUS),
        ("merged", EventType.MERGED, "BestQuote", Sequence.MONOTONE),
    ]
    return [Stream(provider, "BTC-USDT", kind, channel, how) for provider, kind, channel, how in kinds]


def _catalogue() -> list[EventRecipe]:
    recipes: list[EventRecipe] = []
    for number in range(1, 9):
        for stream in _streams_known:
            last = number + 1 if stream.sequence is Sequence.RANGE else number
            recipes.append(EventRecipe(stream, last, number, _body(stream, number)))
    for stream in _streams_known[:4]:
        recipes.append(EventRecipe(stream, 4, 4, _body(stream, 4), ingest_ts=LATE_NS))
        recipes.append(EventRecipe(stream, 2, 2, _body(stream, 2), exchange_ts=0))
    return recipes


_streams_known: Final = _streams()
CATALOGUE: Final = tuple(_catalogue())
REPORTS: Final = tuple(one for one in CATALOGUE if one.stream.event_type is EventType.EXEC_REPORT)
"""Execution reports, in order and each once."""


def event_samples() -> SearchStrategy[EventRecipe]:
    """Canonical events: ten streams of all kinds of sequence, three exchanges and a merge; books, candles
    open and closed, trades, reports. Drawn at random there are gaps, duplicates and late ones among them."""
    return st.sampled_from(CATALOGUE)


def takes_events(port: Any) -> bool:
    """Whether an input port of that type takes canonical events."""
    if port is Any or isinstance(port, TypeVar):
        return True
    if isinstance(port, type):
        return issubclass(CanonicalEvent, port)
    return any(takes_events(part) for part in get_args(port))


class Trap:
    """No field of it can be read. `sprung` counts the attempts."""

    def __init__(self, _: Any = None) -> None:
        self.__dict__["sprung"] = 0
        self.__dict__["home"] = None

    def __getattr__(self, name: str) -> Any:
        self.__dict__["sprung"] += 1
        raise ValueError(f"{name} can't be read")

    def __repr__(self) -> str:
        return _name(self)


def _sprung_by(field: str, slot: Any) -> property:
    def read(self: Any) -> Any:
        self.sprung += 1
        raise ValueError(f"{field} can't be read")

    return property(read, slot.__set__)


def _name(_: Any) -> str:
    return "a trap"


def _trapped(kind: type[Any]) -> type[Any]:
    """A pooled type whose fields can be written and put back, but not read."""
    fields = {name: _sprung_by(name, getattr(kind, name)) for name in kind.__slots__ if name != "home"}
    return type(f"Trapped{kind.__name__}", (kind,), {"__slots__": ("sprung",), "__repr__": _name, **fields})


TRAPPED: Final = {kind: _trapped(kind) for kind in (PooledEvent, WsFrame, ProviderRaw)}
