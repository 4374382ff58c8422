"""Hosts a stock reactivex operator in a machine: its guards, its time, its account and its end are then those
of every other operator here.

What the stock operator gives is collected, and emitted once it has returned: neither an observer that raises
nor one that pushes the next element ever finds it half-way. A function of the user's that raises costs its
own element, which is refused, and leaves the operator as it was. Elements are owned: a pooled one is cloned
and put back first.

    stage(lambda: Host(context, lambda host: Line(host, lambda line: ops.map(line.guarded(function)))))

What becomes of an element says the kind of line: `Line` handles it at once, `Chosen` passes it or drops it,
`Gathered` holds it until its list is full, `Latest` holds it until it is due or superseded.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Any, Final, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler
from reactivex.subject import Subject

from flow.context import Context
from flow.errors import FlowError
from flow.stage import Machine, OnCompleted, OnNext, unshielded

__all__ = ["Chosen", "Gathered", "Host", "Latest", "Line", "Operate"]

S = TypeVar("S")
Operate = Callable[["Line"], Callable[[Observable[Any]], Observable[Any]]]
"""Makes the stock operator of one line."""

MOST_LINES: Final = 10_000
"""Keys that a host tells apart; the elements of further ones are refused."""


class Line:
    """One run of a stock operator. An element is handled, whatever comes of it and is kept of it."""

    feed: OnNext
    complete: OnCompleted

    def __init__(self, host: Host, operate: Operate) -> None:
        self.host = host
        self.held = 0
        self.ended: Subject[None] = Subject()
        """Emits once, after the stock operator has been told of the completion."""
        given = operate(self)(Observable(self._enter))
        self.subscription = given.subscribe(self.gave, host.fail, scheduler=host.clock)

    def _enter(
        self, observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        self.feed, self.complete = observer.on_next, observer.on_completed
        return Disposable()

    def take(self, element: Any) -> None:
        self.feed(element)
        if self.host.fault is None:
            self.host.passed += 1

    def gave(self, value: Any) -> None:
        """The stock operator emits; what comes of a function that raised is not meant."""
        if self.host.fault is None:
            self.host.given.append(value)

    def end(self) -> None:
        self.complete()
        self.ended.on_next(None)

    def guarded(
        self, function: Callable[..., Any], otherwise: Callable[..., Any] | None = None
    ) -> Callable[..., Any]:
        """The function for the stock operator's use. Where it raises, `otherwise` or None stands in."""
        host = self.host

        def call(*args: Any) -> Any:
            try:
                return function(*args)
            except Exception as error:
                host.fault = error
                return None if otherwise is None else otherwise(*args)

        return call


class Chosen(Line):
    """Each element comes out at once, or is dropped for `reason`."""

    def __init__(self, host: Host, operate: Operate, reason: str) -> None:
        self.reason = reason
        super().__init__(host, operate)

    def take(self, element: Any) -> None:
        host = self.host
        before = len(host.given)
        self.feed(element)
        if host.fault is not None:
            return
        if len(host.given) > before:
            host.passed += 1
        else:
            host.drop(element, self.reason)


class Gathered(Line):
    """Elements come out in lists of `count`, which begin every `step` elements: an element has passed with
    the last list that holds it, and is dropped as `skipped` where it falls between two."""

    def __init__(self, host: Host, operate: Operate, count: int, step: int) -> None:
        self.count, self.step, self.taken = count, step, 0
        super().__init__(host, operate)

    def take(self, element: Any) -> None:
        place = self.taken % self.step
        self.taken += 1
        if place < self.count:
            self.held += 1
        else:
            self.host.drop(element, "skipped")
        self.feed(element)

    def gave(self, value: Any) -> None:
        if not value:
            return
        leaving = min(self.step, len(value))
        self.held -= leaving
        self.host.passed += leaving
        super().gave(value)


