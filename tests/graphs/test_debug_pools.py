"""The shipped graphs in the pools' debug mode: no bug of ownership is found, and all else is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import flow

FOLDER = Path(__file__).resolve().parents[2] / "graphs"
GRAPHS = sorted(path for path in FOLDER.glob("*.yaml") if not path.stem.endswith("_flow_test"))
BINANCE = next(path for path in GRAPHS if path.stem == "binance")
FILES = ("stream.raw", "http.raw", "exchange-info.raw")
TIMES = ("duration_s", "cpu_s", "frames_per_s")


def same_in_debug_mode(flow_command: Callable[..., Any], *options: object) -> dict[str, Any]:
    """The summary of a replay, which debug mode leaves as it is but for times."""
    summaries: list[dict[str, Any]] = []
    for debug in ([], ["--debug-pools"]):
        done = flow_command("run", BINANCE, "--speed", "max", "--summary", "-", *options, *debug)
        assert done.code == 0, done.err
        summary = msgspec.json.decode(done.out)
        summaries.append({name: value for name, value in summary.items() if name not in TIMES})
    plain, debugged = summaries
    assert debugged == plain
    for figures in debugged["pools"].values():
        assert figures["gets"] == figures["puts"] > figures["out"] == 0
    return debugged


def test_the_recorded_market(flow_command: Callable[..., Any], recordings: Path) -> None:
    replays = [part for name in FILES for part in ("--replay", f"binance={recordings / 'binance' / name}")]
    summary = same_in_debug_mode(flow_command, *replays, "--set", "symbols=[NKN-USDT,BLZ-ETH]")
    assert summary["frames"] == 265


def test_gaps_repeats_and_what_can_not_be_read(
    flow_command: Callable[..., Any], binance_capture: Callable[..., Path], trade_frame: Callable[..., bytes]
) -> None:
    good = [trade_frame(number) for number in (1, 2, 5, 4, 4, 3, 2, 9, 12, 11, 30, 13)]
    frames = [*good[:5], b"hello", b'{"stream":"zzzusdt@trade","data":{}}', *good[5:], trade_frame(60)]
    recording = binance_capture(*frames, step_ms=40)
    small = ("--set", "symbols=[AAA-USDT]", "--set", "pools.CanonicalEvent.capacity=4")
    summary = same_in_debug_mode(flow_command, "--replay", f"binance={recording}", *small)
    assert sum(summary["dead_letters"].values()) == 2
    assert any(edge["dropped"] for edge in summary["edges"])


def test_a_source_that_waits_for_a_pool(
    flow_command: Callable[..., Any], binance_capture: Callable[..., Path], trade_frame: Callable[..., bytes]
) -> None:
    recording = binance_capture(*(trade_frame(number) for number in range(1, 40)), step_ms=0)
    small = [part for kind in ("WsFrame", "ProviderRaw") for part in ("--set", f"pools.{kind}.capacity=2")]
    summary = same_in_debug_mode(
        flow_command, "--replay", f"binance={recording}", "--set", "symbols=[AAA-USDT]", *small
    )
    assert summary["pools"]["WsFrame"]["timeouts"] > 0


@pytest.mark.parametrize("graph", GRAPHS, ids=[path.stem for path in GRAPHS])
def test_on_simulated_data(flow_command: Callable[..., Any], graph: Path) -> None:
    options = ("--sim", "rate=1000,seed=5", "--max-frames", "300", "--summary", "-", "--debug-pools")
    done = flow_command("run", graph, *options)
    assert done.code == 0, done.err
    for figures in msgspec.json.decode(done.out)["pools"].values():
        assert figures["gets"] == figures["puts"] > figures["out"] == 0


def test_from_python(binance_capture: Callable[..., Path], trade_frame: Callable[..., bytes]) -> None:
    recording = binance_capture(trade_frame(1))
    held: list[Any] = []

    def prepare(session: flow.Session) -> None:
        session.observe("unique").subscribe(held.append)

    graph = flow.load(BINANCE, sets=["symbols=[AAA-USDT]"])
    replay = [("binance", recording)]
    summary = flow.run(graph, prepare=prepare, replay=replay, speed=None, debug_pools=True)
    assert summary["pools"]["CanonicalEvent"]["puts"] == 1
    assert held[0].row()["sequence"] == 1, "what an observer gets is a clone, which nobody puts"
