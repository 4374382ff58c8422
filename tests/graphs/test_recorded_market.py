"""The main graph on the recorded market, held to what the exchange itself said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import flow
from flow.runtime.options import RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.summary import summarise
from flow.runtime.virtual_time import VirtualTimeLoop

GRAPH = Path(__file__).resolve().parents[2] / "graphs" / "binance.yaml"
SYMBOLS = "[NKN-USDT,BLZ-ETH,LRC-BTC,RUNE-EUR]"
FILES = ("stream.raw", "http.raw", "exchange-info.raw")
TIMES = ("duration_s", "cpu_s", "frames_per_s")


@pytest.fixture
def command(flow_command: Callable[..., Any], recordings: Path) -> Callable[..., Any]:
    """The command by which the recording is replayed, with more options."""

    def call(*options: object) -> Any:
        replays = [
            part for name in FILES for part in ("--replay", f"binance={recordings / 'binance' / name}")
        ]
        given = ("--speed", "max", "--set", f"symbols={SYMBOLS}", "--summary", "-")
        return flow_command("run", GRAPH, *replays, *given, *options)

    return call


def test_frames_books_pools_and_edges(command: Callable[..., Any]) -> None:
    done = command()
    assert done.code == 0, done.err
    summary = msgspec.json.decode(done.out)
    assert summary["frames"] == 265
    assert summary["events"]["binance/BookUpdate"] == 177
    assert summary["events"]["binance/BookSnapshot"] == 4
    assert summary["dead_letters"] == {}
    assert {name: book["state"] for name, book in summary["books"].items()} == {
        f"binance/{symbol}": "live" for symbol in SYMBOLS[1:-1].split(",")
    }
    for book in summary["books"].values():
        assert book["resyncs"] == {}
        assert len(book["bids"]) == len(book["asks"]) == 20
        assert float(book["bids"][0][0]) < float(book["asks"][0][0])
    assert {"WsFrame", "ProviderRaw", "CanonicalEvent"} <= set(summary["pools"])
    for figures in summary["pools"].values():
        assert figures["out"] == figures["timeouts"] == 0
        assert figures["gets"] == figures["puts"] > 0


def test_every_edge_balances_by_what_the_summary_says(command: Callable[..., Any]) -> None:
    summary = msgspec.json.decode(command().out)
    edges = {(edge["from"], edge["to"]): edge for edge in summary["edges"]}
    spec = flow.load(GRAPH)
    read = {
        node.id: [given.reference for given in node.inputs] for node in spec.nodes.values() if node.inputs
    }
    assert set(edges) == {(", ".join(references), node_id) for node_id, references in read.items()}
    for edge in edges.values():
        gone = edge["coalesced"] + sum(edge["dropped"].values()) + edge["dead_lettered"]
        assert edge["in"] == edge["out"] + gone + edge["in_flight"], edge
    assert edges["socket", "frames"]["in"] == 265
    assert edges["bus", "archive"]["in"] == summary["consumers"]["archive"]["delivered"] > 0
    held = edges["ordered", "books"]["dropped"]
    assert set(held) <= {"in_snapshot", "already_in_snapshot"}
    by_type = summary["consumers"]["archive"]["by_type"]
    assert by_type["BookUpdate"] + sum(held.values()) == 177


def test_two_runs_give_the_same_summary_but_for_times(command: Callable[..., Any]) -> None:
    first, second = (msgspec.json.decode(command().out) for _ in range(2))
    for summary in (first, second):
        assert all(summary.pop(name) > 0 for name in TIMES)
    assert first == second


def test_the_strategy_says_how_many_quotes_it_compared(command: Callable[..., Any]) -> None:
    line = next(line for line in command().lines if "best quotes met the book" in line)
    compared, differing = (int(word) for word in line.replace(",", "").split() if word.isdigit())
    assert compared > 20
    assert differing == 0


def test_every_best_quote_is_the_top_of_the_book_of_its_number(
    recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Books as they are assembled, by number, against quotes as they were recorded."""
    replay = [("binance", recordings / "binance" / name) for name in FILES]
    options = RunOptions(replay=replay, speed=None)
    tops: dict[tuple[str, int], tuple[Any, ...]] = {}
    quotes: dict[tuple[str, int], tuple[Any, ...]] = {}

    def see_state(stream: flow.Stream, number: int, book: Any) -> None:
        (bid,), (ask,) = book.bids(1), book.asks(1)
        tops[stream.symbol, number] = (*bid, *ask)

    def see_event(event: flow.CanonicalEvent) -> None:
        if event.event_type is flow.EventType.BEST_QUOTE:
            quote: Any = event.payload
            sides = (quote.bid_price, quote.bid_quantity, quote.ask_price, quote.ask_quantity)
            quotes[event.symbol, event.sequence] = sides

    def attach(topology: Any) -> None:
        topology.vertices["books"].component.on_state = see_state
        topology.observe("events", see_event, lambda: None)

    async def whole() -> GraphRun:
        spec = flow.load(GRAPH, sets=[f"symbols={SYMBOLS}"])
        async with GraphRun(spec, options, observed=frozenset({"events"}), on_built=attach) as run:
            await run.wait()
        return run

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        run = runner.run(whole())
    assert len(quotes) == summarise(run)["events"]["binance/BestQuote"] == 84
    compared = quotes.keys() & tops.keys()
    with capsys.disabled():
        print(f"\n{len(compared)} recorded best quotes compared with the book state of their number")
    assert len(compared) >= 26
    assert {key: quotes[key] for key in compared} == {key: tops[key] for key in compared}
