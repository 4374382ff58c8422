"""Lets events through at the rates that its consumer has, by stream and in all, and shares what several have.

    events     --a1-a2-a3-b1-------------->     (one token; another each 5 columns)
    throttled  --a1------a3---b1---------->

Three limits, each a token bucket, each optional; an event needs a token of every one that is set.
- `rate_per_s`: of each stream (a book's snapshots and updates are one), `burst` at once.
- `bandwidth_per_s`: of all streams together, what the consumer subscribes to; a tenth of a second's at once.
- `total_per_s`: of all throttles with the same `share`. Each is guaranteed its bandwidth's part of it, which
  is a quarter of its bandwidth at least (a graph that asks for more is refused), and may borrow what others
  leave: `flow.sharing` has the rules.

An event that finds tokens leaves in the same call. Others wait: of Ticker, BestQuote and open klines the
latest of a stream (`coalesced` counts the others, `CoalescingApplied` once an episode), of a book the state;
Trades, closed klines and merged events all, `capacity` a stream. Beyond that the oldest is dropped as
`throttled`, to the dead letters, with a `Gap` marker before what follows; so is, as `unreadable`, what can't
be folded. Each stream stays in order; streams take turns. Critical events and gap markers pass at once, take
no token, and are never held or dropped. `BackpressureTriggered` is reported when the first event waits, and
again only after none did. What is no event is refused.

Completion lets go of all that waits, in order of arrival; what waits at an error or a disposal is counted as
`disposed`. Holds clones only: a pooled event that has to wait is put back. Without a limit runs pass as they
are.
"""

import sys
from collections import deque
from typing import Annotated, Final

from msgspec import Meta, Struct
from reactivex import abc

from flow.context import Context
from flow.errors import ConfigurationError
from flow.events.canonical import CanonicalEvent
from flow.pool import release
from flow.registry import Operator, operator
from flow.runtime.lines import Line, Lines
from flow.sharing import Allowance, Bucket, Share, Ticks
from flow.stage import Machine, stage
from flow.telemetry.occurrences import BackpressureTriggered, CoalescingApplied

__all__ = ["Throttle", "ThrottleParams", "throttle"]

NO_LIMIT: Final = sys.maxsize
Rate = Annotated[float, Meta(ge=0.0001, le=1_000_000_000)]
"""Beyond these a wait can't be told in µs."""


class ThrottleParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rate_per_s: Annotated[Rate | None, Meta(description="events of each stream; null: no limit")] = None
    burst: Annotated[int, Meta(ge=1, le=1_000_000, description="of a stream that may leave at once")] = 1
    bandwidth_per_s: Annotated[Rate | None, Meta(description="of all streams; null: no limit")] = None
    total_per_s: Annotated[Rate | None, Meta(description="of all throttles of the share; null: no share")] = (
        None
    )
    share: Annotated[str, Meta(min_length=1, description="whose total it is")] = "default"
    capacity: Annotated[
        int, Meta(ge=1, le=1_000_000, description="most that wait of a stream, where each is kept")
    ] = 1024


