"""Gives each subscriber a clone of its own, then puts the original at once.

    events        --a-----b----->
    subscriber 1  --a1----b1---->
    subscriber 2  --a2----b2---->

Clones are ordinary unpooled events; their payload is shared, as no payload is ever changed. In a graph the
routing table decides who receives a stream; an event that nobody receives is dropped as `unrouted`. A
subscriber that raises is detached with its own error on its `on_error` and reported; the others receive on.
One that meets a dry pool loses that clone, reported, and stays. Subscribers that come later receive from then
on. The source is subscribed to with the first and left with the last. Holds nothing.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable

from flow.context import Context
from flow.errors import OwnershipBug, PoolTimeout
from flow.events.canonical import CanonicalEvent
from flow.events.stream import Stream
from flow.registry import Operator, operator
from flow.routing import RoutingTable, routing_table
from flow.stage import (
    Machine,
    ObserverRaised,
    OnCompleted,
    OnError,
    OnNext,
    SharedOutput,
    Subscription,
    connect,
    default_scheduler,
    door,
)
from flow.telemetry.occurrences import ConsumerFailed, PoolTimedOut

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
        self.emit_many = door(emit) or self.emit_each
        self.on_error = on_error
        self.on_completed = on_completed
        self.settled = 0

    @property
    def sent(self) -> int:
        """Clones put on its edge: by the audiences it was in, and by those it is in."""
        audiences = self.stage.machine.audiences.values()
        return self.settled + sum(audience.count for audience in audiences if self in audience.members)

    def emit_each(self, clones: list[CanonicalEvent]) -> None:
        for clone in clones:
            self.emit(clone)

    def dispose(self) -> None:
        self.stage.leave(self)

    def silence(self) -> None:
        """Nothing reaches it any more, also not of an emission that is under way."""
        self.emit = self.take_back
        self.emit_many = self.emit_each
        self.on_error = self.on_completed = _ignore

    def take_back(self, clone: CanonicalEvent) -> None:
        self.settled -= 1


class Audience:
    """Those who receive a stream while the routing stays as it is, and how many events they were sent.
    Streams with the same receivers share one."""

    __slots__ = ("count", "members")

    def __init__(self, members: tuple[Subscriber, ...]) -> None:
        self.members = members
        self.count = 0


def _ignore(*_: Any) -> None:
    return


class FanOut(Machine[CanonicalEvent, CanonicalEvent]):
    """Who is subscribed, and per stream the callables of those whom the routing table lets receive it."""

    guards_itself = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.clock = context.clock
        self.table: RoutingTable = context.service("routing", routing_table)
        self.table.listeners.append(self.reroute)
        self.subscribers: list[Subscriber] = []
        self.audiences: dict[tuple[Subscriber, ...], Audience] = {}
        self.by_stream: dict[Stream, Audience] = {}

    def add(self, element: CanonicalEvent) -> None:
        self.add_many([element])

    def add_many(self, elements: list[CanonicalEvent]) -> None:
        by_stream, now = self.by_stream, self.clock()
        clones: list[CanonicalEvent] = []
        present = None
        for event in elements:
            try:
                audience = by_stream[event.stream]
                event.emit_ts = now
                clone = event.own()
            except Exception as error:
                if (audience := self.meet(event, error)) is None:
                    continue
                by_stream = self.by_stream
                event.emit_ts = now
                clone = event.own()
            if event.home is not None:
                event.put()
            if audience is not present:
                if present is not None:
                    self.send(present, clones)
                present, clones = audience, []
            clones.append(clone)
        if present is not None:
            self.send(present, clones)

    def send(self, audience: Audience, clones: list[CanonicalEvent]) -> None:
        """Give the first clones to one member, and clones of them to the others."""
        members = audience.members
        if not members:
            self.dropped["unrouted"] += len(clones)
            return
        self.passed += len(clones)
        audience.count += len(clones)
        last = members[-1]
        for subscriber in members:
            try:
                subscriber.emit_many(clones if subscriber is last else list(map(replace, clones)))
            except (Exception, ObserverRaised) as raised:
                self.isolate(subscriber, raised)

    def meet(self, event: CanonicalEvent, error: Exception) -> Audience | None:
        """The first event of a stream since the routing changed; what is no event is refused."""
        try:
            if not isinstance(error, KeyError) or event.stream in self.by_stream:
                raise error
            audience = self.by_stream[event.stream] = self.resolve(event.stream)
        except Exception as fault:
            self.refuse(event, fault)
            return None
        return audience

    def resolve(self, stream: Stream) -> Audience:
        allowed = set(self.table.audience(stream, [subscriber.name for subscriber in self.subscribers]))
        members = tuple(subscriber for subscriber in self.subscribers if subscriber.name in allowed)
        return self.audiences.setdefault(members, Audience(members))

    def reroute(self) -> None:
        """The table or the subscribers changed: settle the counts and look every stream up anew."""
        audiences, self.audiences, self.by_stream = self.audiences, {}, {}
        for audience in audiences.values():
            for subscriber in audience.members:
                subscriber.settled += audience.count

    def isolate(self, subscriber: Subscriber, raised: Exception | ObserverRaised) -> None:
        """Detach a subscriber that raised, with its own error; a dry pool is not its fault."""
        error = raised.error if isinstance(raised, ObserverRaised) else raised
        if isinstance(error, OwnershipBug):
            raise raised
        if isinstance(error, PoolTimeout):
            self.context.occurred(PoolTimedOut(error.kind))
            return
        on_error = subscriber.on_error
        self.remove(subscriber)
        subscriber.silence()
        self.report_failure(subscriber, error)
        self.notify(subscriber, lambda: on_error(error), known=error)

    def notify(
        self, subscriber: Subscriber, call: Callable[[], None], known: Exception | None = None
    ) -> None:
        """Tell one subscriber of the end; what it raises then is its own, reported unless `known`."""
        try:
            call()
        except (Exception, ObserverRaised) as raised:
            error = raised.error if isinstance(raised, ObserverRaised) else raised
            if isinstance(error, OwnershipBug):
                raise
            if error is not known:
                self.report_failure(subscriber, error)

    def report_failure(self, subscriber: Subscriber, error: Exception) -> None:
        self.context.occurred(ConsumerFailed(subscriber.name, type(error).__name__, str(error)))

    def remove(self, subscriber: Subscriber) -> None:
        self.subscribers = [other for other in self.subscribers if other is not subscriber]
        self.reroute()


class FanOutStage(SharedOutput[CanonicalEvent]):
    """The shared output: the machine lives from the first subscription to the last disposal."""

    def __init__(self, source: Observable[Any], context: Context) -> None:
        super().__init__()
        self.source = source
        self.machine = FanOut(context)
        self._upstream: SingleAssignmentDisposable | None = None
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
            self._connect(scheduler or machine.context.scheduler)
        return subscriber

    def _connect(self, scheduler: abc.SchedulerBase | None) -> None:
        machine = self.machine
        machine.fail = self._fail
        machine.scheduler = scheduler or default_scheduler()
        upstream = self._upstream = SingleAssignmentDisposable()
        try:
            upstream.disposable = connect(self.source, machine.add, self._fail, self._complete, scheduler)
        except BaseException:
            self._disconnect()
            machine.subscribers = []
            machine.reroute()
            raise

    def leave(self, subscriber: Subscriber) -> None:
        """Unsubscribe; the last one to leave disposes the source."""
        subscriber.silence()
        self.machine.remove(subscriber)
        if not self.machine.subscribers:
            self._disconnect()

    def _disconnect(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.dispose()

    def _fail(self, error: Exception) -> None:
        self._end(lambda subscriber: subscriber.on_error(error))

    def _complete(self) -> None:
        self._end(lambda subscriber: subscriber.on_completed())

    def _end(self, notify: Callable[[Subscriber], None]) -> None:
        if self._ended is not None:
            return
        self._ended = notify
        machine = self.machine
        subscribers, machine.subscribers = machine.subscribers, []
        machine.reroute()
        self._disconnect()
        for subscriber in subscribers:
            machine.notify(subscriber, lambda subscriber=subscriber: notify(subscriber))
            subscriber.silence()
