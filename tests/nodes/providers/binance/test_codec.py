"""The codec behind the real decoder: what each stream becomes, and what malformed traffic becomes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flow.events.stream import EventType, Sequence
from nodes.providers.binance import codec as codec_module
from nodes.providers.binance.codec import CHANNELS, binance_codec
from nodes.providers.symbols import SymbolInfo
from operators.decode import Decoder, Reading, Refused

AT = 1_672_515_782_136
DOCUMENTED = Path("documented/binance/Subscriptions/Spot/ExchangeData")

TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT",'
    b'"t":%d,"p":"1.5","q":"2","T":7,"m":true,"M":true}}'
)
GOOD = TRADE % (AT, 1)


def depth(first: int, last: int, bids: str = "[]") -> bytes:
    data = f'{{"e":"depthUpdate","E":{AT},"s":"BTCUSDT","U":{first},"u":{last},"b":{bids},"a":[]}}'
    return f'{{"stream":"btcusdt@depth@100ms","data":{data}}}'.encode()


def documented(recordings: Path, name: str) -> list[bytes]:
    """The events of a documented script: what follows each `=`."""
    text = (recordings / DOCUMENTED / f"{name}.txt").read_text()
    found = [part.strip() for part in re.split(r"^=\d*", text, flags=re.MULTILINE)[1:]]
    assert found, f"{name} has no events"
    return [part.encode() for part in found]


@pytest.mark.parametrize(
    ("name", "event_type", "channel", "sequence", "number"),
    [
        ("Trades", EventType.TRADE, "trade", Sequence.CONTIGUOUS, 12345),
        ("AggregatedTrades", EventType.TRADE, "aggTrade", Sequence.CONTIGUOUS, 12345),
        ("BookTicker", EventType.BEST_QUOTE, "bookTicker", Sequence.MONOTONE, 400900217),
        ("Ticker", EventType.TICKER, "ticker", Sequence.NONE, AT),
        ("MiniTicker", EventType.TICKER, "miniTicker", Sequence.NONE, AT),
        ("RollingWindowTicker", EventType.TICKER, "ticker_1h", Sequence.NONE, AT),
        ("Klines", EventType.KLINE, "kline_8h", Sequence.NONE, AT),
        ("PartialBook", EventType.BOOK_SNAPSHOT, "depth5@100ms", Sequence.MONOTONE, 160),
    ],
)
@pytest.mark.parametrize("levels", ["eager", "lazy"])
def test_documented_shapes_become_events(
    new_desk: Any,
    recordings: Path,
    name: str,
    event_type: EventType,
    channel: str,
    sequence: Sequence,
    number: int,
    levels: Reading,
) -> None:
    desk = new_desk(levels)
    [event] = desk.feed(*documented(recordings, name))
    stream = event.stream
    assert (stream.provider, stream.symbol, stream.channel) == ("binance", "BTC-USDT", channel)
    assert (stream.event_type, stream.sequence) == (event_type, sequence)
    assert (event.first_sequence, event.sequence) == (number, number)
    has_time = name not in ("BookTicker", "PartialBook")
    assert event.exchange_ts == (AT * 1_000_000 if has_time else 0)
    assert (event.ingest_ts, event.trace_id) == (1_000, 1)
    assert event.payload.row()
    assert len(desk.letters) == 0


def test_two_intervals_are_two_streams(new_desk: Any, recordings: Path) -> None:
    desk = new_desk()
    eight_hours, one_hour = desk.feed(*documented(recordings, "Concurrent"))
    assert eight_hours.stream is not one_hour.stream
    assert eight_hours.event_id != one_hour.event_id
    with pytest.raises(ValueError, match="malformed candle"):
        eight_hours.payload.row()


@pytest.mark.parametrize("levels", ["eager", "lazy"])
def test_every_recorded_frame_becomes_an_event(new_desk: Any, recordings: Path, levels: Reading) -> None:
    lines = (recordings / "binance" / "stream.raw").read_bytes().splitlines()
    frames = [line.split(b": ", 1)[1] for line in lines if b'{"stream"' in line]
    desk = new_desk(levels)
    events = desk.feed(*frames)
    assert len(frames) == len(events) == 265
    assert Counter(event.event_type for event in events) == {
        EventType.BOOK_UPDATE: 177,
        EventType.BEST_QUOTE: 84,
        EventType.TRADE: 2,
        EventType.KLINE: 2,
    }
    for event, frame in zip(events, frames, strict=True):
        sent = msgspec.json.decode(frame)["data"]
        if event.event_type is EventType.BOOK_UPDATE:
            assert (event.first_sequence, event.sequence) == (sent["U"], sent["u"])
            assert event.payload.row() == {"bids": sent["b"], "asks": sent["a"]}
        elif event.event_type is EventType.KLINE:
            assert event.payload.row()["close"] == sent["k"]["c"]
        else:
            assert event.payload.row()
    assert len(desk.letters) == 0
    figures = desk.context.pools.figures()
    assert {kind: (f["gets"], f["puts"]) for kind, f in figures.items()} == dict.fromkeys(
        ("WsFrame", "ProviderRaw", "CanonicalEvent"), (265, 265)
    )


def test_a_depth_event_covers_a_range_and_deletes(new_desk: Any) -> None:
    for levels in ("eager", "lazy"):
        [event] = new_desk(levels).feed(depth(3, 9, '[["0.0024","0.00000000"]]'))
        assert (event.first_sequence, event.sequence, event.stream.sequence) == (3, 9, Sequence.RANGE)
        assert event.payload.row() == {"bids": [["0.0024", "0.00000000"]], "asks": []}


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_channel_is_learnt_under_its_own_name(new_desk: Any, channel: str) -> None:
    desk = new_desk()
    desk.codec.expect([f"btcusdt@{channel}"])
    [route] = desk.codec.routes.values()
    assert route.stream.channel == channel
    assert desk.codec.route(route.envelope) is route


@pytest.mark.parametrize("levels", ["eager", "lazy"])
def test_malformed_levels_are_found_when_they_are_read(new_desk: Any, levels: Reading) -> None:
    desk = new_desk(levels)
    events = desk.feed(depth(1, 2), depth(3, 4, '[["1",2]]'))
    if levels == "eager":
        assert len(events) == 1
        assert desk.letters.by_reason() == {"wrong_type": 1}
    else:
        assert len(events) == 2
        with pytest.raises(ValueError, match="malformed bid_levels"):
            events[1].payload.row()


CONTROL = {
    "acknowledgement": b'{"result":null,"id":1}',
    "list": b'{"result":["btcusdt@trade"],"id":3}',
    "error": b'{"code":2,"msg":"Invalid request: missing field `method`"}',
    "error with an id": b'{"error":{"code":3,"msg":"Invalid JSON"},"id":"a"}',
    "shutdown": b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}',
    "bare shutdown": b'{"e":"serverShutdown","E":1}',
}


@pytest.mark.parametrize("payload", CONTROL.values(), ids=CONTROL.keys())
def test_control_traffic_goes_to_its_connection(new_desk: Any, payload: bytes) -> None:
    desk = new_desk()
    assert len(desk.feed(GOOD, payload, GOOD)) == 2
    assert desk.control == [payload]
    assert desk.decoder.control == 1
    assert len(desk.letters) == 0
    desk.answers_understood = False
    desk.feed(payload)
    assert desk.letters.by_reason() == {"unknown_kind": 1}
    assert desk.decoder.control == 1


def test_a_symbol_that_is_listed_later_is_learnt_then(new_desk: Any) -> None:
    desk = new_desk()
    frame = GOOD.replace(b"btcusdt", b"newusdt")
    desk.feed(frame)
    assert desk.letters.by_reason() == {"unknown_symbol": 1}
    desk.provider.symbols.load([SymbolInfo(canonical="NEW-USDT", wire="NEWUSDT", base="NEW", quote="USDT")])
    [event] = desk.feed(frame)
    assert event.symbol == "NEW-USDT"


def test_the_name_may_come_last(new_desk: Any) -> None:
    desk = new_desk()
    data = GOOD.partition(b'"data":')[2][:-1]
    assert len(desk.feed(b'{"data":%b,"stream":"btcusdt@trade"}' % data, GOOD)) == 2


def test_expected_streams_are_known_before_their_first_frame(new_desk: Any) -> None:
    desk = new_desk()
    names = [f"{wire}@{channel}" for wire in ("btcusdt", "lrcbtc") for channel in ("trade", "depth@100ms")]
    desk.codec.expect(names)
    decode = desk.codec.decode
    desk.codec.expect(names[:3])
    assert list(desk.codec.routes) == names
    assert len(desk.feed(GOOD, depth(1, 2))) == 2
    assert decode(GOOD).data.trade_id == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("btcusdt@nothing", "unknown_kind"),
        ("nosuch@trade", "unknown_symbol"),
        (f"{'x' * 200}@trade", "oversized"),
    ],
)
def test_expecting_what_can_be_no_stream_is_refused(new_desk: Any, name: str, reason: str) -> None:
    desk = new_desk()
    with pytest.raises(Refused) as refused:
        desk.codec.expect(["btcusdt@trade", name])
    assert refused.value.reason == reason
    assert desk.codec.routes == {}


def test_the_number_of_streams_is_bounded(new_desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_module, "MAX_STREAMS", 2)
    desk = new_desk()
    names = [f"btcusdt@{channel}" for channel in ("ticker_1h", "ticker_4h", "trade")]
    with pytest.raises(Refused, match="2 streams"):
        desk.codec.expect(names)
    desk.codec.expect(names[:2])
    assert desk.feed(GOOD) == []
    assert desk.letters.by_reason() == {"too_many_streams": 1}


def test_a_frame_that_met_an_older_parser_is_taken(new_desk: Any) -> None:
    desk = new_desk()
    with pytest.raises(msgspec.ValidationError) as failed:
        desk.codec.decode(GOOD)
    desk.codec.expect(["btcusdt@trade"])
    assert desk.codec.unusual(GOOD, failed.value)


def test_the_provider_is_told_what_each_stream_receives(new_desk: Any) -> None:
    desk = new_desk()
    assert desk.provider.activity is not None
    assert desk.provider.activity() == {}
    desk.feed(GOOD, depth(1, 2), TRADE % (AT, 2))
    desk.feed(GOOD[:-1])
    assert desk.provider.activity() == {"btcusdt@trade": 2, "btcusdt@depth@100ms": 1}
    second = Decoder(binance_codec(desk.context, "eager"), desk.context)
    second.emit = desk.take
    desk.decoder = second
    [event] = desk.feed(GOOD)
    assert event.stream is desk.events[0].stream, "one object per stream and graph"
    assert desk.provider.activity() == {"btcusdt@trade": 3, "btcusdt@depth@100ms": 1}
