"""Frames and raws: what they derive, and that a slot is told apart by its key."""

from __future__ import annotations

from flow.events import Connection, ProviderRaw, WsFrame
from flow.events.frames import TEXT
from flow.testing import make_stream


def test_a_frame_names_its_connection() -> None:
    frame = WsFrame(Connection("kraken", 3))
    assert (frame.provider, frame.connection_id) == ("kraken", 3)
    assert (frame.payload, frame.message_type, frame.received_at, frame.home) == (b"", TEXT, 0, None)
    assert repr(frame.connection) == "Connection(kraken#3)"


def test_a_copy_of_a_frame_outlives_its_reset() -> None:
    frame = WsFrame(Connection("kraken", 3))
    frame.payload, frame.message_type, frame.received_at = b"{}", "binary", 7
    copy = frame.own()
    frame.reset()
    assert (copy.connection, copy.payload, copy.message_type) == (frame.connection, b"{}", "binary")
    assert (copy.received_at, copy.home) == (7, None)


def test_a_raw_names_its_stream() -> None:
    raw = ProviderRaw(make_stream(provider="coinbase", channel="matches"))
    assert (raw.provider, raw.stream_name) == ("coinbase", "matches")
    assert (raw.payload, raw.received_at, raw.home) == (None, 0, None)


def test_control_traffic_is_not_understood_unless_somebody_does() -> None:
    understood: list[bytes] = []

    def take(payload: bytes) -> bool:
        understood.append(payload)
        return True

    assert not Connection("binance", 1).on_control(b"{}")
    assert Connection("binance", 1, take).on_control(b"{}")
    assert understood == [b"{}"]
