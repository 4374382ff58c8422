"""Lifts a plain synchronous state machine into a reactivex operator, at the price of a function call.

An operator is a `Machine`: `add(element)` takes one element and calls `self.emit` for what comes of it. `Stage` is the
Observable around it: outside it is an ordinary operator for `.pipe(...)` (Rx grammar, disposal, schedulers, virtual time);
where one stage subscribes to another they wire their callables directly, so a chain of stages is a chain of calls.

Errors. A machine guards its body, never its emit. What its body raises goes to the dead letters with the element, and the
stream goes on; without a dead-letter queue (a bare `.pipe`) it goes to `on_error`. What a stock observer at the end of a
chain raises is its own: it passes all guards and reaches whoever pushed the element. Ownership bugs pass all guards too.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.scheduler import TimeoutScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler

from flow.context import Context
from flow.errors import OwnershipBug, PoolTimeout
from flow.pool import release

__all__ = [
    "Fusable",
    "Machine",
    "SharedOutput",
    "Stage",
    "Subscription",
    "connect",
    "default_scheduler",
    "stage",
]

In = TypeVar("In")
Out = TypeVar("Out")
OnNext = Callable[[Any], None]
OnError = Callable[[Exception], None]
OnCompleted = Callable[[], None]


class _ObserverRaised(BaseException):
    """Carries what a stock observer raised past the guards of the stages above it."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _not_wired(element: Any) -> None:
    raise RuntimeError("a machine emits only while its stage is subscribed to")


class Machine(Generic[In, Out]):
    """The state of one operator and its verbs. Subclasses set what they need in `__init__(params, context)`.

    `emit` is set by the stage. `scheduler` is where timers come from. `passed` counts the elements that were fully
    handled, `dropped` those that were not passed on, by reason; `in_flight` counts what is held right now.
    """

    guards_itself: ClassVar[bool] = False
    """True where `add` guards its own body; others are wrapped, at the price of one more call."""

    emit: Callable[[Out], None] = staticmethod(_not_wired)
    fail: OnError
    scheduler: abc.SchedulerBase
    context: Context

    def __init__(self, context: Context) -> None:
        self.context = context
        self.passed = 0
        self.dropped: Counter[str] = Counter()
        self.dead_lettered = 0

    @abstractmethod
    def add(self, element: In) -> None:
        """Take one element."""

    def finish(self) -> None:
        """The source completed: emit what is held back."""

    def close(self) -> None:
        """Disposed, completed or failed: stop timers and give back what is held. May be called more than once."""

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

    def refuse(self, element: Any, error: Exception, reason: str = "") -> None:
        """Send an element that can't be processed to the dead letters, or the error downstream where there are none."""
        if isinstance(error, (OwnershipBug, PoolTimeout)):
            raise error
        if self.context.dead_letters is None:
            release(element)
            self.fail(error)
            return
        self.dead_lettered += 1
        self.context.refuse(element, reason or type(error).__name__, str(error))
        release(element)


class Fusable(Observable[Out]):
    """An Observable whose subscribers can be wired to it as bare callables."""

    @abstractmethod
    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        """Subscribe without an observer. The callables obey the Rx grammar; emit is never guarded."""

    def _subscribe_core(
        self, observer: abc.ObserverBase[Out], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        on_next = observer.on_next

        def shielded(element: Any) -> None:
            try:
                on_next(element)
            except Exception as error:
                raise _ObserverRaised(error) from error

        return self.wire(shielded, observer.on_error, observer.on_completed, scheduler)


class Subscription(abc.DisposableBase):
    """One reader of a shared output. `sent` counts what was put on its edge."""

    sent: int = 0


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
    """Subscribe bare callables to any Observable: directly where it is fusable, as an observer where it is stock."""
    if isinstance(source, Fusable):
        return source.wire(emit, on_error, on_completed, scheduler)

    def unshielded(element: Any) -> None:
        try:
            emit(element)
        except _ObserverRaised as raised:
            raise raised.error from raised.error.__cause__

    return source.subscribe(unshielded, on_error, on_completed, scheduler=scheduler)


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
        machine.emit = emit
        machine.scheduler = scheduler or machine.context.scheduler or default_scheduler()
        upstream = CompositeDisposable(Disposable(machine.close))
        is_over = False

        def end(notify: Callable[[], None], flush: bool) -> None:
            nonlocal is_over
            if is_over:
                return
            is_over = True
            if flush:
                machine.finish()
            machine.close()
            upstream.dispose()
            notify()

        machine.fail = lambda error: end(lambda: on_error(error), flush=False)
        entry = machine.add if machine.guards_itself else _guarded(machine)
        upstream.add(
            connect(
                self.source, entry, machine.fail, lambda: end(on_completed, flush=True), machine.scheduler
            )
        )
        return upstream


def _guarded(machine: Machine[Any, Any]) -> OnNext:
    add, refuse = machine.add, machine.refuse

    def entry(element: Any) -> None:
        try:
            add(element)
        except Exception as error:
            refuse(element, error)

    return entry


def stage(make: Callable[[], Machine[In, Out]]) -> Callable[[Observable[In]], Observable[Out]]:
    """The operator whose every subscription runs a machine of its own."""
    return lambda source: Stage(source, make)
