"""A YAML file into a `GraphSpec`, or every fault of it at once.

The order: text, tree, `--set`, the graph's params, `${...}`, plugins, sections, and at last `check`, which
also runs on what could be read of a graph with faults.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flow.errors import Fault, GraphError
from flow.graph.check import check_wiring
from flow.graph.overrides import TOP_KEYS, apply_set
from flow.graph.sections import NodeReader, mapping_of, read_mode, read_name, read_pools, read_texts
from flow.graph.source_file import read_text
from flow.graph.spec import IDENTIFIER, GraphSpec
from flow.graph.tree import Faults, Tree, kind_of, quoted
from flow.graph.trial import trial
from flow.graph.variables import Variables
from flow.graph.yaml_source import parse
from flow.plugins import PluginFault, load_installed, load_plugins
from flow.registry import Registry
from flow.registry import registry as common_registry

__all__ = ["VERSION", "lint", "load", "load_data"]

VERSION: Final = 1


def load(
    source: str | Path,
    *,
    text: str | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    registry: Registry = common_registry,
) -> GraphSpec:
    """Read a graph. `text` stands in for the content of `source`, which then only names it.

    Raises `GraphError` with every fault. Plugins always register with the common registry.
    """
    faults = Faults(str(source))
    if text is None:
        text = read_text(Path(source), faults)
    root = None if text is None else parse(text.removeprefix("\ufeff"), faults)
    path = Path(source)
    reader = _Reader(faults, path, path.parent, path.stem or "graph", environ, registry)
    return _finished(reader.read(root, sets), faults)


def load_data(
    data: Mapping[str, Any],
    *,
    name: str = "graph",
    base_dir: Path | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    registry: Registry = common_registry,
) -> GraphSpec:
    """What the YAML would say, as plain data. Raises `GraphError` with every fault."""
    faults = Faults(f"<{name}>")
    reader = _Reader(faults, None, base_dir or Path.cwd(), name, environ, registry)
    try:
        root = Tree.of_data(data)
    except ValueError as error:
        faults.add((0, 0), str(error))
        root = None
    return _finished(reader.read(root, sets), faults)


def lint(
    source: str | Path,
    *,
    text: str | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    registry: Registry = common_registry,
) -> list[Fault]:
    """Every fault of a graph, in file order; [] for a good one. Never raises. Where nothing else is wrong,
    each operator is made once, to see that it can be."""
    try:
        return trial(load(source, text=text, sets=sets, environ=environ, registry=registry), registry)
    except GraphError as error:
        return error.faults
    except Exception as error:  # a bug of a plugin's types must not hide the other files of a `flow lint`
        return [Fault(str(source), 0, 0, f"{type(error).__name__}: {error}")]


def _finished(spec: GraphSpec | None, faults: Faults) -> GraphSpec:
    if faults or spec is None:
        raise GraphError(faults.listed())
    return spec


class _Reader:
    """One reading of one file."""

    def __init__(
        self,
        faults: Faults,
        path: Path | None,
        base_dir: Path,
        name: str,
        environ: Mapping[str, str],
        registry: Registry,
    ) -> None:
        self.faults = faults
        self.path = path
        self.base_dir = base_dir
        self.name = name
        self.registry = registry
        self.variables = Variables(environ, faults)

    def read(self, root: Tree | None, sets: Sequence[str]) -> GraphSpec | None:
        if root is None:
            return None
        if not root.is_mapping:
            what = "the file is empty" if root.value is None else f"a graph is a mapping, not {kind_of(root)}"
            self.faults.at(root, f"{what}; it begins with `version: {VERSION}`")
            return None
        for assignment in sets:
            root = apply_set(root, assignment, self.faults)
        parts = mapping_of(root, "graph", self.faults, TOP_KEYS)
        self._version(parts.get("version"), root)
        params = self._params(parts.get("params"))
        filled = {
            key: self.variables.fill(parts[key]) for key in TOP_KEYS[1:] if key in parts and key != "params"
        }
        plugins = self._plugins(filled.get("plugins"))
        return self._checked(filled, params, plugins)

    def _version(self, tree: Tree | None, root: Tree) -> None:
        if tree is None:
            self.faults.at(root, f"'version' is missing; write `version: {VERSION}`")
        elif type(tree.value) is not int or tree.value != VERSION:
            self.faults.at(tree, f"version: this reads version {VERSION}, not {kind_of(tree)}")

    def _params(self, tree: Tree | None) -> dict[str, Any]:
        entries = mapping_of(tree, "params", self.faults)
        self.variables.pending = set(entries)
        params: dict[str, Any] = {}
        for name, child in entries.items():
            if not IDENTIFIER.fullmatch(name):
                self.faults.at_key(child, f"params: {quoted(name)} is not written in snake_case")
            self.variables.pending.discard(name)
            filled = self.variables.fill(child)
            self.variables.define(name, filled)
            params[name] = filled.plain()
        return params

    def _plugins(self, tree: Tree | None) -> list[str]:
        named = read_texts(tree, "plugins", self.faults)
        if self.registry is common_registry:
            for fault in load_installed():
                self._plugin_fault(fault, None)
        for name, place in named:
            for fault in load_plugins([name], self.base_dir):
                self._plugin_fault(fault, place)
        return [name for name, _ in named]

    def _plugin_fault(self, fault: PluginFault, tree: Tree | None) -> None:
        if fault.file:
            self.faults.add((fault.line, 1), f"plugin {quoted(fault.plugin)}: {fault.message}", fault.file)
        elif tree is None:
            self.faults.add((0, 0), f"plugin {quoted(fault.plugin)}: {fault.message}")
        else:
            self.faults.at(tree, f"plugin {quoted(fault.plugin)}: {fault.message}")

    def _checked(self, parts: dict[str, Tree], params: dict[str, Any], plugins: list[str]) -> GraphSpec:
        nodes = NodeReader(self.registry, self.faults)
        spec = GraphSpec(
            name=read_name(parts.get("name"), self.name, self.faults),
            nodes=nodes.read(parts.get("nodes")),
            path=self.path,
            base_dir=self.base_dir,
            mode=read_mode(parts.get("mode"), self.faults),
            params=params,
            plugins=plugins,
            pools=read_pools(parts.get("pools"), self.registry, self.faults),
        )
        check_wiring(spec, self.registry, self.faults, nodes.unreadable, is_whole=nodes.is_whole)
        return spec
