"""The sections of a graph's file: from trees to the parts of a `GraphSpec`, every fault where it stands."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, cast, get_args

from flow.graph.convert import convert
from flow.graph.spec import (
    IDENTIFIER,
    POOLED_TYPES,
    GraphMode,
    InputSpec,
    MailboxSpec,
    NodeEntry,
    NoParams,
    PoolEntry,
    Port,
)
from flow.graph.tree import Faults, Tree, kind_of, quoted
from flow.graph.wording import unknown_key
from flow.pool import PoolSettings
from flow.registry import Registry

__all__ = ["NodeReader", "mapping_of", "pool_kinds", "read_mode", "read_name", "read_pools", "read_texts"]

PORTS: Final = get_args(Port)
MODES: Final = get_args(GraphMode)
NODE_KEYS: Final = ("use", "inputs", "params")
INPUT_KEYS: Final = ("source", "mailbox")


def mapping_of(tree: Tree | None, what: str, faults: Faults, keys: Collection[str] = ()) -> dict[str, Tree]:
    """The entries of a mapping, {} for nothing. With `keys`, those that are not among them are faults."""
    if tree is None or tree.value is None:
        return {}
    if not tree.is_mapping:
        faults.at(tree, f"{what}: a mapping belongs here, not {kind_of(tree)}")
    if keys:
        for name, child in tree.entries.items():
            if name not in keys:
                faults.at_key(child, f"{what}: {unknown_key(name, list(keys), faults)}")
    return tree.entries


def read_texts(tree: Tree | None, what: str, faults: Faults) -> list[tuple[str, Tree]]:
    """The texts of a list, each with its place."""
    if tree is None or tree.value is None:
        return []
    if not tree.is_list:
        faults.at(tree, f"{what}: a list belongs here, not {kind_of(tree)}")
    for item in tree.items:
        if not isinstance(item.value, str) or not item.value:
            faults.at(item, f"{what}: a text belongs here, not {kind_of(item)}")
    return [(item.value, item) for item in tree.items if isinstance(item.value, str) and item.value]


def read_name(tree: Tree | None, default: str, faults: Faults) -> str:
    """What the graph is called."""
    if tree is None:
        return default
    if not isinstance(tree.value, str) or not tree.value.strip() or not tree.value.isprintable():
        faults.at(tree, f"name: a text of one line belongs here, not {kind_of(tree)}")
        return default
    return tree.value


def read_mode(tree: Tree | None, faults: Faults) -> GraphMode:
    """`live` unless the graph says that it is for replay and simulation only."""
    if tree is None:
        return "live"
    if tree.value not in MODES:
        faults.at(tree, f"mode: expected one of {', '.join(MODES)}, got {kind_of(tree)}")
        return "live"
    return cast(GraphMode, tree.value)


def pool_kinds(registry: Registry) -> list[str]:
    """The types whose pools can be set: the six of the gateway, and those of other pooled operators."""
    ports = [port for spec in registry.nodes.values() if spec.pooled for port in (spec.input, spec.output)]
    own = {
        port.__name__ for port in ports if isinstance(port, type) and not port.__module__.startswith("flow.")
    }
    return [*POOLED_TYPES, *sorted(own - set(POOLED_TYPES))]


def read_pools(tree: Tree | None, registry: Registry, faults: Faults) -> dict[str, PoolSettings]:
    """The pools' settings by type."""
    known, settings = pool_kinds(registry), dict[str, PoolSettings]()
    for kind, child in mapping_of(tree, "pools", faults).items():
        if kind not in known:
            guess = faults.guess(kind, known) or f"; known are {', '.join(known)}"
            faults.at_key(child, f"pools: there is no pooled type {quoted(kind)}{guess}")
            continue
        entry = convert(child, PoolEntry, f"pool {quoted(kind)}", faults)
        if entry is not None:
            settings[kind] = PoolSettings(entry.capacity, is_off=entry.off)
    return settings


