"""Components: nodes with a life-cycle.

A graph's vertex is a node. Behind it stands an operator (pure, stream to stream) or a component, which owns
something that must be started and stopped: a socket, a file, a task. Three shapes, told apart by the return
annotation of the factory: a `Source[Out]` has only outputs, a `Transform[In, Out]` takes elements
synchronously and also lives (it may fetch something), a `Consumer[In]` is the end of a path and reads a
mailbox in a task of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

__all__ = ["Component", "Consumer", "Emit", "Source", "Transform"]

In = TypeVar("In")
Out = TypeVar("Out")
Emit = Callable[[Any], None]


class Component(ABC):
    """Something with a life-cycle. `start` returns once it works; `stop` returns once nothing is left of
    it."""

    async def start(self) -> None:
        """Acquire what is needed. Sinks are started first, sources last."""

    async def stop(self) -> None:
        """Release everything. Called once, also after a `start` that raised."""

    def summary(self) -> dict[str, Any]:
        """What the run's summary says of this component beside its ledger; {} for nothing."""
        return {}


class Source(Component, Generic[Out]):
    """Where elements come from. The graph sets `emit` before `start`; call it from the event loop only."""

    emit: Callable[[Out], None]
    emitted: int = 0
    """How many elements were handed to `emit`, those that it refused included."""

    @property
    def refused(self) -> dict[str, int]:
        """Elements that were given up before the first operator took them, by reason."""
        return {}

    @abstractmethod
    async def run(self) -> None:
        """Emit until there is no more, then return: the graph then completes and drains."""

    def pause(self) -> None:
        """Take nothing more from outside: the drain has begun."""


class Transform(Component, Generic[In, Out]):
    """Takes elements in the caller's call chain and emits others, now or later."""

    guards_itself: ClassVar[bool] = False
    """True where `add` guards its own body and not its emit; what another's `add` raises goes to the dead
    letters, and the element with it."""

    emit: Callable[[Out], None]
    taken: int = 0
    """Elements fully handled, those dropped and refused not counted."""
    emitted: int = 0
    dead_lettered: int = 0
    dropped: Counter[str]

    @property
    def in_flight(self) -> int:
        """How many elements are held, counted from their containers."""
        return 0

    @abstractmethod
    def add(self, element: In) -> None:
        """Take one element."""

    def finish(self) -> None:
        """No more elements come: emit what is held back."""


class Consumer(Component, Generic[In]):
    """The end of a path. A handler that raises is reported and isolated; the next element is still
    delivered."""

    @abstractmethod
    def handle(self, element: In) -> Any:
        """Take one element; the value is awaited where it is awaitable."""

    handle_batch: Callable[[list[Any]], None] | None = None
    """Where set, whole batches are handed over in one call instead (no isolation between their elements)."""
