"""Binance's combined streams: from `{"stream": name, "data": payload}` to a typed payload and its route.

The parser itself finds the stream: what it decodes into is a union of one envelope type per stream, told
apart by the stream's name. A stream is learnt from the first of its frames that is sound in all it says: a
channel that is known, a symbol that is listed, a payload that decodes. Learning rebuilds the parser;
`expect` learns many streams at one price.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, Union

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, defstruct

from flow.context import Context
from flow.events.canonical import PooledEvent
from flow.events.stream import EventType, Sequence, Stream
from flow.registry import codec, registry
from nodes.providers.binance import wire
from nodes.providers.provider import Provider
from operators.decode import Normalise, Reading, Refused

__all__ = ["CHANNELS", "BinanceCodec", "Channel", "StreamRoute", "binance_codec"]

MAX_STREAMS: Final = 8192
"""Streams that one codec learns: eight connections full of them."""
MAX_NAME: Final = 128
"""Characters of a stream's name; the longest of real ones have about 40."""
SHUTDOWN: Final = "serverShutdown"
INTERVALS: Final = (
    *("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h"),
    *("6h", "8h", "12h", "1d", "3d", "1w", "1M"),
)
NS_PER_MS: Final = wire.NS_PER_MS


def _trade(payload: wire.SingleTrade | wire.AggTrade, event: PooledEvent) -> None:
    event.payload = payload
    event.sequence = event.first_sequence = payload.trade_id
    event.exchange_ts = payload.event_ms * NS_PER_MS


def _depth(payload: wire.DepthUpdate | wire.LazyDepthUpdate, event: PooledEvent) -> None:
    event.payload = payload
    event.first_sequence = payload.first_id
    event.sequence = payload.last_id
    event.exchange_ts = payload.event_ms * NS_PER_MS


def _partial_depth(payload: wire.PartialDepth | wire.LazyPartialDepth, event: PooledEvent) -> None:
    event.payload = payload
    event.sequence = event.first_sequence = payload.last_id


def _quote(payload: wire.BookTicker, event: PooledEvent) -> None:
    event.payload = payload
    event.sequence = event.first_sequence = payload.update_id


def _by_time(payload: Any, event: PooledEvent) -> None:
    """Where the exchange gives no number, the event's time keeps ids apart."""
    event.payload = payload
    event.sequence = event.first_sequence = event_ms = payload.event_ms
    event.exchange_ts = event_ms * NS_PER_MS


def _kline(payload: wire.KlineUpdate, event: PooledEvent) -> None:
    event.payload = payload.bar
    event.sequence = event.first_sequence = event_ms = payload.event_ms
    event.exchange_ts = event_ms * NS_PER_MS


class Shape(Struct, frozen=True):
    """What a payload decodes into, and how it fills an event."""

    payload: type[Any]
    normalise: Normalise


class Channel(Struct, frozen=True):
    """What a channel carries, and its shape by how levels and candles are read."""

    event_type: EventType
    sequence: Sequence
    eager: Shape
    lazy: Shape


def _channel(
    event_type: EventType,
    sequence: Sequence,
    normalise: Normalise,
    payload: type[Any],
    lazy: Shape | None = None,
) -> Channel:
    eager = Shape(payload, normalise)
    return Channel(event_type, sequence, eager, lazy or eager)


