"""The rig that one operator is measured in: endless elements, a sink, and the ways to wire them.

Pooled events come from 32 streams of two providers, trades and best quotes in order; frames hold one trade.
The source takes objects from their pools and fills them, the sink puts what is pooled.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.context import Context
from flow.events.canonical import PooledEvent
from flow.events.frames import Connection, WsFrame
from flow.events.payloads import BestQuoteData, TradeData
from flow.events.stream import EventType, Sequence, Stream
from flow.pool import Shelf
from flow.stage import Fusable, OnCompleted, OnError, OnNext, connect, many

__all__ = ["Arrivals", "Elements", "Frames", "Operate", "Rig", "Slots", "Table"]

EVENTS: Final = 40_000
"""A turn's events."""

Operate = Callable[[Context], Callable[[Observable[Any]], Observable[Any]]]
Elements = Callable[[int], Iterator[Any]]
"""Gives so many elements more."""
Table = dict[str, tuple[Callable[[Context], Elements], Operate]]
"""By the name of a row: where its elements come from, and the operator."""

TRADE_FRAME: Final = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1700000000000,"s":"BTCUSDT","t":7,"p":"60000.10",'
    b'"q":"0.50000000","T":1700000000000,"m":true,"M":true}}'
)


class Pusher(Fusable[Any]):
    """A source that a benchmark pushes: `emit` is whatever was wired to it."""

    emit: OnNext

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        self.emit = emit
        return Disposable()


class Sink:
    """Puts what is pooled, counts the rest."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, element: Any) -> None:
        self.taken += 1
        if getattr(element, "home", None) is not None:
            element.put()

    def take_many(self, elements: list[Any]) -> None:
        self.taken += len(elements)
        for element in elements:
            if getattr(element, "home", None) is not None:
                element.put()


class Slots:
    """Endless pooled events: number n of stream n mod 32 is the next of its stream."""

    def __init__(self, context: Context, streams: list[Stream] | None = None) -> None:
        pool = context.pools.of("CanonicalEvent", PooledEvent)
        self.shelves: list[Shelf[PooledEvent]] = [pool.shelf(stream) for stream in streams or _streams()]
        self.payloads = [_payload(shelf.key) for shelf in self.shelves]
        self.number = 0

    def __call__(self, count: int) -> Iterator[PooledEvent]:
        shelves, payloads, width = self.shelves, self.payloads, len(self.shelves)
        for number in range(self.number, self.number + count):
            at = number % width
            shelf = shelves[at]
            event = shelf.pop() if shelf else shelf.make()
            event.home = shelf.home
            event.payload = payloads[at]
            event.sequence = event.first_sequence = number // width + 1
            event.exchange_ts = event.ingest_ts = number * 1_000
            yield event
        self.number += count


def _streams() -> list[Stream]:
    kinds = ((EventType.TRADE, Sequence.CONTIGUOUS), (EventType.BEST_QUOTE, Sequence.MONOTONE))
    return [
        Stream(provider, f"A{symbol}-USDT", kind, kind.value, numbering)
        for provider in ("one", "two")
        for symbol in range(8)
        for kind, numbering in kinds
    ]


def _payload(stream: Stream) -> Any:
    if stream.event_type is EventType.TRADE:
        return TradeData("60000.10", "0.5", 1, "buy")
    return BestQuoteData("60000.10", "0.5", "60000.20", "0.7")


class Arrivals:
    """Endless arrivals of one connection, for `ingest`."""

    def __init__(self, context: Context) -> None:
        self.arrival = (Connection("binance", 1), b'{"stream":"x"}', 1)

    def __call__(self, count: int) -> Iterator[Any]:
        return iter([self.arrival] * count)


class Frames:
    """Endless pooled frames, for `decode`."""

    def __init__(self, context: Context) -> None:
        self.shelf: Shelf[WsFrame] = context.pools.of("WsFrame", WsFrame).shelf(Connection("binance", 1))

    def __call__(self, count: int) -> Iterator[WsFrame]:
        shelf, payload = self.shelf, TRADE_FRAME
        for _ in range(count):
            frame = shelf.get()
            frame.payload = payload
            frame.received_at = 1
            yield frame


class Rig:
    """A source, one operator or none, and a sink. `longest_run` 0 wires a stock Subject and observer."""

    def __init__(
        self, source: Callable[[Context], Elements], operate: Operate | None, longest_run: int
    ) -> None:
        context = self.context = Context("profiled", scheduler=TestScheduler())
        self.elements = source(context)
        self.longest_run = longest_run
        self.sink = Sink()
        self.push = self._alone(operate, context) if longest_run == 0 else self._fused(operate, context)

    def _alone(self, operate: Operate | None, context: Context) -> OnNext:
        subject: Subject[Any] = Subject()
        self.out: Observable[Any] = subject if operate is None else operate(context)(subject)
        self.out.subscribe(self.sink.take)
        return subject.on_next

    def _fused(self, operate: Operate | None, context: Context) -> OnNext:
        pusher = Pusher()
        self.out = pusher if operate is None else operate(context)(pusher)
        connect(self.out, self.sink.take, _unexpected, _nothing, None)
        return pusher.emit

    def run(self) -> int:
        """Push a turn's elements."""
        if self.longest_run <= 1:
            push = self.push
            for element in self.elements(EVENTS):
                push(element)
            return EVENTS
        give = many(self.push)
        for begin in range(0, EVENTS, self.longest_run):
            give(list(self.elements(min(self.longest_run, EVENTS - begin))))
        return EVENTS


def _unexpected(error: Exception) -> None:
    raise error


def _nothing() -> None:
    return
