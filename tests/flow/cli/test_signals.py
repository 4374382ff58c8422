"""SIGINT and SIGTERM on a real process: the first drains, the second ends it at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

GRAPH = """version: 1
name: watched
nodes:
  socket: {use: binance.stream, params: {symbols: [BTC-USDT], channels: [best_quote, book]}}
  frames: {use: ingest, inputs: [socket]}
  events: {use: decode, inputs: [frames], params: {codec: binance}}
  bus: {use: fan-out-clone, inputs: [events]}
  mine: {use: python, inputs: [bus], params: {object: "./mine.py:Mine"}}
"""
TELLS = """
class Mine:
    told = False
    def on_event(self, event):
        if not self.told:
            self.told = True
            print("begun", flush=True)
"""
HANGS = """
import asyncio, time
class Mine:
    async def on_event(self, event):
        print("begun", flush=True)
        {how}
"""
INTERRUPTED = "flow: interrupted; draining"

Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def started(tmp_path: Path, project_root: Path) -> Iterator[Started]:
    """Runs a graph on simulated data with user code as its consumer."""
    running: list[subprocess.Popen[str]] = []

    def start(code: str, path: str = "") -> subprocess.Popen[str]:
        (tmp_path / "mine.py").write_text(code)
        graph = tmp_path / "watched.yaml"
        graph.write_text(GRAPH)
        args = ["run", str(graph), "--sim", "rate=200", "--summary", str(tmp_path / "summary.json")]
        process = subprocess.Popen(
            [sys.executable, "-m", "flow.cli", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{project_root}{os.pathsep}{path}"},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def wait_for(stream: object, beginning: str) -> None:
    for line in stream:  # type: ignore[attr-defined]
        if line.startswith(beginning):
            return
    raise AssertionError(f"it ended without saying {beginning!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains_and_exits_0(
    started: Started, tmp_path: Path, number: signal.Signals
) -> None:
    process = started(TELLS)
    wait_for(process.stdout, "begun")
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert INTERRUPTED in said
    assert "every edge balances" in said
    summary = msgspec.json.decode((tmp_path / "summary.json").read_bytes())
    assert summary["frames"] > 0
    for figures in summary["pools"].values():
        assert figures["out"] == 0
        assert figures["gets"] == figures["puts"] > 0


@pytest.mark.parametrize("how", ["await asyncio.sleep(3600)", "time.sleep(3600)"])
def test_the_second_signal_ends_even_what_hangs_with_130(started: Started, tmp_path: Path, how: str) -> None:
    process = started(HANGS.format(how=how))
    wait_for(process.stdout, "begun")
    process.send_signal(signal.SIGINT)
    if how.startswith("await"):
        wait_for(process.stderr, INTERRUPTED)
    process.send_signal(signal.SIGINT if how.startswith("await") else signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert said.endswith("flow: interrupted twice: ended without draining\n")
    assert "Traceback" not in said
    assert not (tmp_path / "summary.json").exists()


def test_a_signal_while_the_command_is_still_imported_is_an_empty_run(
    started: Started, tmp_path: Path, project_root: Path
) -> None:
    """The interpreter sends it to itself when `flow.graph.load` is first looked for."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'flow.graph.load':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    process = started(TELLS, str(tmp_path))
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert INTERRUPTED in said
    assert msgspec.json.decode((tmp_path / "summary.json").read_bytes())["mode"] == "simulated"


def test_a_signal_while_the_graph_is_still_being_read_is_an_empty_run(
    started: Started, tmp_path: Path
) -> None:
    process = started("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n" + TELLS)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert msgspec.json.decode((tmp_path / "summary.json").read_bytes())["pools"] is not None
