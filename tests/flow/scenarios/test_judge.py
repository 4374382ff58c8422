"""What a failing test shows: where what came parts from what was expected, word for word."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

GRAPH_TESTS = {
    "an element too early": (
        'inputs: {events: "1-2-4-3-5|"}\n  expect: {ordered: "1-2-4-3-5|"}',
        [
            "ordered (line 7): other elements than expected",
            "  expected  1-2-4-3    -5|",
            "  got       1-2---(3,4)-5|",
            "                ^ 40 ms",
        ],
    ),
    "several nodes alike": (
        "inputs: {events: 1-2|}\n  expect:\n    one, two: 1-2-3",
        [
            "one, two (line 8): other elements than expected",
            "  expected  1-2-3",
            "  got       1-2--",
            "                ^ 40 ms",
        ],
    ),
    "one too many": (
        "inputs: {events: 1-2-3|}\n  expect: {one: 1-2}",
        [
            "one (line 7): other elements than expected",
            "  expected  1-2",
            "  got       1-2-3",
            "               ^ 30 ms",
        ],
    ),
    "an element of another name": (
        "inputs: {events: 1-a|}\n"
        "  events: {a: {symbol: ETH-USDT, sequence: 9, price: 2.0}, b: {sequence: 2}}\n"
        "  expect: {one: 1b}",
        [
            "one (line 8): other elements than expected",
            "  expected  1b",
            "  got       1-a",
            "             ^ 10 ms",
        ],
    ),
    "an element that nobody named": (
        "inputs: {events: {rows: [{symbol: ETH-USDT, sequence: 9}], completes_ms: 0}}\n  expect: {one: 1}",
        [
            "one (line 7): other elements than expected",
            "  expected  1",
            "  got       ?",
            "            ^ 0 ms",
            '  ? at 0 ms is {"provider":"binance","symbol":"ETH-USDT","type":"Trade","channel":"trade",'
            '"sequence":9,"first_sequence":9,"routing_version":0,"payload":{"price":"1","quantity":"1",'
            '"trade_id":9,"taker_side":"buy","trade_ts":0}}',
        ],
    ),
    "an element of the right name, but for a field": (
        "inputs: {events: 1|}\n  events: {a: {sequence: 1, price: 2}}\n  expect: {one: a}",
        [
            "one (line 8): other elements than expected",
            "  expected  a",
            "  got       1",
            "            ^ 0 ms",
        ],
    ),
    "the end": (
        "inputs: {events: 1-2-|}\n  expect: {bus: 1-2|}",
        [
            "bus (line 7): other elements than expected",
            "  expected  1-2|",
            "  got       1-2-|",
            "               ^ 30 ms",
        ],
    ),
    "a time between two places": (
        "inputs: {events: {rows: [{at_ms: 12.5, sequence: 1}]}}\n  expect: {one: -1}",
        [
            "one (line 7): other elements than expected",
            "     at_ms  provider  symbol    sequence",
            "  -  10     binance   BTC-USDT  1",
            "  +  12.5   binance   BTC-USDT  1",
        ],
    ),
    "rows": (
        "inputs: {events: 1-2-3-4|}\n  events: {x: 1}\n"
        "  expect: {one: {rows: [{at_ms: 0, sequence: 1}, {at_ms: 20, price: 2}, {sequence: 4}]}}",
        [
            "one (line 8): other elements than expected",
            "     at_ms  sequence  price",
            "     0      1         1",
            "  -  20               2",
            "  +  20     2         1",
            "  +  40     3         1",
            "     60     4         1",
        ],
    ),
    "figures": (
        "inputs: {events: 1-1-2|}\n  expect: {ordered: {count: 3, dropped: {late: 1}, coalesced: 1}}",
        [
            "ordered (line 7): expected 3 elements, got 2",
            "ordered (line 7): expected dropped: late 1; got duplicate 1",
            "ordered (line 7): expected 1 coalesced, got 0",
        ],
    ),
    "occurrences": (
        "inputs: {events: 1-1|}\n  occurrences: {late_event.dropped: 2}",
        ["occurrences: expected late_event.dropped 2 times, got 1"],
    ),
    "summary": (
        "inputs: {events: 1-1|}\n  summary: {consumers: {one: {delivered: 2}}, nope: {x: 1}}",
        [
            "summary.consumers.one.delivered (line 7): expected 2, got 1",
            "summary.nope.x (line 7): expected 1, got (missing)",
        ],
    ),
    "nothing recorded": (
        "expect: {one: 1}",
        [
            "the run failed: binance was asked something, and the test has nothing recorded of it: give "
            "`recordings: {binance: ...}`, or let `inputs` stand in for its nodes",
        ],
    ),
    "a failure that did not come": (
        "inputs: {events: 1|}\n  fails: dry",
        ["the run was to fail with 'dry', and did not fail"],
    ),
}

NODE_TESTS = {
    "dead letters that nobody expects": (
        "node: {use: odd, params: {does: refuse}}\n  input: 1-2|",
        [
            "2 dead letters that the test does not expect",
            "  node: ValueError: no thanks x 2",
        ],
    ),
    "other dead letters": (
        "node: {use: odd, params: {does: refuse}}\n  input: 1-2|\n"
        "  output: {dead_letters: [{reason: ValueError, at_ms: 0}, {reason: late, original.sequence: 3}]}",
        [
            "output (line 8): other dead letters than expected",
            "     at_ms  reason      original.sequence",
            "     0      ValueError  1",
            "  -         late        3",
            "  +  20     ValueError  2",
        ],
    ),
    "elements that vanish": (
        "node: {use: odd}\n  input: 1-2|",
        ["the edge input -> node does not balance: +2 of 2 elements unaccounted for"],
    ),
    "a handler that raises": (
        "node: {use: talker, params: {does: raise}}\n  input: 1-2|\n  output: 1-2",
        [
            "node: a handler raised, 2 times",
            "  RuntimeError: oops (odd_parts.py:79)",
            "  RuntimeError: oops (odd_parts.py:79)",
        ],
    ),
    "numbers": (
        "node: {use: odd-numbers}\n  input: 1-2-3|\n  output: 1-2-3|",
        [
            "output (line 8): other elements than expected",
            "  expected  1-2-3|",
            "  got       1---3|",
            "              ^ 20 ms",
        ],
    ),
    "rows of numbers": (
        "node: {use: odd-numbers}\n  input: 1-2-3|\n  output: {rows: [1, {at_ms: 20, value: 2}, 3]}",
        [
            "output (line 8): other elements than expected",
            "     at_ms  element",
            "     0      1",
            "  -  20     2",
            "     40     3",
        ],
    ),
    "a connection": (
        "node: {use: counter, params: {does: connect}}",
        [
            "the run failed: a test runs on virtual time and has no network; let `inputs` stand in for it",
        ],
    ),
    "a process": (
        "node: {use: counter, params: {does: start a process}}",
        [
            "the run failed: a test runs on virtual time and has no other process; "
            "let `inputs` stand in for it",
        ],
    ),
    "a node that can't be made": (
        "node: {use: decode, params: {codec: nope}}\n  input: -|",
        ["the run failed: case_flow_test.yaml:6:11: node: unknown codec 'nope'; known: binance"],
    ),
    "another failure": (
        "node: {use: decode, params: {codec: nope}}\n  input: -|\n  fails: dry",
        [
            "the run was to fail with 'dry', and failed with: case_flow_test.yaml:6:11: node: "
            "unknown codec 'nope'; known: binance",
        ],
    ),
}


def shown(problems: list[str]) -> str:
    lines = ["FAILED case_flow_test.yaml:5: a", *(f"  {line}" for line in problems)]
    return "\n".join([*lines, "case_flow_test.yaml: 0 passed, 1 failed", "0 passed, 1 failed in 1 file", ""])


def doubled(problems: list[str]) -> list[str]:
    """Lines below a headline are set in twice as far."""
    return [f"  {line}" if line.startswith("  ") else line for line in problems]


@pytest.mark.parametrize("case", GRAPH_TESTS)
def test_a_graph(flow_test: Callable[..., Any], case: str) -> None:
    said, problems = GRAPH_TESTS[case]
    done = flow_test(f"- name: a\n  {said}")
    assert (done.code, done.err) == (1, "")
    assert done.out == shown(problems)


@pytest.mark.parametrize("case", NODE_TESTS)
def test_a_node(node_test: Callable[..., Any], case: str) -> None:
    said, problems = NODE_TESTS[case]
    done = node_test(f"- name: a\n  {said}")
    assert (done.code, done.err) == (1, "")
    assert done.out == shown(problems)


def test_a_bug_of_ownership_names_the_places_of_both_puts(node_test: Callable[..., Any]) -> None:
    done = node_test("- {name: a, node: {use: odd, params: {does: put twice}}, input: 1|}")
    assert done.code == 1
    second, first = re.findall(r"odd_parts.py:(\d+) \(add, node node\)", done.out)
    assert int(second) == int(first) + 2


def test_objects_that_are_kept_are_named(node_test: Callable[..., Any]) -> None:
    done = node_test("- {name: a, node: {use: odd, params: {does: keep}}, input: 1-2|}")
    assert done.code == 1
    kept = "Stream(binance/BTC-USDT/Trade/trade) x 2"
    assert f"  objects of pool CanonicalEvent were not returned: 2: {kept}\n" in done.out


def test_of_many_rows_those_around_the_difference_are_shown(flow_test: Callable[..., Any]) -> None:
    rows = "".join(f"      - {{sequence: {99 if number == 15 else number}}}\n" for number in range(1, 31))
    marbles = "".join(f"({number})" for number in range(1, 31))
    done = flow_test(
        f'- name: a\n  inputs: {{events: "{marbles}|"}}\n  expect:\n    one:\n      rows:\n{rows}'
    )
    numbers = [int(line.split()[-1]) for line in done.out.splitlines()[3:-2]]
    assert numbers == [12, 13, 14, 99, 15, 16, 17, 18]


def test_of_long_marbles_those_around_the_difference_are_shown(flow_test: Callable[..., Any]) -> None:
    lane = "-" * 200
    done = flow_test(f'- name: a\n  inputs: {{events: "{lane}1-|"}}\n  expect: {{one: "{lane}-1"}}')
    expected, got, caret = done.out.splitlines()[2:5]
    assert expected == "    expected  ..." + "-" * 61 + "1"
    assert got == "    got       ..." + "-" * 60 + "1-"
    assert caret == " " * 77 + "^ 2000 ms"
