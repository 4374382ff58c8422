"""The operators and transforms of the random graphs: what a user could write, and what can go wrong in it."""

import asyncio
from collections import Counter, deque
from typing import Annotated, Any

from msgspec import Meta, Struct
from reactivex import Observable, abc
from reactivex import operators as ops

from flow.component import Transform
from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.pool import release
from flow.registry import Operator
from flow.stage import Machine, stage
from tests.graphs.random_graphs.world import World, here

__all__ = ["FaultyParams", "HoldParams", "careful", "careless", "filtering", "keeping", "raising_map", "step"]


class FaultyParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    raises_every: Annotated[int, Meta(ge=0, description="0: never")] = 0
    reads: Annotated[bool, Meta(description="look at the payload, which may raise")] = False


class HoldParams(FaultyParams, frozen=True, kw_only=True, forbid_unknown_fields=True):
    hold_ms: Annotated[int, Meta(ge=0, description="0: elements go on at once")] = 0
    timer_raises: bool = False


class Body:
    """What is done to each element, and what goes wrong at it."""

    def __init__(self, params: FaultyParams, context: Context, kind: str) -> None:
        self.params = params
        self.node = context.node_id
        self.kind = kind
        self.world: World = here.get()
        self.seen = 0

    def look(self, element: Any) -> None:
        self.seen += 1
        every = self.params.raises_every
        try:
            if every and self.seen % every == 0:
                self.world.strike(f"{self.kind} raised")
            if self.params.reads:
                element.payload.row()
        except Exception as error:
            self.world.refused(self.node, element, error)
            raise

    def fail_on_timer(self, *, is_reported: bool) -> None:
        """What an operator's timer raises is a dead letter, what a component's raises is the event loop's."""
        if is_reported:
            self.world.raised[(self.node, "Injected")] += 1
        self.world.strike(f"{self.kind}'s timer raised")

    def lose(self, element: Any) -> None:
        self.world.lose(self.node, element)


class Looking(Machine[Any, Any]):
    """Passes what can be looked at."""

    def __init__(self, params: FaultyParams, context: Context) -> None:
        super().__init__(context)
        self.body = Body(params, context, "operator")

    def add(self, element: Any) -> None:
        self.body.look(element)
        self.passed += 1
        self.emit(element)


class Keeping(Looking):
    """Holds all for a while, in order."""

    def __init__(self, params: HoldParams, context: Context) -> None:
        super().__init__(params, context)
        self.params = params
        self.hold_s = params.hold_ms / 1000
        self.held: deque[Any] = deque()
        self.timer: abc.DisposableBase | None = None

    @property
    def in_flight(self) -> int:
        return len(self.held)

    def add(self, element: Any) -> None:
        self.body.look(element)
        self.held.append(element)
        if self.timer is None:
            self.timer = self.after(self.hold_s, self.let_go)

    def let_go(self) -> None:
        self.timer = None
        self.finish()
        if self.params.timer_raises:
            self.body.fail_on_timer(is_reported=True)

    def finish(self) -> None:
        while self.held:
            element = self.held.popleft()
            self.passed += 1
            self.emit(element)

    def close(self) -> None:
        if self.timer is not None:
            self.timer.dispose()
            self.timer = None
        while self.held:
            element = self.held.popleft()
            self.body.lose(element)
            self.drop(element, "disposed")


def careful(params: FaultyParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Takes pooled events."""
    return stage(lambda: Looking(params, context))


def careless(params: FaultyParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Knows of no pools."""
    return stage(lambda: Looking(params, context))


def keeping(params: HoldParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Holds pooled events."""
    return stage(lambda: Keeping(params, context))


def raising_map(params: FaultyParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """reactivex's own map, with a function that raises: its stream then fails, as Rx has it."""
    world: World = here.get()
    seen = 0

    def mapped(element: Any) -> Any:
        nonlocal seen
        seen += 1
        if params.raises_every and seen == 2 * params.raises_every:
            world.broken.add(context.node_id)
            world.struck["stock operator failed"] += 1
            raise LookupError(f"map of {context.node_id}")
        return element

    def operate(source: Observable[Any]) -> Observable[Any]:
        return source.pipe(ops.map(mapped))

    return operate


def filtering(params: FaultyParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """reactivex's own filter, which loses what it does not like."""
    return ops.filter(lambda element: getattr(element, "sequence", 1) % 2 == 1)


class Step(Transform[Any, Any]):
    """A component in the chain. Holds all for a while, in order, on a timer of the event loop."""

    def __init__(self, params: HoldParams, context: Context) -> None:
        self.dropped = Counter()
        self.body = Body(params, context, "transform")
        self.params = params
        self.hold_s = params.hold_ms / 1000
        self.held: deque[Any] = deque()
        self.timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        return len(self.held)

    def add(self, element: Any) -> None:
        self.body.look(element)
        self.held.append(element)
        if not self.hold_s:
            self.finish()
        elif self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(self.hold_s, self.let_go)

    def let_go(self) -> None:
        self.timer = None
        self.finish()
        if self.params.timer_raises:
            self.body.fail_on_timer(is_reported=False)

    def finish(self) -> None:
        while self.held:
            element = self.held.popleft()
            self.taken += 1
            self.emitted += 1
            self.emit(element)

    async def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        while self.held:
            element = self.held.popleft()
            self.body.lose(element)
            self.dropped["stopped"] += 1
            release(element)


def step(params: HoldParams, context: Context) -> Transform[CanonicalEvent, CanonicalEvent]:
    """A transform; registered twice, as one that takes pooled events and as one that does not."""
    return Step(params, context)
