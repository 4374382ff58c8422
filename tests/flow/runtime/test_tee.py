"""A tee: watchers are shown each run before its owner gets it, and never stand in its way."""

from __future__ import annotations

from typing import Any

import pytest

from flow.context import Context
from flow.errors import DoublePut, FlowError, PoolTimeout
from flow.runtime.tee import Tee, Watched
from flow.stage import Fusable, Machine, ObserverRaised
from flow.telemetry.dead_letters import DeadLetters
from flow.telemetry.occurrences import Telemetry

Log = list[tuple[str, Any]]


class Tap(Fusable[Any]):
    """A source that is pushed by hand."""

    def wire(self, emit: Any, on_error: Any, on_completed: Any, scheduler: Any) -> Any:
        self.emit, self.emit_many = emit, emit.__self__.hand_many
        self.on_error, self.on_completed = on_error, on_completed
        return Leaving(self)


class Leaving:
    def __init__(self, tap: Tap) -> None:
        self.tap = tap

    def dispose(self) -> None:
        self.tap.is_left = True  # type: ignore[attr-defined]


class Looker(Machine[Any, Any]):
    """Notes what it is shown, and raises what it is told to."""

    guards_itself = True

    def __init__(self, log: Log, name: str, context: Context) -> None:
        super().__init__(context)
        self.log, self.name = log, name
        self.raises: BaseException | None = None

    def add(self, element: Any) -> None:
        raise AssertionError("a watcher owns nothing")

    def watch_many(self, elements: list[Any]) -> None:
        self.log.append((self.name, [*elements]))
        if self.raises is not None:
            raise self.raises


