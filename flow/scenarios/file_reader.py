"""A `*_flow_test.yaml` into scenarios, or every fault of it at once, those of the graphs it names included.

    version: 1
    graph: binance.yaml                # or, for one node: node: {use: order-buffer, params: {...}}
    sets: ["symbols=[BTC-USDT]"]
    stream: {provider: binance, symbol: BTC-USDT, type: Trade}
    tests:
      - name: a frame that overtook another is put right
        inputs: {events: "1-2-4-3-5|"}
        expect: {ordered: "1-2---(3,4)-5|"}

What stands beside `tests` holds for each of them; a test may say the same keys again for itself alone:
`sets` are added, of mappings single entries are replaced, everything else takes the place of what was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from flow.errors import Fault, GraphError
from flow.graph.load import load
from flow.graph.sections import mapping_of, read_texts
from flow.graph.source_file import read_text
from flow.graph.spec import GraphSpec
from flow.graph.tree import Faults, Tree, kind_of, quoted
from flow.graph.yaml_source import parse
from flow.plugins import PluginFault, load_installed, load_plugins
from flow.registry import Registry
from flow.registry import registry as common_registry
from flow.scenarios.scenario_reader import OWN_KEYS, SHARED_KEYS, ScenarioReader
from flow.scenarios.single_node import node_graph
from flow.scenarios.spec import Scenario

__all__ = ["VERSION", "read_scenarios"]

VERSION: Final = 1
FILE_KEYS: Final = ("version", "plugins", *SHARED_KEYS, "tests")


def read_scenarios(path: Path, registry: Registry = common_registry) -> tuple[list[Scenario], list[Fault]]:
    """The tests of a file, and what is wrong with it; with faults, the tests are not to be run."""
    faults = Faults(str(path))
    text = read_text(path, faults)
    root = None if text is None else parse(text.removeprefix("\ufeff"), faults)
    scenarios = [] if root is None else _FileReader(path, faults, registry).read(root)
    return scenarios, faults.listed()


class _FileReader:
    """One reading of one file. Graphs are loaded once for each `sets`."""

    def __init__(self, path: Path, faults: Faults, registry: Registry) -> None:
        self.path = path
        self.faults = faults
        self.registry = registry
        self.graphs: dict[tuple[str, ...], GraphSpec | None] = {}
        self.names: dict[str, Tree] = {}

    def read(self, root: Tree) -> list[Scenario]:
        if not root.is_mapping:
            what = "the file is empty" if root.value is None else f"this is {kind_of(root)}"
            self.faults.at(root, f"{what}; a file of tests begins with `version: {VERSION}`")
            return []
        parts = mapping_of(root, "file", self.faults, FILE_KEYS)
        version = parts.get("version")
        if version is None:
            self.faults.at(root, f"'version' is missing; write `version: {VERSION}`")
        elif type(version.value) is not int or version.value != VERSION:
            self.faults.at(version, f"version: this reads version {VERSION}, not {kind_of(version)}")
        self._load_plugins(parts.get("plugins"))
        tests = parts.get("tests")
        if tests is None or not tests.items:
            self.faults.at(tests or root, "tests: a list of tests belongs here, and it is not to be empty")
            return []
        shared = {key: parts[key] for key in SHARED_KEYS if key in parts}
        found = [self._test(tree, shared) for tree in tests.items]
        return [scenario for scenario in found if scenario is not None]

    def _test(self, tree: Tree, shared: dict[str, Tree]) -> Scenario | None:
        own = mapping_of(tree, "test", self.faults, (*OWN_KEYS, *SHARED_KEYS))
        name = self._name(own.get("name"), tree)
        if not name:
            return None
        if "graph" in own or "node" in own:
            shared = {key: kept for key, kept in shared.items() if key not in ("graph", "node")}
        parts = {**shared, **own}
        for key in ("stream", "events", "recordings", "consumers"):
            if key in shared and key in own and shared[key].is_mapping and own[key].is_mapping:
                parts[key] = own[key].rebuilt({**shared[key].entries, **own[key].entries})
        before = self.faults.count
        spec = self._graph(parts, [shared.get("sets"), own.get("sets")], tree)
        if spec is None or self.faults.count > before:
            return None
        reader = ScenarioReader(spec, parts, self.path, self.faults, self.registry)
        return reader.scenario(name, tree.place[0])

    def _load_plugins(self, tree: Tree | None) -> None:
        if self.registry is common_registry:
            for fault in load_installed():
                self._plugin_fault(fault, None)
        for name, place in read_texts(tree, "plugins", self.faults):
            for fault in load_plugins([name], self.path.parent):
                self._plugin_fault(fault, place)

    def _plugin_fault(self, fault: PluginFault, tree: Tree | None) -> None:
        message = f"plugin {quoted(fault.plugin)}: {fault.message}"
        if fault.file:
            self.faults.add((fault.line, 1), message, fault.file)
        else:
            self.faults.add((0, 0) if tree is None else tree.place, message)

    def _name(self, name: Tree | None, tree: Tree) -> str:
        if name is None and not tree.is_mapping:
            return ""
        if name is None or not isinstance(name.value, str) or not name.value or not name.value.isprintable():
            said = "" if name is None else f", not {kind_of(name)}"
            self.faults.at(name or tree, f"name: each test has a name, a text of one line{said}")
            return ""
        first = self.names.setdefault(name.value, name)
        if first is not name:
            self.faults.at(name, f"name: the test in line {first.place[0]} is called so too")
        return name.value

    def _graph(self, parts: dict[str, Tree], sets: list[Tree | None], tree: Tree) -> GraphSpec | None:
        graph, node = parts.get("graph"), parts.get("node")
        if (graph is None) == (node is None):
            self.faults.at(tree, "a test is of a graph or of a node: say `graph` or `node`, one of them")
            return None
        if node is not None:
            if sets[-1] is not None:
                self.faults.at_key(sets[-1], "sets: a test of a node says its `params`")
            return node_graph(node, self.path, self.registry, self.faults)
        assert graph is not None
        if not isinstance(graph.value, str):
            self.faults.at(graph, f"graph: the path of a graph belongs here, not {kind_of(graph)}")
            return None
        given = [pair for one in sets for pair in read_texts(one, "sets", self.faults)]
        key = (graph.value, *(text for text, _ in given))
        if key not in self.graphs:
            self.graphs[key] = self._load(graph, given)
        return self.graphs[key]

    def _load(self, graph: Tree, sets: Sequence[tuple[str, Tree]]) -> GraphSpec | None:
        path = self.path.parent / graph.value
        if not path.is_file():
            self.faults.at(graph, f"graph: there is no file {graph.value}")
            return None
        try:
            return load(path, sets=[text for text, _ in sets], registry=self.registry)
        except GraphError as error:
            for fault in error.faults:
                said = next((tree for text, tree in sets if fault.message.startswith(f"--set {text}:")), None)
                if said is not None:
                    self.faults.at(said, fault.message.removeprefix("--set "))
                else:
                    self.faults.add((fault.line, fault.column), fault.message, fault.file)
            return None
