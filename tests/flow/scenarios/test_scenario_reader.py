"""Faults of what a test says goes in, stands in, and is to come out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

OF_A_GRAPH = {
    "a fed node that is not there": (
        "inputs: {event: 1|}",
        ["6:14: inputs: there is no node 'event', did you mean 'events'?"],
    ),
    "an expected node that is not there": (
        "expect: {ordred: 1|}",
        ["6:14: expect: there is no node 'ordred', did you mean 'ordered'?"],
    ),
    "a setting of a node that is no consumer": (
        "consumers: {bus: {takes_ms: 1}}",
        ["6:17: consumers: there is no node 'bus'; there are one, two, refused"],
    ),
    "a fed consumer": ("inputs: {one: 1|}", ["6:14: inputs: one is a consumer, nothing comes out of it"]),
    "an expectation of a node that does not run": (
        "inputs: {ordered: 1|}\n  expect:\n    frames, ordered: 1|",
        [
            "8:7: expect: frames does not run here: `inputs` stand in for it",
            "8:7: expect: ordered does not run here: `inputs` stand in for it",
        ],
    ),
    "keys of a test of a node": (
        "input: 1|\n  output: 1|",
        [
            "6:5: input: for tests of one node; of a graph write `inputs: {node: ...}`",
            "7:5: output: for tests of one node; of a graph write `expect: {node: ...}`",
        ],
    ),
    "the end of a consumer": (
        "inputs: {events: 1|}\n  expect: {one: 1|}",
        ["7:19: one: a consumer does not complete; leave the | out"],
    ),
    "figures": (
        "inputs: {events: 1|}\n  expect: {one: {count: -1, dropped: {a: x}, coalesced: y}}",
        [
            "7:27: one: count: expected int >= 0, got -1",
            "7:44: one: dropped.a: expected int, got str 'x'",
            "7:59: one: coalesced: expected int | null, got str 'y'",
        ],
    ),
    "a misspelt figure": (
        "inputs: {events: 1|}\n  expect: {one: {droped: {}}}",
        ["7:20: one: unknown key 'droped', did you mean 'dropped'?"],
    ),
    "both marbles and rows": (
        "inputs: {events: 1|}\n  expect: {one: {marbles: 1, rows: []}}",
        ["7:19: one: marbles or rows, one of them"],
    ),
    "times": (
        "lasts_ms: -1\n  step_ms: 0",
        [
            "6:15: lasts_ms: milliseconds belong here, from 0 to ten years, not -1",
            "7:14: step_ms: a step takes some time",
        ],
    ),
    "other sections": (
        "fails: 3\n  summary: [1]\n  occurrences: {late_events.dropped: 0, late_event.dropped: b}\n"
        "  consumers: {one: {takes: 3}}",
        [
            "6:12: fails: a part of a message belongs here, not 3",
            "7:14: summary: a mapping belongs here, not a list",
            "8:19: occurrences: nothing is called 'late_events.dropped', did you mean 'late_event.dropped'?",
            "8:63: test: occurrences.late_event.dropped: expected int, got str 'b'",
            "9:23: consumers: one: unknown key 'takes', did you mean takes_ms (milliseconds)?",
        ],
    ),
    "recordings": (
        "recordings: {binance: [{file: nope.raw}, 3], ../x: a}",
        [
            "6:35: recordings: there is no file nope.raw",
            "6:46: recordings: binance: lines of a recording or {file: PATH} belong here, not 3",
            "6:50: recordings: '../x' is no name of a provider",
        ],
    ),
    "marbles without their bracket": (
        "inputs: {events: 1-(2,3)|}",
        [
            "6:24: events: marbles: '(' without its other bracket; inside {...} a comma wants quotes around",
            "6:27: inputs: there is no node '3)|'; "
            "there are socket, frames, events, ordered, bus, one, two, refused",
        ],
    ),
    "quoted marbles": (
        'inputs: {events: "1-(2"}',
        ["6:25: events: marbles: '(' without its other bracket"],
    ),
    "an element that nobody defined": (
        "inputs: {events: 1--x|}",
        ["6:25: no event is called 'x'; say under `events` what x is"],
    ),
    "a misspelt element": (
        "events: {abc: 1}\n  inputs: {events: (abd)|}",
        ["7:22: no event is called 'abd', did you mean 'abc'?"],
    ),
    "no marbles": (
        "inputs: {events: [1], bus: }",
        [
            "6:22: events: marbles belong here, such as 1-2--3|, not a list",
            "6:32: bus: marbles belong here, such as 1-2--3|, not nothing",
        ],
    ),
    "a lane with an unknown key": (
        "inputs: {events: {marble: 1}}",
        [
            "6:22: events: marbles or rows belong here, one of them",
            "6:23: events: unknown key 'marble', did you mean 'marbles'?",
        ],
    ),
    "rows": (
        "inputs: {events: {rows: 3}, bus: {rows: [{at_ms: x}, 2]}}",
        [
            "6:29: events: rows: a list belongs here, not 3",
            "6:54: bus: at_ms: milliseconds belong here, from 0 to ten years, not 'x'",
        ],
    ),
    "events": (
        "events: {x: {prce: 1}, y: {price: [1]}, z: {type: Trad}}\n  inputs: {events: xyz|}",
        [
            "6:18: event: unknown key 'prce', did you mean 'price'?",
            "6:39: event: Trade: price: expected str, got array",
            "6:55: event: type: expected one of Trade, Ticker, BestQuote, BookSnapshot, BookUpdate, "
            "KlineSummary, ExecReport, ControlAck, ControlResult, MergedEvent, Gap, got 'Trad', "
            "did you mean 'Trade'?",
        ],
    ),
    "an unknown key of the stream": (
        "stream: {symbl: A-B}\n  inputs: {events: 12|}",
        ["6:14: stream: unknown key 'symbl', did you mean 'symbol'?"],
    ),
    "all faults of one event": (
        "events: {x: {sequence: one, prce: 1}}\n  inputs: {events: x|}",
        [
            "6:28: event: sequence: expected int, got str 'one'",
            "6:33: event: unknown key 'prce', did you mean 'price'?",
        ],
    ),
    "an event that is a text": (
        "events: {x: hello}\n  inputs: {events: x|}",
        ["6:17: an event is a number or a mapping, not 'hello'"],
    ),
    "an event that only a merge makes": (
        "events: {x: {type: MergedEvent}}\n  inputs: {events: x|}",
        ["6:17: events of type MergedEvent can't be written in a test"],
    ),
    "an expected field that no event has": (
        "inputs: {events: 1|}\n  expect: {one: {rows: [{prise: 1}]}}",
        ["7:28: event: unknown key 'prise', did you mean 'price'?"],
    ),
    "frames": (
        'inputs: {socket: {rows: [{text: a, json: b}, {hex: xx}, [1]]}}\n  expect: {events: "-"}',
        [
            "6:30: a frame is a text, or a mapping with one of text, json and hex",
            "6:56: hex: non-hexadecimal number found in fromhex() arg at position 0",
            "6:61: text: a text belongs here, not a list",
        ],
    ),
}

OF_A_NODE = {
    "an unknown parameter": (
        "node: {use: dedupe, params: {windw: 2}}\n  input: 1|",
        ["6:34: node 'node': unknown key 'windw', did you mean 'window'?"],
    ),
    "an unknown operator": (
        "node: {use: dedup}\n  input: 1|",
        ["6:17: node 'node': unknown operator or component 'dedup', did you mean 'dedupe'?"],
    ),
    "a text": ("node: dedupe", ["6:11: node: write {use: ..., params: {...}}, not 'dedupe'"]),
    "inputs of its own": (
        "node: {use: dedupe, inputs: [x]}\n  input: 1|",
        ["6:25: node: in a test it reads `input`; leave `inputs` out"],
    ),
    "values to set": (
        "sets: [nodes.node.params.window=3]\n  node: {use: dedupe}\n  input: 1|",
        ["6:5: sets: a test of a node says its `params`"],
    ),
    "keys of a test of a graph": (
        "node: {use: dedupe}\n  inputs: {input: 1|}\n  expect: {output: 1|}",
        [
            "6:11: a test of a node wants its `input`",
            "7:5: inputs: a test of one node has one `input`",
            "8:5: expect: a test of one node has one `output`",
        ],
    ),
    "the input of a source": (
        "node: {use: counter}\n  input: 1|",
        ["7:5: input: counter is a source, which takes none"],
    ),
    "what the port does not take": (
        "node: {use: odd-numbers}\n  events: {x: a}\n  input: 1x|",
        ["7:17: this is no element for the port: Expected `int`, got `str`"],
    ),
    "a mailbox": (
        "node: {use: coalesce, mailbox: {capcity: 1}}\n  input: 1|",
        ["6:37: node: mailbox: unknown key 'capcity', did you mean 'capacity'?"],
    ),
}


@pytest.mark.parametrize("case", OF_A_GRAPH)
def test_a_fault_of_a_test_of_a_graph(flow_test: Callable[..., Any], case: str) -> None:
    said, faults = OF_A_GRAPH[case]
    done = flow_test(f"- name: a\n  {said}")
    assert (done.code, done.out) == (78, "")
    assert done.lines == [f"case_flow_test.yaml:{fault}" for fault in faults]


@pytest.mark.parametrize("case", OF_A_NODE)
def test_a_fault_of_a_test_of_a_node(node_test: Callable[..., Any], case: str) -> None:
    said, faults = OF_A_NODE[case]
    done = node_test(f"- name: a\n  {said}")
    assert (done.code, done.out) == (78, "")
    assert done.lines == [f"case_flow_test.yaml:{fault}" for fault in faults]
