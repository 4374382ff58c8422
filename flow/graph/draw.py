"""A graph as a picture: mermaid for documents and editors, one line of text for a comment."""

from __future__ import annotations

import re
from typing import Final

from flow.graph.spec import IDENTIFIER, GraphSpec, InputSpec, NodeEntry
from flow.graph.tree import Faults
from flow.graph.wiring import Wiring
from flow.registry import Kind, Registry

__all__ = ["line", "mermaid"]

ARROW: Final = " ─► "
SHAPES: Final[dict[Kind, tuple[str, str]]] = {
    "source": ("([", "])"),
    "operator": ("[", "]"),
    "transform": ("[[", "]]"),
    "consumer": ("{{", "}}"),
}
# Words that mermaid reads as its own where a node's id should stand.
RESERVED: Final = frozenset(
    {"call", "class", "click", "default", "direction", "end", "flowchart", "graph", "href", "interpolate"}
    | {"linkstyle", "style", "subgraph"}
)


def mermaid(spec: GraphSpec, registry: Registry) -> str:
    """A flowchart from left to right. Sources are rounded, components that transform have double sides,
    consumers are hexagons; edges name their mailbox, and those of dead letters and of watchers are dotted."""
    wiring = Wiring(spec, registry, Faults(spec.file))
    names = _names(spec)
    lines = ["flowchart LR"]
    for name, entry in spec.nodes.items():
        known = registry.nodes.get(entry.use)
        left, right = SHAPES["operator" if known is None else known.kind]
        lines.append(f"    {names[name]}{left}{_label(entry)}{right}")
    for name, entry in spec.nodes.items():
        lines += [
            f"    {names[item.source]} {_arrow(item, wiring, name)} {names[name]}"
            for item in entry.inputs
            if item.source in names
        ]
    return "\n".join(lines) + "\n"


def _names(spec: GraphSpec) -> dict[str, str]:
    return {
        name: name if IDENTIFIER.fullmatch(name) and name not in RESERVED else f"n{number}_"
        for number, name in enumerate(spec.nodes)
    }


def _label(entry: NodeEntry) -> str:
    text = entry.id if entry.id == entry.use else f"{entry.id}<br/>{_escaped(entry.use)}"
    return f'"{text if IDENTIFIER.fullmatch(entry.id) else _escaped(entry.id)}"'


def _escaped(text: str) -> str:
    return re.sub(r"[^\w .\-]", lambda match: f"#{ord(match.group())};", text)


def _arrow(item: InputSpec, wiring: Wiring, reader: str) -> str:
    parts = [] if item.port == "out" else [item.port]
    is_watched = item.port == "out" and wiring.is_watched(reader, item.source)
    if is_watched:
        parts.append("watches")
    if item.mailbox is not None:
        parts.append(f"mailbox {item.mailbox.capacity}, {item.mailbox.when_full}")
    line = "-.->" if is_watched or item.port == "dead_letters" else "-->"
    return f'{line}|"{"<br/>".join(parts)}"|' if parts else line


def line(spec: GraphSpec, registry: Registry) -> str:
    """The longest way through the graph, by ids, and the other consumers beside its end:
    `socket ─► frames ─► bus ─► console | strategy`. Branches in between are left out."""
    wiring = Wiring(spec, registry, Faults(spec.file))
    best: dict[str, list[str]] = {}
    for name in wiring.order:
        ways: list[list[str]] = [
            [],
            *(
                best[item.source]
                for item in wiring.feeds[name]
                if item.port == "out" and not wiring.is_watched(name, item.source)
            ),
        ]
        best[name] = [*max(ways, key=len), name]
    if not best:
        return ""
    longest = max(best.values(), key=len)
    others = [
        name for name in spec.nodes if name in best and name != longest[-1] and not wiring.readers[name]
    ]
    return ARROW.join([*longest[:-1], " | ".join([longest[-1], *others])])