class NodeReader:
    """Reads the `nodes` section. Afterwards `unreadable` holds the ids whose component is not known, and
    `is_whole` says whether every input could be read."""

    def __init__(self, registry: Registry, faults: Faults) -> None:
        self.registry = registry
        self.faults = faults
        self.unreadable: set[str] = set()
        self.is_whole = True

    def read(self, tree: Tree | None) -> dict[str, NodeEntry]:
        entries = mapping_of(tree, "nodes", self.faults)
        for name, child in entries.items():
            if not IDENTIFIER.fullmatch(name):
                self.faults.at_key(
                    child, f"node {quoted(name)}: an id is written in snake_case, like ordered_2"
                )
        return {name: self._node(name, child) for name, child in entries.items()}

    def _node(self, name: str, tree: Tree) -> NodeEntry:
        where = f"node {quoted(name)}"
        parts = mapping_of(tree, where, self.faults, NODE_KEYS)
        if not tree.is_mapping:
            self.is_whole = False
        use = self._use(parts.get("use"), where, tree)
        spec = self.registry.nodes.get(use)
        params: Any = None
        if spec is None:
            self.unreadable.add(name)
        else:
            given = parts.get("params") or Tree.of_mapping({}, tree.key)
            params = convert(given, spec.params, where, self.faults)
        inputs = self._inputs(parts.get("inputs"), where)
        return NodeEntry(name, use, inputs, NoParams() if params is None else params, *tree.key)

    def _use(self, tree: Tree | None, where: str, node: Tree) -> str:
        if tree is None or not isinstance(tree.value, str):
            if tree is not None:
                is_name = not (tree.is_mapping or tree.is_list) and tree.text in self.registry.nodes
                hint = f'; write "{tree.text}" in quotes' if is_name else ""
                message = f"use: a registered name belongs here, not {kind_of(tree)}{hint}"
                self.faults.at(tree, f"{where}: {message}")
            elif node.is_mapping:
                self.faults.at_key(node, f"{where}: 'use' is missing: which operator or component is it?")
            elif node.value is None:
                self.faults.at_key(node, f"{where}: nothing is said of it; write {{use: ..., inputs: [...]}}")
            return ""
        if tree.value not in self.registry.nodes:
            guess = self.faults.guess(tree.value, self.registry.nodes)
            message = (
                f"unknown operator or component {quoted(tree)}{guess or '; `flow list` shows what there is'}"
            )
            self.faults.at(tree, f"{where}: {message}")
        return tree.value

    def _inputs(self, tree: Tree | None, where: str) -> list[InputSpec]:
        if tree is None or tree.value is None:
            return []
        if not tree.is_list:
            wanted = f"; write [{tree.value}]" if isinstance(tree.value, str) and not tree.is_secret else ""
            self.faults.at(tree, f"{where}: inputs: a list belongs here, not {kind_of(tree)}{wanted}")
            self.is_whole = False
        read = [self._input(item, where) for item in tree.items]
        self.is_whole = self.is_whole and None not in read
        return [item for item in read if item is not None]

    def _input(self, tree: Tree, where: str) -> InputSpec | None:
        mailbox: MailboxSpec | None = None
        source: Tree | None = tree
        if tree.is_mapping:
            parts = mapping_of(tree, f"{where}: inputs", self.faults, INPUT_KEYS)
            source, box = parts.get("source"), parts.get("mailbox")
            if box is not None:
                mailbox = convert(box, MailboxSpec, f"{where}: mailbox", self.faults)
            if source is None:
                self.faults.at(tree, f"{where}: inputs: 'source' is missing")
                return None
        if not isinstance(source.value, str):
            self.faults.at(source, f"{where}: inputs: the id of a node belongs here, not {kind_of(source)}")
            return None
        node, _, port = source.value.partition(".")
        port = port if "." in source.value else "out"
        if port not in PORTS:
            guess = self.faults.guess(port, PORTS) or f"; ports are {' and '.join(PORTS)}"
            self.faults.at(source, f"{where}: node {quoted(node)} has no port {quoted(port)}{guess}")
            return None
        return InputSpec(node, cast(Port, port), mailbox, *source.place)
