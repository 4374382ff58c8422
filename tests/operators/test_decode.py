"""The decoder with a small codec of its own: ownership, outcomes, and what a codec may do wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import reactivex as rx
from reactivex.subject import Subject

from flow.context import Context
from flow.errors import DoublePut, FlowError, PoolTimeout
from flow.events.canonical import PooledEvent
from flow.events.frames import Connection, WsFrame
from flow.events.payloads import TradeData
from flow.events.stream import EventType, Sequence, Stream
from flow.pool import Pools, PoolSettings
from flow.registry import registry
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import assert_nothing_out
from operators.decode import MAX_DETAIL, Decoder, Refused, decode

PAYLOAD = TradeData("1", "2", 3, "buy")


class Word(msgspec.Struct, tag_field="kind", tag="word"):
    """A message of a stream that is known from the start."""

    data: str


class Number(msgspec.Struct, tag_field="kind", tag="number"):
    """A message of a stream that is learnt."""

    data: int


class SmallCodec:
    """Takes words at once and numbers once it saw one; `ok` is an answer; the word "bad" is not taken."""

    def __init__(self) -> None:
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(Word | int).decode
        self.counts: Callable[[], Mapping[Stream, int]] = dict
        self.streams = {
            kind: Stream("test", "A-B", EventType.TRADE, kind.__name__, Sequence.NONE)
            for kind in (Word, Number)
        }
        self.unusuals = 0

    def route(self, kind: type[Any]) -> Any:
        return SimpleNamespace(stream=self.streams[kind], normalise=self.normalise)

    def normalise(self, payload: Any, event: PooledEvent) -> None:
        if payload == "bad":
            raise ValueError("not this word")
        if payload == "twice":
            raise DoublePut("a bug")
        event.payload = PAYLOAD
        event.sequence = len(str(payload))

    def unusual(self, payload: bytes, error: Exception) -> bool:
        self.unusuals += 1
        if b"ok" in payload:
            return False
        if b"number" in payload:
            self.decode = msgspec.json.Decoder(Word | Number).decode
            return True
        if b"crash" in payload:
            raise RuntimeError("a bug in the codec")
        raise Refused("unknown_kind", f"no such thing: {payload!r}") from error


def word(text: str) -> bytes:
    return msgspec.json.encode(Word(text))


class Bench:
    """A decoder, a shelf of frames to feed it from, and what came out."""

    def __init__(self, pools: Pools | None = None, **bounds: int) -> None:
        self.letters = DeadLetters()
        self.context = Context("d", pools=pools or Pools(), dead_letters=self.letters, clock=lambda: 9)
        self.codec = SmallCodec()
        self.decoder = Decoder(self.codec, self.context, **bounds)
        self.decoder.emit = self.take
        self.rows: list[tuple[str, int, int, int]] = []
        self.connection = Connection("test", 1, lambda payload: b"mine" in payload)
        self.frames = self.context.pools.of("WsFrame", WsFrame).shelf(self.connection)

    def take(self, event: Any) -> None:
        self.rows.append((event.channel, event.sequence, event.ingest_ts, event.trace_id))
        if event.home is not None:
            event.home.put(event)

    def feed(self, payload: bytes) -> None:
        frame = self.frames.get()
        frame.payload, frame.received_at = payload, 4
        self.decoder.add(frame)

    @property
    def out(self) -> int:
        return sum(figures["out"] for figures in self.context.pools.figures().values())


def test_a_message_becomes_an_event_and_its_slots_are_put() -> None:
    bench = Bench()
    bench.feed(word("abc"))
    bench.feed(word("abcd"))
    assert bench.rows == [("Word", 3, 4, 1), ("Word", 4, 4, 2)]
    figures = bench.context.pools.figures()
    assert {kind: (f["gets"], f["puts"], f["high_water"]) for kind, f in figures.items()} == dict.fromkeys(
        ("WsFrame", "ProviderRaw", "CanonicalEvent"), (2, 2, 1)
    )
    assert (bench.decoder.emitted, bench.decoder.taken) == (2, 2)


def test_the_frame_is_free_before_its_event_goes_on() -> None:
    bench = Bench()
    seen: list[tuple[int, int]] = []
    pools = bench.context.pools
    bench.decoder.emit = lambda event: seen.append(
        (pools.by_kind["WsFrame"].out, pools.by_kind["ProviderRaw"].out)
    )
    bench.feed(word("a"))
    assert seen == [(0, 0)]


def test_a_stream_is_learnt_once_and_its_first_message_passes() -> None:
    bench = Bench()
    for number in (7, 88, 999):
        bench.feed(msgspec.json.encode(Number(number)))
    assert [row[:2] for row in bench.rows] == [("Number", 1), ("Number", 2), ("Number", 3)]
    assert bench.codec.unusuals == 1


def test_the_codec_can_ask_what_was_decoded() -> None:
    bench = Bench()
    assert bench.codec.counts() == {}
    bench.feed(word("a"))
    bench.feed(word("bad"))
    bench.feed(msgspec.json.encode(Number(1)))
    assert bench.codec.counts() == {bench.codec.streams[Word]: 1, bench.codec.streams[Number]: 1}


def test_an_answer_goes_to_its_connection() -> None:
    bench = Bench()
    bench.feed(b'{"kind":"ok","mine":1}')
    assert (bench.rows, len(bench.letters), bench.out) == ([], 0, 0)
    assert (bench.decoder.control, bench.decoder.emitted, bench.decoder.taken) == (1, 0, 1)


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (b"what", "unknown_kind", "no such thing: b'what'"),
        (b'{"kind":"ok"}', "unknown_kind", "neither market data nor an answer to a request"),
        (word("bad"), "wrong_type", "not this word"),
        (b"crash", "RuntimeError", "a bug in the codec"),
        (b"5", "KeyError", "<class 'int'>"),
        (word("x" * 3000), "oversized", "3025 bytes"),
    ],
)
def test_what_is_not_taken_is_dead_lettered_and_the_next_passes(
    payload: bytes, reason: str, detail: str
) -> None:
    bench = Bench(max_frame_bytes=2048)
    bench.feed(word("a"))
    bench.feed(payload)
    bench.feed(word("b"))
    assert len(bench.rows) == 2
    [letter] = bench.letters.read()
    assert (letter.node, letter.reason, letter.detail, letter.at) == ("d", reason, detail, 9)
    assert (letter.original, letter.original_bytes) == (payload, len(payload))
    assert bench.out == 0
    assert (bench.decoder.dead_lettered, bench.decoder.taken) == (1, 2)


def test_a_frame_at_the_bound_passes() -> None:
    frame = word("x")
    bench = Bench(max_frame_bytes=len(frame))
    bench.feed(frame)
    bench.feed(frame + b" ")
    assert len(bench.rows) == 1
    assert bench.letters.by_reason() == {"oversized": 1}


def test_a_detail_keeps_both_ends_of_what_it_quotes() -> None:
    detail = str(Refused("wrong_type", f"begin {'x' * 10_000} end"))
    assert detail.startswith("begin xxx")
    assert detail.endswith("xxx end")
    assert len(detail) <= MAX_DETAIL + len(" ... ")


def test_a_dry_pool_gives_the_frame_back_and_tells_the_source() -> None:
    bench = Bench(Pools({"CanonicalEvent": PoolSettings(1)}))
    held: list[Any] = []
    bench.decoder.emit = held.append
    bench.feed(word("a"))
    for _ in range(2):
        with pytest.raises(PoolTimeout, match="CanonicalEvent"):
            bench.feed(word("b"))
        assert bench.out == 1
    held[0].home.put(held[0])
    bench.feed(word("b"))
    assert len(held) == 2
    assert len(bench.letters) == 0


def test_a_dry_pool_of_raws_is_told_too() -> None:
    bench = Bench(Pools({"ProviderRaw": PoolSettings(1)}))
    held = bench.context.pools.of("ProviderRaw", lambda key: key).shelves
    bench.feed(word("a"))
    [shelf] = held.values()
    raw = shelf.get()
    with pytest.raises(PoolTimeout, match="ProviderRaw"):
        bench.feed(word("b"))
    assert bench.out == 1
    shelf.put(raw)
    bench.feed(word("b"))
    assert (len(bench.rows), bench.out) == (2, 0)


def test_a_dry_pool_of_events_gives_the_raw_back_on_a_streams_first_message_too() -> None:
    bench = Bench(Pools({"CanonicalEvent": PoolSettings(1)}))
    stream = bench.codec.streams[Number]
    held = bench.context.pools.of("CanonicalEvent", PooledEvent).shelf(stream).get()
    with pytest.raises(PoolTimeout, match="CanonicalEvent"):
        bench.feed(b'{"kind":"number","data":5}')
    assert bench.context.pools.by_kind["ProviderRaw"].out == 0
    held.put()
    bench.feed(b'{"kind":"number","data":5}')
    assert_nothing_out(bench.context.pools)


def test_pools_that_are_off_give_fresh_objects() -> None:
    off = PoolSettings(is_off=True)
    bench = Bench(Pools({"CanonicalEvent": off, "ProviderRaw": off, "WsFrame": off}))
    bench.feed(word("a"))
    bench.feed(word("bad"))
    assert len(bench.rows) == 1
    assert bench.letters.by_reason() == {"wrong_type": 1}
    assert all(figures["gets"] == 0 for figures in bench.context.pools.figures().values())


def test_a_bug_of_ownership_is_no_dead_letter() -> None:
    bench = Bench()
    with pytest.raises(DoublePut):
        bench.feed(word("twice"))
    assert len(bench.letters) == 0


def test_what_comes_after_the_decoder_is_not_its_concern() -> None:
    bench = Bench()

    def consumer(event: PooledEvent) -> None:
        raise LookupError("the consumer's own")

    bench.decoder.emit = consumer
    with pytest.raises(LookupError):
        bench.feed(word("a"))
    assert len(bench.letters) == 0


@pytest.fixture
def small_codec(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, SmallCodec]]:
    """Registers the small codec as `small`; the ones made, with the levels they were made for."""
    made: list[tuple[str, SmallCodec]] = []

    def make(context: Context, levels: str) -> SmallCodec:
        made.append((levels, SmallCodec()))
        return made[-1][1]

    monkeypatch.setitem(registry.codecs, "small", make)
    return made


def frame(payload: bytes) -> WsFrame:
    made = WsFrame(Connection("test", 1))
    made.payload = payload
    return made


def test_it_is_an_operator_that_completes_with_its_source(small_codec: list[Any]) -> None:
    outcome: list[Any] = []
    rx.of(frame(word("ab")), frame(word("c"))).pipe(decode(codec="small")).subscribe(
        lambda event: outcome.append(event.sequence), outcome.append, lambda: outcome.append("completed")
    )
    assert outcome == [2, 1, "completed"]


def test_each_subscription_has_a_codec_of_its_own_with_the_levels_asked_for(small_codec: list[Any]) -> None:
    source: Subject[WsFrame] = Subject()
    for levels in ("lazy", "eager"):
        decoded = source.pipe(decode(codec="small", levels=levels))
        decoded.subscribe()
    assert [levels for levels, _ in small_codec] == ["lazy", "eager"]


def test_without_dead_letters_a_refusal_is_the_streams_error(small_codec: list[Any]) -> None:
    outcome: list[Any] = []
    source: Subject[WsFrame] = Subject()
    source.pipe(decode(codec="small")).subscribe(
        lambda event: outcome.append(event.sequence), lambda error: outcome.append(type(error))
    )
    for text in ("a", "bad", "b"):
        source.on_next(frame(word(text)))
    assert outcome == [1, ValueError]


def test_an_unknown_codec_is_refused_with_the_known_ones(small_codec: list[Any]) -> None:
    with pytest.raises(FlowError, match=r"unknown codec 'nope'; known: .*small"):
        decode(codec="nope")


@pytest.mark.parametrize("fields", [{}, {"codec": "small", "levels": "some"}, {"codec": "small", "x": 1}])
def test_params_are_checked(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(**fields)


@pytest.mark.parametrize("bound", [0, 1023, 2**40])
def test_the_bound_on_frames_is_bounded(small_codec: list[Any], bound: int) -> None:
    with pytest.raises(msgspec.ValidationError, match="max_frame_bytes"):
        decode(codec="small", max_frame_bytes=bound)
