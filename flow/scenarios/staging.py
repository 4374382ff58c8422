"""A graph as a test runs it: fed nodes become sources, consumers are stood in for, what nobody needs is left
out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from graphlib import TopologicalSorter
from typing import Any

import msgspec

from flow.context import Context
from flow.graph.spec import GraphSpec, NodeEntry, NoParams
from flow.registry import NodeSpec, Registry
from flow.runtime.options import Backend
from flow.scenarios.parts import Feeder, Taker
from flow.scenarios.spec import ConsumerSetting, Feed, Scenario

__all__ = ["idle_nodes", "staged"]

Seen = Callable[[str, Any], None]
"""(node id, element)."""
Replay = Callable[[Context], Backend]


def idle_nodes(spec: GraphSpec, feeds: Collection[str]) -> set[str]:
    """The nodes that do not run: those that are fed for, those that only lead there, and whoever would only
    read the dead letters of these."""
    read = {item.source for entry in spec.nodes.values() for item in entry.inputs if item.port == "out"}
    of_letters = _behind_letters(spec)
    waiting = [name for name in spec.nodes if name not in read and name not in of_letters]
    running: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in running and name not in feeds:
            running.add(name)
            waiting += [item.source for item in spec.nodes[name].inputs if item.port == "out"]
    sources = running | set(feeds)
    for name in of_letters:
        if any(item.source in sources for item in spec.nodes[name].inputs) and name not in feeds:
            sources.add(name)
    return set(spec.nodes) - (sources - set(feeds))


def _behind_letters(spec: GraphSpec) -> list[str]:
    """The nodes that get nothing but dead letters, in the order of the stream."""
    found: list[str] = []
    sources = {name: [item.source for item in entry.inputs] for name, entry in spec.nodes.items()}
    for name in TopologicalSorter(sources).static_order():
        inputs = spec.nodes[name].inputs
        if inputs and all(item.port == "dead_letters" or item.source in found for item in inputs):
            found.append(name)
    return found


def staged(scenario: Scenario, registry: Registry, see: Seen, replay: Replay) -> tuple[GraphSpec, Registry]:
    """The graph to run and the registry to run it with; the ones given stay as they are."""
    spec = scenario.spec
    staging = Registry(dict(registry.nodes), registry.codecs, {**registry.services, "replay": replay})
    idle = idle_nodes(spec, scenario.feeds)
    there = {name: entry for name, entry in spec.nodes.items() if name not in idle or name in scenario.feeds}
    nodes = {name: _between(entry, there) for name, entry in there.items()}
    for name, feed in scenario.feeds.items():
        nodes[name] = _fed(spec.nodes[name], feed, staging)
    for name, setting in scenario.consumers.items():
        if name in nodes:
            nodes[name] = _taken(nodes[name], setting, see, staging)
    return msgspec.structs.replace(spec, nodes=nodes), staging


def _between(entry: NodeEntry, there: Collection[str]) -> NodeEntry:
    inputs = [item for item in entry.inputs if item.source in there]
    return entry if len(inputs) == len(entry.inputs) else msgspec.structs.replace(entry, inputs=inputs)


def _fed(entry: NodeEntry, feed: Feed, staging: Registry) -> NodeEntry:
    name = f"the test's {entry.id}"
    staging.nodes[name] = NodeSpec(
        name=name,
        kind="source",
        params=NoParams,
        input=None,
        output=feed.declared,
        factory=lambda params, context: Feeder(feed, context),
        pooled=feed.is_pooled,
        shares=False,
        loss="nothing",
        origin=name,
    )
    return msgspec.structs.replace(entry, use=name, inputs=[], params=NoParams())


def _taken(entry: NodeEntry, setting: ConsumerSetting, see: Seen, staging: Registry) -> NodeEntry:
    name = f"the test's {entry.id}"
    known = staging.nodes.get(entry.use)

    def make(params: Any, context: Context) -> Taker:
        real = known.factory(params, context) if setting.real and known is not None else None
        return Taker(setting, lambda element: see(entry.id, element), real)

    staging.nodes[name] = NodeSpec(
        name=name,
        kind="consumer",
        params=NoParams if known is None else known.params,
        input=Any if known is None else known.input,
        output=None,
        factory=make,
        pooled=False,
        shares=False,
        loss="nothing",
        origin=name,
    )
    return msgspec.structs.replace(entry, use=name)
