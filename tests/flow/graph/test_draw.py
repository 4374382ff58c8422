"""Graphs as pictures."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from flow.graph import GraphSpec, InputSpec, NodeEntry
from flow.graph.draw import line, mermaid
from flow.registry import Registry

TEXT = """\
version: 1
nodes:
  socket:  {use: socket}
  frames:  {use: ingest, inputs: [socket]}
  books:   {use: books, inputs: [frames]}
  bus:     {use: fan-out-clone, inputs: [books]}
  latest:  {use: coalesce, inputs: [{source: bus, mailbox: {capacity: 9}}]}
  console: {use: console, inputs: [latest]}
  end:     {use: console, inputs: [bus]}
  refused: {use: jsonl, inputs: [frames.dead_letters], params: {path: x}}
"""

EXPECTED = """\
flowchart LR
    socket(["socket"])
    frames["frames<br/>ingest"]
    books[["books"]]
    bus["bus<br/>fan-out-clone"]
    latest["latest<br/>coalesce"]
    console{{"console"}}
    n6_{{"end<br/>console"}}
    refused{{"refused<br/>jsonl"}}
    socket --> frames
    frames --> books
    books --> bus
    bus -->|"mailbox 9, latest_by_key"| latest
    latest --> console
    bus --> n6_
    frames -.->|"dead_letters"| refused
"""


def test_mermaid_shows_kinds_mailboxes_and_dead_letters(read: Callable[..., Any], registry: Registry) -> None:
    assert mermaid(read(TEXT), registry) == EXPECTED


def test_the_line_is_the_longest_way_with_all_ends(read: Callable[..., Any], registry: Registry) -> None:
    expected = "socket ─► frames ─► books ─► bus ─► latest ─► console | end | refused"
    assert line(read(TEXT), registry) == expected


@pytest.mark.parametrize("name", ['a"b', "a\nb", "end", "a]b", "subgraph", "é", "<x>", ""])
def test_strange_names_can_not_break_the_picture(registry: Registry, name: str) -> None:
    spec = GraphSpec(
        name="x",
        nodes={
            name: NodeEntry(name, 'x"]; click'),
            "b": NodeEntry("b", "console", [InputSpec(name), InputSpec("zz")]),
        },
    )
    node = re.compile(r'    \w+(\[|\{\{)"[^"\[\]{}\n]*"(\]|\}\})')
    edge = re.compile(r"    \w+ --> \w+")
    first, *rest = mermaid(spec, registry).splitlines()
    assert first == "flowchart LR"
    assert len(rest) == 3
    assert all(node.fullmatch(text) or edge.fullmatch(text) for text in rest)
    assert not any(text.split()[0] in ("end", "subgraph") for text in rest)


def test_nothing_is_drawn_as_nothing(registry: Registry) -> None:
    spec = GraphSpec(name="x", nodes={})
    assert mermaid(spec, registry) == "flowchart LR\n"
    assert line(spec, registry) == ""
