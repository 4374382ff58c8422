"""A JSON Schema of graph files, for editors: what may stand where follows from the registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from flow.graph.reference import first_line
from flow.graph.sections import MODES, pool_kinds
from flow.graph.spec import IDENTIFIER, MailboxSpec, PoolEntry
from flow.registry import NodeSpec, Registry

__all__ = ["json_schema"]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
REFERENCE: Final = {"type": "string", "pattern": r"\$\{"}
DEFS: Final = "#/$defs/{name}"
Schema = dict[str, Any]


def json_schema(registry: Registry) -> Schema:
    """A JSON Schema (2020-12) of graph files. Wherever a value may stand, so may a `${...}`."""
    kinds = [registry.nodes[name] for name in sorted(registry.nodes)]
    types = list(dict.fromkeys([*(spec.params for spec in kinds), MailboxSpec, PoolEntry]))
    by_type, definitions = _components(types)
    return {
        "$schema": DRAFT,
        "title": "A graph of reactive operators",
        "type": "object",
        "additionalProperties": False,
        "required": ["version", "nodes"],
        "properties": {
            "version": {"const": 1},
            "name": {"type": "string"},
            "mode": {"enum": list(MODES), "description": "replay: for replay and simulation only"},
            "params": {"type": "object", "propertyNames": _identifier()},
            "plugins": {"type": "array", "items": {"type": "string"}},
            "pools": _nullable_object(dict.fromkeys(pool_kinds(registry), by_type[PoolEntry])),
            "nodes": {
                "type": "object",
                "propertyNames": _identifier(),
                "additionalProperties": {"$ref": "#/$defs/node"},
            },
        },
        "$defs": {**definitions, **_node_schemas(kinds, by_type)},
    }


def _identifier() -> Schema:
    return {"pattern": f"^{IDENTIFIER.pattern}$"}


def _nullable_object(properties: Schema) -> Schema:
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _node_schemas(kinds: Sequence[NodeSpec], by_type: dict[Any, Schema]) -> Schema:
    source = {"type": "string", "examples": ["bus", "events.dead_letters"]}
    long_form = {
        "type": "object",
        "required": ["source"],
        "additionalProperties": False,
        "properties": {"source": source, "mailbox": by_type[MailboxSpec]},
    }
    use = {"anyOf": [{"const": spec.name, "description": first_line(spec.doc)} for spec in kinds]}
    by_use = [
        {
            "if": {"properties": {"use": {"const": spec.name}}, "required": ["use"]},
            "then": {"properties": {"params": {"anyOf": [by_type[spec.params], {"type": "null"}]}}},
        }
        for spec in kinds
    ]
    node = {
        "type": "object",
        "required": ["use"],
        "additionalProperties": False,
        "properties": {
            "use": use if kinds else {"type": "string"},
            "inputs": {"type": ["array", "null"], "items": {"anyOf": [source, long_form]}},
            "params": {"type": ["object", "null"]},
        },
    }
    return {"node": {**node, "allOf": by_use} if by_use else node}


def _components(types: Sequence[type[msgspec.Struct]]) -> tuple[dict[Any, Schema], Schema]:
    """The schema of each type, and the definitions that they refer to. A type that msgspec can't describe,
    such as one with a default that JSON does not have, is any object."""
    able = [kind for kind in types if _is_describable(kind)]
    schemas, definitions = msgspec.json.schema_components(able, schema_hook=_schema_of, ref_template=DEFS)
    known = dict(zip(able, schemas, strict=True))
    return (
        {kind: known.get(kind, {"type": "object", "title": kind.__name__}) for kind in types},
        {name: _with_references(definition) for name, definition in definitions.items()},
    )


def _is_describable(kind: type[msgspec.Struct]) -> bool:
    try:
        msgspec.json.schema(kind, schema_hook=_schema_of)
    except TypeError:
        return False
    return True


def _schema_of(kind: type[Any]) -> Schema:
    return {"type": "string"} if issubclass(kind, Path) else {"title": kind.__name__}


def _with_references(definition: Schema) -> Schema:
    """Let every property also be a `${...}`, which editors can't see through."""
    if "properties" not in definition:
        return definition
    properties = {
        name: schema if schema.get("type") == "string" else {"anyOf": [schema, REFERENCE]}
        for name, schema in definition["properties"].items()
    }
    return {**definition, "properties": properties}
