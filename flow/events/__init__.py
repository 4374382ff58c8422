"""The vocabulary: frames, canonical events, payloads, orders. Data without behaviour."""

from flow.events.canonical import CanonicalEvent, OwnedEvent, PooledEvent
from flow.events.frames import Arrival, Connection, ProviderRaw, WsFrame
from flow.events.merged import Merged, MergedEvent
from flow.events.orders import ExecReport, OrderState
from flow.events.payloads import (
    BestQuote,
    BookSnapshot,
    BookUpdate,
    Kline,
    Level,
    Levels,
    Payload,
    Side,
    Ticker,
    Trade,
)
from flow.events.stream import CRITICAL, EventType, Lane, Sequence, Stream

__all__ = [
    "CRITICAL",
    "Arrival",
    "BestQuote",
    "BookSnapshot",
    "BookUpdate",
    "CanonicalEvent",
    "Connection",
    "EventType",
    "ExecReport",
    "Kline",
    "Lane",
    "Level",
    "Levels",
    "Merged",
    "MergedEvent",
    "OrderState",
    "OwnedEvent",
    "Payload",
    "PooledEvent",
    "ProviderRaw",
    "Sequence",
    "Side",
    "Stream",
    "Ticker",
    "Trade",
    "WsFrame",
]
