"""Graphs: a YAML file to plain data, with every fault of it at once."""

from flow.graph.check import check
from flow.graph.load import lint, load, load_data
from flow.graph.spec import GraphSpec, InputSpec, MailboxSpec, NodeEntry, NoParams

__all__ = [
    "GraphSpec",
    "InputSpec",
    "MailboxSpec",
    "NoParams",
    "NodeEntry",
    "check",
    "lint",
    "load",
    "load_data",
]
