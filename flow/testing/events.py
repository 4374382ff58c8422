"""Builders of streams and canonical events, pooled and owned."""

from __future__ import annotations

from flow.clock import NS_PER_MS
from flow.events.canonical import CanonicalEvent, OwnedEvent, PooledEvent
from flow.events.payloads import Payload, TradeData
from flow.events.stream import EventType, Sequence, Stream
from flow.pool import Pools

__all__ = ["EventFactory", "make_event", "make_stream", "trade"]

START_NS = 1_700_000_000_000 * NS_PER_MS
"""The exchange time of number 0; each number later is 1 ms later."""


def make_stream(
    sequence: Sequence = Sequence.CONTIGUOUS,
    *,
    provider: str = "binance",
    symbol: str = "BTC-USDT",
    event_type: EventType = EventType.TRADE,
    channel: str = "trade",
) -> Stream:
    """A stream of its own: two calls give two streams."""
    return Stream(provider, symbol, event_type, channel, sequence)


_STREAM = make_stream()


def trade(price: str = "60000.10", quantity: str = "0.5", trade_id: int = 1) -> TradeData:
    """A payload."""
    return TradeData(price=price, quantity=quantity, trade_id=trade_id, taker_side="buy")


def make_event(
    sequence: int = 1,
    stream: Stream = _STREAM,
    *,
    first: int | None = None,
    exchange_ts: int | None = None,
    ingest_ts: int = 0,
    payload: Payload | None = None,
    merge_id: str | None = None,
    pools: Pools | None = None,
) -> CanonicalEvent:
    """An event with numbers `first..sequence`; a slot of the pools where these are given, else an owned one.

    `exchange_ts` is ns, 1 ms later with each number where it is not given.
    """
    event: PooledEvent | OwnedEvent
    chosen = trade(trade_id=sequence) if payload is None else payload
    if pools is None:
        event = OwnedEvent(stream, chosen)
    else:
        event = pools.of("CanonicalEvent", PooledEvent).shelf(stream).get()
        event.payload = chosen
    event.sequence = sequence
    event.first_sequence = sequence if first is None else first
    event.exchange_ts = START_NS + sequence * NS_PER_MS if exchange_ts is None else exchange_ts
    event.ingest_ts = ingest_ts
    event.merge_id = merge_id
    return event


class EventFactory:
    """Events of one stream out of one set of pools."""

    def __init__(self, stream: Stream | None = None, pools: Pools | None = None) -> None:
        self.stream = make_stream() if stream is None else stream
        self.pools = Pools() if pools is None else pools

    def __call__(
        self, sequence: int = 1, *, first: int | None = None, exchange_ts: int | None = None
    ) -> CanonicalEvent:
        """The event with that number."""
        return make_event(sequence, self.stream, first=first, exchange_ts=exchange_ts, pools=self.pools)
