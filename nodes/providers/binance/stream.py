"""Binance's market streams as a source of arrivals.

Streams are placed on as many connections as the limit of streams asks for, all streams of a symbol on one
where they fit. Each connection is kept up by a `Carrier`; a stream that goes silent is subscribed anew,
and a connection on which all are silent is replaced. What the graph can't take is offered again, then
refused and counted, never lost in silence.
"""

import asyncio
from collections.abc import Iterable, Set
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from flow.component import Source
from flow.context import Context
from flow.errors import Terminal
from flow.events.frames import Arrival, Connection
from flow.registry import node, registry
from flow.telemetry.occurrences import ElementRefused, StreamStale
from nodes.providers.binance.link import BinanceLink, LinkStats
from nodes.providers.binance.provider import BinanceProvider
from nodes.providers.carrier import Carrier, CarrierParams, CarrierStats
from nodes.providers.relief import Relief
from nodes.providers.staleness import Staleness
from nodes.providers.transport import Wire

__all__ = ["BinanceStream", "BinanceStreamParams", "binance_stream", "stream_name"]

DAY_S: Final = 86_400.0
MARGIN_S: Final = 600.0
CHECK_S: Final = 1.0
STALE: Final = "stale"
SUFFIXES: Final = {
    "trade": "trade",
    "agg_trade": "aggTrade",
    "book": "depth@100ms",
    "best_quote": "bookTicker",
    "ticker": "ticker",
}
INTERVALS: Final = "1s|1m|3m|5m|15m|30m|1h|2h|4h|6h|8h|12h|1d|3d|1w|1M"

Symbol = Annotated[str, Meta(pattern="^[^-\\s]+-[^-\\s]+$", examples=["BTC-USDT"])]
Channel = Annotated[str, Meta(pattern=f"^({'|'.join(SUFFIXES)}|kline_({INTERVALS}))$")]
Seconds = Annotated[float, Meta(gt=0)]


class BinanceStreamParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """symbols: canonical names (BASE-QUOTE). channels: trade, agg_trade, book, best_quote, ticker,
    kline_<interval>.

    stale_after_s: a stream without a frame for so long is subscribed anew. lifetime_s: when a connection
    is replaced. overlap_s: how long old and new are read together then. batch: streams named in one
    request. first_delay_s, longest_delay_s: bounds of the backoff between attempts to connect, which
    starts again after stable_after_s of a working connection.
    """

    symbols: list[Symbol]
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1)] = ("trade", "book", "best_quote")
    stale_after_s: Seconds = 60.0
    max_streams_per_connection: Annotated[int, Meta(ge=1, le=1024)] = 1024
    batch: Annotated[int, Meta(ge=1, le=500)] = 200
    lifetime_s: Annotated[float, Meta(gt=0, le=DAY_S)] = DAY_S - MARGIN_S
    overlap_s: Annotated[float, Meta(ge=0, le=60)] = 1.0
    answer_timeout_s: Seconds = 10.0
    first_delay_s: Seconds = 0.25
    longest_delay_s: Seconds = 30.0
    stable_after_s: Seconds = 60.0


@node("binance.stream")
def binance_stream(params: BinanceStreamParams, context: Context) -> Source[Arrival]:
    """Market data of Binance spot, as raw frames for `ingest`."""
    return BinanceStream(params, context)


def stream_name(wire: str, channel: str) -> str:
    """The exchange's name of a stream: `btcusdt@depth@100ms` for ("BTCUSDT", "book")."""
    return f"{wire.lower()}@{SUFFIXES.get(channel, channel)}"


