"""Lifts a plain synchronous state machine into a reactivex operator, at the price of a function call.

An operator is a `Machine`: `add(element)` takes one element and calls `self.emit` for what comes of it.
`Stage` is the Observable around it: outside it is an ordinary operator for `.pipe(...)` (Rx grammar,
disposal, schedulers, virtual time); where one stage subscribes to another they wire their callables directly,
so a chain of stages is a chain of calls.

Errors. A machine guards its body, never its emit. What its body raises goes to the dead letters, with the
element unless that was passed on, and the stream goes on; without dead letters (a bare `.pipe`) to
`on_error`. What a stock observer at the end raises is its own: as `ObserverRaised` it passes all guards and
reaches whoever pushed the element, as it was raised; pooled elements that it was handed, or was to be, go
back. `PoolTimeout` and ownership bugs pass all guards too.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.scheduler import TimeoutScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler

from flow.context import Context
from flow.errors import OwnershipBug, PoolTimeout
from flow.events.stream import Stream
from flow.poison import is_poisoned
from flow.pool import release

__all__ = [
    "Fusable",
    "Machine",
    "ObserverRaised",
    "SharedOutput",
    "Stage",
    "Subscription",
    "connect",
    "default_scheduler",
    "door",
    "many",
    "shielded",
    "stage",
    "unshielded",
]

In = TypeVar("In")
Out = TypeVar("Out")
OnNext = Callable[[Any], None]
OnRun = Callable[[list[Any]], None]
"""Takes a run: elements that arrived together, in order. The list belongs to the receiver."""
OnError = Callable[[Exception], None]
OnCompleted = Callable[[], None]


class ObserverRaised(BaseException):
    """Carries what a stock observer raised past the guards of the stages above it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error
        self.is_first = _MARK not in error.__dict__
        """Whether no other observer further down the chain has raised it before."""
        error.__dict__[_MARK] = True


_MARK = "__raised_by_observer__"


def door(emit: OnNext) -> OnRun | None:
    """The bound method for runs beside that for single elements: `x.add_many` for `x.add`; None without."""
    owner = getattr(emit, "__self__", None)
    return None if owner is None else getattr(owner, f"{getattr(emit, '__name__', '')}_many", None)


def many(emit: OnNext) -> OnRun:
    """`emit` for whole runs: through its door where it has one, else one element after another."""
    outlet = Outlet()
    outlet.emit = emit
    return door(emit) or outlet.emit_each


def _not_wired(element: Any) -> None:
    raise RuntimeError("a machine emits only while its stage is subscribed to")


def _not_subscribed(error: Exception) -> None:
    raise error


class Outlet:
    emit: Callable[[Any], None]

    def emit_each(self, elements: list[Any]) -> None:
        """Emit a run to a receiver that takes one element at a time; as that raises, the rest goes back."""
        rest = iter(elements)
        try:
            for element in rest:
                self.emit(element)
        except BaseException as error:
            left = [release(element) for element in rest]
            if isinstance(error, PoolTimeout):
                error.left += len(left)
            raise


class Machine(Outlet, Generic[In, Out]):
    """The state of one operator and its verbs. Subclasses set what they need in `__init__(params, context)`.

    `emit` is set by the stage: read it anew for each element, as one that is emitted after the end is given
    back instead. `scheduler` is where time comes from. `passed` counts the elements that were fully handled,
    `dropped` those that were not passed on, by reason; `in_flight` counts what is held right now.
    """

    guards_itself: ClassVar[bool] = False
    """Whether `add` guards its own body and not its emit; others are wrapped, at the price of a call more."""

    emit: Callable[[Out], None] = staticmethod(_not_wired)
    fail: OnError = staticmethod(_not_subscribed)
    scheduler: abc.SchedulerBase
    context: Context

    def __init__(self, context: Context) -> None:
        self.context = context
        self.passed: int = 0
        self.dropped: Counter[str] = Counter()
        self.dead_lettered: int = 0
        self.taken_back: int = 0
        self.emit_many: OnRun = self.emit_each
        """Emits a run: through the receiver's own door for runs, where `lead_to` found one."""

    @abstractmethod
    def add(self, element: In) -> None:
        """Take one element."""

    def add_many(self, elements: list[In]) -> None:
        """Take a run of elements, as one after another. Only called where the machine guards itself."""
        for element in elements:
            self.add(element)

    def lead_to(self, emit: OnNext) -> None:
        """Set where the machine emits to."""
        self.emit = emit
        self.emit_many = door(emit) or self.emit_each

    def hand_on(self, elements: list[Out]) -> None:
        """Emit a run of elements that were handled, and count them."""
        if elements:
            self.passed += len(elements)
            self.emit_many(elements)

    def finish(self) -> None:
        """The source completed: emit what is held back."""

    def attempt(self, action: Callable[[], None]) -> None:
        """Guard `action` as a body is."""
        try:
            action()
        except Exception as error:
            self.report(error)

    def close(self) -> None:
        """Disposed, completed or failed: stop timers, give back what is held. May be called twice."""

    def after(self, seconds: float, action: Callable[[], None]) -> abc.DisposableBase:
        """Let the scheduler run `action` once. It is guarded as a body is; there is no element to refuse."""
        run = unshielded(lambda _: self.attempt(action))
        return self.scheduler.schedule_relative(seconds, lambda scheduler, state=None: run(state))

    @property
    def in_flight(self) -> int:
        """How many elements are held, counted from their containers."""
        return 0

    @property
    def taken(self) -> int:
        """How many elements were fully handled: the `out` of the edge before."""
        return self.passed

    @property
    def emitted(self) -> int:
        """How many elements went downstream; the same as `passed` where each gives one."""
        return self.passed

    def drop(self, element: Any, reason: str) -> None:
        """Give an element up, counted by reason."""
        self.dropped[reason] += 1
        release(element)

    def take_back(self, element: Any) -> None:
        """Give back what was emitted after the end, when nobody read any more."""
        self.taken_back += 1
        release(element)

    def refuse(self, element: Any, error: Exception, reason: str = "") -> None:
        """Send an element that can't be processed to the dead letters, or the error downstream where there
        are none."""
        if isinstance(error, (OwnershipBug, PoolTimeout)):
            raise error
        if self.context.dead_letters is None:
            release(element)
            self.fail(error)
            return
        self.dead_lettered += 1
        try:
            self.context.refuse(element, reason or type(error).__name__, str(error))
        finally:
            release(element)

    def report(self, error: Exception) -> None:
        """As `refuse`, for what a timer or the flush at completion raised: there is no element to count."""
        if isinstance(error, (OwnershipBug, PoolTimeout)):
            raise error
        if self.context.dead_letters is None:
            self.fail(error)
        else:
            self.context.refuse(None, type(error).__name__, str(error))


