"""Where mailboxes may stand.

A path has one: the one that is named, or else one on the first edge behind a fan-out, or in front of a
consumer.
"""

from __future__ import annotations

from flow.graph.spec import InputSpec
from flow.graph.tree import quoted
from flow.graph.wiring import Wiring

__all__ = ["check_mailboxes"]


def check_mailboxes(wiring: Wiring) -> None:
    """Follow each path to its mailbox: the one that is named, or the first that leads to one consumer."""
    ends = _ends(wiring)
    behind: dict[str, str] = {}
    for name in wiring.order:
        items, known = wiring.feeds[name], wiring.known.get(name)
        boxed = [item for item in items if item.mailbox is not None]
        _check_block(wiring, name)
        ways = [behind[item.source] for item in items if item.port == "out" and item.source in behind]
        if ways:
            behind[name] = ways[0]
            _check_behind(wiring, name, ways[0], boxed)
            continue
        watched = [item for item in boxed if wiring.is_watched(name, item.source)]
        for item in watched:
            message = f"it watches {quoted(item.source)} from inside of the call: no mailbox stands between"
            wiring.say(wiring.spec.nodes[name], message, item)
        boxed = [item for item in boxed if item not in watched]
        _check_boxed(wiring, name, boxed, leads_on=name not in ends)
        is_consumer = known is not None and known.kind == "consumer"
        if name in ends and (boxed or is_consumer or any(_is_shared(wiring, name, item) for item in items)):
            behind[name] = name


def _check_block(wiring: Wiring, name: str) -> None:
    for item in wiring.feeds[name]:
        if item.mailbox is not None and item.mailbox.when_full == "block" and wiring.spec.mode != "replay":
            message = "block stops the sources; only a graph with `mode: replay` may have it"
            wiring.say(wiring.spec.nodes[name], message, item)


def _check_behind(wiring: Wiring, name: str, before: str, boxed: list[InputSpec]) -> None:
    entry = wiring.spec.nodes[name]
    for item in boxed:
        wiring.say(
            entry, f"the mailbox of this path stands in front of {quoted(before)}; put yours there", item
        )
    if len(wiring.feeds[name]) > 1:
        way = f"the mailbox in front of {quoted(before)}"
        wiring.say(entry, f"one of its inputs comes through {way}; so all have to, join them before it")


def _check_boxed(wiring: Wiring, name: str, boxed: list[InputSpec], *, leads_on: bool) -> None:
    entry = wiring.spec.nodes[name]
    for item in boxed:
        if leads_on:
            wiring.say(
                entry,
                "a mailbox can't stand inside of the synchronous chain: put it in front of a consumer, "
                "or of operators that lead to one consumer only",
                item,
            )
    for item in boxed[1:]:
        if item.mailbox != boxed[0].mailbox:
            wiring.say(entry, "all inputs of a node share one mailbox, but two are described", item)


def _is_shared(wiring: Wiring, name: str, item: InputSpec) -> bool:
    source = wiring.known.get(item.source)
    if item.port == "dead_letters" or (source is not None and source.shares):
        return True
    if wiring.is_watched(name, item.source):
        return False
    return len(wiring.owners(item.source) or wiring.readers[item.source]) > 1


def _ends(wiring: Wiring) -> set[str]:
    """The consumers, and the operators that lead to one consumer only; nodes that are not known may."""
    ends: set[str] = set()
    for name in reversed(wiring.order):
        known, readers = wiring.known.get(name), wiring.readers[name]
        is_tail = len(readers) == 1 and readers[0][0].id in ends
        is_plain = known is not None and known.kind == "operator" and not known.shares
        if known is None or known.kind == "consumer" or (is_plain and is_tail):
            ends.add(name)
    return ends
