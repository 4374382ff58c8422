"""What must hold of a graph as a whole; every fault, each with its place.

An input names a node that is there, and a port that it has; sources take none, everything else at least one.
What a port gives is what the next one takes; a type variable stands for what comes in. There are no cycles,
and nothing is emitted that nobody reads.

A pooled object has one owner: only a node that `shares` may have several subscribers, and those that only
watch come beside the owner. From a node that carries critical events no path leads through one that may lose
anything, nor through a mailbox that drops; where a watcher looks on, they go on with their owner.

A mailbox stands in front of a consumer, or in front of operators that lead to consumers only, behind the
fan-out; a path has one at most. `block` stops the sources, so only a graph with `mode: replay` may have it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import msgspec

from flow.errors import Fault
from flow.graph.mailbox_rules import check_mailboxes
from flow.graph.port_types import fits, resolved, type_name
from flow.graph.spec import IDENTIFIER, GraphSpec, InputSpec, MailboxSpec, NodeEntry
from flow.graph.tree import Faults, named, quoted
from flow.graph.wiring import Wiring
from flow.registry import NodeSpec, Registry
from flow.telemetry.dead_letters import DeadLetter

__all__ = ["check", "check_wiring"]

DROPPING: Final = ("drop_oldest", "drop_newest")
LONGEST_WAY: Final = 2_000


def check(spec: GraphSpec, registry: Registry) -> list[Fault]:
    """Every fault of a graph, in file order; [] for a good one. Values of params are taken as they are."""
    faults = Faults(spec.file)
    for name, entry in spec.nodes.items():
        _check_entry(name, entry, registry, faults)
    if all(entry.id == name for name, entry in spec.nodes.items()):
        check_wiring(spec, registry, faults)
    return faults.listed()


def check_wiring(
    spec: GraphSpec,
    registry: Registry,
    faults: Faults,
    unreadable: Collection[str] = (),
    *,
    is_whole: bool = True,
) -> None:
    """The part of `check` that holds for what could be read of a graph with faults; see `Wiring`."""
    if not spec.nodes:
        if is_whole:
            faults.add((0, 0), "this graph has no nodes")
        return
    wiring = Wiring(spec, registry, faults, unreadable, is_whole=is_whole)
    _check_ends(wiring)
    for cycle in wiring.cycles():
        way = named([*cycle, cycle[0]], " -> ")
        wiring.say(spec.nodes[cycle[0]], f"a cycle: {way}; a graph runs one way only")
    _check_types(wiring)
    _check_sharing(wiring)
    _check_critical(wiring)
    check_mailboxes(wiring)


def _check_entry(name: str, entry: NodeEntry, registry: Registry, faults: Faults) -> None:
    """What reading has found out already where a graph comes from a file."""
    place, where = (entry.line, entry.column), f"node {quoted(name)}"
    known = registry.nodes.get(entry.use)
    if entry.id != name:
        faults.add(place, f"{where}: its entry has the id {quoted(entry.id)}")
    if not IDENTIFIER.fullmatch(name):
        faults.add(place, f"{where}: an id is written in snake_case, like ordered_2")
    if known is None:
        guess = faults.guess(entry.use, registry.nodes)
        faults.add(place, f"{where}: unknown operator or component {quoted(entry.use)}{guess}")
    elif not isinstance(entry.params, known.params):
        have = type(entry.params).__name__
        faults.add(place, f"{where}: params: expected {known.params.__name__}, got {have}")
    for item in entry.inputs:
        if item.port not in ("out", "dead_letters"):
            faults.add((item.line, item.column), f"{where}: there is no port {quoted(item.port)}")
        try:
            msgspec.convert(msgspec.to_builtins(item.mailbox), MailboxSpec | None)
        except msgspec.ValidationError as error:
            faults.add((item.line, item.column), f"{where}: mailbox: {error}")


def _check_ends(wiring: Wiring) -> None:
    for name, known in wiring.known.items():
        entry = wiring.spec.nodes[name]
        if known.kind == "source" and entry.inputs:
            wiring.say(entry, f"{known.name} is a source: it takes no inputs", entry.inputs[0])
        if not wiring.is_whole:
            continue
        if known.kind != "source" and not entry.inputs:
            article = "an" if known.kind == "operator" else "a"
            wiring.say(entry, f"nobody feeds it; {known.name} is {article} {known.kind} and wants inputs")
        if known.kind != "consumer" and not wiring.readers[name]:
            gives = type_name(known.output)
            wiring.say(entry, f"nobody reads what it gives ({gives}); every path ends in a consumer")


def _check_types(wiring: Wiring) -> None:
    gives: dict[str, Any] = {}
    for name in wiring.order:
        known = wiring.known.get(name)
        if known is None:
            gives[name] = Any
            continue
        bindings: dict[Any, Any] = {}
        for item in wiring.feeds[name]:
            given = DeadLetter if item.port == "dead_letters" else gives[item.source]
            if known.kind != "source" and not fits(given, known.input, bindings):
                _say_misfit(wiring, wiring.spec.nodes[name], item, given, known)
        gives[name] = resolved(known.output, bindings)


def _say_misfit(wiring: Wiring, entry: NodeEntry, item: InputSpec, given: Any, known: NodeSpec) -> None:
    source = wiring.known.get(item.source)
    behind = f" ({source.name})" if source is not None and item.port == "out" else ""
    message = (
        f"{known.name} takes {type_name(known.input)}, "
        f"but {quoted(item.reference)}{behind} gives {type_name(given)}"
    )
    between = [
        other.name
        for other in wiring.registry.operators()
        if isinstance(other.output, type)
        and fits(given, other.input, {})
        and fits(other.output, known.input, {})
    ]
    wiring.say(entry, f"{message}; put {between[0]} between" if between else message, item)


def _check_sharing(wiring: Wiring) -> None:
    sharing = sorted(known.name for known in wiring.registry.operators() if known.shares)
    for name in wiring.pooled():
        edges = wiring.owners(name)
        if len(edges) > 1:
            readers = named([entry.id for entry, _ in edges], ", ")
            wiring.say(
                edges[1][0],
                f"{quoted(name)} gives pooled objects, which have one owner, but {len(edges)} nodes read it "
                f"({readers}); put a {sharing[0] if sharing else 'fan-out-clone'} between",
                edges[1][1],
            )
        if not edges and wiring.readers[name] and wiring.is_whole:
            watcher, item = wiring.readers[name][0]
            watchers = named([entry.id for entry, _ in wiring.readers[name]], ", ")
            wiring.say(
                watcher,
                f"{quoted(name)} gives pooled objects, which have one owner, but who reads it only watches "
                f"({watchers}); let another node take them, such as the one that reads {quoted(watcher.id)}",
                item,
            )


def _check_critical(wiring: Wiring) -> None:
    came_from: dict[str, str | None] = {
        name: None for name, known in wiring.known.items() if known.carries_critical
    }
    waiting = list(came_from)
    for name in waiting:
        for entry, item in wiring.readers[name]:
            known = wiring.known.get(entry.id)
            if wiring.is_watched(entry.id, name):
                continue
            box = next((given.mailbox for given in entry.inputs if given.mailbox is not None), None)
            if box is not None and box.when_full in DROPPING:
                could = f"which a mailbox that may {box.when_full} could lose"
                wiring.say(
                    entry, f"critical events come this way ({_way(name, came_from, entry)}), {could}", item
                )
            if known is not None and known.loss == "anything":
                could = f"and {known.name} may lose anything; branch off before it"
                wiring.say(entry, f"critical events come this way ({_way(name, came_from, entry)}), {could}")
            if entry.id not in came_from:
                came_from[entry.id] = name
                waiting.append(entry.id)


def _way(name: str, came_from: dict[str, str | None], entry: NodeEntry) -> str:
    way, at = [entry.id], name
    while (before := came_from[at]) is not None and len(way) < LONGEST_WAY:
        way.append(at)
        at = before
    return named([at, *reversed(way)], " -> ")