class Fusable(Observable[Out]):
    """An Observable whose subscribers can be wired to it as bare callables."""

    @abstractmethod
    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        """Subscribe without an observer. The callables are called by the Rx grammar, and raise nothing but
        what passes guards: wrap those that may in `shielded`."""

    def _subscribe_core(
        self, observer: abc.ObserverBase[Out], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        completed = shielded(lambda _: observer.on_completed())
        try:
            return self.wire(
                shielded(observer.on_next), shielded(observer.on_error), lambda: completed(None), scheduler
            )
        except ObserverRaised as raised:
            error = raised.error
        raise error


def shielded(call: Callable[[Any], None]) -> Callable[[Any], None]:
    """What `call` raises is its own, not the failure of whoever emits to it; a pooled element goes back."""

    def shield(element: Any) -> None:
        try:
            call(element)
        except Exception as error:
            raised = ObserverRaised(error)
            if raised.is_first and not is_poisoned(element):
                release(element)
            raise raised from None

    return shield


def unshielded(emit: Callable[[Any], None]) -> Callable[[Any], None]:
    """For whoever pushes into a chain from outside: what a stock observer raised arrives as it was raised."""

    def unshield(element: Any) -> None:
        try:
            emit(element)
            return
        except ObserverRaised as raised:
            error = raised.error
        raise error

    return unshield


class Subscription(abc.DisposableBase):
    """One reader of a shared output."""

    @property
    @abstractmethod
    def sent(self) -> int:
        """How many elements were put on its edge."""

    @property
    def sent_by_stream(self) -> Mapping[Stream, int] | None:
        """The same by stream, where that is known."""
        return None


class SharedOutput(Fusable[Out]):
    """An output that gives every subscriber elements of its own."""

    @abstractmethod
    def wire_named(
        self,
        name: str,
        emit: OnNext,
        on_error: OnError,
        on_completed: OnCompleted,
        scheduler: abc.SchedulerBase | None,
    ) -> Subscription:
        """As `wire`, under the name that the routing table knows the subscriber by."""


def connect(
    source: Observable[Any],
    emit: OnNext,
    on_error: OnError,
    on_completed: OnCompleted,
    scheduler: abc.SchedulerBase | None,
) -> abc.DisposableBase:
    """Subscribe bare callables to any Observable: directly where it is fusable, else as an observer."""
    if isinstance(source, Fusable):
        return source.wire(emit, on_error, on_completed, scheduler)

    completed = unshielded(lambda _: on_completed())
    return source.subscribe(
        unshielded(emit), unshielded(on_error), lambda: completed(None), scheduler=scheduler
    )


def default_scheduler() -> abc.SchedulerBase:
    """The running event loop's scheduler; without a loop, reactivex's own default for timers."""
    try:
        return AsyncIOScheduler(asyncio.get_running_loop())
    except RuntimeError:
        return TimeoutScheduler.singleton()


class Stage(Fusable[Out]):
    """One machine per subscription, between a source and whoever subscribes."""

    def __init__(self, source: Observable[Any], make: Callable[[], Machine[Any, Out]]) -> None:
        super().__init__()
        self.source = source
        self.make = make
        self.machine: Machine[Any, Out] | None = None
        """The machine of the latest subscription, for the ledger."""

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        machine = self.machine = self.make()
        machine.lead_to(emit)
        given = scheduler or machine.context.scheduler
        machine.scheduler = given or default_scheduler()
        is_over = False

        def stop() -> None:
            nonlocal is_over
            is_over = True
            machine.lead_to(machine.take_back)
            machine.close()
            machine.add = partial(machine.drop, reason="disposed")

        upstream = CompositeDisposable(Disposable(stop))

        def fail(error: Exception) -> None:
            if not is_over:
                upstream.dispose()
                on_error(error)

        def complete() -> None:
            if is_over:
                return
            try:
                machine.attempt(machine.finish)
                is_complete = not is_over
            finally:
                upstream.dispose()
            if is_complete:
                on_completed()

        machine.fail = fail
        entry = machine.add if machine.guards_itself else _guarded(machine)
        try:
            upstream.add(connect(self.source, entry, fail, complete, given))
        except BaseException:
            upstream.dispose()
            raise
        return upstream


def _guarded(machine: Machine[Any, Any]) -> OnNext:
    def entry(element: Any) -> None:
        before = machine.passed
        try:
            machine.add(element)
        except Exception as error:
            if machine.passed > before:  # the element went on and is another's now
                machine.report(error)
            else:
                machine.refuse(element, error)

    return entry


def stage(make: Callable[[], Machine[In, Out]]) -> Callable[[Observable[In]], Observable[Out]]:
    """The operator whose every subscription runs a machine of its own."""
    return lambda source: Stage(source, make)
