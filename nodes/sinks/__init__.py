"""The ends of a graph: a live view, files, user code, and nothing at all."""

from nodes.sinks.console import console
from nodes.sinks.jsonl import jsonl
from nodes.sinks.null import null
from nodes.sinks.python import python

__all__ = ["console", "jsonl", "null", "python"]
