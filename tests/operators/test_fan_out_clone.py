"""Fan-out: a clone for each, the original back at once, and nobody suffers from another."""

from __future__ import annotations

from typing import Any

import pytest
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from flow.context import Context
from flow.errors import DoublePut, PoolTimeout
from flow.events import EventType, OwnedEvent, Sequence, Stream
from flow.pool import Pools
from flow.routing import RoutingTable, routing_table
from flow.telemetry.dead_letters import DeadLetters
from flow.telemetry.occurrences import Telemetry
from flow.testing import Recorder, assert_nothing_out, make_event, make_stream, values
from operators.dedupe import dedupe
from operators.fan_out_clone import FanOut, FanOutStage, Subscriber, fan_out_clone
from operators.order_buffer import order_buffer
from operators.route import route


class Bench:
    """A fan-out with a pooled source that is pushed by hand."""

    def __init__(self, dead_letters: DeadLetters | None = None) -> None:
        self.pools, self.telemetry = Pools(), Telemetry()
        self.stream = make_stream()
        self.source: Subject[Any] = Subject()
        self.context = Context("bus", telemetry=self.telemetry, dead_letters=dead_letters, clock=lambda: 77)
        bus = self.source.pipe(fan_out_clone(context=self.context))
        assert isinstance(bus, FanOutStage)
        self.bus = bus

    @property
    def machine(self) -> FanOut:
        return self.bus.machine

    @property
    def table(self) -> RoutingTable:
        return self.context.service("routing", routing_table)

    def named(self, name: str, recorder: Recorder) -> Subscriber:
        return self.bus.wire_named(
            name, recorder.on_next, recorder.on_error, recorder.on_completed, scheduler=None
        )

    def push(self, *sequences: int, stream: Stream | None = None) -> None:
        for sequence in sequences:
            self.source.on_next(make_event(sequence, stream or self.stream, pools=self.pools))


def test_each_subscriber_gets_a_clone_of_its_own() -> None:
    bench = Bench()
    recorders = [Recorder(keeps=True) for _ in range(3)]
    for recorder in recorders:
        bench.bus.subscribe(recorder)
    bench.push(1, 2)
    clones = [clone for recorder in recorders for clone in recorder.elements]
    assert len({id(clone) for clone in clones}) == 6
    assert all(type(clone) is OwnedEvent and clone.emit_ts == 77 for clone in clones)
    clones[0].sequence = 99
    assert [values(recorder) for recorder in recorders[1:]] == [[1, 2], [1, 2]]
    assert len({id(clone.payload) for clone in clones}) == 2, "payloads are shared"
    assert_nothing_out(bench.pools)


def test_the_original_is_put_before_anybody_is_called() -> None:
    bench = Bench()
    out: list[int] = []
    bench.bus.subscribe(lambda clone: out.append(bench.pools.of("CanonicalEvent", lambda key: clone).out))
    bench.push(1, 2)
    assert out == [0, 0]


def test_a_subscriber_that_raises_is_detached_with_its_error_and_reported() -> None:
    def break_down(clone: Any) -> None:
        if clone.sequence == 2:
            raise ValueError("strategy broke")

    bench = Bench(DeadLetters())
    first, broken, last = Recorder(), Recorder(break_down), Recorder()
    for recorder in (first, broken, last):
        bench.bus.subscribe(recorder)
    bench.push(1, 2, 3)
    assert (values(first), values(broken), values(last)) == ([1, 2, 3], [1], [1, 2, 3])
    assert isinstance(broken.error, ValueError)
    assert (first.error, last.error) == (None, None)
    assert bench.telemetry.counts == {("bus", "consumer.failed", "", "ValueError"): 1}
    assert bench.context.dead_letters is not None
    assert not bench.context.dead_letters.read()
    assert_nothing_out(bench.pools)


def test_one_that_raises_without_a_handler_of_errors_is_isolated_too() -> None:
    def break_down(clone: Any) -> None:
        raise ValueError("strategy broke")

    bench = Bench()
    recorder = Recorder()
    bench.bus.subscribe(break_down)
    bench.bus.subscribe(recorder)
    bench.bus.pipe(ops.map(break_down)).subscribe(print)
    bench.push(1, 2)
    assert values(recorder) == [1, 2]
    assert bench.telemetry.count("consumer.failed") == 2


@pytest.mark.parametrize("raises_first", [True, False])
def test_stages_behind_it_are_isolated_from_each_other(raises_first: bool) -> None:
    class Broken(Recorder):
        def on_next(self, value: Any) -> None:
            raise ValueError("strategy broke")

    bench = Bench()
    healthy, broken = Recorder(), Broken()
    for recorder in (broken, healthy) if raises_first else (healthy, broken):
        bench.bus.pipe(order_buffer(), dedupe()).subscribe(recorder)
    bench.push(1, 2)
    assert values(healthy) == [1, 2]
    assert isinstance(broken.error, ValueError)


