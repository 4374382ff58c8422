"""Gives each subscriber a clone of its own, then puts the original at once.

    events        --a-----b----->
    subscriber 1  --a1----b1---->
    subscriber 2  --a2----b2---->

Clones are ordinary unpooled events; their payload is shared, as no payload is ever changed. In a graph the routing table
decides who receives a stream; an event that nobody receives is dropped as `unrouted`. A subscriber that raises is
detached with its own error on its `on_error` and reported; the others receive on. Subscribers that come later receive from
then on. The source is subscribed to with the first and left with the last. Holds nothing.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from reactivex import Observable, abc
from reactivex.disposable import Disposable

from flow.context import Context
from flow.errors import OwnershipBug
from flow.events.canonical import CanonicalEvent
from flow.events.stream import Stream
from flow.registry import Operator, operator
from flow.routing import RoutingTable, routing_table
from flow.stage import (
    Machine,
    OnCompleted,
    OnError,
    OnNext,
    SharedOutput,
    Subscription,
    connect,
    default_scheduler,
)
from flow.telemetry.occurrences import ConsumerFailed

__all__ = ["FanOut", "FanOutCloneParams", "FanOutStage", "fan_out_clone"]

class FanOutCloneParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters."""


@operator("fan-out-clone", pooled=True, shares=True)
def fan_out_clone(params: FanOutCloneParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """One clone per subscriber; a slow or failing subscriber never delays or breaks another."""
    return lambda source: FanOutStage(source, context)


class Subscriber(Subscription):
    """One receiver of clones. `name` is the consumer's id in the routing table."""

    def __init__(
        self, stage: "FanOutStage", name: str, emit: OnNext, on_error: OnError, on_completed: OnCompleted
    ) -> None:
        self.stage = stage
        self.name = name
        self.emit = emit
        self.on_error = on_error
        self.on_completed = on_completed
        self.sent = 0

    def dispose(self) -> None:
        self.stage.leave(self)


class FanOut(Machine[CanonicalEvent, CanonicalEvent]):
    """Who is subscribed, and per stream the callables of those whom the routing table lets receive it."""

    guards_itself = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.clock = context.clock
        self.table: RoutingTable = context.service("routing", routing_table)
        self.table.listeners.append(self.reroute)
        self.subscribers: list[Subscriber] = []
        self.targets: dict[Stream, list[Subscriber]] = {}

    def add(self, element: CanonicalEvent) -> None:
        try:
            targets = self.targets[element.stream]
        except KeyError:
            targets = self.resolve(element.stream)
        if not targets:
            self.drop(element, "unrouted")
            return
        element.emit_ts = self.clock()
        clone = element.own()
        home = getattr(element, "home", None)
        if home is not None:
            home.put(element)
        self.passed += 1
        last = targets[-1]
        for subscriber in targets:
            subscriber.sent += 1
            try:
                subscriber.emit(clone if subscriber is last else replace(clone))
            except Exception as error:
                self.detach_raising(subscriber, error)

    def resolve(self, stream: Stream) -> list[Subscriber]:
        allowed = set(self.table.audience(stream, [subscriber.name for subscriber in self.subscribers]))
        found = [subscriber for subscriber in self.subscribers if subscriber.name in allowed]
        self.targets[stream] = found
        return found

    def reroute(self) -> None:
        """The table or the subscribers changed: look every stream up anew."""
        self.targets = {}

    def detach_raising(self, subscriber: Subscriber, error: Exception) -> None:
        if isinstance(error, OwnershipBug):
            raise error
        self.remove(subscriber)
        self.context.occurred(ConsumerFailed(subscriber.name, type(error).__name__, str(error)))
        subscriber.on_error(error)

    def remove(self, subscriber: Subscriber) -> None:
        self.subscribers = [other for other in self.subscribers if other is not subscriber]
        self.reroute()


class FanOutStage(SharedOutput[CanonicalEvent]):
    """The shared output: the machine lives from the first subscription to the last disposal."""

    def __init__(self, source: Observable[Any], context: Context) -> None:
        super().__init__()
        self.source = source
        self.machine = FanOut(context)
        self._upstream: abc.DisposableBase | None = None
        self._ended: Callable[[Subscriber], None] | None = None

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
    ) -> Subscriber:
        """As `wire`, under the name that the routing table knows the subscriber by."""
        subscriber = Subscriber(self, name, emit, on_error, on_completed)
        if self._ended is not None:
            self._ended(subscriber)
            return subscriber
        machine = self.machine
        machine.subscribers = [*machine.subscribers, subscriber]
        machine.reroute()
        if self._upstream is None:
            machine.fail = self._fail
            scheduler = scheduler or machine.context.scheduler or default_scheduler()
            self._upstream = Disposable()
            self._upstream = connect(self.source, machine.add, self._fail, self._complete, scheduler)
        return subscriber

    def leave(self, subscriber: Subscriber) -> None:
        """Unsubscribe; the last one to leave disposes the source."""
        self.machine.remove(subscriber)
        if not self.machine.subscribers and self._upstream is not None:
            upstream, self._upstream = self._upstream, None
            upstream.dispose()

    def _fail(self, error: Exception) -> None:
        self._end(lambda subscriber: subscriber.on_error(error))

    def _complete(self) -> None:
        self._end(lambda subscriber: subscriber.on_completed())

    def _end(self, notify: Callable[[Subscriber], None]) -> None:
        if self._ended is not None:
            return
        self._ended = notify
        for subscriber in self.machine.subscribers:
            notify(subscriber)
