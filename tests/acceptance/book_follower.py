"""A consumer that keeps each book by itself, in plain dicts, and notes what it must never be sent."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

from flow.events.canonical import CanonicalEvent
from flow.events.stream import EventType, Sequence, Stream
from flow.runtime.run import GraphRun
from nodes.sinks.python import Python

__all__ = ["REFERENCE", "BookFollower", "Followed", "follower_of"]

REFERENCE = "tests.acceptance.book_follower:BookFollower"
MOST_FAULTS = 20


class Followed(NamedTuple):
    """A state of one book."""

    number: int
    bids: dict[str, str]
    asks: dict[str, str]


class BookFollower:
    """`states` are those not compared yet, by symbol. `faults` says in words what was wrong."""

    def __init__(self) -> None:
        self.books: dict[str, Followed] = {}
        self.states: dict[str, deque[Followed]] = defaultdict(deque)
        self.taken = 0
        self.snapshots = 0
        self.gaps = 0
        """Markers of trades that a full mailbox dropped, which is its right."""
        self.missing = 0
        """Numbers of contiguous streams that did not come."""
        self.faults: list[str] = []
        self._last: dict[Stream, int] = {}
        self._by_type: dict[EventType, Callable[[Any], None]] = {
            EventType.BOOK_SNAPSHOT: self._begin,
            EventType.BOOK_UPDATE: self._change,
            EventType.GAP: self._note_gap,
        }

    def forget(self) -> None:
        """Let all numbers begin anew."""
        self.books.clear()
        self.states.clear()
        self._last.clear()

    def on_event(self, event: CanonicalEvent) -> None:
        self.taken += 1
        self._by_type.get(event.event_type, self._pass)(event)

    def _begin(self, event: Any) -> None:
        payload, former = event.payload, self.books.get(event.symbol)
        if former is not None and event.sequence < former.number:
            self._fault(f"{event.symbol}: a snapshot {event.sequence} after {former.number}")
        self.snapshots += 1
        self._keep(event.symbol, Followed(event.sequence, dict(payload.bids), dict(payload.asks)))

    def _change(self, event: Any) -> None:
        former = self.books.get(event.symbol)
        if former is None:
            self._fault(f"{event.symbol}: an update before any snapshot")
            return
        if not event.first_sequence <= former.number + 1 <= event.sequence:
            covered = f"{event.first_sequence}..{event.sequence}"
            self._fault(f"{event.symbol}: {covered} does not follow {former.number}")
        self._keep(
            event.symbol,
            Followed(
                event.sequence,
                _changed(former.bids, event.payload.bids),
                _changed(former.asks, event.payload.asks),
            ),
        )

    def _keep(self, symbol: str, state: Followed) -> None:
        self.books[symbol] = state
        self.states[symbol].append(state)

    def _pass(self, event: CanonicalEvent) -> None:
        """Of a numbered stream each number comes once, and they rise."""
        stream = event.stream
        if stream.sequence is Sequence.NONE:
            return
        last = self._last.get(stream)
        if last is not None and event.sequence <= last:
            self._fault(f"{stream}: {event.sequence} after {last}")
        elif last is not None and stream.sequence is Sequence.CONTIGUOUS:
            self.missing += event.first_sequence - last - 1
        self._last[stream] = event.sequence

    def _note_gap(self, event: Any) -> None:
        self.gaps += 1

    def _fault(self, text: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)


def _changed(side: dict[str, str], levels: Any) -> dict[str, str]:
    changed = dict(side)
    for price, quantity in levels:
        if float(quantity):
            changed[price] = quantity
        else:
            changed.pop(price, None)
    return changed


def follower_of(run: GraphRun, node_id: str) -> BookFollower:
    """The object of a `python` node that was given REFERENCE."""
    component = run.topology.vertices[node_id].component
    assert isinstance(component, Python)
    target = component.target
    assert isinstance(target, BookFollower)
    return target
