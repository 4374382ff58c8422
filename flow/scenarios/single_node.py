"""A graph around one node, for tests that name no graph.

node: {use: order-buffer, params: {lateness_ms: 50}, mailbox: {capacity: 2}}

input ─► node ─► output        a source has no input, a consumer no output
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from flow.graph.convert import convert
from flow.graph.sections import NodeReader
from flow.graph.spec import GraphSpec, InputSpec, MailboxSpec, NodeEntry
from flow.graph.tree import Faults, Tree, kind_of
from flow.registry import Registry

__all__ = ["INPUT", "NODE", "OUTPUT", "node_graph"]

INPUT: Final = "input"
NODE: Final = "node"
OUTPUT: Final = "output"
UNNAMED: Final = ""
"""What stands behind `input` and `output`: nothing but what a test puts there."""


def node_graph(tree: Tree, path: Path, registry: Registry, faults: Faults) -> GraphSpec | None:
    """The graph of the node that a tree describes; None, and faults, where it describes none."""
    before = faults.count
    if not tree.is_mapping:
        faults.at(tree, f"node: write {{use: ..., params: {{...}}}}, not {kind_of(tree)}")
        return None
    said = {key: child for key, child in tree.entries.items() if key not in ("mailbox", "inputs")}
    if "inputs" in tree.entries:
        faults.at_key(tree.entries["inputs"], "node: in a test it reads `input`; leave `inputs` out")
    entry = NodeReader(registry, faults).read(Tree.of_mapping({NODE: tree.rebuilt(said)}))[NODE]
    box = tree.entries.get("mailbox")
    mailbox = None if box is None else convert(box, MailboxSpec, "node: mailbox", faults)
    if faults.count > before:
        return None
    kind = registry.nodes[entry.use].kind
    nodes: dict[str, NodeEntry] = {}
    if kind != "source":
        nodes[INPUT] = NodeEntry(INPUT, UNNAMED)
    inputs = [] if kind == "source" else [InputSpec(INPUT, mailbox=mailbox)]
    nodes[NODE] = NodeEntry(NODE, entry.use, inputs, entry.params, *tree.place)
    if kind != "consumer":
        nodes[OUTPUT] = NodeEntry(OUTPUT, UNNAMED, [InputSpec(NODE)])
    return GraphSpec(entry.use, nodes, path=path, base_dir=path.parent)
