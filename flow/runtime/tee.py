"""A tee: one output that is handed to its owner, and shown to watchers on the way.

    unique ─┬─► routed            the owner gets the objects, in the same runs as without watchers
            └┄► merged            a watcher is shown each run before, and keeps copies

Watchers stand beside the main way: they are never waited for, and what they raise is told, not passed on.
"""

from __future__ import annotations

from typing import Any

from reactivex import abc
from reactivex.disposable import Disposable

from flow.context import Context
from flow.errors import FlowError, OwnershipBug, PoolTimeout
from flow.stage import Fusable, ObserverRaised, OnCompleted, OnError, OnNext, OnRun, connect, many
from flow.telemetry.occurrences import PoolTimedOut

__all__ = ["Tee", "Watched"]


class Tee(Fusable[Any]):
    """An output with one owner, whose runs watchers are shown first. What a watcher raises is its own."""

    def __init__(self, source: Fusable[Any]) -> None:
        super().__init__()
        self.source = source
        self.watched: list[Watched] = []
        self.emit_many: OnRun = _lose
        self.on_error: OnError = _lose
        self.on_completed: OnCompleted = _nothing

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        """Subscribe as the owner."""
        self.emit_many, self.on_error, self.on_completed = many(emit), on_error, on_completed
        return connect(self.source, self.hand, self._fail, self._complete, scheduler)

    def hand(self, element: Any) -> None:
        self.hand_many([element])

    def hand_many(self, elements: list[Any]) -> None:
        for watched in self.watched:
            watched.show(elements)
        self.emit_many(elements)

    def _fail(self, error: Exception) -> None:
        for watched in [*self.watched]:
            watched.fail(error)
        self.on_error(error)

    def _complete(self) -> None:
        for watched in [*self.watched]:
            watched.complete()
        self.on_completed()


class Watched(Fusable[Any]):
    """A watcher's side of a `Tee`, and the account of its edge. `context` is the watcher's."""

    def __init__(self, tee: Tee, context: Context) -> None:
        super().__init__()
        self.tee = tee
        self.context = context
        self.sent = 0
        """Elements that were shown."""
        self.dead_lettered = 0
        """Elements of runs on which the watcher raised."""
        self.watch_many: OnRun = _lose
        self.on_error: OnError = _lose
        self.on_completed: OnCompleted = _nothing

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        """Subscribe a machine by its `add`. Raises `FlowError` where it can't watch."""
        watch_many = getattr(getattr(emit, "__self__", None), "watch_many", None)
        if watch_many is None:
            name = self.context.node_id
            raise FlowError(f"{name}: what watches is a machine that guards itself and has watch_many")
        self.watch_many, self.on_error, self.on_completed = watch_many, on_error, on_completed
        self.tee.watched = [*self.tee.watched, self]
        return Disposable(self._leave)

    def show(self, elements: list[Any]) -> None:
        """Let the watcher look at a run, which stays as it is."""
        self.sent += len(elements)
        try:
            self.watch_many(elements)
        except (Exception, ObserverRaised) as raised:
            self._isolate(raised, elements)

    def fail(self, error: Exception) -> None:
        try:
            self.on_error(error)
        except (Exception, ObserverRaised) as raised:
            self._isolate(raised, [])

    def complete(self) -> None:
        try:
            self.on_completed()
        except (Exception, ObserverRaised) as raised:
            self._isolate(raised, [])

    def _isolate(self, raised: Exception | ObserverRaised, elements: list[Any]) -> None:
        """Report what the watcher raised, and the run with it; what an observer behind it raised, alone."""
        is_own = isinstance(raised, Exception)
        error = raised if isinstance(raised, Exception) else raised.error
        if isinstance(error, OwnershipBug):
            raise raised
        if isinstance(error, PoolTimeout):
            self.context.occurred(PoolTimedOut(error.kind))
            return
        refused = elements if is_own and elements else [None]
        self.dead_lettered += len(elements) if is_own else 0
        for element in refused:
            self.context.refuse(element, type(error).__name__, str(error))

    def _leave(self) -> None:
        self.tee.watched = [other for other in self.tee.watched if other is not self]


def _lose(element: Any) -> None:
    raise RuntimeError("elements came before the wiring was done")


def _nothing() -> None:
    return
