"""Canonical events: two classes, the same fields, one row."""

from __future__ import annotations

import msgspec
import pytest

from flow.errors import DoublePut
from flow.events import CanonicalEvent, EventType, OwnedEvent, PooledEvent, Sequence, Stream
from flow.events.canonical import FIELDS, SCHEMA_VERSION
from flow.pool import Pools
from flow.testing import assert_nothing_out, make_event, make_stream, trade

NUMBERS = {name: n for n, name in enumerate(FIELDS) if name not in ("stream", "payload", "merge_id")}


def filled(pools: Pools | None = None) -> CanonicalEvent:
    event = make_event(1, make_stream(), merge_id="m1", pools=pools)
    for name, number in NUMBERS.items():
        setattr(event, name, number)
    return event


def test_both_classes_have_the_fields_that_the_view_names() -> None:
    assert {*FIELDS, "home"} == set(CanonicalEvent.__annotations__)
    assert OwnedEvent.__struct_fields__ == FIELDS
    assert PooledEvent.__slots__ == (*FIELDS, "home")


@pytest.mark.parametrize("is_pooled", [True, False])
def test_a_clone_has_every_field_and_is_nobodys(is_pooled: bool) -> None:
    pools = Pools()
    event = filled(pools if is_pooled else None)
    clone = event.own()
    assert type(clone) is OwnedEvent
    assert clone is not event
    assert {name: getattr(clone, name) for name in FIELDS} == {name: getattr(event, name) for name in FIELDS}
    assert clone.home is None
    with pytest.raises(DoublePut):
        clone.put()
    clone.sequence = 99
    assert event.sequence == NUMBERS["sequence"]
    if isinstance(event, PooledEvent):
        assert event.home is not None
        event.home.put(event)
        assert (clone.stream, clone.payload, clone.merge_id) == (event.stream, trade(), "m1")
        assert_nothing_out(pools)


def test_what_is_derived_is_right() -> None:
    event = filled()
    assert (event.provider, event.symbol, event.channel) == ("binance", "BTC-USDT", "trade")
    assert (event.event_type, event.schema_version) == (EventType.TRADE, SCHEMA_VERSION)
    assert event.event_id == f"binance:BTC-USDT:Trade:trade:{event.sequence}"


def test_ids_are_unique_per_stream_and_sequence() -> None:
    streams = [
        Stream(provider, symbol, event_type, channel, Sequence.NONE)
        for provider in ("binance", "kraken")
        for symbol in ("BTC-USDT", "ETH-USDT")
        for event_type in (EventType.TRADE, EventType.KLINE)
        for channel in ("kline_1m", "kline_5m")
    ]
    ids = [make_event(n, stream).event_id for stream in streams for n in (1, 2)]
    assert len(set(ids)) == len(ids) == 32


def test_a_row_is_plain_data_with_every_field() -> None:
    event = filled()
    row = event.row()
    derived = {"event_id", "provider", "symbol", "type", "channel", "schema_version"}
    assert set(row) == (set(FIELDS) - {"stream"}) | derived
    assert {name: row[name] for name in NUMBERS} == NUMBERS
    assert row["payload"] == trade().row()
    assert msgspec.json.decode(msgspec.json.encode(row)) == row


def test_events_are_compared_by_identity() -> None:
    one, other = make_event(1), make_event(1)
    assert one == one
    assert one != other
    assert len({one, other}) == 2