class Latest(Line):
    """Holds one element until it is due; a newer one supersedes it."""

    def take(self, element: Any) -> None:
        if self.held:
            self.host.dropped["superseded"] += 1
        else:
            self.held = 1
        self.feed(element)

    def gave(self, value: Any) -> None:
        self.held -= 1
        self.host.passed += 1
        super().gave(value)


class Host(Machine[Any, Any]):
    """The machine: a line for all elements, or with `key` one for each of its values, made when the first
    element comes."""

    guards_itself = True

    def __init__(
        self,
        context: Context,
        make: Callable[[Host], Line],
        key: Callable[[Any], Hashable] | None = None,
    ) -> None:
        super().__init__(context)
        self.make = make
        self.key = key
        self.clock = Clock(self)
        self.lines: dict[Hashable, Line] = {}
        self.given: list[Any] = []
        """What the stock operators gave and is not emitted yet."""
        self.fault: Exception | None = None
        """What the user's function raised on the element at hand."""
        self.sent = 0
        self.is_closed = False

    @property
    def in_flight(self) -> int:
        return sum(line.held for line in self.lines.values())

    @property
    def emitted(self) -> int:
        return self.sent

    def add(self, element: Any) -> None:
        self.take(element)
        self.let_out()

    def add_many(self, elements: list[Any]) -> None:
        for element in elements:
            self.take(element)
        self.let_out()

    def take(self, element: Any) -> None:
        """Feed an element to its line; refuse it where that raises, after what came of those before it."""
        if self.is_closed:
            self.drop(element, "disposed")
            return
        try:
            if getattr(element, "home", None) is not None:
                pooled, element = element, element.own()
                pooled.put()
            key = None if self.key is None else self.key(element)
            line = self.lines.get(key) or self.new_line(key)
            line.take(element)
        except Exception as error:
            self.fault = error
        if self.fault is not None:
            fault, self.fault = self.fault, None
            self.let_out()
            self.refuse(element, fault)

    def new_line(self, key: Hashable) -> Line:
        if len(self.lines) >= MOST_LINES:
            raise FlowError(f"{key!r} is one key too many: {MOST_LINES} are told apart")
        line = self.lines[key] = self.make(self)
        return line

    def let_out(self) -> None:
        """Emit what the stock operators gave."""
        given = self.given
        if len(given) == 1:
            self.sent += 1
            self.emit(given.pop())
        elif given:
            self.given = []
            self.sent += len(given)
            self.emit_many(given)

    def tick(self, act: Callable[[], object]) -> None:
        """Run what a stock operator has scheduled."""
        try:
            act()
        except Exception as error:
            self.report(error)
        self.let_out()

    def finish(self) -> None:
        for line in list(self.lines.values()):
            line.end()
        self.let_out()

    def close(self) -> None:
        self.is_closed = True
        lines, self.lines = self.lines, {}
        for line in lines.values():
            line.subscription.dispose()
            if line.held:
                self.dropped["disposed"] += line.held


class Clock(PeriodicScheduler):
    """The host's scheduler, as its stock operators see it: their timers end where elements end too."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    @property
    def now(self) -> datetime:
        return self.host.scheduler.now

    def schedule(self, action: abc.ScheduledAction[S], state: S | None = None) -> abc.DisposableBase:
        return self.host.scheduler.schedule(self._hosted(action), state)

    def schedule_relative(
        self, duetime: Any, action: abc.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        return self.host.scheduler.schedule_relative(duetime, self._hosted(action), state)

    def schedule_absolute(
        self, duetime: Any, action: abc.ScheduledAction[S], state: S | None = None
    ) -> abc.DisposableBase:
        return self.host.scheduler.schedule_absolute(duetime, self._hosted(action), state)

    def _hosted(self, action: abc.ScheduledAction[S]) -> abc.ScheduledAction[S]:
        def act(_: abc.SchedulerBase, state: S | None = None) -> None:
            run(lambda: action(self, state))

        run = unshielded(self.host.tick)
        return act
