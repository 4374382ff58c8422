"""What tests can say, and that the real runtime is behind it: each case passes, and fails with one thing
changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PASSED = "case_flow_test.yaml: 1 passed\n1 passed in 1 file\n"

GRAPH_TESTS = {
    "marbles": ('inputs: {events: "1-(2,3)-|"}\n  expect: {bus: "1-(2,3)-|"}', "(2,3)-|", "(3,2)-|"),
    "a source that stays open": ("inputs: {events: 1-3}\n  expect: {bus: 1--------------}", "---}", "---3}"),
    "how long it lasts": (
        "inputs: {events: 1-3}\n  lasts_ms: 171\n  expect: {bus: {count: 2}}\n"
        "  occurrences: {late_event.dropped: 0}",
        "count: 2",
        "count: 1",
    ),
    "the drain lets go of what is held": (
        'inputs: {events: 1-3}\n  lasts_ms: 60\n  expect: {bus: "1-----(3,|)"}',
        "1-----(",
        "1----(",
    ),
    "steps of a lane": (
        "inputs: {events: {marbles: 12|, step_ms: 50}}\n  expect: {one: 1----2}",
        "1----2",
        "1---2",
    ),
    "names and numbers": (
        "events: {a: {sequence: 7, price: 60000.10}, '5': {symbol: ETH-USDT, sequence: 5}}\n"
        '  inputs: {events: "a5(8)|"}\n  expect: {one: {rows: ['
        "{sequence: 7, price: 60000.10, symbol: BTC-USDT}, {symbol: ETH-USDT}, {sequence: 8}]}}",
        "{sequence: 7, price: 60000.10, symbol",
        "{sequence: 7, price: 60000.1, symbol",
    ),
    "rows in": (
        "inputs: {events: {rows: [{at_ms: 20, sequence: 2}, {at_ms: 5, sequence: 1}], completes_ms: 30}}\n"
        "  expect: {bus: {rows: [{at_ms: 5, sequence: 1}, {at_ms: 20, sequence: 2}]}}",
        "{at_ms: 20, sequence: 2}]}}",
        "{at_ms: 21, sequence: 2}]}}",
    ),
    "exchange times": (
        "events: {a: {sequence: 9, exchange_ms: 0}, b: {sequence: 1, exchange_ms: 500}}\n"
        "  inputs: {events: ab|}\n  expect: {bus: ab|}",
        "exchange_ms: 500",
        "exchange_ms: 5",
    ),
    "a slow consumer": (
        "inputs: {events: 123|}\n  consumers: {one: {takes_ms: 25}}\n"
        "  expect: {one: {rows: [{at_ms: 0}, {at_ms: 25}, {at_ms: 50}]}, two: 123}",
        "{at_ms: 25}",
        "{at_ms: 26}",
    ),
    "what a mailbox drops": (
        "sets: ['nodes.one.inputs.0={source: bus, mailbox: {capacity: 1, when_full: drop_newest}}']\n"
        "  inputs: {events: 1234|}\n  consumers: {one: {takes_ms: 100}}\n"
        "  expect: {one: {count: 3, dropped: {mailbox_full: 2}}, two: {count: 4, dropped: {}}}",
        "mailbox_full: 2}}, two",
        "mailbox_full: 1}}, two",
    ),
    "a gate that pauses the source": (
        "sets: [mode=replay, 'nodes.one.inputs.0={source: bus, mailbox: {capacity: 1, when_full: block}}']\n"
        "  inputs: {events: 1234|}\n  consumers: {one: {takes_ms: 100}}\n"
        "  expect: {one: {rows: [{at_ms: 0}, {at_ms: 100}, {at_ms: 200}, {at_ms: 300}], dropped: {}}, "
        "two: {rows: [{at_ms: 0}, {at_ms: 10}, {at_ms: 20}, {at_ms: 100}]}}",
        "{at_ms: 10}",
        "{at_ms: 15}",
    ),
    "a pool that is dry": (
        "sets: ['pools={CanonicalEvent: {capacity: 1}}']\n"
        "  inputs: {events: 1-3-2|}\n"
        "  expect: {ordered: {rows: [{at_ms: 0, sequence: 1}, {sequence: 3}], dropped: {pool_timeout: 1}}}",
        "pool_timeout: 1",
        "pool_timeout: 2",
    ),
    "a pool that is dry for a while": (
        "sets: ['pools={CanonicalEvent: {capacity: 1}}', nodes.ordered.params.lateness_ms=50]\n"
        "  inputs: {events: 1-3-4|}\n"
        "  expect: {ordered: {rows: [{at_ms: 0, sequence: 1}, {at_ms: 70, sequence: 3}, "
        "{at_ms: 70, sequence: 4}], dropped: {}}}",
        "dropped: {}",
        "dropped: {pool_timeout: 1}",
    ),
    "a reader of several dead letters, of which some can't come": (
        "sets: ['nodes.refused.inputs=[events.dead_letters, ordered.dead_letters]']\n"
        "  inputs: {ordered: 1|}\n  expect: {one: 1, refused: {count: 0}}",
        "count: 0",
        "count: 1",
    ),
    "an unknown exchange time": (
        "events: {a: {sequence: 1, exchange_ts: 0}}\n  inputs: {events: a|}\n"
        "  expect: {one: {rows: [{exchange_ts: 0}]}}",
        "{exchange_ts: 0}]",
        "{exchange_ts: 1}]",
    ),
    "another type has another channel": (
        "stream: {channel: aggTrade}\n  events: {q: {type: BestQuote}}\n  inputs: {events: 1q|}\n"
        "  expect: {one: {rows: [{channel: aggTrade}, {channel: best_quote}]}}",
        "best_quote}",
        "aggTrade}",
    ),
    "dead letters that reach their reader": (
        "events: {x: hello}\n  inputs: {frames: x-|}\n"
        "  expect: {events: {dead_letters: [{at_ms: 0, reason: malformed_json, original: hello}]}, "
        "refused: {rows: [{reason: malformed_json}]}}",
        "refused: {rows: [{reason: malformed_json}]}",
        "refused: {rows: []}",
    ),
    "arrivals": (
        "events: {x: {json: {hello: world}}, y: {hex: 'ff00', provider: kraken}}\n"
        "  inputs: {socket: xy|}\n  expect: {socket2: 0}".replace("  expect: {socket2: 0}", "")
        + '  expect: {events: {dead_letters: [{original: \'{"hello":"world"}\', provider: binance}, '
        "{reason: malformed_json, provider: kraken}]}}",
        "provider: kraken}]}}",
        "provider: binance}]}}",
    ),
    "part of the summary": (
        "inputs: {events: 1-1|}\n  summary: {consumers: {one: {delivered: 1}}, mode: replay}",
        "delivered: 1",
        "delivered: 2",
    ),
}

NODE_TESTS = {
    "a source": ("node: {use: counter}\n  output: --1-2-3", "--1-2-3", "--1-2-4"),
    "a consumer": ("node: {use: talker}\n  input: 1-2|\n  output: 1-2", "output: 1-2", "output: 1--2"),
    "numbers": ("node: {use: odd-numbers}\n  input: 1-2-3|\n  output: 1---3|", "1---3|", "1-2-3|"),
    "a drop": (
        "node: {use: odd-numbers}\n  input: 1-2-3|\n  output: {dropped: {even: 1}}",
        "even: 1",
        "even: 2",
    ),
    "values with names": (
        "node: {use: odd-numbers}\n  events: {x: 21}\n  input: 1-x|\n  output: 1-x|",
        "x: 21",
        "x: 22",
    ),
    "a failure that is expected": (
        "node: {use: odd, params: {does: put twice}}\n  input: 1|\n  fails: and put before at",
        "and put before at",
        "and got before at",
    ),
    "a handler that is expected to raise": (
        "node: {use: talker, params: {does: raise}}\n  input: 1-2|\n  output: {dropped: {handler_raised: 2}}",
        "handler_raised: 2",
        "handler_raised: 1",
    ),
    "every type of event": (
        "events: {a: {type: Ticker}, b: {type: BestQuote}, c: {type: BookSnapshot, bids: [[1.10, 2]]}, "
        "d: {type: BookUpdate, sequence: 4, first_sequence: 2}, e: {type: KlineSummary, is_closed: true}, "
        "f: {type: ExecReport, state: FILLED}, g: {type: Gap, missed: 3}}\n"
        "  node: {use: fan-out-clone}\n  input: abcdefg|\n  output: {rows: [{last_price: '1'}, "
        "{bid_price: 1}, {bids: [[1.10, 2]], channel: book}, {first_sequence: 2, sequence: 4}, "
        "{is_closed: true}, {state: FILLED}, {missed: 3}]}",
        "{missed: 3}]}",
        "{missed: 4}]}",
    ),
}


@pytest.mark.parametrize("case", GRAPH_TESTS)
def test_a_graph(flow_test: Callable[..., Any], case: str) -> None:
    said, part, other = GRAPH_TESTS[case]
    done = flow_test(f"- name: a\n  {said}")
    assert (done.out, done.err, done.code) == (PASSED, "", 0)
    assert said.count(part) >= 1
    at = said.rindex(part)
    assert flow_test(f"- name: a\n  {said[:at]}{other}{said[at + len(part) :]}").code == 1


@pytest.mark.parametrize("case", NODE_TESTS)
def test_a_node(node_test: Callable[..., Any], case: str) -> None:
    said, part, other = NODE_TESTS[case]
    done = node_test(f"- name: a\n  {said}")
    assert (done.out, done.err, done.code) == (PASSED, "", 0)
    assert said.count(part) == 1
    assert node_test(f"- name: a\n  {said.replace(part, other)}").code == 1


def test_a_consumer_is_stood_in_for_unless_the_test_wants_it_real(
    folder: Path, flow_test: Callable[..., Any]
) -> None:
    graph = folder / "small.yaml"
    target = folder / "kept.jsonl"
    graph.write_text(
        graph.read_text().replace('one: {use: "null"', "one: {use: jsonl, params: {path: kept.jsonl}")
    )
    assert flow_test("- {name: a, inputs: {events: 12|}, expect: {one: 12}}").code == 0
    assert not target.exists()
    real = (
        "- {name: a, inputs: {events: 12|}, expect: {one: 12}, consumers: {one: {real: true, takes_ms: 5}}}"
    )
    assert flow_test(real.replace("expect: {one: 12}", "expect: {one: {count: 2}}")).code == 0
    assert len(target.read_text().splitlines()) == 2


def test_recordings_are_lines_and_files(
    folder: Path,
    flow_test: Callable[..., Any],
    binance_capture: Callable[..., Path],
    trade_frame: Callable[..., bytes],
) -> None:
    capture = binance_capture(trade_frame(1, "aaausdt"), trade_frame(2, "aaausdt"), step_ms=10)
    (folder / "own.raw").write_bytes(capture.read_bytes())
    lines = "".join(f"      {line}\n" for line in capture.read_text().splitlines())
    rest = (
        "sets: ['nodes.socket.params.symbols=[AAA-USDT]'], expect: {one: {rows: [{at_ms: 0}, {at_ms: 10}]}}"
    )
    files = f"- {{name: a, recordings: {{binance: [{{file: own.raw}}]}}, {rest}}}"
    assert flow_test(files).out == PASSED
    texts = f"- name: a\n  recordings:\n    binance: |\n{lines}  " + rest.replace("], expect", "]\n  expect")
    assert flow_test(texts).out == PASSED
    bad = flow_test(files.replace("{file: own.raw}", "nonsense"))
    assert bad.code == 1
    assert "failed: --replay: binance.raw:1: not a record of the capture format: 'nonsense'\n" in bad.out


def test_a_recording_is_played_however_long_it_is(
    folder: Path,
    flow_test: Callable[..., Any],
    binance_capture: Callable[..., Path],
    trade_frame: Callable[..., bytes],
) -> None:
    capture = binance_capture(trade_frame(1), trade_frame(2), step_ms=7_200_000)
    (folder / "long.raw").write_bytes(capture.read_bytes())
    done = flow_test(
        "- {name: a, recordings: {binance: [{file: long.raw}]}, expect: {one: {count: 2}}, "
        "sets: ['nodes.socket.params.symbols=[AAA-USDT]']}"
    )
    assert done.out == PASSED


def test_two_runs_are_alike(flow_test: Callable[..., Any]) -> None:
    case = (
        '- {name: a, inputs: {events: "1-3-2-9"}, consumers: {one: {takes_ms: 7}}, expect: {one: 9, two: 9}}'
    )
    assert flow_test(case).out == flow_test(case).out


def test_what_is_logged_is_shown_with_a_failure_only(node_test: Callable[..., Any], folder: Path) -> None:
    parts = folder / "odd_parts.py"
    parts.write_text(
        parts.read_text().replace('print("started")', 'import logging; logging.warning("look out")')
    )
    good = node_test("- {name: a, node: {use: talker}, input: 1|, output: 1}")
    assert (good.code, "look out" in good.out + good.err) == (0, False)
    bad = node_test("- {name: a, node: {use: talker}, input: 1|, output: 2}")
    assert bad.out.splitlines()[-4:-2] == ["  logged meanwhile", "    warning: look out"]
