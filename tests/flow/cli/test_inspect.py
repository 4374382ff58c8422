"""lint, graph, list, describe, schema."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flow.cli import inspect, main
from flow.plugins import PluginFault

GRAPH = """version: 1
name: small
nodes:
  socket: {use: binance.stream, params: {symbols: [A-B]}}
  frames: {use: ingest, inputs: [socket]}
  sink: {use: "null", inputs: [frames]}
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GRAPH)
    return path


@pytest.mark.parametrize("command", ["lint", "validate"])
def test_lint_goes_through_all_files(flow_command: Callable[..., Any], good: Path, command: str) -> None:
    bad = good.with_name("bad.yaml")
    bad.write_text(GRAPH.replace("ingest", "injest"))
    done = flow_command(command, bad, good)
    assert done.code == 78
    assert done.out == f"{good}: ok\n"
    assert [line.startswith(f"{bad}:5:") for line in done.lines] == [True]


def test_lint_sets_values_first(flow_command: Callable[..., Any], good: Path) -> None:
    assert flow_command("lint", good, "--set", "nodes.frames.use=injest").code == 78
    assert flow_command("lint", good, "--set", "name=other").code == 0


def test_graph_is_mermaid(flow_command: Callable[..., Any], good: Path) -> None:
    done = flow_command("graph", good)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("flowchart LR\n")
    assert "    socket --> frames\n    frames --> sink\n" in done.out


def test_graph_of_a_bad_file_is_78(flow_command: Callable[..., Any], good: Path) -> None:
    done = flow_command("graph", good, "--set", "nodes.frames.use=injest")
    assert (done.code, done.out) == (78, "")
    assert done.lines[0].startswith(f"{good}:")


def names(text: str) -> set[str]:
    return {line.split()[0] for line in text.splitlines()}


def test_list(flow_command: Callable[..., Any]) -> None:
    everything = names(flow_command("list").out)
    operators = names(flow_command("list", "operators").out)
    nodes = names(flow_command("list", "nodes").out)
    assert everything == operators | nodes
    assert not operators & nodes
    assert {"ingest", "decode", "order-buffer", "dedupe", "coalesce", "route", "fan-out-clone"} <= operators
    assert {"binance.stream", "binance.books", "console", "python", "jsonl", "null"} <= nodes


@pytest.mark.parametrize("name", ["order-buffer", "binance.stream", "python", "ingest"])
def test_describe(flow_command: Callable[..., Any], name: str) -> None:
    done = flow_command("describe", name)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{name} (")


def test_describe_suggests(flow_command: Callable[..., Any]) -> None:
    done = flow_command("describe", "order_buffer")
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'order-buffer'?" in done.err
    assert "`flow list` shows" in flow_command("describe", "zzzzzz").err


def test_schema_is_json(flow_command: Callable[..., Any]) -> None:
    done = flow_command("schema")
    assert (done.code, done.err) == (0, "")
    assert "nodes" in msgspec.json.decode(done.out)["properties"]


def test_a_broken_plugin_is_bad_configuration(
    flow_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flow.plugins.load_installed", lambda: [PluginFault("mine", "it broke", "m.py", 3)])
    done = flow_command("list")
    assert (done.code, done.err) == (78, "flow: m.py:3: plugin 'mine': it broke\n")


@pytest.mark.parametrize(("raised", "code"), [(BrokenPipeError, 1), (KeyboardInterrupt, 130)])
def test_a_reader_that_left_and_an_interrupt_are_no_tracebacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raised: type[BaseException], code: int
) -> None:
    def broken(args: object) -> int:
        raise raised

    monkeypatch.setitem(inspect.COMMANDS, "list", broken)
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr("sys.stdout", out)
        assert main(["list"]) == code
        out.write("lost" if raised is BrokenPipeError else "kept")
    assert (tmp_path / "out").read_text() == ("" if raised is BrokenPipeError else "kept")
