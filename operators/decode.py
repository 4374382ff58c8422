"""Decodes frames into canonical events with a provider's codec.

    frames  --F1---ack--F2--??--->
    events  --E1--------E2------->
    dead letters            d

What is no market data (acknowledgements, notices) goes back to its connection. Malformed payloads, unknown
kinds and unknown symbols go to the dead letters with their bytes: `malformed_json`, `invalid_utf8`,
`wrong_type`, `unknown_kind`, `unknown_symbol`, `oversized`. Completes and fails with its source. Puts each
frame, takes and puts one `ProviderRaw` and takes one `CanonicalEvent` per message, which the next operator
owns.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, NoReturn, Protocol, cast

from msgspec import Meta, Struct

from flow.context import Context
from flow.errors import FlowError, PoolTimeout
from flow.events.canonical import CanonicalEvent, PooledEvent
from flow.events.frames import TEXT, ProviderRaw, WsFrame
from flow.events.stream import Stream
from flow.pool import Shelf, release
from flow.registry import Operator, operator, registry
from flow.stage import Machine, stage

__all__ = ["Codec", "DecodeParams", "Decoder", "Normalise", "Reading", "Refused", "Route", "decode"]

Reading = Literal["eager", "lazy"]
"""When the levels of books and the bodies of candles are parsed: with their frame, or when they are read."""

MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
MAX_DETAIL: Final = 300
"""Characters kept of a detail, from both ends: parsers quote what they refuse, and say last where it is."""

Normalise = Callable[[Any, PooledEvent], None]
"""(exchange-specific payload, slot to fill): sets payload, sequences and exchange_ts."""


class Refused(Exception):
    """Why a codec does not take a payload: `reason` is a dead letter's, the message its detail."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        if len(detail) > MAX_DETAIL:
            detail = f"{detail[: MAX_DETAIL // 2]} ... {detail[-MAX_DETAIL // 2 :]}"
        super().__init__(detail)


class Route(Protocol):
    """What a codec knows of one stream."""

    stream: Stream
    normalise: Normalise


class Codec(Protocol):
    """A provider's parser, made by a registered factory `(context, levels) -> Codec`.

    `decode` gives a message whose type is the key of its route and whose `data` is the payload; it may be
    another function after `unusual`. The decoder sets `counts`, which gives the messages decoded by stream.
    """

    decode: Callable[[bytes], Any]
    counts: Callable[[], Mapping[Stream, int]]

    def route(self, kind: type[Any]) -> Route:
        """The route of a message type that `decode` gave."""
        ...

    def unusual(self, payload: bytes, error: Exception) -> bool:
        """Judge what `decode` raised on.

        True where the codec has learnt the stream and `decode` will now take the payload, False where it is
        no market data. Raises `Refused` for what can't be taken.
        """
        ...


class DecodeParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    codec: Annotated[str, Meta(description="the provider whose wire format the frames have")]
    levels: Annotated[
        Reading,
        Meta(
            description="lazy leaves levels and candles unparsed until somebody reads them; "
            "eager parses them with their frame: right where a books node reads them anyway"
        ),
    ] = "lazy"
    max_frame_bytes: Annotated[
        int,
        Meta(ge=1024, le=256 * 1024 * 1024, description="a longer frame is refused unread, as `oversized`"),
    ] = MAX_FRAME_BYTES


@operator("decode", pooled=True)
def decode(params: DecodeParams, context: Context) -> Operator[WsFrame, CanonicalEvent]:
    """Typed decoding and normalisation; what it can't take is dead-lettered with the reason."""
    make: Callable[..., Codec] | None = registry.codecs.get(params.codec)
    if make is None:
        known = ", ".join(sorted(registry.codecs)) or "none"
        raise FlowError(f"unknown codec {params.codec!r}; known: {known}")
    return stage(lambda: Decoder(make(context, params.levels), context, params.max_frame_bytes))


class Bound:
    """A route with this run's shelves, and the number of messages that took it."""

    __slots__ = ("count", "events", "normalise", "raws", "stream")

    def __init__(self, route: Route, raws: Shelf[ProviderRaw], events: Shelf[PooledEvent]) -> None:
        self.stream = route.stream
        self.normalise = route.normalise
        self.raws = raws
        self.events = events
        self.count = 0


