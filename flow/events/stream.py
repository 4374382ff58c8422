"""What an event belongs to: its type and its stream.

A stream is (provider, symbol, event type, channel). One `Stream` object exists per stream and graph: it is
compared and hashed by identity, so a dict keyed by it costs what a dict keyed by an int costs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["CRITICAL", "EventType", "Lane", "Sequence", "Stream"]


class EventType(StrEnum):
    """The canonical event types, by the names that YAML, metrics and summaries carry."""

    TRADE = "Trade"
    TICKER = "Ticker"
    BEST_QUOTE = "BestQuote"
    BOOK_SNAPSHOT = "BookSnapshot"
    BOOK_UPDATE = "BookUpdate"
    KLINE = "KlineSummary"
    EXEC_REPORT = "ExecReport"
    CONTROL_ACK = "ControlAck"
    CONTROL_RESULT = "ControlResult"
    MERGED = "MergedEvent"
    GAP = "Gap"
    """A marker that a mailbox puts where it had to drop: what the consumer did not get."""


class Sequence(StrEnum):
    """How a stream numbers its events. Only `CONTIGUOUS` and `RANGE` can have a gap."""

    CONTIGUOUS = "contiguous"
    RANGE = "range"
    MONOTONE = "monotone"
    NONE = "none"


class Lane(StrEnum):
    """The lane of a mailbox that a type travels in: what may happen to it when the mailbox is full."""

    MARKET = "market"
    TRADES = "trades"
    CRITICAL = "critical"


CRITICAL: Final = frozenset({EventType.EXEC_REPORT, EventType.CONTROL_ACK, EventType.CONTROL_RESULT})


def _lane(event_type: EventType) -> Lane:
    if event_type in CRITICAL or event_type is EventType.GAP:
        return Lane.CRITICAL
    return Lane.TRADES if event_type is EventType.TRADE else Lane.MARKET


class Stream:
    """One stream of one provider. `symbol` is canonical (`BTC-USDT`), `channel` the exchange's own name."""

    __slots__ = ("channel", "event_type", "lane", "provider", "sequence", "symbol")

    def __init__(
        self, provider: str, symbol: str, event_type: EventType, channel: str, sequence: Sequence
    ) -> None:
        self.provider = provider
        self.symbol = symbol
        self.event_type = event_type
        self.channel = channel
        self.sequence = sequence
        self.lane = _lane(event_type)

    def __repr__(self) -> str:
        return f"Stream({self.provider}/{self.symbol}/{self.event_type}/{self.channel})"
