"""Stock operators in a whole graph: their functions lie beside it, and every edge balances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flow import load_data
from flow.api import run
from flow.registry import registry

GRAPH: dict[str, Any] = {
    "version": 1,
    "nodes": {
        "socket": {"use": "binance.stream", "params": {"symbols": ["AAA-USDT"], "channels": ["trade"]}},
        "frames": {"use": "ingest", "inputs": ["socket"]},
        "events": {"use": "decode", "inputs": ["frames"], "params": {"codec": "binance"}},
        "odd": {"use": "rx.filter", "inputs": ["events"], "params": {"function": "./mine.py:is_odd"}},
        "prices": {"use": "rx.map", "inputs": ["odd"], "params": {"function": "./mine.py:price"}},
        "pairs": {"use": "rx.buffer-with-count", "inputs": ["prices"], "params": {"count": 2}},
        "file": {"use": "jsonl", "inputs": ["pairs"], "params": {"path": "pairs.jsonl"}},
    },
}
FUNCTIONS = """
def is_odd(event):
    return event.sequence % 2

def price(event):
    if event.sequence == 5:
        raise ValueError("no price")
    return float(event.payload.price)
"""


def test_in_a_graph(binance_capture: Any, trade_frame: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    capture = binance_capture(*(trade_frame(number, price=f"{number}.5") for number in range(1, 12)))
    graph = load_data(GRAPH, base_dir=tmp_path)
    summary = run(graph, replay=[("binance", capture)], speed=None)
    assert (tmp_path / "pairs.jsonl").read_text() == "[1.5,3.5]\n[7.5,9.5]\n[11.5]\n"
    edges = {edge["to"]: edge for edge in summary["edges"]}
    assert edges["odd"]["dropped"] == {"filtered": 5}
    assert (edges["prices"]["in"], edges["prices"]["out"], edges["prices"]["dead_lettered"]) == (6, 5, 1)
    assert (edges["pairs"]["in"], edges["pairs"]["out"], edges["file"]["in"]) == (5, 5, 3)
    assert summary["dead_letters"] == {"ValueError": 1}
    for edge in summary["edges"]:
        account = edge["out"] + edge["coalesced"] + sum(edge["dropped"].values()) + edge["dead_lettered"]
        assert edge["in"] == account + edge["in_flight"]


def test_sampling_takes_its_time_from_the_recording(
    binance_capture: Any, trade_frame: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("def number(event):\n    return event.sequence\n")
    capture = binance_capture(*(trade_frame(number) for number in range(12)), step_ms=10)
    nodes: dict[str, Any] = {
        **{name: GRAPH["nodes"][name] for name in ("socket", "frames", "events")},
        "calm": {"use": "rx.sample", "inputs": ["events"], "params": {"every_ms": 45, "per": "symbol"}},
        "numbers": {"use": "rx.map", "inputs": ["calm"], "params": {"function": "./mine.py:number"}},
        "file": {"use": "jsonl", "inputs": ["numbers"], "params": {"path": "numbers.jsonl"}},
    }
    graph = load_data({"version": 1, "nodes": nodes}, base_dir=tmp_path)
    summary = run(graph, replay=[("binance", capture)], speed=None)
    assert (tmp_path / "numbers.jsonl").read_text() == "4\n8\n11\n"
    assert summary["edges"][2]["dropped"] == {"superseded": 9}


def test_critical_events_are_kept_off_what_may_lose_them() -> None:
    lossless = {
        spec.name for spec in registry.operators() if spec.name.startswith("rx.") and spec.loss == "nothing"
    }
    assert lossless == {"rx.map", "rx.scan", "rx.pairwise"}
