"""Decodes frames into canonical events with a provider's codec.

    frames  --F1---ack--F2--??--->
    events  --E1--------E2------->
    dead letters            d

What is no market data (acknowledgements, notices) goes back to its connection. Malformed payloads, unknown kinds and
unknown symbols go to the dead letters with their bytes: `malformed_json`, `invalid_utf8`, `wrong_type`, `unknown_kind`,
`unknown_symbol`. Completes and fails with its source. Puts each frame, takes and puts one `ProviderRaw` and takes one
`CanonicalEvent` per message; the next operator owns that.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Protocol

from msgspec import Meta, Struct

from flow.context import Context
from flow.errors import FlowError, PoolTimeout
from flow.events.canonical import CanonicalEvent, PooledEvent
from flow.events.frames import ProviderRaw, WsFrame
from flow.events.stream import Stream
from flow.pool import Shelf
from flow.registry import Operator, operator, registry
from flow.stage import Machine, stage

__all__ = ["Codec", "DecodeParams", "Decoder", "Normalise", "Reading", "Refused", "Route", "decode"]

Reading = Literal["eager", "lazy"]
"""When the levels of books and the bodies of candles are parsed: with their frame, or when somebody reads them."""

Normalise = Callable[[Any, PooledEvent], None]
"""(exchange-specific payload, slot to fill): sets payload, sequences and exchange_ts."""


class Refused(Exception):
    """Why a codec does not take a payload: `reason` is a dead letter's, the message its detail."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class Route(Protocol):
    """What a codec knows of one stream."""

    stream: Stream
    normalise: Normalise


class Codec(Protocol):
    """A provider's parser. `decode` gives a message whose type is the key of its route and whose `data` is the payload."""

    decode: Callable[[bytes], Any]

    def route(self, kind: type[Any]) -> Route:
        """The route of a message type that `decode` gave."""
        ...

    def unusual(self, payload: bytes, error: Exception) -> bool:
        """What `decode` raised on: True where the codec has learnt the stream and `decode` will now take the payload,
        False where it is no market data. Raises `Refused` for what can't be taken."""
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


@operator("decode", pooled=True)
def decode(params: DecodeParams, context: Context) -> Operator[WsFrame, CanonicalEvent]:
    """Typed decoding and normalisation; what it can't take is dead-lettered with the reason."""
    make = registry.codecs.get(params.codec)
    if make is None:
        known = ", ".join(sorted(registry.codecs)) or "none"
        raise FlowError(f"unknown codec {params.codec!r}; known: {known}")
    return stage(lambda: Decoder(make(context, params.levels), context))


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

    def __init__(self, codec: Codec, context: Context) -> None:
        super().__init__(context)
        self.codec = codec
        self.control = 0
        self.bound: dict[type[Any], Bound] = {}
        self.raws = context.pools.of("ProviderRaw", ProviderRaw)
        self.events = context.pools.of("CanonicalEvent", PooledEvent)

    @property
    def taken(self) -> int:
        return self.emitted + self.control

    @property
    def emitted(self) -> int:
        return sum(bound.count for bound in self.bound.values())

    def add(self, element: WsFrame) -> None:
        try:
            message = self.codec.decode(element.payload)
            bound = self.bound[type(message)]
        except Exception as error:
            self.take_unusual(element, error)
            return
        raw = event = None
        try:
            raw = bound.raws.get()
            event = bound.events.get()
            raw.payload = payload = message.data
            event.ingest_ts = raw.received_at = element.received_at
            event.trace_id = raw.trace_id = element.trace_id
            bound.normalise(payload, event)
        except Exception as error:
            self.give_back(element, raw, event, error)
            return
        home = raw.home
        if home is not None:
            home.put(raw)
        home = element.home
        if home is not None:
            home.put(element)
        bound.count += 1
        self.emit(event)

    def take_unusual(self, frame: WsFrame, error: Exception) -> None:
        """The slow path: the first message of a stream, control traffic, or something refused."""
        payload = frame.payload
        try:
            if isinstance(error, KeyError) or self.codec.unusual(payload, error):
                self.bind(type(self.codec.decode(payload)))
            elif frame.connection.on_control(payload):
                self.control += 1
                self.give_back(frame, None, None, None)
                return
            else:
                raise Refused("unknown_kind", "neither market data nor an answer to a request")
        except Exception as refusal:
            self.refuse(frame, refusal, refusal.reason if isinstance(refusal, Refused) else "")
            return
        self.add(frame)

    def bind(self, kind: type[Any]) -> None:
        if kind not in self.bound:
            route = self.codec.route(kind)
            shelves = self.raws.shelf(route.stream), self.events.shelf(route.stream)
            self.bound[kind] = Bound(route, *shelves)

    def give_back(
        self, frame: WsFrame, raw: ProviderRaw | None, event: PooledEvent | None, error: Exception | None
    ) -> None:
        """Put what was taken; a frame that failed is refused, one that met a dry pool is offered again."""
        for item in (raw, event):
            if item is not None and item.home is not None:
                item.home.put(item)
        if error is not None and not isinstance(error, PoolTimeout):
            self.refuse(frame, error, "wrong_type")
            return
        if frame.home is not None:
            frame.home.put(frame)
        if error is not None:
            raise error
