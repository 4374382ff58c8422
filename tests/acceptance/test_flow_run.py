"""`flow run graphs/binance.yaml` as a user types it: simulated, and live where no exchange can be reached."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

REACHABLE_NOWHERE = """
from flow.registry import service
from nodes.providers.binance import provider

provider.PUBLIC = provider.Endpoints(ws="ws://127.0.0.1:{port}", rest="http://127.0.0.1:{port}")
provider.BinanceProvider.__init__.__defaults__ = (provider.PUBLIC,)
"""


def command(project_root: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flow.cli", "run", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=project_root,
        env={**os.environ, "PYTHONPATH": str(project_root)},
    )


def test_five_simulated_seconds_of_the_main_graph(project_root: Path) -> None:
    args = ("graphs/binance.yaml", "--sim", "--duration", "5s", "--summary", "-")
    out, err = command(project_root, *args).communicate(timeout=50)
    summary = msgspec.json.decode(out)
    assert err.startswith("flow: binance: SIMULATED DATA")
    assert "every edge balances" in err
    assert (summary["mode"], summary["graph"]) == ("simulated", "binance")
    assert summary["frames"] > 100
    assert {book["state"] for book in summary["books"].values()} == {"live"}
    assert {name for name, figures in summary["consumers"].items() if figures["delivered"]} >= {
        "console",
        "strategy",
        "archive",
    }
    for edge in summary["edges"]:
        out_of = edge["out"] + edge["coalesced"] + sum(edge["dropped"].values()) + edge["dead_lettered"]
        assert edge["in"] == out_of + edge["in_flight"], edge
    for kind, figures in summary["pools"].items():
        assert figures["out"] == 0, kind
        assert figures["gets"] == figures["puts"] > 0, kind


def test_live_where_no_exchange_answers_says_so_and_keeps_trying(project_root: Path, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        plugin = tmp_path / "nowhere.py"
        plugin.write_text(REACHABLE_NOWHERE.format(port=closed.getsockname()[1]))
        summary = tmp_path / "summary.json"
        process = command(
            project_root,
            "graphs/binance.yaml",
            *("--set", f"plugins=[{plugin}]", "--summary", str(summary)),
        )
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == "flow: binance: live data\n"
            attempts = [process.stderr.readline() for _ in range(3)]
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
    for line in attempts:
        assert "provider.unreachable" in line
        assert "--sim" in line
        assert "--replay binance=FILE" in line
        assert "retry_in_s=" in line
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "SIMULATED" not in err
    figures = msgspec.json.decode(summary.read_bytes())
    assert (figures["mode"], figures["frames"], figures["books"]) == ("live", 0, {})
