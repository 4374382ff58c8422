"""`flow run --debug-pools`, and what a bug of ownership looks like from outside."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow.registry import registry

PLUGIN = """
from flow import CanonicalEvent, Context, Operator, operator
from flow.graph.spec import NoParams
from flow.pool import release
from flow.stage import Machine, stage

@operator("careless", pooled=True)
def careless(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    return stage(lambda: Careless(context))

class Careless(Machine[CanonicalEvent, CanonicalEvent]):
    def add(self, element: CanonicalEvent) -> None:
        release(element)
        {then}
"""
CARELESS_GRAPH = """version: 1
name: careless
plugins: [./careless.py]
nodes:
  socket: {use: binance.stream, params: {symbols: [AAA-USDT], channels: [trade]}}
  frames: {use: ingest, inputs: [socket]}
  events: {use: decode, inputs: [frames], params: {codec: binance}}
  few: {use: careless, inputs: [events]}
  sink: {use: "null", inputs: [few]}
  refused: {use: "null", inputs: [few.dead_letters]}
"""


@pytest.mark.parametrize(
    ("then", "options", "said"),
    [
        ("element.put()", [], "DoublePut: put of a PooledEvent of Stream(binance/AAA-USDT/Trade/trade)"),
        ("element.put()", ["--debug-pools"], "and put before at"),
        ("element.row()", ["--debug-pools"], "UsedAfterPut: CanonicalEvent of Stream(binance/AAA-USDT/"),
        ("self.emit(element)", ["--debug-pools"], "UsedAfterPut: CanonicalEvent of Stream(binance/AAA-USDT/"),
        ("raise ValueError", ["--debug-pools"], "after its put at"),
    ],
)
def test_on_the_command_line_it_is_exit_1_and_a_line(
    flow_command: Callable[..., Any],
    binance_capture: Callable[..., Path],
    trade_frame: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    then: str,
    options: list[str],
    said: str,
) -> None:
    monkeypatch.setattr(registry, "nodes", dict(registry.nodes))
    (tmp_path / "careless.py").write_text(PLUGIN.replace("{then}", then))
    graph = tmp_path / "careless.yaml"
    graph.write_text(CARELESS_GRAPH)
    recording = binance_capture(*(trade_frame(number) for number in range(1, 4)))
    given = ("--replay", f"binance={recording}", "--speed", "max", "--summary", "-", *options)
    done = flow_command("run", graph, *given)
    assert done.code == 1
    (line,) = [line for line in done.lines if "ends the graph" in line]
    (verdict,) = [line for line in done.lines if "the run failed" in line]
    assert said in verdict
    assert verdict.partition(": ")[2].partition(": ")[2].partition(": ")[2] in line
    if options:
        assert re.search(r"careless\.py:1[34] \(add, node few\)", verdict)
    assert '"dead_letters":{}' in done.out
