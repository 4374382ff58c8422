"""A throttle in a pipe on virtual time, and streams to push through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.context import Context
from flow.events.payloads import KlineData
from flow.events.stream import EventType
from flow.pool import Pools
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import Recorder, make_event, make_stream
from operators.throttle import Throttle, ThrottleParams, throttle

TICKERS = make_stream(event_type=EventType.TICKER)
TRADES = make_stream()
OTHERS = make_stream(symbol="ETH-USDT")
REPORTS = make_stream(event_type=EventType.EXEC_REPORT)
GAPS = make_stream(event_type=EventType.GAP)
KLINES = make_stream(event_type=EventType.KLINE, channel="kline_1m")
MERGED = make_stream(event_type=EventType.MERGED, channel="merged")
SNAPSHOTS = make_stream(event_type=EventType.BOOK_SNAPSHOT, channel="depth")
UPDATES = make_stream(event_type=EventType.BOOK_UPDATE, channel="depth")


class Pipe:
    """A source, throttle, and what comes out, with the time in ms."""

    def __init__(
        self,
        *,
        pools: Pools | None = None,
        letters: DeadLetters | None = None,
        on_element: Callable[[Any], None] | None = None,
        **params: Any,
    ) -> None:
        self.scheduler: Any = TestScheduler()
        self.pools = pools
        self.source: Subject[Any] = Subject()
        self.left: list[tuple[int, str, int]] = []
        self.on_element = on_element
        self.recorder = Recorder(self.see, keeps=True)
        self.context = Context("slow", clock=lambda: 77, dead_letters=letters)
        self.stage: Any = throttle(msgspec.convert(params, ThrottleParams), self.context)(self.source)
        self.subscription = self.stage.subscribe(self.recorder, scheduler=self.scheduler)

    def see(self, event: Any) -> None:
        self.left.append((round(self.scheduler.clock * 1000), event.event_type.value, event.sequence))
        if self.on_element is not None:
            self.on_element(event)

    @property
    def machine(self) -> Throttle:
        return self.stage.machine

    def push(self, stream: Any, *numbers: int, payload: Any = None) -> None:
        for number in numbers:
            self.source.on_next(make_event(number, stream, payload=payload, pools=self.pools))

    def run(self, stream: Any, *numbers: int) -> None:
        """Push a run."""
        self.machine.add_many([make_event(number, stream) for number in numbers])

    def advance(self, seconds: float) -> None:
        self.scheduler.advance_by(seconds)

    @property
    def timers(self) -> int:
        return sum(not item.is_cancelled() for item, _ in self.scheduler._queue.items)

    def taken(self) -> list[tuple[int, int]]:
        """(ms, number) of what left since the last call."""
        left, self.left = self.left, []
        return [(at, number) for at, _, number in left]


def kline(*, is_closed: bool) -> KlineData:
    return KlineData("1m", 0, 60, "1", "1", "1", "1", "1", "1", 1, is_closed)
