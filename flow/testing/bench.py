"""One operator on virtual time, with a source that is pushed by hand and an account of every event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex import Observable
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.context import Context
from flow.events.stream import Sequence, Stream
from flow.pool import Pools
from flow.stage import Stage
from flow.telemetry.dead_letters import DeadLetters
from flow.telemetry.occurrences import Occurrence, Telemetry
from flow.testing.events import make_event, make_stream
from flow.testing.pools import assert_nothing_out
from flow.testing.virtual import Recorder, values

__all__ = ["Bench"]


class Bench:
    """`operate` makes the operator from a context. `push` takes pooled events; `left` are the numbers that
    came out.

    `check` asserts that every event is accounted for, `check_over` that nothing is held, out of a pool or to
    come.
    """

    def __init__(
        self,
        operate: Callable[[Context], Callable[[Observable[Any]], Observable[Any]]],
        kind: Sequence = Sequence.CONTIGUOUS,
        recorder: Recorder | None = None,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        self.pools = Pools()
        self.stream = make_stream(kind)
        self.scheduler = TestScheduler()
        self.source: Subject[Any] = Subject()
        self.occurred: list[Occurrence] = []
        telemetry = Telemetry()
        telemetry.listeners.append(lambda _, occurrence: self.occurred.append(occurrence))
        context = Context("bench", pools=self.pools, telemetry=telemetry, dead_letters=dead_letters)
        self.recorder = Recorder() if recorder is None else recorder
        self.stage = self.source.pipe(operate(context))
        self.subscription = self.stage.subscribe(self.recorder, scheduler=self.scheduler)
        self.pushed = 0

    @property
    def machine(self) -> Any:
        """That of the one subscription, a `Machine`."""
        machine = self.stage.machine if isinstance(self.stage, Stage) else None
        if machine is None:
            raise AssertionError("the operator is not a stage of one machine")
        return machine

    @property
    def left(self) -> list[int]:
        return values(self.recorder)

    def push(
        self,
        *sequences: int,
        first: int | None = None,
        stream: Stream | None = None,
        exchange_ts: int | None = None,
        ingest_ts: int = 0,
    ) -> None:
        """Events with these numbers, of the bench's own stream where none is given."""
        for sequence in sequences:
            event = make_event(
                sequence,
                stream or self.stream,
                first=first,
                exchange_ts=exchange_ts,
                ingest_ts=ingest_ts,
                pools=self.pools,
            )
            self.push_any(event)

    def push_any(self, element: Any) -> None:
        """Anything at all."""
        self.pushed += 1
        self.source.on_next(element)

    def check(self) -> None:
        """Raises `AssertionError` where an event is lost or counted twice."""
        machine = self.machine
        accounted = machine.passed + sum(machine.dropped.values()) + machine.dead_lettered + machine.in_flight
        if accounted != self.pushed:
            raise AssertionError(f"{self.pushed} events went in, {accounted} are accounted for")

    def check_over(self) -> None:
        """Raises `AssertionError` where something is left after the end."""
        self.check()
        if self.machine.in_flight:
            raise AssertionError(f"{self.machine.in_flight} events are still held")
        assert_nothing_out(self.pools, used=self.pushed > 0)
        before = len(self.recorder.elements)
        if not self.scheduler_is_idle:
            raise AssertionError("a timer was left")
        self.scheduler.advance_by(1000)
        if len(self.recorder.elements) > before or self.recorder.after_end:
            raise AssertionError("something came after the end")

    @property
    def scheduler_is_idle(self) -> bool:
        """Whether no timer is to come."""
        queue = self.scheduler._queue  # pyright: ignore[reportPrivateUsage]
        return all(item.is_cancelled() for item, _ in queue.items)
