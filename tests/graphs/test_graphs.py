"""Every graph of the project checks, is drawn as it is, and runs on simulated data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import flow

FOLDER = Path(__file__).resolve().parents[2] / "graphs"
GRAPHS = sorted(path for path in FOLDER.glob("*.yaml") if not path.name.endswith("_flow_test.yaml"))


def header(path: Path) -> str:
    """The comment that a file begins with."""
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines[: next(n for n, x in enumerate(lines) if x[:1] != "#")])


def drawn(path: Path) -> set[tuple[str, str]]:
    """(node, node) for each arrow of the header's drawing, read from left to right; a branch begins where a
    line above it has its corner, and may join again where one has its joint."""
    edges: set[tuple[str, str]] = set()
    corners: dict[int, str] = {}
    joints: dict[int, str] = {}
    for line in header(path).splitlines():
        for branch in re.finditer(r"[├└][─┄]► (\w+)", line):
            if branch.start() in corners:
                edges.add((corners[branch.start()], branch[1]))
        for back in re.finditer(r"(\w+) ─┘", line):
            edges.add((back[1], joints[back.end() - 1]))
        for arrow in re.finditer(r"(\w+)(?= ─(?:┬─+)?(?:┴─)?► (\w+))", line):
            edges.add((arrow[1], arrow[2]))
        corners |= {corner.end() - 1: corner[1] for corner in re.finditer(r"(\w+) ─┬", line)}
        joints |= {joint.start(): joint[1] for joint in re.finditer(r"┴─► (\w+)", line)}
    return edges


@pytest.fixture(params=GRAPHS, ids=[path.stem for path in GRAPHS])
def graph(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_are_graphs() -> None:
    assert {"binance", "quotes"} <= {path.stem for path in GRAPHS}


def test_it_has_no_fault(flow_command: Callable[..., Any], graph: Path) -> None:
    done = flow_command("lint", graph)
    assert (done.code, done.err) == (0, "")


def test_it_is_called_like_its_file(graph: Path) -> None:
    assert flow.load(graph).name == graph.stem


def test_the_header_draws_every_node_and_no_other(graph: Path) -> None:
    spec = flow.load(graph)
    data_edges = {
        (given.source, node.id)
        for node in spec.nodes.values()
        for given in node.inputs
        if given.port == "out"
    }
    assert drawn(graph) == data_edges
    refused = [node.id for node in spec.nodes.values() for given in node.inputs if given.port != "out"]
    assert all(re.search(rf"┄► {name}\b", header(graph)) for name in refused)


def test_it_is_drawn_as_mermaid(flow_command: Callable[..., Any], graph: Path) -> None:
    done = flow_command("graph", graph)
    assert done.code == 0
    for name in flow.load(graph).nodes:
        assert re.search(rf"^    {name}\W", done.out, re.MULTILINE)


def test_it_runs_on_simulated_data(flow_command: Callable[..., Any], graph: Path) -> None:
    options = ("--sim", "rate=1000,seed=3", "--max-frames", "300", "--summary", "-")
    done = flow_command("run", graph, *options)
    assert done.code == 0, done.err
    summary = msgspec.json.decode(done.out)
    assert summary["mode"] == "simulated"
    assert summary["frames"] == 300
    assert summary["dead_letters"] == {}
    assert all(book["state"] == "live" for book in summary["books"].values())
    for figures in summary["pools"].values():
        assert figures["out"] == 0
        assert figures["gets"] == figures["puts"] > 0
    assert "every edge balances" in done.err


def test_the_main_graph_has_three_consumers_that_get_everything(flow_command: Callable[..., Any]) -> None:
    path = next(path for path in GRAPHS if path.stem == "binance")
    summary = msgspec.json.decode(
        flow_command("run", path, "--sim", "rate=500", "--max-frames", "200", "--summary", "-").out
    )
    consumers = {name: figures for name, figures in summary["consumers"].items() if name != "refused"}
    assert set(consumers) == {"console", "strategy", "archive"}
    assert len({figures["delivered"] for figures in consumers.values()}) == 1
    assert {"binance/BookSnapshot", "binance/BestQuote", "binance/Trade"} <= set(summary["events"])


def test_the_archive_can_become_a_file_without_touching_the_graph(
    flow_command: Callable[..., Any], tmp_path: Path
) -> None:
    path, target = next(path for path in GRAPHS if path.stem == "binance"), tmp_path / "all.jsonl"
    archive = ("--set", "nodes.archive.use=jsonl", "--set", f"nodes.archive.params.path={target}")
    done = flow_command("run", path, *archive, "--sim", "rate=500", "--max-frames", "100", "--summary", "-")
    delivered = msgspec.json.decode(done.out)["consumers"]["archive"]["delivered"]
    rows = [msgspec.json.decode(line) for line in target.read_bytes().splitlines()]
    assert len(rows) == delivered > 50
