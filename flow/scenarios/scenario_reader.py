"""One test of a file: what goes in, what stands in for what, and what is to come out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from msgspec import Meta, Struct

from flow.clock import NS_PER_MS
from flow.graph.convert import convert
from flow.graph.sections import mapping_of
from flow.graph.spec import GraphSpec
from flow.graph.tree import Faults, Tree, kind_of, quoted
from flow.registry import NodeSpec, Registry
from flow.scenarios.lanes import LaneReader, ns_of
from flow.scenarios.single_node import INPUT, NODE, OUTPUT, UNNAMED
from flow.scenarios.spec import ConsumerSetting, Expectation, Feed, Recordings, Scenario
from flow.scenarios.staging import idle_nodes
from flow.scenarios.vocabulary import STREAM_KEYS, Port, Vocabulary, port_of
from flow.telemetry.dead_letters import DeadLetter
from flow.telemetry.occurrences import Occurrence

__all__ = ["OWN_KEYS", "SHARED_KEYS", "ScenarioReader"]

SHARED_KEYS: Final = (
    *("graph", "node", "sets", "stream", "events", "step_ms"),
    *("recordings", "consumers", "lasts_ms"),
)
OWN_KEYS: Final = ("name", "inputs", "input", "expect", "output", "occurrences", "summary", "fails")
ELEMENT_KEYS: Final = ("marbles", "step_ms", "rows")
FIGURE_KEYS: Final = ("count", "dropped", "coalesced")
EXPECT_KEYS: Final = (*ELEMENT_KEYS, *FIGURE_KEYS, "dead_letters")
STEP_NS: Final = 10 * NS_PER_MS
PROVIDER: Final = re.compile(r"\w[\w-]*")
LETTERS: Final = Port("value", DeadLetter)

Count = Annotated[int, Meta(ge=0)]


class _Figures(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    count: Count | None = None
    dropped: dict[str, Count] | None = None
    coalesced: Count | None = None


class _Occurrences(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    occurrences: dict[str, Count] = {}


class ScenarioReader:
    """Reads one test; `parts` is what it says, over what its file says."""

    def __init__(
        self, spec: GraphSpec, parts: Mapping[str, Tree], path: Path, faults: Faults, registry: Registry
    ) -> None:
        self.spec = spec
        self.parts = parts
        self.path = path
        self.faults = faults
        self.registry = registry
        self.is_single = "node" in parts
        stream = mapping_of(parts.get("stream"), "stream", faults, STREAM_KEYS)
        self.words = Vocabulary(
            mapping_of(parts.get("events"), "events", faults),
            {key: child for key, child in stream.items() if key in STREAM_KEYS},
            faults,
        )
        step_ns = ns_of(parts.get("step_ms"), "step_ms", faults)
        if step_ns == 0:
            faults.at(parts["step_ms"], "step_ms: a step takes some time")
        self.lanes = LaneReader(self.words, step_ns or STEP_NS, faults)

    def scenario(self, name: str, line: int) -> Scenario | None:
        """The test; None, and faults, where it can't be run."""
        before = self.faults.count
        feeds = self._feeds()
        idle = idle_nodes(self.spec, feeds)
        fails = self.parts.get("fails")
        if fails is not None and (not isinstance(fails.value, str) or not fails.value):
            self.faults.at(fails, f"fails: a part of a message belongs here, not {kind_of(fails)}")
        summary = self.parts.get("summary")
        mapping_of(summary, "summary", self.faults)
        scenario = Scenario(
            name=name,
            file=str(self.path),
            line=line,
            spec=self.spec,
            words=self.words,
            feeds=feeds,
            consumers=self._consumers(),
            expectations=self._expectations(idle),
            recordings=self._recordings(),
            occurrences=self._occurrences(),
            summary=summary,
            fails=None if fails is None else fails.value,
            lasts_ns=ns_of(self.parts.get("lasts_ms"), "lasts_ms", self.faults),
        )
        return None if self.faults.count > before else scenario

    def _known(self, node_id: str) -> NodeSpec | None:
        """What stands behind a node; None for the ends of a graph of one node."""
        use = self.spec.nodes[node_id].use
        return None if use == UNNAMED else self.registry.nodes[use]

    def _port(self, node_id: str) -> Port:
        """What a node gives, or a consumer takes; where that may be anything, what it reads."""
        known, inputs = self._known(node_id), self.spec.nodes[node_id].inputs
        if known is None:
            return port_of(Any)
        is_consumer = known.kind == "consumer"
        port = port_of(known.input if is_consumer else known.output)
        is_passed_on = is_consumer or isinstance(known.output, TypeVar)
        if port.kind != "any" or not is_passed_on or not inputs:
            return port
        return self._port(inputs[0].source) if inputs[0].port == "out" else LETTERS

    def _refuse_key(self, key: str, instead: str) -> None:
        if key in self.parts:
            self.faults.at_key(self.parts[key], f"{key}: {instead}")

    def _has_node(self, tree: Tree, name: str, what: str, nodes: Collection[str]) -> bool:
        if name in nodes:
            return True
        guess = self.faults.guess(name, nodes) or f"; there are {', '.join(nodes)}"
        self.faults.at_key(tree, f"{what}: there is no node {quoted(name)}{guess}")
        return False

    def _feeds(self) -> dict[str, Feed]:
        if not self.is_single:
            self._refuse_key("input", "for tests of one node; of a graph write `inputs: {node: ...}`")
            return self._graph_feeds()
        self._refuse_key("inputs", "a test of one node has one `input`")
        tree = self.parts.get("input")
        if INPUT not in self.spec.nodes:
            self._refuse_key("input", f"{self.spec.name} is a source, which takes none")
            return {}
        if tree is None:
            self.faults.add(self.parts["node"].place, "a test of a node wants its `input`")
            return {}
        known = self.registry.nodes[self.spec.nodes[NODE].use]
        return {
            INPUT: self.lanes.feed(
                tree, INPUT, port_of(known.input), is_pooled=known.pooled and not known.watches
            )
        }

    def _graph_feeds(self) -> dict[str, Feed]:
        feeds: dict[str, Feed] = {}
        for name, tree in mapping_of(self.parts.get("inputs"), "inputs", self.faults).items():
            if not self._has_node(tree, name, "inputs", self.spec.nodes):
                continue
            known = self.registry.nodes[self.spec.nodes[name].use]
            if known.kind == "consumer":
                self.faults.at_key(tree, f"inputs: {name} is a consumer, nothing comes out of it")
                continue
            is_pooled = known.pooled and not known.shares
            feeds[name] = self.lanes.feed(tree, name, self._port(name), is_pooled=is_pooled)
        return feeds

    def _consumers(self) -> dict[str, ConsumerSetting]:
        """Every consumer of the graph, as the test says or by default."""
        found: dict[str, ConsumerSetting] = {}
        for name in self.spec.nodes:
            known = self._known(name)
            if known is None or known.kind == "consumer":
                found[name] = ConsumerSetting(real=name == NODE and self.is_single)
        found.pop(INPUT if self.is_single else "", None)
        for name, tree in mapping_of(self.parts.get("consumers"), "consumers", self.faults).items():
            if self._has_node(tree, name, "consumers", found):
                setting = convert(tree, ConsumerSetting, f"consumers: {name}", self.faults)
                found[name] = setting or found[name]
        return found

    def _expectations(self, idle: Collection[str]) -> list[Expectation]:
        if self.is_single:
            self._refuse_key("expect", "a test of one node has one `output`")
            tree = self.parts.get("output")
            return [] if tree is None else [self._expectation(NODE, tree, OUTPUT)]
        self._refuse_key("output", "for tests of one node; of a graph write `expect: {node: ...}`")
        found: list[Expectation] = []
        for names, tree in mapping_of(self.parts.get("expect"), "expect", self.faults).items():
            for name in map(str.strip, names.split(",")):
                if not self._has_node(tree, name, "expect", self.spec.nodes):
                    continue
                if name in idle:
                    self.faults.at_key(tree, f"expect: {name} does not run here: `inputs` stand in for it")
                    continue
                found.append(self._expectation(name, tree, name))
        return found

    def _expectation(self, node_id: str, tree: Tree, shown: str) -> Expectation:
        known = self.registry.nodes[self.spec.nodes[node_id].use]
        is_consumer = known.kind == "consumer"
        port = self._port(node_id)
        parts = mapping_of(tree, shown, self.faults, EXPECT_KEYS) if tree.is_mapping else {}
        if "rows" in parts and "marbles" in parts:
            self.faults.at(tree, f"{shown}: marbles or rows, one of them")
        elements = self.lanes.wanted(tree, shown, port)
        if elements is not None and elements.is_ended and is_consumer:
            self.faults.at(tree, f"{shown}: a consumer does not complete; leave the | out")
        said = {key: child for key, child in parts.items() if key in FIGURE_KEYS}
        figures = convert(Tree.of_mapping(said), _Figures, shown, self.faults) or _Figures()
        letters = parts.get("dead_letters")
        return Expectation(
            node_id=node_id,
            shown=shown,
            port=port,
            line=tree.place[0],
            elements=elements,
            count=figures.count,
            dropped=figures.dropped,
            coalesced=figures.coalesced,
            dead_letters=None
            if letters is None
            else self.lanes.rows(letters, f"{shown}: dead_letters", LETTERS),
        )

    def _recordings(self) -> Recordings:
        found: dict[str, list[str | Path]] = {}
        for name, tree in mapping_of(self.parts.get("recordings"), "recordings", self.faults).items():
            if not PROVIDER.fullmatch(name):
                self.faults.at_key(tree, f"recordings: {quoted(name)} is no name of a provider")
            pieces = tree.items if tree.is_list else [tree]
            found[name] = [piece for one in pieces for piece in self._piece(one, name)]
        return found

    def _piece(self, tree: Tree, provider: str) -> list[str | Path]:
        if isinstance(tree.value, str):
            return [tree.value]
        file: Any = tree.entries["file"].value if list(tree.entries) == ["file"] else None
        if not isinstance(file, str):
            wanted = "lines of a recording or {file: PATH} belong here"
            self.faults.at(tree, f"recordings: {provider}: {wanted}, not {kind_of(tree)}")
            return []
        path = self.path.parent / file
        if not path.is_file():
            self.faults.at(tree.entries["file"], f"recordings: there is no file {file}")
        return [path]

    def _occurrences(self) -> Mapping[str, int]:
        tree = self.parts.get("occurrences")
        if tree is None:
            return {}
        known = _occurrence_names()
        for name, child in tree.entries.items():
            if name.partition("{")[0] not in known:
                guess = self.faults.guess(name, known)
                self.faults.at_key(child, f"occurrences: nothing is called {quoted(name)}{guess}")
        whole = Tree.of_mapping({"occurrences": tree})
        read = convert(whole, _Occurrences, "test", self.faults)
        return {} if read is None else read.occurrences


def _occurrence_names() -> set[str]:
    """Of every type of occurrence that is imported."""
    waiting: list[type[Occurrence]] = [Occurrence]
    for kind in waiting:
        waiting += kind.__subclasses__()
    return {kind.name for kind in waiting[1:]}