def test_a_failure_while_being_told_of_the_failure_is_reported_and_isolated() -> None:
    class Hopeless(Recorder):
        def on_next(self, value: Any) -> None:
            raise ValueError("first")

        def on_error(self, error: Exception) -> None:
            raise TypeError("second")

    bench = Bench()
    recorder = Recorder()
    bench.bus.subscribe(Hopeless())
    bench.bus.subscribe(recorder)
    bench.push(1)
    assert values(recorder) == [1]
    assert {key[3] for key in bench.telemetry.counts} == {"ValueError", "TypeError"}


def test_an_ownership_bug_passes() -> None:
    def misuse(clone: Any) -> None:
        raise DoublePut("again")

    bench = Bench(DeadLetters())
    bench.bus.subscribe(misuse)
    with pytest.raises(DoublePut):
        bench.push(1)
    assert_nothing_out(bench.pools)


def test_a_dry_pool_costs_the_clone_not_the_subscription() -> None:
    def refuse(clone: Any) -> None:
        if clone.sequence == 1:
            raise PoolTimeout("Thing", 5)

    bench = Bench()
    thirsty, other = Recorder(refuse), Recorder()
    bench.bus.subscribe(thirsty)
    bench.bus.subscribe(other)
    bench.push(1, 2)
    assert (values(thirsty), values(other)) == ([2], [1, 2])
    assert bench.telemetry.counts == {("bus", "pool.timeout", "Thing"): 1}


def test_what_nobody_receives_is_dropped_as_unrouted_and_counted() -> None:
    bench = Bench()
    recorder = Recorder()
    bench.table.subscribe("a", "ETH-USDT")
    subscriber = bench.named("a", recorder)
    bench.push(1, 2)
    assert values(recorder) == []
    assert (bench.machine.dropped, bench.machine.passed, subscriber.sent) == ({"unrouted": 2}, 0, 0)
    assert_nothing_out(bench.pools)


def test_a_change_of_the_routing_is_in_force_with_the_next_event() -> None:
    context = Context()
    source: Subject[Any] = Subject()
    bus = source.pipe(route(context=context), fan_out_clone(context=context))
    assert isinstance(bus, FanOutStage)
    table = context.service("routing", routing_table)
    one, two = Recorder(), Recorder()
    for name, recorder in (("one", one), ("two", two)):
        bus.wire_named(name, recorder.on_next, recorder.on_error, recorder.on_completed, None)
    stream = make_stream(symbol="BTC-USDT")
    changes = [
        lambda: None,
        lambda: table.unsubscribe("two"),
        lambda: table.subscribe("two", "BTC-USDT"),
        lambda: table.subscribe("one", "ETH-USDT"),
    ]
    for number, change in enumerate(changes):
        change()
        source.on_next(make_event(number, stream))
    assert values(one) == [0, 1, 2]
    assert values(two) == [0, 2, 3]
    assert [event.routing_version for event in two.elements] == [1, 3, 4]


def test_critical_events_go_to_everybody_whatever_the_routing() -> None:
    bench = Bench()
    recorder = Recorder()
    bench.table.subscribe("a", "ETH-USDT")
    bench.named("a", recorder)
    bench.push(1, stream=Stream("binance", "BTC-USDT", EventType.EXEC_REPORT, "orders", Sequence.NONE))
    assert values(recorder) == [1]


def test_a_late_subscriber_receives_from_then_on() -> None:
    bench = Bench()
    early, late = Recorder(), Recorder()
    bench.bus.subscribe(early)
    bench.push(1)
    bench.bus.subscribe(late)
    bench.push(2)
    assert (values(early), values(late)) == ([1, 2], [2])


def test_the_source_is_subscribed_to_once_and_left_with_the_last() -> None:
    events: list[str] = []

    def subscribe(observer: Any, _: Any = None) -> DisposableBase:
        events.append("subscribed")
        return Disposable(lambda: events.append("left"))

    bus = Observable(subscribe).pipe(fan_out_clone())
    first = bus.subscribe()
    second = bus.subscribe()
    assert events == ["subscribed"]
    first.dispose()
    first.dispose()
    assert events == ["subscribed"]
    second.dispose()
    assert events == ["subscribed", "left"]
    bus.subscribe().dispose()
    assert events == ["subscribed", "left"] * 2


def test_a_last_subscriber_that_raises_leaves_the_source() -> None:
    left: list[bool] = []
    source: Subject[Any] = Subject()
    bus = source.pipe(ops.finally_action(lambda: left.append(True)), fan_out_clone())

    def break_down(clone: Any) -> None:
        raise ValueError("strategy broke")

    bus.subscribe(Recorder(break_down))
    source.on_next(make_event(1))
    assert left == [True]


