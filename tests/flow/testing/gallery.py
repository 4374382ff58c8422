"""Operators that break one rule each, and some that break none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar

from msgspec import Struct
from reactivex import Observable, abc

from flow.clock import wall_ns
from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.events.stream import Stream
from flow.pool import release
from flow.registry import NodeSpec, Operator, spec_of
from flow.stage import Fusable, Machine, OnCompleted, OnError, OnNext, Stage, stage

Event = CanonicalEvent


class NoParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """None."""


def of(machine: Callable[[Context], Machine[Any, Any]]) -> Callable[[Context], Operator[Any, Any]]:
    return lambda context: stage(lambda: machine(context))


def pooled(machine: Callable[[Context], Machine[Any, Any]]) -> NodeSpec:
    """An operator that is handed the pooled originals."""

    def factory(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
        return stage(lambda: machine(context))

    return spec_of("in-the-gallery", factory, pooled=True)


class Through(Machine[Event, Event]):
    """Breaks nothing."""

    def add(self, element: Event) -> None:
        self.number = element.sequence
        self.passed += 1
        self.emit(element)


class EmitsAfterDispose(Through):
    """Keeps its receiver."""

    out: Any = None

    @property
    def emitted(self) -> int:
        return 2 * self.passed

    def add(self, element: Event) -> None:
        self.number = element.sequence
        self.out = self.out or self.emit
        self.passed += 1
        self.out(element)
        self.out(element)


class KeepsATimer(Through):
    def add(self, element: Event) -> None:
        super().add(element)
        self.after(1000, lambda: None)


class DropsSilently(Through):
    def add(self, element: Event) -> None:
        if element.sequence % 2:
            super().add(element)


class DropsWithoutAReason(Through):
    def add(self, element: Event) -> None:
        if element.sequence % 2:
            super().add(element)
        else:
            self.drop(element, "")


class CountsWhatItKeeps(Through):
    """Says that it passed what it did not pass."""

    def add(self, element: Event) -> None:
        if element.sequence % 2:
            super().add(element)
        else:
            self.passed += 1


class Leaks(Through):
    def add(self, element: Event) -> None:
        if element.sequence % 2:
            super().add(element)
        else:
            self.dropped["even"] += 1


class PutsTwice(Through):
    def add(self, element: Event) -> None:
        if element.sequence % 2:
            super().add(element)
        else:
            element.put()
            element.put()


class EmitsWhatItPut(Through):
    def add(self, element: Event) -> None:
        self.number = element.sequence
        release(element)
        self.passed += 1
        self.emit(element)


class Pairs(Machine[Event, Event]):
    """Holds every other event until the next; breaks nothing."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.held: list[Event] = []

    @property
    def in_flight(self) -> int:
        return len(self.held)

    def add(self, element: Event) -> None:
        self.number = element.sequence
        self.held.append(element)
        if len(self.held) == 2:
            self.finish()

    def finish(self) -> None:
        while self.held:
            self.passed += 1
            self.emit(self.held.pop(0))

    def close(self) -> None:
        held, self.held = self.held, []
        for element in held:
            self.drop(element, "disposed")


class ForgetsToFlush(Pairs):
    def add(self, element: Event) -> None:
        self.number = element.sequence
        self.held.append(element)
        if len(self.held) == 2:
            super().finish()

    def finish(self) -> None:
        return


class ForgetsWhatItHolds(Pairs):
    def close(self) -> None:
        return


class EmitsTwiceOnReEntrance(Through):
    is_busy = False

    def add(self, element: Event) -> None:
        is_inner, self.is_busy = self.is_busy, True
        try:
            super().add(element)
            if is_inner:
                self.emit(element)
        finally:
            self.is_busy = is_inner


class SwallowsARaise(Through):
    guards_itself = True

    def add(self, element: Event) -> None:
        try:
            self.number = element.sequence
        except ValueError:
            return
        except Exception as error:
            self.refuse(element, error)
            return
        self.passed += 1
        self.emit(element)


class GuardsNothing(Through):
    guards_itself = True


class SwallowsWhatObserversRaise(Through):
    def add(self, element: Event) -> None:
        self.number = element.sequence
        self.passed += 1
        try:
            self.emit(element)
        except BaseException:
            self.number = 0


class EmitsRunsBackwards(Machine[Event, Event]):
    guards_itself = True

    def add(self, element: Event) -> None:
        self.add_many([element])

    def add_many(self, elements: list[Event]) -> None:
        good: list[Event] = []
        for element in reversed(elements):
            try:
                self.number = element.sequence
            except Exception as error:
                self.refuse(element, error)
            else:
                good.append(element)
        self.hand_on(good)


class ReadsTheWall(Through):
    def add(self, element: Event) -> None:
        if wall_ns() > 0:
            super().add(element)


class OddOnes(Through):
    def add(self, element: Event) -> None:
        if element.sequence % 2:
            super().add(element)
        else:
            self.drop(element, "even")


class RemembersAtTheClass(Through):
    seen: ClassVar[set[Any]] = set()

    def add(self, element: Event) -> None:
        if (element.stream, element.sequence) in self.seen:
            self.drop(element, "duplicate")
        else:
            self.seen.add((element.stream, element.sequence))
            super().add(element)


class Slips(Through):
    """Every second event meets a mistake, which goes to the dead letters."""

    def add(self, element: Event) -> None:
        if element.sequence % 2:
            super().add(element)
        else:
            self.drop(element)  # type: ignore[call-arg]


def loses_reports() -> NodeSpec:
    """Drops, and does not say so when it is registered."""

    def factory(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
        return stage(lambda: OddOnes(context))

    return spec_of("loses-reports", factory)


def shares_state(context: Context) -> Operator[Event, Event]:
    """What one subscription has seen is a duplicate to the next."""
    seen: set[Any] = set()

    class Unique(Through):
        def add(self, element: Event) -> None:
            if (element.stream, element.sequence) in seen:
                self.drop(element, "duplicate")
            else:
                seen.add((element.stream, element.sequence))
                super().add(element)

    return stage(lambda: Unique(context))


def gives_up_when_fused(context: Context) -> Operator[Event, Event]:
    def operate(source: Observable[Event]) -> Observable[Event]:
        return source if isinstance(source, Stage) else Stage(source, lambda: OddOnes(context))

    return operate


class Rewired(Fusable[Any]):
    """An operator without a machine."""

    def __init__(self, source: Observable[Any], how: str) -> None:
        super().__init__()
        self.source, self.how = source, how

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        def complete_twice() -> None:
            on_completed()
            on_completed()

        assert isinstance(self.source, Fusable)
        completed = complete_twice if self.how == "completes twice" else on_completed
        failed = (lambda _: on_completed()) if self.how == "hides errors" else on_error
        return self.source.wire(emit, failed, completed, scheduler)


def rewired(how: str) -> Callable[[Context], Operator[Any, Any]]:
    return lambda _: lambda source: Rewired(source, how)


class SpacedParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    least_ms: float = 50.0


def spaced(params: SpacedParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """As in README.md."""
    return stage(lambda: Spaced(params, context))


class Spaced(Machine[CanonicalEvent, CanonicalEvent]):
    def __init__(self, params: SpacedParams, context: Context) -> None:
        super().__init__(context)
        self.least = timedelta(milliseconds=params.least_ms)
        self.passed_at: dict[Stream, datetime] = {}

    def add(self, element: CanonicalEvent) -> None:
        now, last = self.scheduler.now, self.passed_at.get(element.stream)
        if last is not None and now - last < self.least:
            self.drop(element, "too_soon")
            return
        self.passed_at[element.stream] = now
        self.passed += 1
        self.emit(element)
