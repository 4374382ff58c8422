"""The reference as text: what `flow list` and `flow describe NAME` print of the registry."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import msgspec

from flow.graph.port_types import type_name
from flow.graph.wording import spelled
from flow.registry import NodeSpec, Registry

__all__ = ["describe", "first_line", "listing"]

Group = Literal["operators", "nodes"]
LOSSES: Final = {
    "nothing": "",
    "market": "May drop or coalesce market data, never critical events.",
    "anything": "May lose anything: no graph leads critical events through it.",
}


def first_line(doc: str) -> str:
    """The first sentence or line of a docstring."""
    return doc.strip().partition("\n")[0].strip()


def listing(registry: Registry, kind: Group | None = None) -> str:
    """The registered names, each with its kind and its first line; of both groups where none is given."""
    groups = {"operators": registry.operators(), "nodes": registry.components()}
    chosen = [spec for name, specs in groups.items() if kind in (None, name) for spec in specs]
    rows = [(spec.name, spec.kind, first_line(spec.doc)) for spec in chosen]
    return _table(rows) if rows else "nothing is registered\n"


def describe(spec: NodeSpec) -> str:
    """Ports, docstring and parameters with type, default and bounds."""
    parts = [f"{spec.name} ({spec.kind})", _ports(spec)]
    parts += [text.strip() for text in (spec.doc, *_remarks(spec)) if text.strip()]
    fields = msgspec.structs.fields(spec.params)
    rows = [(field.encode_name, _default(field), _meaning(field.type)) for field in fields]
    parts.append("params:\n" + _table(rows, indent="  ").rstrip() if rows else "It takes no params.")
    return "\n\n".join(parts) + "\n"


def _ports(spec: NodeSpec) -> str:
    rows = [("takes", type_name(spec.input))] if spec.kind != "source" else []
    rows += [("gives", type_name(spec.output))] if spec.kind != "consumer" else []
    return _table(rows, indent="  ").rstrip("\n")


def _remarks(spec: NodeSpec) -> list[str]:
    shares = "Gives each subscriber an element of its own: any number may read it." if spec.shares else ""
    critical = "Critical events enter the graph here." if spec.carries_critical else ""
    watches = "May read pooled objects beside their owner: it keeps copies." if spec.watches else ""
    return [" ".join(text for text in (LOSSES[spec.loss], shares, watches, critical) if text)]


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value: Any = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    builtin = msgspec.to_builtins(value, enc_hook=str)
    return f"= {msgspec.json.encode(builtin).decode()}"


def _meaning(declared: Any) -> str:
    notes = get_args(declared)[1:] if hasattr(declared, "__metadata__") else ()
    said = [note.description for note in notes if isinstance(note, msgspec.Meta) and note.description]
    return ": ".join([spelled(declared), *said])


def _table(rows: list[tuple[str, ...]], indent: str = "") -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    ]
    return "".join(line.rstrip() + "\n" for line in lines)
