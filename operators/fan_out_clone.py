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

from collections import Counter
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable

from flow.context import Context
from flow.errors import OwnershipBug, PoolTimeout
from flow.events.canonical import CanonicalEvent, OwnedEvent
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
        self.settled: Counter[Stream] = Counter()

    @property
    def sent(self) -> int:
        return self.sent_by_stream.total()

    @property
    def sent_by_stream(self) -> Counter[Stream]:
        """Clones put on its edge: those of the routings that were, and those of the present one."""
        present = {reach.stream: reach.count for reach in self.stage.machine.reached_by(self)}
        return self.settled + Counter(present)

    def emit_each(self, clones: list[Any]) -> None:
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
        self.settled[clone.stream] -= 1


class Reach:
    """Who receives a stream while the routing stays as it is, and how many of its events they were sent."""

    __slots__ = ("count", "members", "stream")

    def __init__(self, stream: Stream, members: tuple[Subscriber, ...]) -> None:
        self.stream = stream
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
        self.reaches: dict[Stream, Reach] = {}

    def add(self, element: CanonicalEvent) -> None:
        self.add_many([element])

    def add_many(self, elements: list[CanonicalEvent]) -> None:
        reaches, now = self.reaches, self.clock()
        clones: list[OwnedEvent] = []
        members: tuple[Subscriber, ...] = ()
        for event in elements:
            try:
                stream = event.stream
                reach = reaches[stream]
                clone = OwnedEvent(
                    stream,
                    event.payload,
                    event.sequence,
                    event.first_sequence,
                    event.exchange_ts,
                    event.ingest_ts,
                    now,
                    event.routing_version,
                    event.merge_id,
                    event.trace_id,
                    event.decision_id,
                )
                home = event.home
            except Exception as error:
                if (reach := self.meet(event, error)) is None:
                    continue
                event.emit_ts = now
                clone = event.own()
                home = event.home
            if home is not None:
                event.home = event.merge_id = None
                event.payload = None  # type: ignore[assignment]
                event.sequence = event.first_sequence = event.exchange_ts = event.ingest_ts = 0
                event.emit_ts = event.routing_version = event.trace_id = event.decision_id = 0
                home.append(event)
                home.puts += 1
            reach.count += 1
            if reach.members is not members:
                self.send(members, clones)
                members, clones, reaches = reach.members, [], self.reaches
            clones.append(clone)
        self.send(members, clones)

    def send(self, members: tuple[Subscriber, ...], clones: list[OwnedEvent]) -> None:
        """Give clones of a run to all members but the last, which gets the run itself."""
        if not members:
            if clones:
                self.dropped["unrouted"] += len(clones)
            return
        self.passed += len(clones)
        last = members[-1]
        for subscriber in members:
            try:
                subscriber.emit_many(clones if subscriber is last else list(map(replace, clones)))
            except (Exception, ObserverRaised) as raised:
                self.isolate(subscriber, raised)

    def meet(self, event: CanonicalEvent, error: Exception) -> Reach | None:
        """The first event of a stream since the routing changed; what is no event is refused."""
        try:
            stream = event.stream
            if not isinstance(error, KeyError):
                raise error
            reach = self.reaches.get(stream) or Reach(stream, self.resolve(stream))
        except Exception as fault:
            self.refuse(event, fault)
            return None
        self.reaches[stream] = reach
        return reach

    def resolve(self, stream: Stream) -> tuple[Subscriber, ...]:
        """Those who receive a stream; the same tuple for all streams with the same receivers."""
        allowed = set(self.table.audience(stream, [subscriber.name for subscriber in self.subscribers]))
        members = tuple(subscriber for subscriber in self.subscribers if subscriber.name in allowed)
        return next((reach.members for reach in self.reaches.values() if reach.members == members), members)

    def reached_by(self, subscriber: Subscriber) -> list[Reach]:
        """The streams that a subscriber receives at present."""
        return [reach for reach in self.reaches.values() if subscriber in reach.members]

    def reroute(self) -> None:
        """The table or the subscribers changed: settle the counts and look every stream up anew."""
        reaches, self.reaches = self.reaches, {}
        for reach in reaches.values():
            for subscriber in reach.members:
                subscriber.settled[reach.stream] += reach.count

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
