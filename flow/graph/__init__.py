"""Graphs: a YAML file to plain data, with every fault of it at once; pictures, schema and reference."""

from flow.graph.check import check
from flow.graph.draw import line, mermaid
from flow.graph.load import lint, load, load_data
from flow.graph.reference import describe, listing
from flow.graph.schema import json_schema
from flow.graph.spec import GraphSpec, InputSpec, MailboxSpec, NodeEntry, NoParams

__all__ = [
    "GraphSpec",
    "InputSpec",
    "MailboxSpec",
    "NoParams",
    "NodeEntry",
    "check",
    "describe",
    "json_schema",
    "line",
    "lint",
    "listing",
    "load",
    "load_data",
    "mermaid",
]
