"""A window-merge on virtual time, whose clock and timers agree."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.clock import NS_PER_MS, NS_PER_S
from flow.context import Context
from flow.events import EventType, Sequence, Stream
from flow.pool import Pools, PoolSettings
from flow.routing import MergeTable, RoutingTable, merge_table, routing_table
from flow.telemetry.dead_letters import DeadLetters
from flow.telemetry.occurrences import Occurrence, Telemetry
from flow.testing import Recorder, assert_nothing_out, make_event
from operators.window_merge import window_merge


class MergeRig:
    """Merges BTC-USDT's best quotes of providers a and b unless told otherwise. `push` is one event, received
    now; times are ms since the start."""

    start_ns = 1_000_000 * NS_PER_S

    def __init__(
        self, recorder: Recorder | None = None, *, letters: bool = True, pool: int = 1000, **params: Any
    ) -> None:
        params = {"merges": [["BTC-USDT", "BestQuote"]], "providers": ["a", "b"], **params}
        self.pools = Pools({"MergedEvent": PoolSettings(pool)})
        self.scheduler = TestScheduler()
        self.letters = DeadLetters() if letters else None
        self.occurred: list[Occurrence] = []
        telemetry = Telemetry()
        telemetry.listeners.append(lambda _, occurrence: self.occurred.append(occurrence))
        self.context = Context(
            "merged", pools=self.pools, dead_letters=self.letters, telemetry=telemetry, clock=self.now_ns
        )
        self.recorder = recorder or Recorder()
        self.source: Subject[Any] = Subject()
        self.streams: dict[tuple[str, str, EventType], Stream] = {}
        self.pushed = 0
        self.stage = self.source.pipe(window_merge(context=self.context, **params))
        self.subscription = self.stage.subscribe(self.recorder, scheduler=self.scheduler)

    def now_ns(self) -> int:
        return self.start_ns + round(self.scheduler.clock * NS_PER_S)

    @property
    def machine(self) -> Any:
        return self.stage.machine  # type: ignore[attr-defined]

    @property
    def table(self) -> MergeTable:
        return self.context.service("merges of merged", merge_table)

    @property
    def routing(self) -> RoutingTable:
        return self.context.service("routing", routing_table)

    @property
    def merged(self) -> list[Any]:
        """The merged events that came out."""
        return self.recorder.elements

    @property
    def held(self) -> list[list[tuple[str, int]]]:
        """(provider, number) of the fragments of each merged event."""
        return [[(one.provider, one.sequence) for one in event.payload.fragments] for event in self.merged]

    @property
    def dropped(self) -> dict[str, int]:
        return dict(+self.machine.dropped)

    def until(self, ms: float) -> None:
        self.scheduler.advance_to(ms / 1000)

    def stream(
        self, provider: str, symbol: str = "BTC-USDT", kind: EventType = EventType.BEST_QUOTE
    ) -> Stream:
        key = (provider, symbol, kind)
        if key not in self.streams:
            self.streams[key] = Stream(provider, symbol, kind, kind.value, Sequence.MONOTONE)
        return self.streams[key]

    def event(self, provider: str, sequence: int, received_ms: float | None = None, **about: Any) -> Any:
        """A pooled event, received now where no time is given."""
        ingest_ts = self.now_ns() if received_ms is None else self.start_ns + round(received_ms * NS_PER_MS)
        event = make_event(sequence, self.stream(provider, **about), ingest_ts=ingest_ts, pools=self.pools)
        event.trace_id = 1000 + sequence
        return event

    def push(self, provider: str, sequence: int, received_ms: float | None = None, **about: Any) -> None:
        self.push_any(self.event(provider, sequence, received_ms, **about))

    def push_any(self, element: Any) -> None:
        self.pushed += 1
        self.source.on_next(element)

    @property
    def scheduler_is_idle(self) -> bool:
        """Whether no timer is to come."""
        queue = self.scheduler._queue  # pyright: ignore[reportPrivateUsage]
        return all(item.is_cancelled() for item, _ in queue.items)

    def check(self) -> None:
        """Every fragment is accounted for."""
        machine = self.machine
        known = machine.taken + machine.coalesced + machine.dropped.total() + machine.dead_lettered
        assert known + machine.in_flight == self.pushed

    def check_over(self) -> None:
        """Every fragment is accounted for, nothing is held, out of a pool or to come."""
        self.check()
        assert self.machine.in_flight == 0
        assert_nothing_out(self.pools)
        assert self.scheduler_is_idle
        assert self.recorder.after_end == 0
        assert self.machine.emitted == len(self.merged) == sum(self.machine.made_by_stream.values())

    def counts(self) -> Counter[str]:
        """Occurrences by name."""
        return Counter(occurrence.name for occurrence in self.occurred)


@pytest.fixture
def merge_rig() -> type[MergeRig]:
    return MergeRig
