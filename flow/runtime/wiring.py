"""The joints of a topology: Observables that stand for components, joined inputs and shared outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from flow.component import Source, Transform
from flow.context import Context
from flow.errors import OwnershipBug, PoolTimeout
from flow.pool import release
from flow.stage import Fusable, OnCompleted, OnError, OnNext, SharedOutput, Subscription, connect
from flow.telemetry.dead_letters import DeadLetter, DeadLetters

__all__ = [
    "Counted",
    "DeadLetterPort",
    "Joined",
    "Shared",
    "SourceOutput",
    "Tapped",
    "TransformOutput",
    "owned",
]


def owned(add: OnNext) -> OnNext:
    """Hand on elements that belong to the receiver: a pooled one is cloned and put back first."""

    def adapt(element: Any) -> None:
        if getattr(element, "home", None) is not None:
            pooled, element = element, element.own()
            pooled.put()
        add(element)

    return adapt


class SourceOutput(Fusable[Any]):
    """What a source component emits."""

    def __init__(self, component: Source[Any]) -> None:
        super().__init__()
        self.component = component
        self.dropped: Counter[str] = Counter()
        self.on_completed: OnCompleted = _nothing

    def limit(self, most: int, reached: Callable[[], None]) -> None:
        """Let `most` elements through, then call `reached`; what still comes is counted as `over_limit`."""
        emit, left = self.component.emit, most

        def limited(element: Any) -> None:
            nonlocal left
            if left <= 0:
                self.dropped["over_limit"] += 1
                release(element)
                return
            emit(element)
            left -= 1
            if left == 0:
                reached()

        self.component.emit = limited

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        self.component.emit = emit
        self.on_completed = on_completed
        return Disposable()


def _nothing() -> None:
    return


class TransformOutput(Fusable[Any]):
    """What a transform component makes of its source, in the same call chain."""

    def __init__(
        self, source: Observable[Any], component: Transform[Any, Any], context: Context, *, pooled: bool
    ) -> None:
        super().__init__()
        self.source = source
        self.component = component
        self.context = context
        self.pooled = pooled

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        component = self.component
        component.emit = emit

        def complete() -> None:
            component.finish()
            on_completed()

        add = component.add if component.guards_itself else self._guarded(component)
        add = add if self.pooled else owned(add)
        return connect(self.source, add, on_error, complete, scheduler)

    def _guarded(self, component: Transform[Any, Any]) -> OnNext:
        def add(element: Any) -> None:
            try:
                component.add(element)
            except (OwnershipBug, PoolTimeout):
                raise
            except Exception as error:
                component.dead_lettered += 1
                self.context.refuse(element, type(error).__name__, str(error))
                release(element)

        return add


class Joined(Fusable[Any]):
    """Several inputs as one; completes when all have."""

    def __init__(self, sources: list[Observable[Any]]) -> None:
        super().__init__()
        self.sources = sources

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        open_inputs = len(self.sources)

        def complete() -> None:
            nonlocal open_inputs
            open_inputs -= 1
            if open_inputs == 0:
                on_completed()

        wired = [connect(source, emit, on_error, complete, scheduler) for source in self.sources]
        return CompositeDisposable(*wired)


class Reader(Subscription):
    """One reader of a `Shared` output."""

    def __init__(
        self, leave: Callable[[Reader], None], emit: OnNext, failed: OnError, completed: OnCompleted
    ) -> None:
        self.leave = leave
        self.emit = emit
        self.on_error = failed
        self.on_completed = completed
        self.count = 0

    @property
    def sent(self) -> int:
        return self.count

    def dispose(self) -> None:
        self.leave(self)


class Shared(SharedOutput[Any]):
    """Unpooled elements for several readers. Each gets a clone of its own where elements have `own`: what one
    writes, such as a routing version, is not to be seen by another."""

    def __init__(self, source: Observable[Any]) -> None:
        super().__init__()
        self.source = source
        self.readers: list[Reader] = []
        self._upstream: abc.DisposableBase | None = None

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        return self.wire_named("", emit, on_error, on_completed, scheduler)

    def wire_named(
        self,
        name: str,
        emit: OnNext,
        on_error: OnError,
        on_completed: OnCompleted,
        scheduler: abc.SchedulerBase | None,
    ) -> Subscription:
        reader = Reader(self._leave, emit, on_error, on_completed)
        self.readers = [*self.readers, reader]
        if self._upstream is None:
            self._upstream = Disposable()
            self._upstream = connect(self.source, self._emit, self._fail, self._complete, scheduler)
        return reader

    def _emit(self, element: Any) -> None:
        readers = self.readers
        own = getattr(element, "own", None)
        for reader in readers:
            reader.count += 1
            reader.emit(element if own is None or reader is readers[-1] else own())

    def _fail(self, error: Exception) -> None:
        for reader in self.readers:
            reader.on_error(error)

    def _complete(self) -> None:
        for reader in self.readers:
            reader.on_completed()

    def _leave(self, reader: Reader) -> None:
        self.readers = [other for other in self.readers if other is not reader]


class Tapped(Fusable[Any]):
    """An output that code outside of the graph looks at too: it gets clones, the graph the originals."""

    def __init__(self, source: Fusable[Any]) -> None:
        super().__init__()
        self.source = source
        self.observers: list[tuple[OnNext, OnCompleted]] = []

    def observe(self, emit: OnNext, on_completed: OnCompleted) -> None:
        """Let `emit` see a clone of every element; it must not raise."""
        self.observers.append((emit, on_completed))

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        def through(element: Any) -> None:
            clone = element.own() if getattr(element, "home", None) is not None else element
            for see, _ in self.observers:
                see(clone)
            emit(element)

        def complete() -> None:
            for _, end in self.observers:
                end()
            on_completed()

        return self.source.wire(through, on_error, complete, scheduler)


class DeadLetterPort(Fusable[DeadLetter]):
    """A node's refused elements as a stream. It completes with the graph."""

    def __init__(self, letters: DeadLetters, node_id: str) -> None:
        super().__init__()
        self.letters = letters
        self.node_id = node_id
        self.sent = 0
        self.completions: list[OnCompleted] = []

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        def listen(letter: DeadLetter) -> None:
            self.sent += 1
            emit(letter)

        self.letters.listeners.setdefault(self.node_id, []).append(listen)
        self.completions.append(on_completed)
        return Disposable(lambda: self.letters.listeners[self.node_id].remove(listen))

    def complete(self) -> None:
        for on_completed in self.completions:
            on_completed()


class Counted(Fusable[Any]):
    """Any Observable with a count of what came through: the ledger's eyes on stock operators."""

    def __init__(self, source: Observable[Any], *, is_owning: bool = False) -> None:
        super().__init__()
        self.source = source
        self.is_owning = is_owning
        self.passed = 0

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        def through(element: Any) -> None:
            self.passed += 1
            emit(element)

        add = owned(through) if self.is_owning else through
        return connect(self.source, add, on_error, on_completed, scheduler)
