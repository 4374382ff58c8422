"""lint, graph, list, describe, schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flow.cli import inspect, main
from flow.plugins import PluginFault
from flow.registry import registry

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


PLUGIN = """
from typing import TypeVar

from flow import Context, Operator, operator
from msgspec import Struct
from reactivex import operators as ops

T = TypeVar("T")

class NAMEParams(Struct):
    \"\"\"None.\"\"\"

@operator("NAME")
def relay(params: NAMEParams, context: Context) -> Operator[T, T]:
    "Passes everything."
    return ops.as_observable()
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Writes a plugin that registers the name it is given."""
    kept = dict(registry.nodes)

    def write(name: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(PLUGIN.replace("NAME", name))
        return path

    yield write
    registry.nodes.clear()
    registry.nodes.update(kept)


def test_plugins_are_listed_and_described(
    flow_command: Callable[..., Any], plugin: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = plugin("relayed"), plugin("resent")
    monkeypatch.chdir(one.parent)
    assert {"relayed", "resent", "dedupe"} <= names(
        flow_command("list", "--plugins", "./relayed.py", "--plugins", other).out
    )
    described = flow_command("describe", "relayed", "--plugins", one)
    assert described.out.startswith("relayed (operator)\n\n  takes  T\n  gives  T\n\nPasses everything.")


def test_a_graphs_plugins_are_described_though_its_nodes_have_faults(
    flow_command: Callable[..., Any], plugin: Callable[[str], Path]
) -> None:
    path = plugin("passed_on").with_name("mine.yaml")
    path.write_text(GRAPH.replace("nodes:", "plugins: [./passed_on.py]\nnodes:").replace("ingest", "injest"))
    assert flow_command("describe", "passed_on", "--graph", path).code == 0
    assert '"passed_on"' in flow_command("schema", "--graph", path).out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--plugins", "./nowhere.py"], "flow: plugin './nowhere.py': the file is not there"),
        (["--graph", "nowhere.yaml"], "nowhere.yaml:0:0: "),
        (["--graph", "broken.yaml"], "broken.yaml:3:11: plugin './nowhere.py': the file is not there"),
    ],
)
def test_plugins_that_cannot_be_had_are_bad_configuration(
    flow_command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.yaml").write_text(GRAPH.replace("nodes:", "plugins: [./nowhere.py]\nnodes:"))
    done = flow_command("list", *args)
    assert (done.code, done.out) == (78, "")
    assert done.err.startswith(said)


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
