"""Merges what several providers say of a symbol within a window of time; a side branch that nobody waits for.

    a       --1-----2-------------3-------->
    b       -----1-------------------------->
    merged  ------------(a2,b1)------------(partial: nothing)

`merges` names what is merged, as [symbol, event type] pairs in which the symbol may be `*`, `providers` who
is expected. The first fragment of a pair opens its window; `window_ms` later, or with its `most_events`th
event, it closes. All windows last equally long, so they close in the order of opening, with one timer.
Channels of one type, such as klines of two intervals, share a window. Fragments are owned copies, which bear
the `merge_id` in the end; a provider's latest replaces its former one (`coalesced`), unless all are kept.

What comes in is watched, and goes on as it is to whoever owns it; only in a bare `.pipe` it is put back here.
So no more than copies are dropped: `not_merged` (nobody merges it; critical and merged events never are),
`unexpected_provider` (MergeUnexpectedDropped, once a provider), `late` (received before the last window of
its pair closed: MergeLateDropped), `suppressed_partial` (fewer than `needs` providers at the close:
MergeSuppressedPartial), `pool_timeout` (PoolTimedOut), `unsubscribed` (its `MergeTable` changed) and
`disposed`.

Completion closes every window; after an error or disposal what they held is dropped. Holds copies only; a
pooled MergedEvent is got when a window closes, and handed on at once.
"""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from reactivex import abc

from flow.clock import NS_PER_MS
from flow.context import Context
from flow.errors import OwnershipBug, PoolTimeout
from flow.events.canonical import CanonicalEvent, OwnedEvent
from flow.events.merged import MERGEABLE, MergedData, MergedEvent, merged_stream
from flow.events.stream import EventType, Stream
from flow.pool import release
from flow.registry import Operator, operator
from flow.routing import MergeTable, RoutingTable, merge_table, routing_table
from flow.stage import Machine, stage
from flow.telemetry.occurrences import (
    MergeLateDropped,
    MergeSuppressedPartial,
    MergeUnexpectedDropped,
    PoolTimedOut,
)

__all__ = ["WindowMerge", "WindowMergeParams", "window_merge"]


class WindowMergeParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    merges: Annotated[
        tuple[tuple[str, EventType], ...],
        Meta(description="[[symbol, event type], ...]; the symbol may be *"),
    ] = ()
    providers: Annotated[tuple[str, ...], Meta(description="who is expected; two at least")] = ()
    needs: Annotated[
        Annotated[int, Meta(ge=2)] | None,
        Meta(description="how many of them it takes; null: all"),
    ] = None
    window_ms: Annotated[int, Meta(ge=1, le=3_600_000, description="how long a window is open")] = 10_000
    most_events: Annotated[int, Meta(ge=2, le=1_000_000, description="events that close it at once")] = 1000
    keep: Annotated[Literal["latest", "all"], Meta(description="of each provider's fragments")] = "latest"

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            raise ValueError(fault)

    def _fault(self) -> str:
        count, needs = len(self.providers), self.needs or len(self.providers)
        unmergeable = [event_type.value for _, event_type in self.merges if event_type not in MERGEABLE]
        if unmergeable:
            return f"merges: {unmergeable[0]} is never merged"
        if len(set(self.providers)) < count:
            return "providers: one is named twice"
        if count == 1 or (self.merges and not count):
            return f"providers: a merge is of two at least, {count} named"
        if needs > count:
            return f"needs: {needs} providers are needed, {count} named"
        if needs > self.most_events:
            return f"most_events: {self.most_events} events are never of {needs} providers"
        return ""


@operator("window-merge", pooled=True, watches=True, loss="anything")
def window_merge(params: WindowMergeParams, context: Context) -> Operator[CanonicalEvent, MergedEvent]:
    """Merges events across providers by (symbol, event type), in windows of time."""
    table = context.service(f"merges of {context.node_id}", merge_table)
    for symbol, event_type in params.merges:
        table.subscribe(symbol, event_type)
    return stage(lambda: WindowMerge(params, table, context))


class Merge:
    """One pair: its stream of merged events, how many there were, and its open window. Fragments received
    before `late_before` (ns) are late."""

    __slots__ = ("event_type", "late_before", "number", "stream", "window")

    def __init__(self, symbol: str, event_type: EventType) -> None:
        self.stream = merged_stream(symbol, event_type)
        self.event_type = event_type
        self.number = 0
        self.late_before = 0
        self.window: Window | None = None


UNMET = Merge("", EventType.MERGED)
"""Stands for the merge of a stream of which nothing has come yet."""


class Window:
    """`due` is the scheduler's time of its close, `opens` and `closes` are ns; `latest` came last."""

    __slots__ = ("closes", "count", "due", "held", "latest", "opens")

    def __init__(self, opens: int, closes: int, due: datetime, first: OwnedEvent) -> None:
        self.opens = opens
        self.closes = closes
        self.due = due
        self.count = 1
        self.latest = first
        self.held: dict[str, list[OwnedEvent]] = {first.provider: [first]}

    @property
    def fragment_count(self) -> int:
        return sum(map(len, self.held.values()))


