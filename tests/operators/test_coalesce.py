"""Coalesce in a bare pipe: everything while there is time, the latest of each stream when there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from reactivex import operators as ops
from reactivex.scheduler import ImmediateScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.context import Context
from flow.errors import FlowError
from flow.events.canonical import PooledEvent
from flow.events.payloads import BookSnapshotData, BookUpdateData, GapData
from flow.events.stream import EventType
from flow.graph.spec import MailboxSpec
from flow.pool import Pools
from flow.runtime.delivery import Drained
from flow.runtime.mailbox import Mailbox
from flow.stage import many
from flow.telemetry.dead_letters import DeadLetters
from flow.telemetry.occurrences import BackpressureTriggered, CoalescingApplied
from flow.testing import Recorder, assert_nothing_out, make_event, make_stream
from operators.coalesce import Coalesce, CoalesceParams, Coalescer, coalesce

TICKERS = make_stream(event_type=EventType.TICKER)
QUOTES = make_stream(event_type=EventType.BEST_QUOTE)
TRADES = make_stream()
REPORTS = make_stream(event_type=EventType.EXEC_REPORT)
SNAPSHOTS = make_stream(event_type=EventType.BOOK_SNAPSHOT, channel="depth")
UPDATES = make_stream(event_type=EventType.BOOK_UPDATE, channel="depth")


class Pipe:
    """A source, coalesce, and what comes out; nothing comes out before `advance`."""

    def __init__(
        self,
        *,
        pools: Pools | None = None,
        on_element: Any = None,
        dead_letters: DeadLetters | None = None,
        **params: Any,
    ) -> None:
        self.scheduler: Any = TestScheduler()
        self.pools = pools
        self.source: Subject[Any] = Subject()
        self.recorder = Recorder(on_element)
        self.context = Context("latest", dead_letters=dead_letters)
        self.stage: Any = coalesce(CoalesceParams(**params), self.context)(self.source)
        self.subscription = self.stage.subscribe(self.recorder, scheduler=self.scheduler)

    @property
    def machine(self) -> Coalescer:
        return self.stage.machine

    def push(self, stream: Any, *numbers: int, payload: Any = None) -> None:
        for number in numbers:
            self.source.on_next(make_event(number, stream, payload=payload, pools=self.pools))

    def advance(self) -> None:
        self.scheduler.advance_by(1.0)

    @property
    def got(self) -> list[tuple[str, int]]:
        return [(event.event_type.value, event.sequence) for event in self.recorder.elements]


def test_passes_everything_in_order_while_it_is_drained() -> None:
    pipe = Pipe(capacity=2)
    for number in range(1, 6):
        pipe.push(TICKERS, number)
        pipe.advance()
    assert pipe.got == [("Ticker", number) for number in range(1, 6)]
    assert (pipe.machine.passed, pipe.machine.coalesced) == (5, 0)


def test_keeps_the_latest_of_each_stream_when_it_is_full() -> None:
    pipe = Pipe(capacity=2)
    pipe.push(TICKERS, 1, 2)
    pipe.push(QUOTES, 1)
    pipe.push(TICKERS, 3)
    pipe.push(QUOTES, 2)
    assert pipe.got == []
    assert pipe.machine.in_flight == 2
    pipe.advance()
    assert pipe.got == [("Ticker", 3), ("BestQuote", 2)]
    assert (pipe.machine.passed, pipe.machine.coalesced, pipe.machine.in_flight) == (2, 3, 0)
    assert pipe.context.telemetry.count("coalescing.applied") == 1


def test_types_narrow_what_is_coalesced() -> None:
    pipe = Pipe(capacity=3, types=(EventType.TICKER,))
    pipe.push(TICKERS, 1, 2)
    pipe.push(QUOTES, 1, 2)
    pipe.advance()
    assert pipe.got == [("Ticker", 2), ("BestQuote", 1), ("BestQuote", 2)]


def test_trades_are_never_coalesced_and_critical_events_never_lost() -> None:
    pipe = Pipe(capacity=2, types=(EventType.TRADE, EventType.EXEC_REPORT))
    for number in range(1, 5):
        pipe.push(TRADES, number)
        pipe.push(REPORTS, number)
    pipe.advance()
    assert pipe.got == [
        *(("ExecReport", number) for number in range(1, 5)),
        ("Gap", 2),
        ("Trade", 3),
        ("Trade", 4),
    ]
    assert pipe.recorder.elements[4].payload == GapData(2, 1, 2, "mailbox_full")
    assert pipe.machine.dropped == {"mailbox_full": 2}
    assert 8 + pipe.machine.markers == pipe.machine.passed + pipe.machine.dropped.total()


def test_a_book_keeps_every_change() -> None:
    pipe = Pipe(capacity=1)
    pipe.push(SNAPSHOTS, 1, payload=BookSnapshotData([("5", "1"), ("4", "1")], [("6", "1")]))
    pipe.push(UPDATES, 2, payload=BookUpdateData([("5", "0")], []))
    pipe.push(UPDATES, 3, payload=BookUpdateData([("3", "7")], [("6", "2")]))
    pipe.advance()
    (state,) = pipe.recorder.elements
    assert state.payload == BookSnapshotData([("4", "1"), ("3", "7")], [("6", "2")])


def test_completion_drains_first() -> None:
    pipe = Pipe(capacity=8)
    pipe.push(TICKERS, 1, 2)
    pipe.source.on_completed()
    assert pipe.got == [("Ticker", 1), ("Ticker", 2)]
    assert pipe.recorder.is_completed
    pipe.advance()
    assert len(pipe.got) == 2


def test_an_error_passes_at_once_and_what_waited_is_accounted_for() -> None:
    pipe = Pipe(capacity=8)
    pipe.push(TICKERS, 1, 2)
    pipe.source.on_error(FlowError("gone"))
    assert isinstance(pipe.recorder.error, FlowError)
    assert pipe.got == []
    assert pipe.machine.dropped == {"disposed": 2}
    assert pipe.machine.in_flight == 0


def test_disposal_counts_what_waits_and_stops_the_timer() -> None:
    pipe = Pipe(capacity=8)
    pipe.push(TICKERS, 1, 2, 3)
    pipe.subscription.dispose()
    pipe.advance()
    assert pipe.got == []
    assert pipe.machine.dropped == {"disposed": 3}


def test_disposal_in_the_middle_of_a_drain() -> None:
    pipe = Pipe(capacity=8, on_element=lambda _: pipe.subscription.dispose())
    pipe.push(TICKERS, 1, 2, 3)
    pipe.advance()
    assert pipe.got == [("Ticker", 1)]
    assert (pipe.machine.passed, dict(pipe.machine.dropped)) == (1, {"disposed": 2})


def test_completion_in_the_middle_of_a_drain_loses_nothing() -> None:
    def complete(event: Any) -> None:
        if event.sequence == 1:
            pipe.push(TICKERS, 4)
            pipe.source.on_completed()

    pipe = Pipe(capacity=8, on_element=complete)
    pipe.push(TICKERS, 1, 2, 3)
    pipe.advance()
    assert sorted(pipe.got) == [("Ticker", number) for number in (1, 2, 3, 4)]
    assert pipe.machine.dropped.total() == 0
    assert pipe.recorder.is_completed


def test_what_an_observer_raises_only_delays_the_rest() -> None:
    def raise_once(event: Any) -> None:
        if event.sequence == 1:
            raise RuntimeError("mine")

    pipe = Pipe(capacity=8, on_element=raise_once)
    pipe.push(TICKERS, 1, 2)
    with pytest.raises(RuntimeError, match="mine"):
        pipe.advance()
    assert pipe.machine.in_flight == 1
    pipe.scheduler.stop()
    pipe.advance()
    assert pipe.got == [("Ticker", 2)]
    assert (pipe.machine.passed, pipe.machine.in_flight) == (2, 0)


def test_what_an_observer_raises_at_completion_leaves_no_timer() -> None:
    def raise_once(event: Any) -> None:
        raise RuntimeError("mine")

    pipe = Pipe(capacity=8, on_element=raise_once)
    pipe.push(TICKERS, 1, 2)
    with pytest.raises(RuntimeError, match="mine"):
        pipe.source.on_completed()
    assert all(item.is_cancelled() for item, _ in pipe.scheduler._queue.items)
    assert pipe.machine.dropped == {"disposed": 1}
    assert (pipe.machine.passed, pipe.machine.in_flight) == (1, 0)


def test_a_scheduler_that_runs_at_once_is_no_trap() -> None:
    source: Subject[Any] = Subject()
    recorder = Recorder()
    source.pipe(coalesce()).subscribe(recorder, scheduler=ImmediateScheduler())
    for number in range(1, 4):
        source.on_next(make_event(number, TICKERS))
    assert [event.sequence for event in recorder.elements] == [1, 2, 3]


def test_pooled_events_are_cloned_and_put_back_at_once() -> None:
    pools = Pools()
    pipe = Pipe(capacity=1, pools=pools)
    pipe.push(TICKERS, 1, 2, 3)
    assert_nothing_out(pools)
    pipe.advance()
    assert not isinstance(pipe.recorder.elements[0], PooledEvent)
    assert pipe.got == [("Ticker", 3)]


def test_what_is_no_event_is_refused() -> None:
    pipe = Pipe(capacity=8)
    pipe.push(TICKERS, 1)
    pipe.source.on_next("b")
    assert isinstance(pipe.recorder.error, AttributeError)
    assert pipe.machine.dropped == {"disposed": 1}


def test_composes_with_stock_operators() -> None:
    scheduler: Any = TestScheduler()
    source: Subject[Any] = Subject()
    got: list[int] = []
    source.pipe(
        ops.filter(lambda event: event.sequence != 2), coalesce(capacity=1), ops.map(lambda e: e.sequence)
    ).subscribe(got.append, scheduler=scheduler)
    for number in range(1, 5):
        source.on_next(make_event(number, TICKERS))
    scheduler.advance_by(1.0)
    assert got == [4]


def test_behind_a_graphs_mailbox_it_only_names_the_policy() -> None:
    operate: Any = coalesce(types=["Ticker"])
    assert isinstance(operate, Coalesce)
    drained = Drained()
    got: list[Any] = []
    completed: list[bool] = []
    operate(drained).wire(got.append, lambda error: None, lambda: completed.append(True), None)
    events = [make_event(number, TICKERS) for number in (1, 2)]
    for event in events:
        drained.emit(event)
    drained.on_completed()
    assert got == events
    assert completed == [True]

    runs: list[Any] = []
    stage = operate(Drained())
    stage.wire(got.append, lambda error: None, lambda: None, None)
    stage.machine.emit_many = runs.append
    many(stage.source.emit)(events)
    assert runs == [events]
    assert runs[0] is events
    assert stage.machine.passed == 2

    mailbox = Mailbox("console", MailboxSpec(capacity=1), Context(), folds=operate.folds)
    for number in (1, 2):
        mailbox.put(make_event(number, TICKERS))
        mailbox.put(make_event(number, QUOTES))
    assert mailbox.coalesced == 1


def test_behind_a_graphs_mailbox_every_event_is_counted() -> None:
    drained = Drained()
    got: list[Any] = []
    operate: Any = coalesce()
    stage: Any = operate(drained)
    stage.wire(got.append, lambda error: None, lambda: None, None)
    events = [make_event(number, TICKERS) for number in range(1, 6)]
    for event in events[:3]:
        drained.emit(event)
    assert stage.machine.passed == 3
    stage.machine.add_many(events[3:])
    assert (stage.machine.passed, got) == (5, events)


@pytest.mark.parametrize(("node_id", "name"), [("latest", "latest"), ("", "coalesce")])
def test_what_is_told_names_the_node(node_id: str, name: str) -> None:
    told: list[Any] = []
    context = Context(node_id)
    context.telemetry.listeners.append(lambda _, occurrence: told.append(occurrence))
    scheduler: Any = TestScheduler()
    source: Subject[Any] = Subject()
    coalesce(CoalesceParams(capacity=1), context)(source).subscribe(Recorder(), scheduler=scheduler)
    for number in (1, 2):
        source.on_next(make_event(number, TICKERS))
    scheduler.advance_by(1.0)
    assert told == [BackpressureTriggered(name, "mailbox_full"), CoalescingApplied(name)]


def to_come(scheduler: Any) -> int:
    """How many timers are."""
    return sum(not item.is_cancelled() for item, _ in scheduler._queue.items)


def test_one_drain_is_to_come_however_many_wait_and_none_once_it_is_over() -> None:
    pipe = Pipe(capacity=8)
    assert to_come(pipe.scheduler) == 0
    pipe.push(TICKERS, 1, 2, 3)
    assert to_come(pipe.scheduler) == 1
    pipe.advance()
    assert to_come(pipe.scheduler) == 0
    pipe.push(TICKERS, 4)
    pipe.subscription.dispose()
    assert to_come(pipe.scheduler) == 0


def test_closing_twice_is_closing_once_and_what_comes_after_is_counted() -> None:
    pools = Pools()
    pipe = Pipe(capacity=8, pools=pools)
    pipe.machine.close()
    pipe.push(TICKERS, 1)
    pipe.machine.close()
    pipe.push(TICKERS, 2)
    pipe.advance()
    assert (pipe.got, pipe.machine.dropped, pipe.machine.in_flight) == ([], {"disposed": 2}, 0)
    assert_nothing_out(pools)

    busy = Pipe(capacity=8)
    busy.push(TICKERS, 1, 2)
    for _ in range(2):
        busy.machine.close()
    assert busy.machine.dropped == {"disposed": 2}


def test_what_is_no_event_is_refused_and_the_rest_passes() -> None:
    letters = DeadLetters()
    pipe = Pipe(dead_letters=letters)
    pipe.push(TICKERS, 1)
    pipe.source.on_next("garbage")
    pipe.push(TICKERS, 2)
    pipe.advance()
    assert pipe.got == [("Ticker", 1), ("Ticker", 2)]
    assert pipe.machine.dead_lettered == 1
    [letter] = letters.read()
    assert (letter.node, letter.reason, letter.original) == (
        "latest",
        "AttributeError",
        {"repr": "'garbage'"},
    )


@pytest.mark.parametrize(
    "make", [lambda: coalesce(capacity=0), lambda: coalesce(types=["Nothing"]), lambda: coalesce(typ=[])]
)
def test_wrong_parameters_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        make()
