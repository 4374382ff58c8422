"""`flow new operator NAME`: what it makes passes as made, and what can't be made is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flow.cli import new
from flow.registry import registry

GRAPH = """version: 1
plugins: [PLUGIN]
nodes:
  socket: {use: binance.stream, params: {symbols: [A-B], channels: [trade]}}
  frames: {use: ingest, inputs: [socket]}
  events: {use: decode, inputs: [frames], params: {codec: binance}}
  bus: {use: fan-out-clone, inputs: [events]}
  NODE
  sink: {use: "null", inputs: [apart]}
"""

LONGEST = "abcdefghijklmnopqrstuvwxyz-001"
LONGEST_SNAKE = "abcdefghijklmnopqrstuvwxyz_001"


@pytest.fixture(autouse=True)
def _registered_names_are_put_back() -> Iterator[None]:
    kept = dict(registry.nodes)
    yield
    registry.nodes.clear()
    registry.nodes.update(kept)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_folder(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


def test_both_files_pass_as_made(flow_command: Callable[..., Any], here: Path, project_root: Path) -> None:
    for name in ("best-quote", "ab", LONGEST):
        done = flow_command("new", "operator", name)
        assert (done.code, done.err) == (0, "")
    names = [
        f"{prefix}{snake}.py" for snake in ("best_quote", "ab", LONGEST_SNAKE) for prefix in ("", "test_")
    ]
    assert {path.name for path in here.iterdir()} == set(names)
    tested = in_folder(here, "pytest", "-q", "-W", "error", "-p", "no:asyncio", "test_best_quote.py")
    assert "4 passed" in tested.stdout, tested.stdout + tested.stderr
    settings = ["--no-cache", "--config", str(project_root / "pyproject.toml")]
    for command in (["check", *settings], ["format", "--check", *settings]):
        linted = in_folder(here, "ruff", *command, ".")
        assert linted.returncode == 0, linted.stdout + linted.stderr


def test_the_types_check(flow_command: Callable[..., Any], here: Path, project_root: Path) -> None:
    assert flow_command("new", "operator", "best-quote").code == 0
    settings = f'{{"strict": ["best_quote.py"], "extraPaths": ["{project_root.as_posix()}"]}}'
    (here / "pyrightconfig.json").write_text(settings)
    done = in_folder(here, "basedpyright", "--level", "error", "--pythonpath", sys.executable)
    assert done.returncode == 0, done.stdout


def test_what_it_says_next_can_be_pasted(flow_command: Callable[..., Any], here: Path) -> None:
    (here / "mine").mkdir()
    done = flow_command("new", "operator", "best_quote", "--folder", "mine")
    said = done.out.splitlines()
    assert said[0] == f"made {Path('mine/best_quote.py')} and {Path('mine/test_best_quote.py')}; next:"
    assert said[2].strip() == f"python -m pytest {Path('mine/test_best_quote.py')}"
    [plugin] = re.findall(r"plugins: \[(.*)\]", done.out)
    [node] = re.findall(r"(apart: .*)", done.out)
    (here / "my_graph.yaml").write_text(GRAPH.replace("PLUGIN", plugin).replace("NODE", node))
    assert said[-1].strip() == "flow lint my_graph.yaml"
    assert flow_command("lint", "my_graph.yaml").out == "my_graph.yaml: ok\n"
    assert flow_command("new", "operator", "best-quote").err.startswith(
        "flow new: the name 'best-quote' is taken by "
    )


def test_an_absolute_folder_is_named_as_it_is(flow_command: Callable[..., Any], tmp_path: Path) -> None:
    done = flow_command("new", "operator", "best-quote", "--folder", tmp_path)
    assert f"plugins: [{(tmp_path / 'best_quote.py').as_posix()}]" in done.out
    assert "part of the project" not in done.out


def test_in_the_project_it_says_where_operators_belong(
    flow_command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new, "_project", lambda: tmp_path)
    (tmp_path / "any").mkdir()
    done = flow_command("new", "operator", "best-quote", "--folder", tmp_path / "any")
    assert "operators/best_quote.py" in done.out
    assert "tests/operators/test_best_quote.py" in done.out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("BestQuote", "'BestQuote' is no name for an operator; write it like best-quote"),
        ("best quote", "is no name for an operator"),
        ("best--quote", "is no name for an operator"),
        ("../up", "is no name for an operator"),
        ("é", "is no name for an operator"),
        (f"{LONGEST}2", "30 at most"),
        ("order_buffer", "the name 'order-buffer' is taken by operators.order_buffer:order_buffer"),
        ("console", "the name 'console' is taken by nodes.sinks.console:console"),
        ("class", "'class' is a word of Python's own"),
        ("match", "'match' is a word of Python's own"),
        ("random", "a file random.py would hide the module random"),
        ("flow", "a file flow.py would hide the module flow"),
        ("pytest", "a file pytest.py would hide the module pytest"),
        ("conftest", "pytest takes a file conftest.py for settings"),
        ("stage", "'stage' is a name that an operator or its test uses"),
        ("machine", "'machine' is a name that"),
        ("make-event", "'make-event' is a name that"),
        ("scheduler", "'scheduler' is a name that"),
        ("self", "'self' is a name that"),
    ],
)
def test_a_name_that_will_not_do(flow_command: Callable[..., Any], here: Path, name: str, said: str) -> None:
    done = flow_command("new", "operator", name)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("flow new: ")
    assert said in done.err
    assert len(done.lines) == 1
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("there", ["best_quote.py", "test_best_quote.py"])
def test_nothing_is_overwritten(flow_command: Callable[..., Any], here: Path, there: str) -> None:
    (here / there).write_text("mine")
    done = flow_command("new", "operator", "best-quote")
    assert (done.code, done.err) == (2, f"flow new: {there} is there already; nothing was written\n")
    assert [path.read_text() for path in here.iterdir()] == ["mine"]


def test_a_folder_that_is_not_there(flow_command: Callable[..., Any], here: Path) -> None:
    done = flow_command("new", "operator", "best-quote", "--folder", "nowhere")
    assert (done.code, done.err) == (2, "flow new: there is no folder nowhere\n")