def _channels() -> dict[str, Channel]:
    trade, ticker = EventType.TRADE, EventType.TICKER
    contiguous, unnumbered = Sequence.CONTIGUOUS, Sequence.NONE
    depth = _channel(
        EventType.BOOK_UPDATE,
        Sequence.RANGE,
        _depth,
        wire.DepthUpdate,
        Shape(wire.LazyDepthUpdate, _depth),
    )
    kline = _channel(
        EventType.KLINE, unnumbered, _kline, wire.KlineUpdate, Shape(wire.LazyKlineUpdate, _by_time)
    )
    partial = _channel(
        EventType.BOOK_SNAPSHOT,
        Sequence.MONOTONE,
        _partial_depth,
        wire.PartialDepth,
        Shape(wire.LazyPartialDepth, _partial_depth),
    )
    return {
        "trade": _channel(trade, contiguous, _trade, wire.SingleTrade),
        "aggTrade": _channel(trade, contiguous, _trade, wire.AggTrade),
        "bookTicker": _channel(EventType.BEST_QUOTE, Sequence.MONOTONE, _quote, wire.BookTicker),
        "ticker": _channel(ticker, unnumbered, _by_time, wire.DayTicker),
        "miniTicker": _channel(ticker, unnumbered, _by_time, wire.MiniTicker),
        "ticker_1h": _channel(ticker, unnumbered, _by_time, wire.HourTicker),
        "ticker_4h": _channel(ticker, unnumbered, _by_time, wire.FourHourTicker),
        "ticker_1d": _channel(ticker, unnumbered, _by_time, wire.OneDayTicker),
        **dict.fromkeys(("depth", "depth@100ms"), depth),
        **{f"depth{n}{pace}": partial for n in (5, 10, 20) for pace in ("", "@100ms")},
        **{f"kline_{interval}{zone}": kline for interval in INTERVALS for zone in ("", "@+08:00")},
    }


CHANNELS: Final[Mapping[str, Channel]] = _channels()
"""Every channel that is understood, by what follows the first `@` of a stream's name."""


class StreamRoute:
    """What is known of one stream. `envelope` is the type that its frames decode into."""

    __slots__ = ("envelope", "normalise", "stream")

    def __init__(self, name: str, stream: Stream, shape: Shape) -> None:
        self.stream = stream
        self.normalise = shape.normalise
        self.envelope = defstruct(
            "Envelope", [("data", shape.payload)], tag_field="stream", tag=name, frozen=True, gc=False
        )


class _Opened(Struct, gc=False):
    """A frame looked at from outside."""

    stream: str | UnsetType = UNSET
    data: Raw | UnsetType = UNSET
    e: Raw | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    code: Raw | UnsetType = UNSET
    msg: Raw | UnsetType = UNSET

    @property
    def is_control(self) -> bool:
        """An answer to a request, or the notice of a shutdown."""
        answers = (self.id, self.result, self.error, self.code, self.msg)
        is_shutdown = self.e is not UNSET and bytes(self.e) == b'"serverShutdown"'
        return is_shutdown or any(part is not UNSET for part in answers)


_open: Callable[[bytes], _Opened] = msgspec.json.Decoder(_Opened).decode
_Never: TypeAlias = Literal["the parser of no streams"]
_Nobody: Final = defstruct("Nobody", [("never", _Never)], tag_field="stream", tag="no stream")
"""No frame decodes into it: there is no union of no types, and a single one would not ask for its tag."""


