"""`--set path=value`: one value of the file replaced before anything is filled in.

A path of one name is a param of the graph (`symbols=[A,B]`); a longer one starts at the top of the file
(`nodes.ordered.params.lateness_ms=50`, `pools.CanonicalEvent.capacity=10`,
`nodes.latest.inputs.0.mailbox.capacity=9`) or in a param. The value is YAML.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from flow.graph.tree import MAX_DEPTH, Faults, Tree, kind_of
from flow.graph.yaml_source import parse

__all__ = ["TOP_KEYS", "apply_set"]

TOP_KEYS: Final = ("version", "name", "mode", "params", "plugins", "pools", "nodes")


class _Unknown(Exception):
    """A path that leads nowhere; says why."""


def apply_set(root: Tree, assignment: str, faults: Faults) -> Tree:
    """The tree with one value replaced; the same tree, and a fault that says why, where that fails."""
    origin = f"--set {assignment if len(assignment) <= 100 else assignment[:97] + '...'}"
    path, equals, text = assignment.partition("=")
    names = path.strip().split(".")
    if not equals or not all(names) or len(names) > MAX_DEPTH:
        faults.add((0, 0), f"{ascii(origin)[1:-1]}: write it as path=value")
        return root
    inner = Faults(faults.file)
    value = parse(text, inner)
    if value is None:
        messages = "; ".join(fault.message for fault in inner.listed())
        faults.add((0, 0), f"{ascii(origin)[1:-1]}: {messages}")
        return root
    try:
        return _replaced(root, _absolute(root, names), 0, replace(value, origin=origin), faults)
    except _Unknown as unknown:
        faults.add((0, 0), f"{ascii(origin)[1:-1]}: {unknown}")
        return root


def _absolute(root: Tree, names: list[str]) -> list[str]:
    params = root.entries.get("params")
    is_param = params is not None and names[0] in params.entries
    return ["params", *names] if is_param or names[0] not in TOP_KEYS else names


def _replaced(tree: Tree, names: list[str], at: int, value: Tree, faults: Faults) -> Tree:
    """A copy of the way to the value; what lies beside it is shared."""
    if at == len(names):
        return value.standing_at(replace(tree, origin=value.origin))
    name, shown = names[at], ".".join(names[:at]) or "the file"
    if tree.is_list:
        items = list(tree.items)
        if not name.isascii() or not name.isdigit() or len(name) > 6 or int(name) >= len(items):
            raise _Unknown(f"{shown} is a list of {len(items)}; {name!r} is no place in it (0 is the first)")
        items[int(name)] = _replaced(items[int(name)], names, at + 1, value, faults)
        return tree.rebuilt(items)
    if not tree.is_mapping and tree.value is not None:
        raise _Unknown(f"{shown} is {kind_of(tree)}, there is nothing below it")
    child = tree.entries.get(name)
    if child is None:
        _allow(tree, names, at, faults)
        child = Tree(None, tree.place, tree.place)
    new = _replaced(child, names, at + 1, value, faults)
    return tree.rebuilt({**tree.entries, name: new})


def _allow(tree: Tree, names: list[str], at: int, faults: Faults) -> None:
    """Nodes and params must be there to be set; other keys are judged where they are read."""
    name = names[at]
    if at == 1 and names[0] == "params":
        guess = faults.guess(name, tree.entries)
        raise _Unknown(f"this graph has no param {name!r}{guess}")
    if at == 1 and names[0] == "nodes":
        guess = faults.guess(name, tree.entries)
        raise _Unknown(f"this graph has no node {name!r}{guess}")
    if at >= 2 and names[0] == "params":
        raise _Unknown(f"the param {'.'.join(names[1:at])} has no key {name!r}")
