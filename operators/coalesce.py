"""Latest wins, under backpressure only: a slow consumer is behind, but never wrong.

    events    --a1-b1-a2-a3-----b2-->     (nothing downstream is ready until |)
    coalesced ----------------|a3-b1--b2->

While the mailbox before it has room, every event passes. When it is full, waiting events of one stream
become one: the latest Ticker, BestQuote or open KlineSummary; of books the state, so that no change of a
level is lost. `types` narrows what may be coalesced. Trades, closed klines and critical events never are.
Coalesced events are counted (`CoalescingApplied` once an episode), apart from drops; a full trades lane
drops at the old end, with a `Gap` marker.

In a graph the mailbox is the one on the edge into this node; in a bare `.pipe(...)` the operator keeps one of
its own, `capacity` long, and drains it on the scheduler. Completion drains; disposal counts what waits as
`disposed`. What is no event is refused. Holds clones.
"""

from collections import deque
from typing import Annotated

from msgspec import Meta, Struct
from reactivex import Observable, abc

from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.events.stream import EventType
from flow.graph.spec import MailboxSpec
from flow.pool import release
from flow.registry import Operator, operator
from flow.runtime.delivery import Drained
from flow.runtime.mailbox import Mailbox
from flow.stage import Machine, Stage

__all__ = ["Coalesce", "CoalesceParams", "Coalescer", "coalesce"]


class CoalesceParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    types: Annotated[tuple[EventType, ...], Meta(description="what may be coalesced; books always may")] = (
        EventType.TICKER,
        EventType.BEST_QUOTE,
        EventType.KLINE,
    )
    capacity: Annotated[
        int, Meta(ge=1, le=1_000_000, description="of its own mailbox, outside of a graph")
    ] = 1024


@operator("coalesce", loss="market")
def coalesce(params: CoalesceParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Conflates market data per stream while its consumer is not ready."""
    return Coalesce(params, context)


class Coalesce:
    """What `.pipe(...)` takes; `folds` is the policy of the mailbox that it stands behind in a graph."""

    def __init__(self, params: CoalesceParams, context: Context) -> None:
        self.types = frozenset(params.types)
        self.capacity = params.capacity
        self.context = context

    def folds(self, event: CanonicalEvent) -> bool:
        return event.stream.event_type in self.types

    def __call__(self, source: Observable[CanonicalEvent]) -> Observable[CanonicalEvent]:
        if isinstance(source, Drained):
            return Stage(source, lambda: Passer(self.context))
        return Stage(source, lambda: Coalescer(self, self.context))


class Passer(Machine[CanonicalEvent, CanonicalEvent]):
    """Behind a graph's mailbox, which has conflated already."""

    guards_itself = True
    passes_all = True
    """At once and unchanged, so that who counted before it has counted for those behind it too."""

    def add(self, element: CanonicalEvent) -> None:
        self.passed += 1
        self.emit(element)

    def add_many(self, elements: list[CanonicalEvent]) -> None:
        self.hand_on(elements)


class Coalescer(Machine[CanonicalEvent, CanonicalEvent]):
    """Outside of a graph: a mailbox of its own, drained by the scheduler."""

    guards_itself = True

    def __init__(self, policy: Coalesce, context: Context) -> None:
        super().__init__(context)
        spec = MailboxSpec(capacity=policy.capacity)
        self.mailbox = Mailbox(context.node_id or "coalesce", spec, context, folds=policy.folds)
        self.dropped = self.mailbox.dropped
        self.taken_out: deque[CanonicalEvent] = deque()
        """What left the mailbox and is being emitted."""
        self.pending: abc.DisposableBase | None = None
        self.is_scheduled = self.is_closed = False

    @property
    def in_flight(self) -> int:
        return self.mailbox.in_flight + len(self.taken_out)

    @property
    def coalesced(self) -> int:
        return self.mailbox.coalesced

    @property
    def markers(self) -> int:
        return self.mailbox.markers

    def add(self, element: CanonicalEvent) -> None:
        try:
            owned = element.own()
        except Exception as error:
            self.refuse(element, error)
            return
        release(element)
        if self.is_closed:
            self.dropped["disposed"] += 1
            return
        self.mailbox.put(owned)
        self.schedule()

    def schedule(self) -> None:
        if not self.is_scheduled:
            self.is_scheduled = True  # before the call: a scheduler may run it at once
            self.pending = self.after(0, self.drain)

    def drain(self) -> None:
        """Emit what waits, in order even where emitting leads back here. A raise only delays the rest."""
        self.is_scheduled = False
        taken_out = self.taken_out
        taken_out.extend(self.mailbox.take_now())
        try:
            while taken_out:
                event = taken_out.popleft()
                self.passed += 1
                self.emit(event)
        finally:
            if taken_out:
                self.schedule()

    def finish(self) -> None:
        self.cancel()
        self.drain()

    def cancel(self) -> None:
        if self.pending is not None:
            self.pending.dispose()
            self.pending = None

    def close(self) -> None:
        self.is_closed = True
        self.cancel()
        left = len(self.taken_out) + len(self.mailbox.take_now())
        self.taken_out.clear()
        if left:
            self.dropped["disposed"] += left
