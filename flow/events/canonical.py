"""Canonical events: what every provider's traffic is turned into, and what consumers receive.

`CanonicalEvent` is the view that operators and consumers are written against. Two classes stand behind it
with the same fields: `PooledEvent`, a reusable slot that travels from `decode` to `fan-out-clone` and belongs
to one operator at a time, and `OwnedEvent`, an ordinary immutable-by-convention clone that a consumer may
keep. A payload is one of the views of `flow.events.payloads`; it is never changed after decoding, so clones
share it.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from flow.events.home import Home, refuse_put
from flow.events.payloads import Payload
from flow.events.stream import EventType, Stream

__all__ = ["FIELDS", "SCHEMA_VERSION", "CanonicalEvent", "OwnedEvent", "PooledEvent"]

SCHEMA_VERSION: Final = 1

FIELDS: Final = (
    "stream",
    "payload",
    "sequence",
    "first_sequence",
    "exchange_ts",
    "ingest_ts",
    "emit_ts",
    "routing_version",
    "merge_id",
    "trace_id",
    "decision_id",
)


class CanonicalEvent:
    """One event of one stream. All timestamps are ns since the epoch, 0 where unknown.

    `first_sequence..sequence` is the range of the exchange's numbers that the event covers (equal for single
    numbers). `ingest_ts` is the one clock reading on receipt; `exchange_ts` is the exchange's own clock, not
    ours.
    """

    __slots__ = ()

    stream: Stream
    payload: Payload
    sequence: int
    first_sequence: int
    exchange_ts: int
    ingest_ts: int
    emit_ts: int
    routing_version: int
    merge_id: str | None
    trace_id: int
    decision_id: int
    home: Home | None = None
    """The shelf that a pooled event goes back to; None for a clone, which is nobody's to put."""

    def put(self) -> None:
        """Give a pooled event back. Raises `DoublePut` where there is no `home`."""
        refuse_put(self)

    @property
    def provider(self) -> str:
        return self.stream.provider

    @property
    def symbol(self) -> str:
        return self.stream.symbol

    @property
    def event_type(self) -> EventType:
        return self.stream.event_type

    @property
    def channel(self) -> str:
        return self.stream.channel

    @property
    def schema_version(self) -> int:
        return SCHEMA_VERSION

    @property
    def event_id(self) -> str:
        """Unique per stream and sequence; built only when it is read."""
        stream = self.stream
        return f"{stream.provider}:{stream.symbol}:{stream.event_type}:{stream.channel}:{self.sequence}"

    def own(self) -> OwnedEvent:
        """An ordinary clone that belongs to the caller."""
        return OwnedEvent(
            self.stream,
            self.payload,
            self.sequence,
            self.first_sequence,
            self.exchange_ts,
            self.ingest_ts,
            self.emit_ts,
            self.routing_version,
            self.merge_id,
            self.trace_id,
            self.decision_id,
        )

    def row(self) -> dict[str, Any]:
        """The event as plain data with canonical names; decimals are the exchange's own strings."""
        return {
            "event_id": self.event_id,
            "provider": self.provider,
            "symbol": self.symbol,
            "type": self.event_type.value,
            "channel": self.channel,
            "sequence": self.sequence,
            "first_sequence": self.first_sequence,
            "exchange_ts": self.exchange_ts,
            "ingest_ts": self.ingest_ts,
            "emit_ts": self.emit_ts,
            "routing_version": self.routing_version,
            "merge_id": self.merge_id,
            "trace_id": self.trace_id,
            "decision_id": self.decision_id,
            "schema_version": SCHEMA_VERSION,
            "payload": self.payload.row(),
        }


class OwnedEvent(Struct, CanonicalEvent, gc=False, eq=False):
    """A clone: plain data, unpooled, the property of whoever received it."""

    stream: Stream
    payload: Payload
    sequence: int = 0
    first_sequence: int = 0
    exchange_ts: int = 0
    ingest_ts: int = 0
    emit_ts: int = 0
    routing_version: int = 0
    merge_id: str | None = None
    trace_id: int = 0
    decision_id: int = 0

    def own(self) -> OwnedEvent:
        return replace(self)


class PooledEvent(CanonicalEvent):
    """A slot of the `CanonicalEvent` pool, keyed by stream. `home` is its shelf while it is out, else
    None."""

    __slots__ = (*FIELDS, "home")

    home: Home | None

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.home = None
        self.reset()

    def reset(self) -> None:
        """Clear every field but the key (`stream`)."""
        self.payload = None  # type: ignore[assignment]
        self.merge_id = None
        self.sequence = self.first_sequence = self.exchange_ts = self.ingest_ts = self.emit_ts = 0
        self.routing_version = self.trace_id = self.decision_id = 0

    def put(self) -> None:
        """Give the event back to its pool, cleared as by `reset`."""
        home = self.home
        if home is None:
            refuse_put(self)
        self.home = None
        self.payload = None  # type: ignore[assignment]
        self.merge_id = None
        self.sequence = self.first_sequence = self.exchange_ts = self.ingest_ts = self.emit_ts = 0
        self.routing_version = self.trace_id = self.decision_id = 0
        home.append(self)
        home.puts += 1