class BinanceStream(Source[Arrival]):
    """Runs until it is paused, or until a recording ends."""

    def __init__(self, params: BinanceStreamParams, context: Context) -> None:
        self.params = params
        self.context = context
        self.provider: BinanceProvider = context.service("binance", registry.services["binance"])
        self.relief = Relief(context)
        self.links = LinkStats()
        self.stats = CarrierStats()
        self.carriers: dict[Carrier, asyncio.Task[None]] = {}
        self._symbols: dict[str, str] = {}
        self._staleness = Staleness(params.stale_after_s)
        self._group: asyncio.TaskGroup | None = None
        self._serving: asyncio.Task[None] | None = None
        self._is_paused = False
        self._is_attached = False

    @property
    def refused(self) -> dict[str, int]:
        return dict(self.relief.dropped)

    async def start(self) -> None:
        self.provider.attach()
        self._is_attached = True

    async def run(self) -> None:
        """Raises `Terminal` where the exchange knows none of the symbols, and what the graph raises."""
        if self._is_paused:
            return
        self._serving = asyncio.create_task(self._serve())
        try:
            await self._serving
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._is_paused or (task is not None and task.cancelling()):
                raise

    def pause(self) -> None:
        self._is_paused = True
        for carrier in self.carriers:
            carrier.halt()
        if self._serving is not None:
            self._serving.cancel()

    async def stop(self) -> None:
        self.pause()
        if self._serving is not None:
            await asyncio.wait([self._serving])
        if self._is_attached:
            self._is_attached = False
            await self.provider.detach()

    async def subscribe(self, symbols: Iterable[str], channels: Iterable[str] | None = None) -> None:
        """Carry more streams; returns once the exchange has confirmed them. Idempotent.

        Raises `Terminal` naming the symbols that the exchange does not know; the others are subscribed.
        """
        await self.provider.ready()
        chosen = list(self.params.channels if channels is None else channels)
        unknown = [symbol for symbol in symbols if not self._place(symbol, chosen)]
        await asyncio.gather(*(carrier.settled() for carrier in self.carriers))
        if unknown:
            raise Terminal(f"binance does not know {', '.join(unknown)}")

    async def unsubscribe(self, symbols: Iterable[str], channels: Iterable[str] | None = None) -> None:
        """Carry these streams no longer; returns once the exchange has confirmed it. Idempotent."""
        wanted = None if channels is None else set(channels)
        gone = set(symbols)
        names = [
            name
            for name, symbol in self._symbols.items()
            if symbol in gone and (wanted is None or _channel(name) in wanted)
        ]
        for carrier, task in list(self.carriers.items()):
            carrier.unsubscribe(names)
            if not carrier.names:
                del self.carriers[carrier]
                task.cancel()
        for name in names:
            del self._symbols[name]
        await asyncio.gather(*(carrier.settled() for carrier in self.carriers))

    def summary(self) -> dict[str, Any]:
        """Connections, reconnects by reason, subscriptions, refusals, elements given up, REST outcomes."""
        return {
            "connections": sum(carrier.connections for carrier in self.carriers),
            "opened": self.stats.opened,
            "reconnects": dict(sorted(self.stats.reconnects.items())),
            "subscriptions": len(self._symbols),
            "requests_sent": self.links.requests,
            "requests_refused": dict(sorted(self.links.refused.items())),
            "streams_refused": dict(sorted(self.links.given_up.items())),
            "backpressure_waits": self.relief.waits,
            "dropped": dict(self.relief.dropped),
            "rest": self.provider.summary(),
        }

    async def _serve(self) -> None:
        try:
            await self.provider.ready()
            async with asyncio.TaskGroup() as self._group:
                self._place_all()
                if self.provider.transport.is_recording:
                    await self._all_ended()
                else:
                    await self._watch()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            self._group = None

    def _place_all(self) -> None:
        symbols = list(dict.fromkeys(self.params.symbols))
        unknown = [symbol for symbol in symbols if not self._place(symbol, self.params.channels)]
        for symbol in unknown:
            near = registry.nearest(symbol, self.provider.symbols)
            hint = f"; did you mean {near}?" if near else ""
            self.context.occurred(ElementRefused("unknown_symbol", f"binance does not know {symbol}{hint}"))
        if symbols and len(unknown) == len(symbols):
            raise Terminal(f"binance knows none of the symbols {', '.join(symbols)}")

    def _place(self, symbol: str, channels: Iterable[str]) -> bool:
        """Put a symbol's streams on connections; False where the exchange does not know the symbol."""
        wire = self.provider.symbols.wire(symbol)
        if wire is None:
            return False
        names = [stream_name(wire, channel) for channel in dict.fromkeys(channels)]
        names = [name for name in names if name not in self._symbols]
        most = self.params.max_streams_per_connection
        for batch in [names[at : at + most] for at in range(0, len(names), most)]:
            self._symbols.update(dict.fromkeys(batch, symbol))
            self._with_room(len(batch)).subscribe(batch)
        return True

    def _with_room(self, streams: int) -> Carrier:
        most = self.params.max_streams_per_connection
        for carrier in self.carriers:
            if len(carrier.names) + streams <= most:
                return carrier
        if self._group is None:
            raise Terminal("binance.stream is not running")
        carrier = Carrier(
            self.provider, self._carrier_params, self.stats, self._link, self.emit, self._symbols_of
        )
        self.carriers[carrier] = self._group.create_task(carrier.run())
        return carrier

    @property
    def _carrier_params(self) -> CarrierParams:
        params = self.params
        return CarrierParams(
            url=f"{self.provider.endpoints.ws}/stream",
            lifetime_s=params.lifetime_s,
            overlap_s=params.overlap_s,
            answer_timeout_s=params.answer_timeout_s,
            first_delay_s=params.first_delay_s,
            longest_delay_s=params.longest_delay_s,
            stable_after_s=params.stable_after_s,
        )

    def _link(self, wire: Wire, connection: Connection) -> BinanceLink:
        wire.on_exhausted = self.relief
        wire.counting = self
        if self._is_paused:
            wire.halt()
        return BinanceLink(
            wire,
            connection,
            self.links,
            self.context.occurred,
            is_answered=not self.provider.transport.is_recording,
            batch=self.params.batch,
            answer_timeout_s=self.params.answer_timeout_s,
        )

    def _symbols_of(self, names: Iterable[str]) -> Set[str]:
        return frozenset(self._symbols[name] for name in names if name in self._symbols)

    async def _all_ended(self) -> None:
        while running := [task for task in self.carriers.values() if not task.done()]:
            await asyncio.wait(running)

    async def _watch(self) -> None:
        """Look after staleness, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(CHECK_S, self.params.stale_after_s / 4))
            if self.provider.activity is not None:
                silent = self._staleness.check(self._symbols, self.provider.activity(), loop.time())
                if silent:
                    self._revive(silent)

    def _revive(self, silent: dict[str, float]) -> None:
        for name, seconds in silent.items():
            self.context.occurred(StreamStale(self.provider.name, name, round(seconds, 3)))
        for carrier in self.carriers:
            names = [name for name in carrier.names if name in silent]
            if not names or not isinstance(carrier.link, BinanceLink):
                continue
            if all(self._staleness.is_stale(name) for name in carrier.names):
                carrier.renew(STALE)
            else:
                carrier.link.resubscribe(names)


def _channel(name: str) -> str:
    """The channel of a stream name."""
    suffix = name.partition("@")[2]
    return next((channel for channel, known in SUFFIXES.items() if known == suffix), suffix)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group, whatever groups it is in."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
