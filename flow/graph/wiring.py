"""The edges of a graph: who reads whom, in which order the stream runs, and where it runs in circles.

Everything is iterative: a graph may be one chain of thousands of nodes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from flow.graph.spec import GraphSpec, InputSpec, NodeEntry
from flow.graph.tree import Faults, quoted
from flow.registry import NodeSpec, Registry

__all__ = ["Edge", "Wiring"]

Edge = tuple[NodeEntry, InputSpec]
"""The node that reads, and what it reads."""


class Wiring:
    """Nodes and edges. What `unreadable` nodes are is not known, and they are taken to fit everywhere; of a
    graph that is not `whole` nothing can be said to be missing."""

    def __init__(
        self,
        spec: GraphSpec,
        registry: Registry,
        faults: Faults,
        unreadable: Collection[str] = (),
        *,
        is_whole: bool = True,
    ) -> None:
        self.spec = spec
        self.registry = registry
        self.faults = faults
        self.is_whole = is_whole
        self.known: dict[str, NodeSpec] = {
            name: registry.nodes[entry.use]
            for name, entry in spec.nodes.items()
            if entry.use in registry.nodes and name not in unreadable
        }
        self.feeds: dict[str, list[InputSpec]] = {name: [] for name in spec.nodes}
        """By node, the inputs that lead to a port that is there."""
        self.readers: dict[str, list[Edge]] = {name: [] for name in spec.nodes}
        """By node, the edges that leave its `out`."""
        self._connect()
        self.order, self._stuck = self._sorted()

    def say(self, entry: NodeEntry, message: str, item: InputSpec | None = None) -> None:
        """A fault of a node, or of one of its inputs."""
        at = entry if item is None else item
        self.faults.add((at.line, at.column), f"node {quoted(entry.id)}: {message}")

    def _connect(self) -> None:
        for name, entry in self.spec.nodes.items():
            seen: set[str] = set()
            for item in entry.inputs:
                if item.source not in self.spec.nodes:
                    self.is_whole = False
                    guess = self.faults.guess(item.source, self.spec.nodes)
                    self.say(entry, f"there is no node {quoted(item.source)}{guess}", item)
                elif item.reference in seen:
                    self.say(entry, f"reads {quoted(item.reference)} twice", item)
                elif self._has_port(entry, item):
                    self.feeds[name].append(item)
                    if item.port == "out":
                        self.readers[item.source].append((entry, item))
                seen.add(item.reference)

    def _has_port(self, entry: NodeEntry, item: InputSpec) -> bool:
        source = self.known.get(item.source)
        if item.port != "out" or source is None or source.kind != "consumer":
            return True
        self.say(entry, f"{quoted(item.source)} is a consumer ({source.name}): nothing comes out of it", item)
        return False

    def _sorted(self) -> tuple[list[str], set[str]]:
        """The nodes in the order of the stream, and those on a cycle or behind one."""
        waiting = {name: len(items) for name, items in self.feeds.items()}
        targets: dict[str, list[str]] = {name: [] for name in self.spec.nodes}
        for name, items in self.feeds.items():
            for item in items:
                targets[item.source].append(name)
        order = [name for name, count in waiting.items() if count == 0]
        for name in order:
            for target in targets[name]:
                waiting[target] -= 1
                if waiting[target] == 0:
                    order.append(target)
        return order, {name for name, count in waiting.items() if count > 0}

    def cycles(self) -> Iterator[list[str]]:
        """Cycles, each once, from its first node in the file; of those that touch at least one."""
        stuck = self._stuck
        before = {
            name: next(item.source for item in self.feeds[name] if item.source in stuck) for name in stuck
        }
        places = {name: place for place, name in enumerate(self.spec.nodes)}
        done: set[str] = set()
        for start in [name for name in self.spec.nodes if name in stuck]:
            way: dict[str, None] = {}
            name = start
            while name not in done and name not in way:
                way[name] = None
                name = before[name]
            if name not in done:
                walked = list(way)
                cycle = walked[walked.index(name) :][::-1]
                first = cycle.index(min(cycle, key=places.__getitem__))
                yield cycle[first:] + cycle[:first]
            done.update(way)

    def owners(self, name: str) -> list[Edge]:
        """The edges that leave a node's `out` to those who get its objects: all but those that only watch."""
        return [edge for edge in self.readers[name] if not self._watches(edge[0].id)]

    def is_watched(self, name: str, source: str) -> bool:
        """Whether a node only watches what `source` gives, as another node owns it."""
        known = self.known.get(source)
        shares = known is not None and known.shares
        return self._watches(name) and not shares and bool(self.owners(source))

    def _watches(self, name: str) -> bool:
        known = self.known.get(name)
        return known is not None and known.watches

    def pooled(self) -> set[str]:
        """The nodes whose `out` gives pooled objects, which have one owner: made there, or passed on."""
        found: set[str] = set()
        for name in self.order:
            known = self.known.get(name)
            if known is None or not known.pooled or known.shares:
                continue
            if known.makes_pooled or any(
                item.port == "out" and item.source in found for item in self.feeds[name]
            ):
                found.add(name)
        return found
