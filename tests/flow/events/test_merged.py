"""Merged events: canonical events whose payload is what a window held."""

from __future__ import annotations

import msgspec
import pytest

from flow.events import CRITICAL, CanonicalEvent, EventType, Lane, MergedEvent, OwnedEvent, Sequence
from flow.events.canonical import FIELDS
from flow.events.merged import MERGEABLE, MergedData, merged_stream
from flow.pool import Pools
from flow.testing import assert_nothing_out, make_event, make_stream

STREAM = merged_stream("BTC-USDT", EventType.BEST_QUOTE)


def window() -> MergedData:
    streams = [make_stream(provider=name) for name in ("binance", "kraken")]
    fragments = tuple(
        make_event(number, stream, merge_id="m").own() for stream in streams for number in (1, 2)
    )
    return MergedData(EventType.BEST_QUOTE, 10, 30, fragments, ("coinbase",), 2 / 3)


def test_the_stream_of_merged_events() -> None:
    assert (STREAM.provider, STREAM.symbol, STREAM.channel) == ("merged", "BTC-USDT", "BestQuote")
    assert (STREAM.event_type, STREAM.sequence) == (EventType.MERGED, Sequence.MONOTONE)
    assert STREAM.lane is Lane.MARKET


def test_it_has_the_fields_of_any_canonical_event_and_no_other() -> None:
    assert issubclass(MergedEvent, CanonicalEvent)
    assert MergedEvent.__slots__ == ()
    assert not hasattr(MergedEvent(STREAM), "__dict__")


def test_a_put_clears_every_field_but_the_key() -> None:
    pools = Pools()
    event = pools.of("MergedEvent", MergedEvent).shelf(STREAM).get()
    fresh = {name: getattr(event, name) for name in FIELDS}
    for name in FIELDS:
        if name != "stream":
            setattr(event, name, 7)
    event.put()
    assert {name: getattr(event, name) for name in FIELDS} == fresh
    assert fresh.pop("stream") is STREAM
    assert set(fresh.values()) == {None, 0}
    for name in fresh:
        setattr(event, name, 7)
    event.reset()
    assert {name: getattr(event, name) for name in fresh} == fresh
    assert_nothing_out(pools)


def test_a_clone_shares_the_payload_and_is_an_ordinary_event() -> None:
    event = MergedEvent(STREAM)
    event.payload, event.merge_id, event.sequence = window(), "BTC-USDT/BestQuote/3", 3
    clone = event.own()
    assert type(clone) is OwnedEvent
    assert (clone.payload, clone.merge_id, clone.sequence) == (event.payload, "BTC-USDT/BestQuote/3", 3)


def test_fragments_by_provider() -> None:
    payload = window()
    kraken = payload.fragment("kraken")
    assert kraken is payload.fragments[3]
    assert payload.fragment("binance") is payload.fragments[1]
    assert payload.fragment("coinbase") is None


def test_the_row_is_plain_data() -> None:
    payload = window()
    row = payload.row()
    assert row == {
        "event_type": "BestQuote",
        "window_open": 10,
        "window_close": 30,
        "fragments": [fragment.row() for fragment in payload.fragments],
        "missing": ["coinbase"],
        "completeness": 2 / 3,
    }
    assert type(row["event_type"]) is str
    event = MergedEvent(STREAM)
    event.payload = payload
    assert msgspec.json.decode(msgspec.json.encode(event.row()))["payload"] == row


def test_a_window_without_anything_missing_is_complete() -> None:
    payload = MergedData(EventType.TRADE, 0, 1, ())
    assert (payload.missing, payload.completeness) == ((), 1.0)


@pytest.mark.parametrize("kind", list(EventType))
def test_what_may_be_merged(kind: EventType) -> None:
    never = CRITICAL | {EventType.MERGED, EventType.GAP}
    assert (kind in MERGEABLE) is (kind not in never)