class Owner:
    """Takes runs, and empties the lists, as they are its own."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def take(self, element: Any) -> None:
        self.take_many([element])

    def take_many(self, elements: list[Any]) -> None:
        self.log.append(("owner", [*elements]))
        elements.clear()


class Rig:
    """One tee with an owner and two watchers."""

    def __init__(self) -> None:
        self.log: Log = []
        self.tap = Tap()
        self.tee = Tee(self.tap)
        self.telemetry = Telemetry()
        self.letters = DeadLetters()
        self.owner = Owner(self.log)
        self.lookers: list[Looker] = []
        self.watched: list[Watched] = []
        self.leave: list[Any] = []

    def watch(self, name: str) -> Looker:
        context = Context(name, dead_letters=self.letters, telemetry=self.telemetry)
        looker, watched = Looker(self.log, name, context), Watched(self.tee, context)
        leave = watched.wire(looker.add, self.failed(name), self.completed(name), None)
        self.lookers.append(looker)
        self.watched.append(watched)
        self.leave.append(leave)
        return looker

    def own(self) -> Any:
        return self.tee.wire(self.owner.take, self.failed("owner"), self.completed("owner"), None)

    def failed(self, name: str) -> Any:
        return lambda error: self.log.append((name, error))

    def completed(self, name: str) -> Any:
        return lambda: self.log.append((name, "completed"))


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.watch("first")
    made.own()
    made.watch("second")
    return made


def test_watchers_are_shown_a_run_before_the_owner_gets_it(rig: Rig) -> None:
    rig.tap.emit_many([1, 2])
    assert rig.log == [("first", [1, 2]), ("second", [1, 2]), ("owner", [1, 2])]


def test_single_elements_too(rig: Rig) -> None:
    rig.tap.emit(1)
    assert rig.log == [("first", [1]), ("second", [1]), ("owner", [1])]


def test_an_owner_without_a_door_for_runs_gets_one_after_another() -> None:
    rig, taken = Rig(), []
    rig.watch("first")
    rig.tee.wire(taken.append, rig.failed("owner"), rig.completed("owner"), None)
    rig.tap.emit_many([1, 2])
    assert taken == [1, 2]
    assert rig.log == [("first", [1, 2])]


def test_what_was_shown_is_counted_by_watcher(rig: Rig) -> None:
    rig.tap.emit_many([1, 2])
    rig.leave[0].dispose()
    rig.tap.emit(3)
    assert [watched.sent for watched in rig.watched] == [2, 3]
    assert rig.log[-2:] == [("second", [3]), ("owner", [3])]


def test_completion_reaches_the_watchers_first(rig: Rig) -> None:
    rig.tap.on_completed()
    assert rig.log == [(name, "completed") for name in ("first", "second", "owner")]


def test_an_error_reaches_all(rig: Rig) -> None:
    error = ValueError("the end")
    rig.tap.on_error(error)
    assert rig.log == [(name, error) for name in ("first", "second", "owner")]


@pytest.mark.parametrize("wrapped", [ValueError, lambda said: ObserverRaised(ValueError(said))])
def test_what_a_watcher_raises_at_an_error_keeps_it_from_nobody(wrapped: Any) -> None:
    rig, error = Rig(), LookupError("the end")
    rig.watch("first")
    rig.own()
    rig.watch("second")

    def fail(_: Exception) -> None:
        raise wrapped("no")

    rig.watched[0].on_error = fail
    rig.tap.on_error(error)
    assert rig.log == [("second", error), ("owner", error)]
    assert rig.letters.of_node("first") == {"ValueError": 1}


def test_who_leaves_at_the_end_takes_nobody_with_it() -> None:
    rig = Rig()
    rig.own()
    context = Context("first", dead_letters=rig.letters)
    looker, watched = Looker(rig.log, "first", context), Watched(rig.tee, context)

    def completed() -> None:
        leave.dispose()

    leave = watched.wire(looker.add, rig.failed("first"), completed, None)
    rig.watch("second")
    rig.tap.on_completed()
    assert rig.log == [("second", "completed"), ("owner", "completed")]


def test_the_owner_leaves_the_source(rig: Rig) -> None:
    rig.own().dispose()
    assert rig.tap.is_left  # type: ignore[attr-defined]


def test_what_a_watcher_raises_is_told_of_each_element_and_disturbs_nobody(rig: Rig) -> None:
    rig.lookers[0].raises = ValueError("no")
    rig.tap.emit_many([1, 2])
    assert rig.log == [("first", [1, 2]), ("second", [1, 2]), ("owner", [1, 2])]
    letters = [(letter.node, letter.reason, letter.detail, letter.original) for letter in rig.letters.read()]
    assert letters == [("first", "ValueError", "no", {"repr": repr(number)}) for number in (1, 2)]
    assert [watched.dead_lettered for watched in rig.watched] == [2, 0]


def test_what_an_observer_behind_a_watcher_raises_is_told_once(rig: Rig) -> None:
    rig.lookers[0].raises = ObserverRaised(ValueError("no"))
    rig.tap.emit_many([1, 2])
    assert rig.log[-1] == ("owner", [1, 2])
    assert rig.letters.of_node("first") == {"ValueError": 1}
    assert rig.watched[0].dead_lettered == 0


def test_a_dry_pool_behind_a_watcher_is_an_occurrence_and_no_backpressure(rig: Rig) -> None:
    rig.lookers[0].raises = PoolTimeout("Thing", 1)
    rig.tap.emit_many([1, 2])
    assert rig.log[-1] == ("owner", [1, 2])
    assert rig.telemetry.counts == {("first", "pool.timeout", "Thing"): 1}
    assert len(rig.letters) == 0


def test_a_bug_of_ownership_passes(rig: Rig) -> None:
    for raised in (DoublePut("again"), ObserverRaised(DoublePut("again"))):
        rig.lookers[0].raises = raised
        with pytest.raises(type(raised)):
            rig.tap.emit_many([1, 2])
    assert len(rig.letters) == 0


def test_what_a_watcher_raises_at_the_end_does_not_keep_the_owner_from_it() -> None:
    rig = Rig()
    rig.own()

    def fail() -> None:
        raise ValueError("no last word")

    context = Context("first", dead_letters=rig.letters)
    Watched(rig.tee, context).wire(Looker(rig.log, "first", context).add, rig.failed("first"), fail, None)
    rig.tap.on_completed()
    assert rig.log == [("owner", "completed")]
    assert rig.letters.of_node("first") == {"ValueError": 1}


def test_only_a_machine_that_watches_can_watch() -> None:
    rig = Rig()
    watched = Watched(rig.tee, Context("first"))
    for emit in (rig.log.append, rig.owner.take, lambda element: None):
        with pytest.raises(FlowError, match="first: what watches is a machine that guards itself"):
            watched.wire(emit, rig.failed("first"), rig.completed("first"), None)
    assert rig.tee.watched == []


def test_before_it_is_wired_nothing_is_lost_silently() -> None:
    tee = Tee(Tap())
    with pytest.raises(RuntimeError, match="before the wiring was done"):
        tee.hand(1)