@pytest.mark.parametrize("end", ["complete", "fail"])
def test_the_end_reaches_everybody_once_and_those_who_come_later(end: str) -> None:
    bench = Bench()
    boom = ValueError("boom")
    recorders = [Recorder() for _ in range(3)]
    for recorder in recorders[:2]:
        bench.bus.subscribe(recorder)
    if end == "complete":
        bench.source.on_completed()
    else:
        bench.source.on_error(boom)
    bench.bus.subscribe(recorders[2])
    for recorder in recorders:
        assert (recorder.is_completed, recorder.error) == (
            (True, None) if end == "complete" else (False, boom)
        )
        assert recorder.after_end == 0
    assert bench.machine.subscribers == []


def test_one_that_raises_at_the_end_keeps_it_from_nobody() -> None:
    class Reluctant(Recorder):
        def on_completed(self) -> None:
            raise ValueError("not yet")

    bench = Bench()
    last = Recorder()
    bench.bus.subscribe(Reluctant())
    bench.bus.subscribe(last)
    bench.source.on_completed()
    assert last.is_completed
    assert bench.telemetry.count("consumer.failed") == 1


@pytest.mark.parametrize("at_the_end", [True, False])
def test_one_that_is_disposed_by_another_gets_nothing_more(at_the_end: bool) -> None:
    bench = Bench()
    second = Recorder()
    wired: list[Subscriber] = []

    class First(Recorder):
        def on_next(self, value: Any) -> None:
            if not at_the_end:
                wired[0].dispose()

        def on_completed(self) -> None:
            wired[0].dispose()

    bench.bus.subscribe(First())
    wired.append(bench.named("second", second))
    bench.push(1)
    bench.source.on_completed()
    assert (values(second), second.is_completed) == ([1] if at_the_end else [], False)
    assert wired[0].sent == len(second.elements), "a clone that was not delivered is not counted"


def test_one_that_leaves_in_its_own_handler_stays_away() -> None:
    bench = Bench()
    other = Recorder()
    wired: list[DisposableBase] = []
    leaving = Recorder(lambda clone: wired[0].dispose())
    wired.append(bench.named("leaving", leaving))
    bench.named("other", other)
    bench.push(1, 2)
    assert (values(leaving), values(other)) == ([1], [1, 2])


@pytest.mark.parametrize("garbage", [None, 7, object(), {}])
@pytest.mark.parametrize("with_letters", [True, False])
def test_what_is_no_event_is_refused(garbage: Any, with_letters: bool) -> None:
    letters = DeadLetters() if with_letters else None
    bench = Bench(letters)
    recorder = Recorder()
    bench.named("a", recorder)
    bench.push(1)
    bench.source.on_next(garbage)
    if letters is None:
        assert isinstance(recorder.error, AttributeError)
        assert not bench.source.observers, "a failed fan-out leaves its source"
    else:
        bench.push(2)
        assert values(recorder) == [1, 2]
        assert bench.machine.dead_lettered == len(letters) == 1
    assert_nothing_out(bench.pools)


def test_where_subscribing_to_the_source_fails_nobody_is_left_behind() -> None:
    def subscribe(observer: Any, _: Any = None) -> DisposableBase:
        raise RuntimeError("no source")

    bus = Observable(subscribe).pipe(fan_out_clone())
    recorder = Recorder()
    bus.subscribe(recorder)
    assert isinstance(recorder.error, RuntimeError)


def test_counts_balance_per_subscriber() -> None:
    bench = Bench()
    bench.table.subscribe("a", "BTC-USDT")
    bench.table.subscribe("b", "ETH-USDT")
    subscribers = [bench.named(name, Recorder()) for name in "abc"]
    bench.push(1, 2)
    bench.push(1, stream=make_stream(symbol="ETH-USDT"))
    assert [subscriber.sent for subscriber in subscribers] == [2, 1, 3]
    assert (bench.machine.passed, bench.machine.taken) == (3, 3)


@pytest.mark.parametrize("is_fused", [True, False])
def test_a_whole_chain_leaves_nothing_out(is_fused: bool) -> None:
    pools, context = Pools(), Context()
    joint = [] if is_fused else [ops.map(lambda element: element)]
    source: Subject[Any] = Subject()
    bus = source.pipe(
        order_buffer(),
        *joint,
        dedupe(),
        *joint,
        route(context=context),
        *joint,
        fan_out_clone(context=context),
    )

    def break_down(clone: Any) -> None:
        if clone.sequence == 3:
            raise ValueError("strategy broke")

    recorders = [Recorder(), Recorder(break_down)]
    for recorder in recorders:
        bus.pipe(ops.buffer_with_count(1), ops.map(lambda batch: batch[0])).subscribe(recorder)
    stream = make_stream()
    for number in (1, 2, 4, 3, 2, 6, 8):
        source.on_next(make_event(number, stream, pools=pools))
    source.on_completed()
    assert values(recorders[0]) == [1, 2, 3, 4, 6, 8]
    assert values(recorders[1]) == [1, 2]
    assert recorders[0].is_completed
    assert isinstance(recorders[1].error, ValueError)
    assert_nothing_out(pools)
