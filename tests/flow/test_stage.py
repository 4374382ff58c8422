"""Stages: the Rx grammar, whose error is whose, what is given back, and fusion that changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.context import Context
from flow.errors import DoublePut, OwnershipBug, PoolTimeout
from flow.pool import Pools
from flow.stage import Fusable, Machine, ObserverRaised, OnNext, Stage, connect, shielded, stage, unshielded
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import EventFactory, Recorder, assert_nothing_out, pushed


class Twice(Machine[int, int]):
    """Emits each element and its negative; refuses 13, raises on 14 from the pool, on 15 a bug."""

    closed = 0
    finish_raises = False

    def add(self, element: int) -> None:
        if element == 13:
            raise ValueError("unlucky")
        if element == 14:
            raise PoolTimeout("Thing", 1)
        if element == 15:
            raise DoublePut("again")
        self.passed += 1
        self.emit(element)
        self.emit(-element)

    def finish(self) -> None:
        if self.finish_raises:
            raise ValueError("no last word")
        self.emit(0)

    def close(self) -> None:
        self.closed += 1


class GuardedTwice(Twice):
    """The same with a guard of its own around the body only."""

    guards_itself = True

    def add(self, element: int) -> None:
        try:
            if element == 13:
                raise ValueError("unlucky")
        except Exception as error:
            self.refuse(element, error)
            return
        self.passed += 1
        self.emit(element)
        self.emit(-element)


class Late(Machine[Any, Any]):
    """Hands each element on 10 s later."""

    def add(self, element: Any) -> None:
        self.timer = self.after(10, lambda: self.hand_on(element))

    def hand_on(self, element: Any) -> None:
        if element == 13:
            raise ValueError("unlucky")
        self.emit(element)


Made = list[Machine[Any, Any]]


def twice(
    kind: type[Machine[Any, Any]] = Twice, context: Context | None = None, made: Made | None = None
) -> Callable[[Observable[Any]], Observable[Any]]:
    def make() -> Machine[Any, Any]:
        machine = kind(Context() if context is None else context)
        if made is not None:
            made.append(machine)
        return machine

    return stage(make)


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
        for sequence in (1, 2, 3):
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


@pytest.mark.parametrize("kind", [Twice, GuardedTwice])
def test_what_a_body_raises_goes_to_on_error_without_dead_letters(kind: type[Machine[Any, Any]]) -> None:
    recorder = Recorder()
    rx.of(1, 13, 2).pipe(twice(), twice(kind)).subscribe(recorder)
    assert isinstance(recorder.error, ValueError)
    assert recorder.elements == [1, -1, -1, 1]
    assert recorder.after_end == 0


@pytest.mark.parametrize("kind", [Twice, GuardedTwice])
def test_what_a_body_raises_goes_to_the_dead_letters(kind: type[Machine[Any, Any]]) -> None:
    letters, made = DeadLetters(), list[Machine[Any, Any]]()
    recorder = Recorder()
    rx.of(1, 13, 2).pipe(twice(kind, Context("node", dead_letters=letters), made)).subscribe(recorder)
    assert recorder.elements == [1, -1, 2, -2, 0]
    assert recorder.is_completed
    assert [(letter.node, letter.reason, letter.detail) for letter in letters.read()] == [
        ("node", "ValueError", "unlucky")
    ]
    assert (made[0].passed, made[0].dead_lettered) == (2, 1)


def test_a_refused_element_goes_back_also_when_it_can_not_be_described() -> None:
    class Broken(DeadLetters):
        def add(self, letter: Any) -> None:
            raise DoublePut("in the middle of it")

    class Picky(Machine[Any, Any]):
        def add(self, element: Any) -> None:
            raise ValueError("no")

    make = EventFactory()
    source: Subject[Any] = Subject()
    source.pipe(stage(lambda: Picky(Context(dead_letters=Broken())))).subscribe(Recorder())
    with pytest.raises(DoublePut):
        source.on_next(make(1))
    assert_nothing_out(make.pools)


@pytest.mark.parametrize("joint", [None, ops.map(lambda x: x)])
@pytest.mark.parametrize("with_letters", [True, False])
def test_what_an_observer_raises_reaches_the_pusher(joint: Any, with_letters: bool) -> None:
    letters = DeadLetters() if with_letters else None
    boom = ValueError("the observer's own")

    def take(element: int) -> None:
        if element == -2:
            raise boom

    between = [] if joint is None else [joint]
    context = Context(dead_letters=letters)
    source: Subject[int] = Subject()
    recorder = Recorder(take)
    source.pipe(twice(context=context), *between, twice(GuardedTwice, context)).subscribe(recorder)
    source.on_next(1)
    with pytest.raises(ValueError, match="the observer's own") as caught:
        source.on_next(2)
    assert caught.value is boom
    source.on_next(3)
    assert recorder.elements == [1, -1, -1, 1, 2, 3, -3, -3, 3]
    assert recorder.error is None
    assert letters is None or not letters.read()


@pytest.mark.parametrize("joint", [None, ops.map(lambda x: x)])
def test_what_an_observer_was_handed_when_it_raised_goes_back_once(joint: Any) -> None:
    class Through(Machine[Any, Any]):
        def add(self, element: Any) -> None:
            self.emit(element)

    class Keeper(Through):
        """Holds what comes, and hands on what it held before."""

        held: Any = None

        def add(self, element: Any) -> None:
            before, self.held = self.held, element
            if before is not None:
                self.emit(before)

    make = EventFactory()
    between = [] if joint is None else [joint]
    keeper = Keeper(Context())

    def refuse(_: Any) -> None:
        raise ValueError("not this one")

    source: Subject[Any] = Subject()
    through = stage(lambda: Through(Context()))
    source.pipe(through, *between, stage(lambda: keeper)).subscribe(Recorder(refuse))
    source.on_next(make(1))
    with pytest.raises(ValueError, match="not this one"):
        source.on_next(make(2))
    assert keeper.held.home is not None, "what the keeper holds was put behind its back"
    assert make.pools.of("CanonicalEvent", lambda key: keeper.held).out == 1


def test_an_error_without_a_handler_is_not_lost() -> None:
    source: Subject[int] = Subject()
    source.pipe(twice(), twice()).subscribe(lambda element: None)
    with pytest.raises(ValueError, match="unlucky"):
        source.on_next(13)


def test_what_an_observer_raises_on_completion_reaches_the_pusher() -> None:
    made: Made = []

    def refuse() -> None:
        raise ValueError("not over yet")

    source: Subject[int] = Subject()
    source.pipe(twice(made=made), twice(made=made)).subscribe(lambda _: None, None, refuse)
    with pytest.raises(ValueError, match="not over yet"):
        source.on_completed()
    assert all(machine.closed for machine in made if isinstance(machine, Twice))


def test_what_an_observer_raises_during_the_flush_reaches_the_pusher_and_closes() -> None:
    made: Made = []

    def refuse(element: int) -> None:
        raise ValueError(f"not {element}")

    source: Subject[int] = Subject()
    recorder = Recorder(refuse)
    source.pipe(twice(made=made)).subscribe(recorder)
    with pytest.raises(ValueError, match="not 0"):
        source.on_completed()
    assert made[0].closed == 1  # type: ignore[attr-defined]
    assert not recorder.is_over


@pytest.mark.parametrize("error", [14, 15])
@pytest.mark.parametrize("with_letters", [True, False])
def test_dry_pools_and_ownership_bugs_pass_all_guards(error: int, with_letters: bool) -> None:
    letters = DeadLetters() if with_letters else None
    source: Subject[int] = Subject()
    recorder = Recorder()
    context = Context(dead_letters=letters)
    source.pipe(twice(context=context), twice(GuardedTwice, context), twice(context=context)).subscribe(
        recorder
    )
    with pytest.raises((PoolTimeout, OwnershipBug)):
        source.on_next(error)
    assert recorder.error is None
    assert letters is None or not letters.read()


def test_a_failing_flush_is_an_error_not_a_completion() -> None:
    class Mute(Twice):
        finish_raises = True

    recorder = Recorder()
    rx.of(1).pipe(twice(Mute)).subscribe(recorder)
    assert isinstance(recorder.error, ValueError)
    assert not recorder.is_completed


def test_a_failing_flush_with_dead_letters_completes_and_says_so() -> None:
    class Mute(Twice):
        finish_raises = True

    letters, made = DeadLetters(), list[Machine[Any, Any]]()
    recorder = Recorder()
    rx.of(1).pipe(twice(Mute, Context(dead_letters=letters), made)).subscribe(recorder)
    assert recorder.is_completed
    assert [letter.detail for letter in letters.read()] == ["no last word"]
    assert made[0].dead_lettered == 0, "no element was refused"


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
        Fails().pipe(twice(made=made)).wire(lambda _: None, _unexpected, lambda: None, None)  # type: ignore[attr-defined]
    assert made[0].closed == 1  # type: ignore[attr-defined]


def test_a_timer_is_guarded_as_a_body_is() -> None:
    scheduler, letters = TestScheduler(), DeadLetters()
    recorder = Recorder()
    source = pushed(scheduler, (1.0, 13), (2.0, 1))
    source.pipe(twice(Late, Context(dead_letters=letters))).subscribe(recorder, scheduler=scheduler)
    scheduler.advance_by(20)
    assert recorder.elements == [1]
    assert [letter.detail for letter in letters.read()] == ["unlucky"]


def test_a_timer_that_fails_without_dead_letters_fails_the_stream() -> None:
    scheduler = TestScheduler()
    recorder = Recorder()
    source = pushed(scheduler, (1.0, 13), (2.0, 1))
    source.pipe(twice(Late)).subscribe(recorder, scheduler=scheduler)
    scheduler.advance_by(20)
    assert isinstance(recorder.error, ValueError)
    assert recorder.elements == []


def test_what_an_observer_raises_on_a_timer_reaches_the_scheduler_as_it_was() -> None:
    def refuse(element: int) -> None:
        raise ValueError(f"not {element}")

    scheduler = TestScheduler()
    pushed(scheduler, (1.0, 1)).pipe(twice(Late)).subscribe(Recorder(refuse), scheduler=scheduler)
    with pytest.raises(ValueError, match="not 1"):
        scheduler.advance_by(20)


async def test_timers_run_on_the_event_loop() -> None:
    class Soon(Late):
        def add(self, element: Any) -> None:
            self.timer = self.after(0.001, lambda: self.hand_on(element))

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


def test_shielded_and_unshielded_are_inverse() -> None:
    boom = ValueError("boom")

    def refuse(_: Any) -> None:
        raise boom

    with pytest.raises(ObserverRaised) as carried:
        shielded(refuse)(1)
    assert carried.value.error is boom
    with pytest.raises(ValueError, match="boom") as caught:
        unshielded(shielded(refuse))(1)
    assert caught.value is boom
    assert boom.__cause__ is None
    got: list[int] = []
    calls: list[OnNext] = [shielded(got.append), unshielded(got.append)]
    for call in calls:
        call(1)
    assert got == [1, 1]


def test_a_synchronous_fused_source_meets_a_raising_observer_as_a_stock_one_does() -> None:
    class Now(Fusable[int]):
        def wire(self, emit: OnNext, *_: Any) -> DisposableBase:
            emit(1)
            return Disposable()

    def refuse(_: Any) -> None:
        raise ValueError("not now")

    def subscribe(observer: Any, scheduler: SchedulerBase | None = None) -> DisposableBase:
        observer.on_next(1)
        return Disposable()

    outcomes: list[Exception | None] = []
    for source in (Now(), Observable(subscribe)):
        recorder = Recorder(refuse)
        source.subscribe(recorder)
        outcomes.append(recorder.error)
    assert [type(outcome) for outcome in outcomes] == [ValueError, ValueError]


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
