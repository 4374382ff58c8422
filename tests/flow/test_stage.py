"""Stages: the Rx grammar, what is given back, and fusion that changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase
from reactivex.disposable import Disposable
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.context import Context
from flow.errors import PoolTimeout
from flow.pool import Pools
from flow.stage import Fusable, Machine, ObserverRaised, Stage, connect, many, stage
from flow.testing import EventFactory, Recorder, assert_nothing_out
from flow.testing.machines import GuardedTwice, Late, Made, Twice, twice


@pytest.mark.parametrize("kind", [Twice, GuardedTwice])
def test_a_stage_stands_between_stock_operators(kind: type[Machine[Any, Any]]) -> None:
    got: list[Any] = []
    rx.of(1, 2, 3, 4).pipe(
        ops.map(lambda x: x * 10),
        twice(kind),
        ops.filter(lambda x: x >= 0),
        ops.share(),
        twice(kind),
        ops.buffer_with_count(4),
    ).subscribe(got.append)
    assert got == [[10, -10, 20, -20], [30, -30, 40, -40], [0, 0, 0]]


@pytest.mark.parametrize("joint", [None, ops.map(lambda x: x)])
def test_fused_stages_give_what_separate_ones_give(joint: Any) -> None:
    between = [] if joint is None else [joint]
    recorder = Recorder()
    rx.of(1, 2).pipe(twice(), *between, twice(GuardedTwice), *between, twice()).subscribe(recorder)
    assert recorder.elements == [
        *(1, -1, -1, 1, -1, 1, 1, -1, 2, -2, -2, 2, -2, 2, 2, -2),
        *(0, 0, 0, 0, 0, 0, 0),
    ]
    assert recorder.is_completed
    assert recorder.after_end == 0


def test_stages_are_wired_without_observers() -> None:
    made: Made = []
    first = twice(made=made)(rx.never())
    second = twice(GuardedTwice, made=made)(first)
    second.subscribe()
    below, above = made
    assert above.emit == below.add


def test_a_stock_source_is_given_no_scheduler_that_was_not_asked_for() -> None:
    given: list[Any] = []
    source = Observable(lambda observer, scheduler: given.append(scheduler) or Disposable())
    wanted, of_context = TestScheduler(), TestScheduler()
    source.pipe(twice()).subscribe()
    source.pipe(twice()).subscribe(scheduler=wanted)
    source.pipe(twice(context=Context(scheduler=of_context))).subscribe()
    assert given == [None, wanted, of_context]


async def test_a_machine_takes_time_from_the_loop_where_there_is_one() -> None:
    made: Made = []
    rx.never().pipe(twice(made=made)).subscribe()
    assert isinstance(made[0].scheduler, AsyncIOScheduler)


def test_an_error_passes_and_nothing_comes_after_it() -> None:
    made: Made = []
    source: Subject[int] = Subject()
    recorder = Recorder()
    source.pipe(twice(made=made), twice(GuardedTwice, made=made)).subscribe(recorder)
    source.on_next(1)
    boom = RuntimeError("the source broke")
    source.on_error(boom)
    source.on_next(2)
    assert recorder.error is boom
    assert recorder.elements == [1, -1, -1, 1]
    assert [machine.closed for machine in made if isinstance(machine, Twice)] == [1, 1]


def test_disposal_between_two_elements_of_one_emission() -> None:
    made: Made = []
    source: Subject[int] = Subject()
    got: list[int] = []
    wired: list[DisposableBase] = []

    def take(element: int) -> None:
        got.append(element)
        wired[0].dispose()

    chain = source.pipe(twice(made=made), twice(GuardedTwice, made=made))
    assert isinstance(chain, Fusable)
    wired.append(chain.wire(take, _unexpected, lambda: _unexpected(None), None))
    source.on_next(1)
    source.on_completed()
    assert got == [1]
    assert [machine.closed for machine in made if isinstance(machine, Twice)] == [1, 1]


def _unexpected(error: Any) -> None:
    raise AssertionError(f"told of {error!r} after disposal")


def test_disposal_during_the_last_flush_silences_completion() -> None:
    source: Subject[int] = Subject()
    wired: list[DisposableBase] = []
    chain = source.pipe(twice())
    assert isinstance(chain, Fusable)
    wired.append(chain.wire(lambda _: wired[0].dispose(), _unexpected, lambda: _unexpected(None), None))
    source.on_completed()


def test_what_is_emitted_after_the_end_goes_back_to_its_pool() -> None:
    class Doubler(Machine[Any, Any]):
        def add(self, element: Any) -> None:
            self.emit(element)
            self.emit(make(2))

    make = EventFactory()
    source: Subject[Any] = Subject()
    wired: list[DisposableBase] = []
    recorder = Recorder(lambda _: wired[0].dispose())
    wired.append(source.pipe(stage(lambda: Doubler(Context()))).subscribe(recorder))
    source.on_next(make(1))
    assert [event.sequence for event in recorder.elements] == [1]
    assert_nothing_out(make.pools)


def test_a_synchronous_source_that_goes_on_after_a_failure() -> None:
    make = EventFactory()
    made: Made = []

    class Picky(Machine[Any, Any]):
        def add(self, element: Any) -> None:
            if element.sequence == 2:
                raise ValueError("no")
            self.emit(element)

    def subscribe(observer: Any, _: Any = None) -> DisposableBase:
        for sequence in (1, 2, 2, 3):
            observer.on_next(make(sequence))
        return Disposable()

    def machine() -> Machine[Any, Any]:
        made.append(Picky(Context()))
        return made[-1]

    recorder = Recorder()
    chain = Stage(Observable(subscribe), machine)
    chain.wire(recorder.on_next, recorder.on_error, recorder.on_completed, None)
    assert [event.sequence for event in recorder.elements] == [1]
    assert isinstance(recorder.error, ValueError)
    assert recorder.after_end == 0
    assert_nothing_out(make.pools)


def test_each_subscription_has_a_fresh_machine() -> None:
    made: Made = []
    source: Subject[int] = Subject()
    chain = source.pipe(twice(made=made))
    first = chain.subscribe()
    source.on_next(1)
    first.dispose()
    chain.subscribe()
    source.on_next(1)
    assert [machine.passed for machine in made] == [1, 1]
    assert isinstance(chain, Stage)
    assert chain.machine is made[1]


def test_a_machine_is_closed_where_subscribing_fails() -> None:
    class Fails(Fusable[Any]):
        def wire(self, *_: Any) -> DisposableBase:
            raise RuntimeError("can't be wired")

    made: Made = []
    with pytest.raises(RuntimeError, match="can't be wired"):
        Fails().pipe(twice(made=made)).wire(lambda _: None, _unexpected, lambda: None, None)
    assert made[0].closed == 1


async def test_timers_run_on_the_event_loop() -> None:
    class Soon(Late):
        def add(self, element: Any) -> None:
            self.timer = self.after(0.001, lambda: self.pass_one_on(element))

    got: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    source: Subject[int] = Subject()
    source.pipe(twice(Soon)).subscribe(got.set_result)
    source.on_next(7)
    assert await got == 7


def test_connect_gives_bare_callables_what_a_stock_source_sends() -> None:
    got: list[Any] = []
    connect(rx.of(1, 2), got.append, _unexpected, lambda: got.append("|"), None)
    boom = ValueError("boom")
    connect(rx.throw(boom), got.append, got.append, lambda: _unexpected(None), None)
    assert got == [1, 2, "|", boom]


def test_a_machine_that_is_not_wired_says_so() -> None:
    machine = Twice(Context())
    with pytest.raises(RuntimeError, match="subscribed"):
        machine.add(1)
    with pytest.raises(ValueError, match="as it was"):
        machine.refuse(1, ValueError("as it was"))
    assert machine.in_flight == 0


def test_a_dropped_element_is_counted_and_given_back() -> None:
    make = EventFactory(pools=Pools())
    machine = Twice(Context())
    machine.drop(make(1), "superfluous")
    assert machine.dropped == {"superfluous": 1}
    assert_nothing_out(make.pools)


@pytest.mark.parametrize(
    "make_error",
    [lambda: ObserverRaised(ValueError("no")), lambda: PoolTimeout("Thing", 1), lambda: ValueError("no")],
)
@pytest.mark.parametrize("way_of", [lambda machine: machine.emit_each, lambda machine: many(machine.emit)])
def test_what_a_raise_leaves_of_a_run_goes_back(
    way_of: Callable[..., Any], make_error: Callable[[], BaseException]
) -> None:
    events, error, taken = EventFactory(), make_error(), list[int]()

    def take(event: Any) -> None:
        taken.append(event.sequence)
        event.put()
        if len(taken) == 2:
            raise error

    machine = Twice(Context())
    machine.lead_to(take)
    with pytest.raises(type(error)):
        way_of(machine)([events(number) for number in (1, 2, 3, 4, 5)])
    assert taken == [1, 2]
    assert_nothing_out(events.pools)
    assert getattr(error, "left", 4) == 4
