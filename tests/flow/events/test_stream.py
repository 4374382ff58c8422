"""Streams: identity, and the lane that each event type travels in."""

from __future__ import annotations

import pytest

from flow.events import CRITICAL, EventType, Lane, Sequence, Stream
from flow.testing import make_stream

LANES = {
    EventType.TRADE: Lane.TRADES,
    EventType.TICKER: Lane.MARKET,
    EventType.BEST_QUOTE: Lane.MARKET,
    EventType.BOOK_SNAPSHOT: Lane.MARKET,
    EventType.BOOK_UPDATE: Lane.MARKET,
    EventType.KLINE: Lane.MARKET,
    EventType.MERGED: Lane.MARKET,
    EventType.EXEC_REPORT: Lane.CRITICAL,
    EventType.CONTROL_ACK: Lane.CRITICAL,
    EventType.CONTROL_RESULT: Lane.CRITICAL,
    EventType.GAP: Lane.CRITICAL,
}


@pytest.mark.parametrize("event_type", EventType)
def test_each_type_has_its_lane(event_type: EventType) -> None:
    stream = Stream("binance", "BTC-USDT", event_type, "c", Sequence.NONE)
    assert stream.lane is LANES[event_type]
    assert event_type not in CRITICAL or stream.lane is Lane.CRITICAL


def test_streams_are_compared_by_identity() -> None:
    one, other = make_stream(), make_stream()
    assert one != other
    assert len({one, other, one}) == 2


def test_a_stream_says_what_it_is() -> None:
    assert repr(make_stream()) == "Stream(binance/BTC-USDT/Trade/trade)"
    assert not hasattr(make_stream(), "__dict__")
