"""Who receives what, and what is merged: the tables of one graph that change while it runs.

`RoutingTable`: keys are (symbol, provider), either may be `*`. Every change raises `version`; `route` stamps
it on each event and `fan-out-clone` looks the audience up. A consumer without an entry of its own receives
everything. `MergeTable`: keys are (symbol, event type), the symbol may be `*`; each `window-merge` has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flow.errors import ConfigurationError
from flow.events.merged import MERGEABLE
from flow.events.stream import CRITICAL, EventType, Stream

__all__ = ["EVERY", "MergeTable", "RoutingTable", "merge_table", "routing_table"]

EVERY = "*"
Key = tuple[str, str]
EVERYTHING: Key = (EVERY, EVERY)


class RoutingTable:
    """Subscriptions by consumer. Changes are idempotent: one that changes nothing keeps the version."""

    def __init__(self) -> None:
        self.version = 1
        self.entries: dict[str, set[Key]] = {}
        self.listeners: list[Callable[[], None]] = []
        """Called after each change."""

    def subscribe(self, consumer: str, symbol: str = EVERY, provider: str = EVERY) -> int:
        """Let a consumer receive a symbol of a provider; returns the version in force."""
        key = (symbol, provider)
        keys = self.entries.get(consumer)
        if keys is None:
            self.entries[consumer] = {key}
            if key != EVERYTHING:
                self._changed()
        elif key not in keys:
            keys.add(key)
            self._changed()
        return self.version

    def unsubscribe(self, consumer: str, symbol: str = EVERY, provider: str = EVERY) -> int:
        """Take an entry back; a consumer left with an empty entry receives nothing but what is critical. One
        without an entry of its own has the entry of everything, and no other to take back."""
        keys = self.entries.get(consumer, {EVERYTHING})
        if (symbol, provider) in keys:
            self.entries[consumer] = keys - {(symbol, provider)}
            self._changed()
        return self.version

    def audience(self, stream: Stream, consumers: Iterable[str]) -> list[str]:
        """Those of `consumers` that receive a stream."""
        return [name for name in consumers if self.receives(name, stream)]

    def receives(self, consumer: str, stream: Stream) -> bool:
        keys = self.entries.get(consumer)
        if keys is None or stream.event_type in CRITICAL:
            return True
        symbol, provider = stream.symbol, stream.provider
        wanted = ((symbol, provider), (symbol, EVERY), (EVERY, provider), (EVERY, EVERY))
        return any(key in keys for key in wanted)

    def _changed(self) -> None:
        self.version += 1
        for listener in self.listeners:
            listener()


def routing_table(_: object) -> RoutingTable:
    """The factory that a graph's context takes: `context.service("routing", routing_table)`."""
    return RoutingTable()


class MergeTable:
    """Which events are merged across providers. Changes are idempotent: one that changes nothing is told to
    nobody."""

    def __init__(self) -> None:
        self.keys: set[tuple[str, EventType]] = set()
        self.listeners: list[Callable[[], None]] = []
        """Called after each change."""

    def subscribe(self, symbol: str, event_type: EventType) -> None:
        """Let a type of a symbol be merged. Raises `ConfigurationError` for types that never are."""
        if event_type not in MERGEABLE:
            raise ConfigurationError(f"{event_type} is never merged")
        if (symbol, event_type) not in self.keys:
            self.keys.add((symbol, event_type))
            self._changed()

    def unsubscribe(self, symbol: str, event_type: EventType) -> None:
        """Take a key back; what another key names is merged on."""
        if (symbol, event_type) in self.keys:
            self.keys.remove((symbol, event_type))
            self._changed()

    def merges(self, symbol: str, event_type: EventType) -> bool:
        """Whether events of a type of a symbol are merged."""
        return (symbol, event_type) in self.keys or (EVERY, event_type) in self.keys

    def _changed(self) -> None:
        for listener in [*self.listeners]:
            listener()


def merge_table(_: object) -> MergeTable:
    """The factory that a graph's context takes: `context.service("merges of NODE", merge_table)`, as each
    window-merge has a table of its own."""
    return MergeTable()
