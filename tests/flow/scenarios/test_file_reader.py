"""Faults of a file of tests: each with its place and what would do, all at once, and nothing runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WHOLE_FILES = {
    "empty": ("", "1:1: the file is empty; a file of tests begins with `version: 1`"),
    "a list": ("[1]", "1:1: this is a list; a file of tests begins with `version: 1`"),
    "no version": (
        "graph: small.yaml\ntests: [{name: a}]",
        "1:1: 'version' is missing; write `version: 1`",
    ),
    "another version": (
        "version: 2\ngraph: small.yaml\ntests: [{name: a}]",
        "1:10: version: this reads version 1, not 2",
    ),
    "no tests": ("version: 1\n", "1:1: tests: a list of tests belongs here, and it is not to be empty"),
    "empty tests": (
        "version: 1\ntests: []",
        "2:8: tests: a list of tests belongs here, and it is not to be empty",
    ),
    "an unknown key": (
        "version: 1\ngraph: small.yaml\nevent: {}\ntests: [{name: a}]",
        "3:1: file: unknown key 'event', did you mean 'events'?",
    ),
    "no graph": (
        "version: 1\ntests: [{name: a}]",
        "2:9: a test is of a graph or of a node: say `graph` or `node`, one of them",
    ),
    "a graph that is not there": (
        "version: 1\ngraph: nope.yaml\ntests: [{name: a}]",
        "2:8: graph: there is no file nope.yaml",
    ),
    "a graph that is no path": (
        "version: 1\ngraph: 3\ntests: [{name: a}]",
        "2:8: graph: the path of a graph belongs here, not 3",
    ),
    "a plugin that is not there": (
        "version: 1\nplugins: [nope]\ngraph: small.yaml\ntests: [{name: a}]",
        "2:11: plugin 'nope': there is no package 'nope'",
    ),
    "no YAML": ("version: [", "2:1: YAML: did not find expected node content (while parsing a flow node)"),
}

ONE_TEST = {
    "no name": ("- inputs: {}", "5:5: name: each test has a name, a text of one line"),
    "a number for a name": ("- name: 12", "5:11: name: each test has a name, a text of one line, not 12"),
    "a text": ("- hello", "5:5: test: a mapping belongs here, not 'hello'"),
    "a name twice": ("- name: a\n- name: a", "6:11: name: the test in line 5 is called so too"),
    "graph and node": (
        "- {name: a, graph: small.yaml, node: {use: dedupe}}",
        "5:5: a test is of a graph or of a node: say `graph` or `node`, one of them",
    ),
    "an unknown key": (
        "- {name: a, expects: {}}",
        "5:15: test: unknown key 'expects', did you mean 'expect'?",
    ),
    "an unknown value to set": (
        "- {name: a, sets: [nodes.orderd.params.x=1]}",
        "5:22: nodes.orderd.params.x=1: this graph has no node 'orderd', did you mean 'ordered'?",
    ),
}


@pytest.mark.parametrize("case", WHOLE_FILES)
def test_a_fault_of_the_file(folder: Path, flow_command: Callable[..., Any], case: str) -> None:
    text, said = WHOLE_FILES[case]
    (folder / "case_flow_test.yaml").write_text(text)
    done = flow_command("test", "case_flow_test.yaml")
    assert (done.code, done.out) == (78, "")
    assert f"case_flow_test.yaml:{said}" in done.lines


@pytest.mark.parametrize("case", ONE_TEST)
def test_a_fault_of_a_test(flow_test: Callable[..., Any], case: str) -> None:
    tests, said = ONE_TEST[case]
    done = flow_test(tests)
    assert (done.code, done.out, done.lines) == (78, "", [f"case_flow_test.yaml:{said}"])


def test_faults_of_the_graph_come_with_its_own_place_and_once(
    folder: Path, flow_test: Callable[..., Any]
) -> None:
    graph = folder / "small.yaml"
    graph.write_text(graph.read_text().replace("order-buffer", "order-bufer"))
    done = flow_test("- {name: a, inputs: {events: 1|}}\n- {name: b, inputs: {events: 1|}}")
    assert done.code == 78
    assert done.lines == [
        "small.yaml:7:18: node 'ordered': unknown operator or component 'order-bufer', "
        "did you mean 'order-buffer'?"
    ]


def test_a_broken_plugin_is_named_with_its_own_line(folder: Path, node_test: Callable[..., Any]) -> None:
    (folder / "odd_parts.py").write_text("\nraise ValueError('broken')\n")
    done = node_test("- {name: a, node: {use: dedupe}, input: 1|}")
    assert done.code == 78
    assert done.lines == [
        f"{folder}/odd_parts.py:2:1: plugin './odd_parts.py': ValueError: broken",
    ]


def test_a_test_says_over_its_file(flow_test: Callable[..., Any]) -> None:
    """Of mappings single entries, of `sets` more of them, everything else anew."""
    done = flow_test(
        """
- {name: those of the file, inputs: {events: 13--------|}, expect: {bus: 1-----3---|}}
- name: its own
  step_ms: 100
  sets: [nodes.ordered.params.flush_ms=10]
  stream: {symbol: ETH-USDT}
  inputs: {events: 13--|}
  expect: {bus: {rows: [{at_ms: 0, symbol: ETH-USDT, provider: kraken}, {at_ms: 150, sequence: 3}]}}
""",
        head="version: 1\ngraph: small.yaml\nstream: {provider: kraken, symbol: BTC-USDT}\n"
        "sets: [nodes.ordered.params.lateness_ms=50, nodes.ordered.params.flush_ms=25]\ntests:\n",
    )
    assert (done.code, done.out) == (0, "case_flow_test.yaml: 2 passed\n2 passed in 1 file\n")
