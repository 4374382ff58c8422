"""Whose error is whose: bodies, observers, timers, flushes, dry pools and bugs."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from flow.context import Context
from flow.errors import DoublePut, OwnershipBug, PoolTimeout
from flow.stage import Fusable, Machine, ObserverRaised, OnNext, shielded, stage, unshielded
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import EventFactory, Recorder, assert_nothing_out, pushed
from flow.testing.machines import GuardedTwice, Late, Made, Twice, twice


@pytest.mark.parametrize("kind", [Twice, GuardedTwice])
def test_what_a_body_raises_goes_to_on_error_without_dead_letters(kind: type[Machine[Any, Any]]) -> None:
    recorder = Recorder()
    rx.of(1, 13, 2).pipe(twice(), twice(kind)).subscribe(recorder)
    assert isinstance(recorder.error, ValueError)
    assert recorder.elements == [1, -1, -1, 1]
    assert recorder.after_end == 0


@pytest.mark.parametrize("kind", [Twice, GuardedTwice])
def test_what_a_body_raises_goes_to_the_dead_letters(kind: type[Machine[Any, Any]]) -> None:
    letters, made = DeadLetters(), list[Any]()
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


def test_an_element_that_was_passed_on_before_the_raise_is_not_taken_back() -> None:
    class Hasty(Machine[Any, Any]):
        def add(self, element: Any) -> None:
            self.passed += 1
            self.emit(element)
            raise ValueError("too late")

    letters, make, kept = DeadLetters(), EventFactory(), Recorder(keeps=True)
    made: list[Machine[Any, Any]] = []

    def hasty() -> Machine[Any, Any]:
        made.append(Hasty(Context("node", dead_letters=letters)))
        return made[-1]

    source: Subject[Any] = Subject()
    source.pipe(stage(hasty)).subscribe(kept)
    event = make(1)
    source.on_next(event)
    assert kept.elements == [event]
    assert event.sequence == 1
    assert letters.by_reason() == {"ValueError": 1}
    assert (made[0].passed, made[0].dead_lettered) == (1, 0)
    event.put()
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
    class Through(Machine[Any, Any]):
        def add(self, element: Any) -> None:
            self.emit(element)

    source: Subject[int] = Subject()
    source.pipe(stage(lambda: Through(Context())), twice()).subscribe(lambda element: None)
    with pytest.raises(ValueError, match="unlucky"):
        source.on_next(13)


def test_an_error_of_the_source_without_a_handler_arrives_as_it_was() -> None:
    source: Subject[int] = Subject()
    source.pipe(twice(), twice(GuardedTwice)).subscribe(lambda element: None)
    with pytest.raises(ValueError, match="the source's own"):
        source.on_error(ValueError("the source's own"))


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
    assert made[0].closed == 1
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

    letters, made = DeadLetters(), list[Any]()
    recorder = Recorder()
    rx.of(1).pipe(twice(Mute, Context(dead_letters=letters), made)).subscribe(recorder)
    assert recorder.is_completed
    assert [letter.detail for letter in letters.read()] == ["no last word"]
    assert made[0].dead_lettered == 0, "no element was refused"


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