@operator("throttle", loss="market")
def throttle(params: ThrottleParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Token buckets by stream and by consumer, with fair shares of what several consumers have together."""
    share = _share(params, context)

    def make() -> Throttle:
        bandwidth = params.bandwidth_per_s
        return Throttle(params, context, None if bandwidth is None else Allowance(bandwidth, share))

    return stage(make)


def _share(params: ThrottleParams, context: Context) -> Share | None:
    """The share that is named, told of the bandwidth. Raises `ConfigurationError` where it can't have it."""
    total, bandwidth = params.total_per_s, params.bandwidth_per_s
    if total is None:
        return None
    if bandwidth is None:
        raise ConfigurationError("total_per_s is shared by bandwidth: bandwidth_per_s has to be there too")
    share = context.service(f"share {params.share}", lambda _: Share(params.share, total))
    if share.total_per_s != total:
        raise ConfigurationError(
            f"the share {share.name!r} has total_per_s {share.total_per_s:g} elsewhere, {total:g} here"
        )
    share.announce(bandwidth)
    return share


class Throttle(Machine[CanonicalEvent, CanonicalEvent]):
    guards_itself = True

    def __init__(self, params: ThrottleParams, context: Context, allowance: Allowance | None) -> None:
        super().__init__(context)
        rate, burst = params.rate_per_s, params.burst
        self.allowance = allowance
        self.passes_all = allowance is None and rate is None
        """At once and unchanged, as there is no limit."""
        self.ticks = context.service("ticks", Ticks)
        self.outgoing: deque[CanonicalEvent] = deque()
        """What was let go and is being emitted."""
        self.lines = Lines(
            lambda: None if rate is None else Bucket(rate, burst),
            params.capacity,
            context.clock,
            self.outgoing.append,
            self.lose,
        )
        self.timer: abc.DisposableBase | None = None
        self.due_us = 0
        self.is_pressed = self.is_emitting = self.is_closed = False
        self.coalesced_before = 0
        """What was coalesced before this episode."""

    @property
    def in_flight(self) -> int:
        return self.lines.held + len(self.outgoing)

    @property
    def coalesced(self) -> int:
        return self.lines.coalesced

    @property
    def markers(self) -> int:
        return self.lines.markers

    def add(self, element: CanonicalEvent) -> None:
        self.add_many([element])

    def add_many(self, elements: list[CanonicalEvent]) -> None:
        if self.passes_all:
            self.hand_on(elements)
            return
        at, fault = self.let_through(elements, 0)
        while fault is not None:
            self.refuse(elements[at], fault)
            at, fault = self.let_through(elements, at + 1)

    def let_through(self, elements: list[CanonicalEvent], begin: int) -> tuple[int, Exception | None]:
        """Serve what waits, then take elements up to the first that is no event; its place, and what is wrong
        with it."""
        if self.is_closed:
            for event in elements[begin:]:
                self.drop(event, "disposed")
            return len(elements), None
        now_us = self.ticks.now_us(self.scheduler)
        allowed = NO_LIMIT if self.allowance is None else self.allowance.available(now_us)
        left = allowed - (self.lines.serve(allowed, now_us) if self.is_pressed else 0)
        known, let_go = self.lines.by_stream.get, self.outgoing.append
        end, fault = len(elements), None
        for at, event in enumerate(elements[begin:] if begin else elements, begin):
            try:
                line = known(event.stream) or self.lines.meet(event.stream)
            except Exception as error:
                end, fault = at, error
                break
            if line.is_critical:
                let_go(event)
            elif left and not line.waiting and (line.bucket is None or line.bucket.take(now_us)):
                left -= 1
                let_go(event)
            else:
                self.hold(event, line, now_us)
        if self.allowance is not None and left < allowed:
            self.allowance.spend(allowed - left)
        if self.is_pressed:
            self.set_timer(now_us)
        if not self.is_emitting:
            self.emit_outgoing()
        return end, fault

    def hold(self, event: CanonicalEvent, line: Line, now_us: int) -> None:
        """Let an event wait, one's own or a clone."""
        if event.home is not None:
            pooled, event = event, event.own()
            release(pooled)
        if not self.is_pressed:
            self.is_pressed = True
            self.coalesced_before = self.coalesced
            self.context.occurred(BackpressureTriggered(self.context.node_id, "throttled"))
        self.lines.keep(event, line, now_us)

    def lose(self, event: CanonicalEvent, reason: str) -> None:
        """Give up an event that waited: counted, and kept in the dead letters."""
        self.dropped[reason] += 1
        if self.context.dead_letters is not None:
            self.context.refuse(event, reason, f"waited in {self.context.node_id}")

    def set_timer(self, now_us: int) -> None:
        """One timer, not later than when something can leave; none while nothing waits."""
        lines, allowance, due_us = self.lines, self.allowance, 0
        if allowance is not None:
            allowance.wants_more(is_more=bool(lines.ready))
        if allowance is not None and lines.ready:
            due_us = now_us + max(1, allowance.wait_us(now_us))
        elif lines.asleep:
            due_us = lines.asleep[0][0]
        if not due_us:
            self.stop_timer()
            self.end_episode()
        elif self.timer is None or due_us < self.due_us:
            self.stop_timer()
            self.due_us = due_us
            self.timer = self.after((due_us - now_us) / 1_000_000, self.wake)

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.dispose()
            self.timer = None

    def wake(self) -> None:
        self.timer = None
        self.let_through([], 0)

    def end_episode(self) -> None:
        if self.is_pressed and self.coalesced > self.coalesced_before:
            self.context.occurred(CoalescingApplied(self.context.node_id))
        self.is_pressed = False

    def emit_outgoing(self) -> None:
        """One after another: what comes back meanwhile goes to the end, and a raise only delays the rest."""
        outgoing = self.outgoing
        self.is_emitting = True
        try:
            while outgoing:
                event = outgoing.popleft()
                self.passed += 1
                self.emit(event)
        finally:
            self.is_emitting = False
            if outgoing:
                self.stop_timer()
                self.due_us = 0
                self.timer = self.after(0, self.wake)

    def finish(self) -> None:
        self.lines.empty()
        self.end_episode()
        self.emit_outgoing()

    def close(self) -> None:
        self.is_closed = True
        self.stop_timer()
        self.end_episode()
        if self.allowance is not None:
            self.allowance.leave()
        left = self.lines.forget()
        if left:
            self.dropped["disposed"] += left
        while self.outgoing:
            self.drop(self.outgoing.popleft(), "disposed")