class WindowMerge(Machine[CanonicalEvent, MergedEvent]):
    """`passed` and `taken` count fragments that were emitted, `emitted` the merged events."""

    guards_itself = True

    def __init__(self, params: WindowMergeParams, table: MergeTable, context: Context) -> None:
        super().__init__(context)
        self.providers = params.providers
        self.needs = params.needs or max(2, len(params.providers))
        self.length_ns = params.window_ms * NS_PER_MS
        self.length = timedelta(milliseconds=params.window_ms)
        self.most_events = params.most_events
        self.keeps_all = params.keep == "all"
        self.table = table
        self.table.listeners.append(self.look_up_anew)
        self.routing: RoutingTable = context.service("routing", routing_table)
        self.is_merging = bool(table.keys)
        self.is_closed = False
        self.merges: dict[tuple[str, EventType], Merge] = {}
        self.by_stream: dict[Stream, Merge | None] = {}
        self.open: OrderedDict[Merge, Window] = OrderedDict()
        self.closed: list[MergedEvent] = []
        """What comes of windows that closed in this call, to be emitted at its end."""
        self.timer: abc.DisposableBase | None = None
        self.timed: Window | None = None
        self.coalesced = 0
        self.unexpected: set[str] = set()

    @property
    def in_flight(self) -> int:
        return sum(window.fragment_count for window in self.open.values())

    @property
    def emitted(self) -> int:
        return sum(merge.number for merge in self.merges.values())

    @property
    def made_by_stream(self) -> dict[Stream, int]:
        """Merged events, by stream."""
        return {merge.stream: merge.number for merge in self.merges.values()}

    def add(self, element: CanonicalEvent) -> None:
        self.add_many([element])

    def add_many(self, elements: list[CanonicalEvent]) -> None:
        """Take a run as its owner."""
        try:
            self.watch_many(elements)
        finally:
            for element in elements:
                release(element)

    def watch_many(self, elements: list[CanonicalEvent]) -> None:
        """Take copies of a run that another owns."""
        if self.is_merging:
            self.look_at(elements)
            self.emit_closed()
        else:
            self.dropped["disposed" if self.is_closed else "not_merged"] += len(elements)

    def look_at(self, elements: list[CanonicalEvent]) -> None:
        skipped = 0
        for event in elements:
            try:
                stream = event.stream
                merge = self.by_stream.get(stream, UNMET)
                if merge is UNMET:
                    merge = self.meet(stream)
                if merge is None:
                    skipped += 1
                else:
                    self.keep(event, merge)
            except Exception as error:
                self.refuse_copy(event, error)
        if skipped:
            self.dropped["not_merged"] += skipped

    def meet(self, stream: Stream) -> Merge | None:
        """The first event of a stream since the table changed: what it is merged into, if anything."""
        key = (stream.symbol, stream.event_type)
        merge = None
        if stream.event_type in MERGEABLE and self.table.merges(*key):
            merge = self.merges.get(key)
            if merge is None:
                merge = self.merges[key] = Merge(*key)
        self.by_stream[stream] = merge
        return merge

    def keep(self, event: CanonicalEvent, merge: Merge) -> None:
        """Copy a fragment into the window of its pair, unless it is late or of nobody who was expected."""
        received, provider = event.ingest_ts, event.stream.provider
        if provider not in self.providers:
            self.drop_unexpected(provider)
            return
        if 0 < received < merge.late_before and self.is_late(event, merge):
            return
        window = merge.window
        if window is not None and received >= window.closes:
            self.close_window(merge, window, window.closes, window.closes)
            window = None
        if window is None:
            self.open_window(event.own(), merge)
            return
        window.latest = copy = event.own()
        held = window.held.get(provider)
        if held is None:
            window.held[provider] = [copy]
        elif self.keeps_all:
            held.append(copy)
        else:
            held[0] = copy
            self.coalesced += 1
        window.count += 1
        if window.count >= self.most_events:
            self.close_window(merge, window, self.clock_from(window), received)

    def drop_unexpected(self, provider: str) -> None:
        self.dropped["unexpected_provider"] += 1
        if provider not in self.unexpected:
            self.unexpected.add(provider)
            self.context.occurred(MergeUnexpectedDropped(provider))

    def is_late(self, event: CanonicalEvent, merge: Merge) -> bool:
        """Drop what was received before the last close; not where the clock itself went back since."""
        if self.context.clock() < merge.late_before:
            merge.late_before = 0
            return False
        late_by_ms = (merge.late_before - event.ingest_ts) / NS_PER_MS
        self.dropped["late"] += 1
        self.context.occurred(
            MergeLateDropped(event.symbol, event.event_type.value, event.provider, late_by_ms)
        )
        return True

    def open_window(self, first: OwnedEvent, merge: Merge) -> None:
        if self.is_closed:
            self.dropped["disposed"] += 1
            return
        opens, due = self.context.clock(), self.scheduler.now + self.length
        merge.window = self.open[merge] = Window(opens, opens + self.length_ns, due, first)
        self.schedule()

    def schedule(self) -> None:
        """Set the one timer for the window that was opened first."""
        if self.timer is None and self.open and not self.is_closed:
            self.timed = next(iter(self.open.values()))
            left = (self.timed.due - self.scheduler.now).total_seconds()
            self.timer = self.after(max(0.0, left), self.close_due)

    def close_due(self) -> None:
        """Close the window that the timer was set for, and what is due with it."""
        timed, self.timer, self.timed = self.timed, None, None
        now = self.scheduler.now
        try:
            while self.open:
                merge, window = next(iter(self.open.items()))
                if window is not timed and window.due > now:
                    break
                self.close_by_time(merge, window)
        finally:
            self.schedule()

    def close_by_time(self, merge: Merge, window: Window) -> None:
        """Close a window whose timer may come a moment early or late, and emit: windows that close together
        take no more than one object from the pool."""
        closes = min(window.closes, self.clock_from(window))
        self.close_window(merge, window, closes, closes)
        self.emit_closed()

    def clock_from(self, window: Window) -> int:
        """Now, in ns, but never before the window was opened: the wall's clock may be set back."""
        return max(window.opens, self.context.clock())

    def close_window(self, merge: Merge, window: Window, closes: int, late_before: int) -> None:
        """Take a window away, and make a merged event of it where enough providers are in it."""
        del self.open[merge]
        merge.window = None
        merge.late_before = max(merge.late_before, late_before)
        count = window.fragment_count
        if len(window.held) < self.needs:
            missing = ",".join(self.missing_in(window))
            self.dropped["suppressed_partial"] += count
            self.context.occurred(
                MergeSuppressedPartial(merge.stream.symbol, merge.event_type.value, missing, count)
            )
            return
        try:
            event = self.context.pools.of("MergedEvent", MergedEvent).shelf(merge.stream).get()
        except PoolTimeout as error:
            self.dropped["pool_timeout"] += count
            self.context.occurred(PoolTimedOut(error.kind))
            return
        self.fill(event, merge, window, closes)
        self.passed += count
        self.closed.append(event)

    def missing_in(self, window: Window) -> tuple[str, ...]:
        return tuple(provider for provider in self.providers if provider not in window.held)

    def fill(self, event: MergedEvent, merge: Merge, window: Window, closes: int) -> None:
        merge.number += 1
        merge_id = f"{merge.stream.symbol}/{merge.event_type}/{merge.number}"
        fragments = [one for name in self.providers for one in window.held.get(name, ())]
        for fragment in fragments:
            fragment.merge_id = merge_id
        share = len(window.held) / len(self.providers)
        event.payload = MergedData(
            merge.event_type, window.opens, closes, tuple(fragments), self.missing_in(window), share
        )
        event.sequence = event.first_sequence = merge.number
        event.exchange_ts = max(fragment.exchange_ts for fragment in fragments)
        event.ingest_ts = closes
        event.routing_version = self.routing.version
        event.merge_id = merge_id
        event.trace_id = window.latest.trace_id

    def emit_closed(self) -> None:
        if self.closed:
            run, self.closed = self.closed, []
            self.emit_many(run)

    def look_up_anew(self) -> None:
        """The table changed: give up the windows that nobody wants any more."""
        self.is_merging = bool(self.table.keys) and not self.is_closed
        self.by_stream = {}
        for merge in [*self.open]:
            if not self.table.merges(merge.stream.symbol, merge.event_type):
                self.give_up(merge, "unsubscribed")

    def give_up(self, merge: Merge, reason: str) -> None:
        self.dropped[reason] += self.open.pop(merge).fragment_count
        merge.window = None

    def refuse_copy(self, element: Any, error: Exception) -> None:
        """As `refuse`, but the element stays with whoever owns it."""
        if isinstance(error, OwnershipBug):
            raise error
        if self.context.dead_letters is None:
            self.fail(error)
            return
        self.dead_lettered += 1
        self.context.refuse(element, type(error).__name__, str(error))

    def finish(self) -> None:
        for merge, window in [*self.open.items()]:
            if merge.window is window:
                self.close_by_time(merge, window)

    def close(self) -> None:
        self.is_closed, self.is_merging = True, False
        if self.look_up_anew in self.table.listeners:
            self.table.listeners.remove(self.look_up_anew)
        if self.timer is not None:
            self.timer.dispose()
            self.timer = None
        for merge in [*self.open]:
            self.give_up(merge, "disposed")
        left, self.closed = self.closed, []
        for event in left:
            release(event)
