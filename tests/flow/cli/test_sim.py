"""`flow sim` in a process of its own, and a graph that is pointed at it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest


@pytest.fixture
def served(project_root: Path) -> Iterator[dict[str, str]]:
    """Addresses by kind of a running `flow sim`, which must end with exit 0 when it is interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flow.cli", "sim", "symbols=2,rate=500,seed=4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project_root)},
    )
    try:
        assert process.stdout is not None
        rows = [process.stdout.readline().split() for _ in range(2)]
        yield {kind: url for _, kind, url in rows}
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        assert out == ""
        assert err.startswith("flow: SIMULATED DATA")
        assert "Traceback" not in err
    finally:
        process.kill()
        process.communicate()


def test_a_graph_runs_on_it(
    served: dict[str, str], flow_command: Callable[..., Any], project_root: Path
) -> None:
    assert served["websocket"].removeprefix("ws://") == served["rest"].removeprefix("http://")
    graph = project_root / "graphs" / "quotes.yaml"
    options = ("--set", "symbols=[BTC-USDT, ETH-USDT]", "--max-frames", "50", "--summary", "-")
    done = flow_command("run", graph, "--sim", f"url={served['rest']}", *options)
    assert done.code == 0
    assert done.lines[0].startswith("flow: quotes: SIMULATED DATA")
    summary = msgspec.json.decode(done.out)
    assert (summary["mode"], summary["frames"]) == ("simulated", 50)
    assert summary["consumers"]["console"]["delivered"] >= 49


def test_a_taken_port_is_a_failure(flow_command: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = flow_command("sim", "--port", taken.getsockname()[1])
    assert done.code == 1
    assert "can't listen on 127.0.0.1:" in done.lines[-1]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (["rate=0"], "--sim: rate:"),
        (["ratee=1"], "did you mean 'rate'?"),
        (["url=http://127.0.0.1:1"], "`flow sim` serves an exchange of its own"),
        (["port=1", "--port", "2"], "given twice"),
    ],
)
def test_bad_parameters(flow_command: Callable[..., Any], params: list[str], said: str) -> None:
    done = flow_command("sim", *params)
    assert (done.code, done.out) == (78, "")
    assert said in done.lines[-1]


def test_it_serves_until_it_is_interrupted(
    flow_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flow.cli import sim

    tell = sim._tell

    def tell_and_interrupt(endpoints: dict[str, dict[str, str]]) -> None:
        tell(endpoints)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sim, "_tell", tell_and_interrupt)
    done = flow_command("sim", "symbols=1")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()] == [
        ["binance", "websocket"],
        ["binance", "rest"],
    ]