class Decoder(Machine[WsFrame, CanonicalEvent]):
    """One lookup by the message's type serves symbol, sequence, slots and count."""

    guards_itself = True

    def __init__(self, codec: Codec, context: Context, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        super().__init__(context)
        self.codec = codec
        self.max_frame_bytes = max_frame_bytes
        self.control = 0
        self.trace_id = 0
        """The last one given: events are numbered from 1, as they are decoded."""
        codec.counts = self.counts
        self.bound: dict[type[Any], Bound] = {}
        self.raws = context.pools.of("ProviderRaw", ProviderRaw)
        self.events = context.pools.of("CanonicalEvent", PooledEvent)

    @property
    def taken(self) -> int:
        return self.emitted + self.control

    @property
    def emitted(self) -> int:
        return sum(bound.count for bound in self.bound.values())

    @property
    def made_by_stream(self) -> dict[Stream, int]:
        """Messages decoded, by stream, for the run's summary."""
        return self.counts()

    def counts(self) -> dict[Stream, int]:
        """Messages decoded, by stream."""
        return {bound.stream: bound.count for bound in self.bound.values()}

    def add(self, element: WsFrame) -> None:
        self.add_many([element])

    def add_many(self, elements: list[WsFrame]) -> None:
        parse, bounds, most = self.codec.decode, self.bound, self.max_frame_bytes
        events: list[CanonicalEvent] = []
        append, trace_id = events.append, self.trace_id
        for at, frame in enumerate(elements):
            raw = event = None
            try:
                data = frame.payload
                if len(data) > most:
                    raise Refused("oversized", f"{len(data)} bytes")
                message = parse(data)
                bound = bounds[type(message)]
                raws = bound.raws
                raw = raws.pop() if raws else raws.make()
                raw.home = raws.home
                slots = bound.events
                event = slots.pop() if slots else slots.make()
                event.home = slots.home
                raw.payload = payload = message.data
                event.ingest_ts = raw.received_at = frame.received_at
                event.trace_id = trace_id = trace_id + 1
                bound.normalise(payload, event)
            except Exception as error:
                self.trace_id = trace_id
                release(raw)
                event = self.recover(error, event, events, elements[at:])
                parse, trace_id = self.codec.decode, self.trace_id
                if event is not None:
                    append(event)
                continue
            if raws.home is not None:
                raw.home = raw.payload = None
                raw.received_at = 0
                raws.append(raw)
                raws.puts += 1
            home = frame.home
            if home is not None:
                frame.home = None
                frame.payload = b""
                frame.message_type = TEXT
                frame.received_at = 0
                home.append(frame)
                home.puts += 1
            bound.count += 1
            append(event)
        self.trace_id = trace_id
        if events:
            self.emit_many(events)

    def recover(
        self,
        error: Exception,
        event: PooledEvent | None,
        events: list[CanonicalEvent],
        rest: list[WsFrame],
    ) -> CanonicalEvent | None:
        """The first of `rest` was not decoded: the event that it gives all the same, if any."""
        release(event)
        if isinstance(error, PoolTimeout):
            self.run_dry(events, rest, error)
        if event is not None:
            self.refuse(rest[0], error, "wrong_type")
            return None
        try:
            return self.take_unusual(rest[0], error)
        except PoolTimeout as dry:
            self.run_dry(events, rest, dry)

    def run_dry(self, events: list[CanonicalEvent], rest: list[WsFrame], dry: PoolTimeout) -> NoReturn:
        """No object is free: emit what was decoded, give the rest back to be offered again."""
        dry.left = len(rest)
        for frame in rest:
            release(frame)
        if events:
            self.emit_many(events)
        raise dry

    def take_unusual(self, frame: WsFrame, error: Exception) -> CanonicalEvent | None:
        """The slow path: the first message of a stream, control traffic, or something refused."""
        try:
            if isinstance(error, Refused):
                raise error
            payload = frame.payload
            if isinstance(error, KeyError) or self.codec.unusual(payload, error):
                message: Any = self.codec.decode(payload)
                self.bind(cast(type[Any], type(message)))
                return self.decode_slowly(frame, message)
            if frame.connection.on_control(payload):
                self.control += 1
                release(frame)
                return None
            raise Refused("unknown_kind", "neither market data nor an answer to a request")
        except PoolTimeout:
            raise
        except Exception as refusal:
            self.refuse(frame, refusal, refusal.reason if isinstance(refusal, Refused) else "")
            return None

    def decode_slowly(self, frame: WsFrame, message: Any) -> CanonicalEvent | None:
        """As `add_many` does, for the first message of a stream."""
        bound = self.bound[cast(type[Any], type(message))]
        raw, event = bound.raws.get(), None
        try:
            event = bound.events.get()
            raw.payload = message.data
            event.ingest_ts = raw.received_at = frame.received_at
            event.trace_id = self.trace_id + 1
            bound.normalise(raw.payload, event)
        except PoolTimeout:
            raise
        except Exception as error:
            release(event)
            self.refuse(frame, error, "wrong_type")
            return None
        finally:
            release(raw)
        release(frame)
        self.trace_id += 1
        bound.count += 1
        return event

    def bind(self, kind: type[Any]) -> None:
        if kind not in self.bound:
            route = self.codec.route(kind)
            shelves = self.raws.shelf(route.stream), self.events.shelf(route.stream)
            self.bound[kind] = Bound(route, *shelves)