def _refused(error: Exception) -> Refused:
    """The dead letter's reason for what the parser raised."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, msgspec.ValidationError):
        detail = str(error)
        return Refused("unknown_kind" if detail.endswith("`$.data.e`") else "wrong_type", detail)
    if isinstance(error, UnicodeDecodeError):
        return Refused("invalid_utf8", str(error))
    if isinstance(error, RecursionError):
        return Refused("malformed_json", "nested too deeply")
    if isinstance(error, msgspec.DecodeError):
        return Refused("malformed_json", str(error))
    return Refused("wrong_type", f"{type(error).__name__}: {error}")


class BinanceCodec:
    """The parser of one decoder.

    `symbol` gives the canonical name of an upper-case wire name, or None where none is listed. `streams` is
    the graph's one object per stream, by the stream's wire name.
    """

    def __init__(
        self,
        symbol: Callable[[str], str | None],
        levels: Reading = "lazy",
        streams: dict[str, Stream] | None = None,
    ) -> None:
        self.symbol = symbol
        self.levels: Reading = levels
        self.streams: dict[str, Stream] = {} if streams is None else streams
        self.counts: Callable[[], Mapping[Stream, int]] = dict[Stream, int]
        self.routes: dict[str, StreamRoute] = {}
        self._by_envelope: dict[type[Any], StreamRoute] = {}
        self._build()

    def _build(self) -> None:
        known: Any = Union[(_Nobody, *self._by_envelope)]
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(known).decode

    def route(self, kind: type[Any]) -> StreamRoute:
        """The route of an envelope type that `decode` gave."""
        return self._by_envelope[kind]

    def activity(self) -> dict[str, int]:
        """Frames decoded by the stream's wire name."""
        counts = self.counts()
        return {name: counts.get(route.stream, 0) for name, route in self.routes.items()}

    def expect(self, names: Iterable[str]) -> None:
        """Learn streams before their first frames, at the price of one.

        Raises `Refused`, and learns none of them, where one can't be a stream.
        """
        fresh = {name: self._make(name) for name in names if name not in self.routes}
        if len(self.routes) + len(fresh) > MAX_STREAMS:
            raise Refused("too_many_streams", f"{MAX_STREAMS} streams is all that is learnt")
        self._keep(fresh)

    def unusual(self, payload: bytes, error: Exception) -> bool:
        """Learn a stream from its first frame (True), or leave control traffic to its connection (False).

        Raises `Refused` with `malformed_json`, `invalid_utf8`, `wrong_type`, `unknown_kind`,
        `unknown_symbol`, `oversized` or `too_many_streams`.
        """
        try:
            frame = _open(payload)
            name = frame.stream
            if name is UNSET:
                if frame.is_control:
                    return False
                raise Refused("unknown_kind", "neither a stream's name nor an answer to a request")
            if name == f"!{SHUTDOWN}":
                return False
            if name in self.routes:
                self.decode(payload)
            else:
                self._learn(name, payload)
        except Exception as fault:
            raise _refused(fault) from error
        return True

    def _learn(self, name: str, payload: bytes) -> None:
        if len(self.routes) >= MAX_STREAMS:
            raise Refused("too_many_streams", f"{MAX_STREAMS} streams are known already")
        route = self._make(name)
        msgspec.json.decode(payload, type=_Nobody | route.envelope)
        self._keep({name: route})

    def _keep(self, fresh: dict[str, StreamRoute]) -> None:
        self.routes.update(fresh)
        self._by_envelope.update((route.envelope, route) for route in fresh.values())
        self._build()

    def _make(self, name: str) -> StreamRoute:
        if len(name) > MAX_NAME:
            raise Refused("oversized", f"a stream's name of {len(name)} characters")
        wire_symbol, _, channel_name = name.partition("@")
        channel = CHANNELS.get(channel_name)
        if channel is None:
            raise Refused("unknown_kind", f"no channel {channel_name!r} is known (stream {name!r})")
        canonical = self.symbol(wire_symbol.upper()) if wire_symbol == wire_symbol.lower() else None
        if canonical is None:
            raise Refused("unknown_symbol", f"no symbol {wire_symbol!r} is listed (stream {name!r})")
        stream = self.streams.get(name)
        if stream is None:
            stream = Stream("binance", canonical, channel.event_type, channel_name, channel.sequence)
            self.streams[name] = stream
        return StreamRoute(name, stream, channel.lazy if self.levels == "lazy" else channel.eager)


def _provider(context: Context) -> Any:
    return registry.services["binance"](context)


@codec("binance")
def binance_codec(context: Context, levels: Reading = "lazy") -> BinanceCodec:
    """The codec of one decoder: it knows the provider's symbols, and tells it what each stream receives."""
    provider: Provider = context.service("binance", _provider)
    streams: dict[str, Stream] = context.service("binance.streams", lambda _: {})
    made = BinanceCodec(provider.symbols.canonical, levels, streams)
    others = provider.activity

    def activity() -> Mapping[str, int]:
        counts = made.activity()
        if others is not None:
            for name, count in others().items():
                counts[name] = counts.get(name, 0) + count
        return counts

    provider.activity = activity
    return made
