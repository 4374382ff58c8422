"""What a test's elements are made of: events, frames, or plain values of whatever type a port takes.

A recipe is read from the file, once; each run makes its elements anew, in the run's own pools.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta, Struct

from flow.clock import NS_PER_MS
from flow.context import Context
from flow.events.canonical import OwnedEvent, PooledEvent
from flow.events.frames import Connection, WsFrame
from flow.events.orders import ExecReport
from flow.events.payloads import (
    BestQuoteData,
    BookSnapshotData,
    BookUpdateData,
    GapData,
    KlineData,
    TickerData,
    TradeData,
)
from flow.events.stream import EventType, Sequence, Stream

__all__ = [
    "CHANNELS",
    "PAYLOADS",
    "EventFields",
    "EventRecipe",
    "FrameRecipe",
    "Kit",
    "Recipe",
    "ValueRecipe",
]

CHANNELS: Final[Mapping[EventType, str]] = MappingProxyType(
    {
        EventType.TRADE: "trade",
        EventType.TICKER: "ticker",
        EventType.BEST_QUOTE: "best_quote",
        EventType.BOOK_SNAPSHOT: "book",
        EventType.BOOK_UPDATE: "book",
        EventType.KLINE: "kline_1m",
    }
)
NUMBERS: Final[Mapping[EventType, Sequence]] = MappingProxyType(
    {EventType.TRADE: Sequence.CONTIGUOUS, EventType.BOOK_UPDATE: Sequence.RANGE}
)
"""How a type is numbered where the test does not say; the others are `monotone`."""

PAYLOADS: Final[Mapping[EventType, tuple[type[Struct], dict[str, Any]]]] = MappingProxyType(
    {
        EventType.TRADE: (TradeData, {"price": "1", "quantity": "1", "taker_side": "buy"}),
        EventType.TICKER: (
            TickerData,
            dict.fromkeys(
                ("last_price", "open_price", "high_price", "low_price", "volume", "quote_volume"), "1"
            ),
        ),
        EventType.BEST_QUOTE: (
            BestQuoteData,
            {"bid_price": "1", "bid_quantity": "1", "ask_price": "2", "ask_quantity": "1"},
        ),
        EventType.KLINE: (
            KlineData,
            {
                "interval": "1m",
                **dict.fromkeys(("open_ts", "close_ts", "trade_count"), 0),
                **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume"), "1"),
                "is_closed": False,
            },
        ),
        EventType.BOOK_SNAPSHOT: (BookSnapshotData, {"bids": [], "asks": []}),
        EventType.BOOK_UPDATE: (BookUpdateData, {"bids": [], "asks": []}),
        EventType.EXEC_REPORT: (ExecReport, {"client_order_id": "1", "state": "ACK"}),
        EventType.GAP: (
            GapData,
            {"missed": 1, "first_sequence": 0, "last_sequence": 0, "reason": "drop_oldest"},
        ),
    }
)
"""By type: its payload, and what its fields are where the test does not say."""


class EventFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a test may say of an event beside its payload. `exchange_ms` counts from the start of the test;
    each number is 1 ms later than the one before where neither it nor `exchange_ts` (ns) is given."""

    provider: Annotated[str, Meta(min_length=1)] = "test"
    symbol: Annotated[str, Meta(pattern="^[^-\\s]+-[^-\\s]+$")] = "BTC-USDT"
    type: EventType = EventType.TRADE
    channel: str = ""
    numbers: Sequence | None = None
    sequence: Annotated[int, Meta(ge=0)] = 0
    first_sequence: Annotated[int, Meta(ge=0)] | None = None
    exchange_ts: Annotated[int, Meta(ge=0)] | None = None
    exchange_ms: float | None = None
    merge_id: str | None = None
    trace_id: int = 0
    decision_id: int = 0


class Kit:
    """What the recipes of one run share: its streams, and since when it runs (ns since the epoch)."""

    def __init__(self, context: Context, began_ns: int) -> None:
        self.context = context
        self.began_ns = began_ns
        self._streams: dict[tuple[Any, ...], Stream] = {}
        self._connections: dict[str, Connection] = {}

    def stream(self, fields: EventFields) -> Stream:
        """The one stream of that provider, symbol, type and channel."""
        kind = fields.type
        channel = fields.channel or CHANNELS.get(kind, kind.value)
        key = (fields.provider, fields.symbol, kind, channel)
        if key not in self._streams:
            numbers = fields.numbers or NUMBERS.get(kind, Sequence.MONOTONE)
            self._streams[key] = Stream(*key, numbers)
        return self._streams[key]

    def connection(self, provider: str) -> Connection:
        if provider not in self._connections:
            self._connections[provider] = Connection(provider, 1)
        return self._connections[provider]


class Recipe(Protocol):
    """Makes the same element each time. Raises `PoolTimeout` where its pool has none."""

    def make(self, kit: Kit, *, is_pooled: bool) -> Any:
        """A new element, out of the run's pool if it is to be pooled."""
        ...


@dataclass(frozen=True, slots=True)
class EventRecipe:
    fields: EventFields
    payload: Any

    def make(self, kit: Kit, *, is_pooled: bool) -> Any:
        fields, stream = self.fields, kit.stream(self.fields)
        event: PooledEvent | OwnedEvent
        if is_pooled:
            event = kit.context.pools.of("CanonicalEvent", PooledEvent).shelf(stream).get()
            event.payload = self.payload
        else:
            event = OwnedEvent(stream, self.payload)
        event.sequence = fields.sequence
        event.first_sequence = fields.sequence if fields.first_sequence is None else fields.first_sequence
        event.exchange_ts = _exchange_ts(fields, kit.began_ns)
        event.ingest_ts = kit.context.clock()
        event.merge_id = fields.merge_id
        event.trace_id, event.decision_id = fields.trace_id, fields.decision_id
        return event


def _exchange_ts(fields: EventFields, began_ns: int) -> int:
    if fields.exchange_ts is not None:
        return fields.exchange_ts
    after_ms = fields.sequence if fields.exchange_ms is None else fields.exchange_ms
    return began_ns + round(after_ms * NS_PER_MS)


@dataclass(frozen=True, slots=True)
class FrameRecipe:
    """A frame as a wire gives it; `is_arrival` where `ingest` has not seen it yet."""

    provider: str
    payload: bytes
    is_arrival: bool

    def make(self, kit: Kit, *, is_pooled: bool) -> Any:
        connection = kit.connection(self.provider)
        if self.is_arrival:
            return connection, self.payload, kit.context.clock()
        shelf = kit.context.pools.of("WsFrame", WsFrame).shelf(connection)
        frame = shelf.get() if is_pooled else WsFrame(connection)
        frame.payload = self.payload
        frame.received_at = kit.context.clock()
        return frame


@dataclass(frozen=True, slots=True)
class ValueRecipe:
    """Any other type: `data` is what YAML says, `kind` what the port takes."""

    data: Any
    kind: Any

    def make(self, kit: Kit, *, is_pooled: bool) -> Any:
        return msgspec.convert(self.data, self.kind)
