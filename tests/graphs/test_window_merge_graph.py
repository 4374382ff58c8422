"""Graphs with a merging side branch: three synthetic providers, on virtual time, from the sources to the
consumers."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any

import msgspec
import pytest

import flow
from flow.clock import NS_PER_S
from flow.component import Consumer, Source
from flow.context import Context
from flow.events import CanonicalEvent, EventType, PooledEvent, Sequence, Stream
from flow.graph.spec import GraphSpec, NoParams
from flow.registry import Registry, registry, spec_of
from flow.routing import merge_table
from flow.runtime.options import Backend, RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.summary import summarise
from flow.runtime.topology import Topology
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.testing import assert_nothing_out, trade
from operators.window_merge import WindowMerge

START_NS = 1_700_000_000 * NS_PER_S
SYMBOLS = ("BTC-USDT", "ETH-USDT")


class QuotesParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: str
    silent: tuple[str, ...] = ()
    rounds: int = 30


class Quotes(Source[CanonicalEvent]):
    """One run of pooled quotes every 100 ms, one of each symbol that the provider has."""

    def __init__(self, params: QuotesParams, context: Context) -> None:
        symbols = [symbol for symbol in SYMBOLS if symbol not in params.silent]
        kind = EventType.BEST_QUOTE
        streams = [Stream(params.provider, symbol, kind, "quote", Sequence.CONTIGUOUS) for symbol in symbols]
        pool = context.pools.of("CanonicalEvent", PooledEvent)
        self.shelves = [pool.shelf(stream) for stream in streams]
        self.clock, self.rounds = context.clock, params.rounds

    async def run(self) -> None:
        for number in range(1, self.rounds + 1):
            for shelf in self.shelves:
                event = shelf.get()
                event.payload, event.sequence, event.first_sequence = trade(), number, number
                event.ingest_ts = event.exchange_ts = self.clock()
                self.emitted += 1
                self.emit(event)
            await asyncio.sleep(0.1)


class Sink(Consumer[CanonicalEvent]):
    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def handle(self, element: CanonicalEvent) -> None:
        self.seen.append(element)


class Virtual(Backend):
    kind = "replay"
    start_ns = START_NS

    async def start(self) -> None: ...

    async def wait(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None: ...


class World:
    """The graph's nodes; what its consumers saw, by node id; and its run."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Any]] = {}
        self.registry = Registry(dict(registry.nodes), dict(registry.codecs), dict(registry.services))
        self.registry.services["replay"] = lambda context: Virtual()

        def quotes(params: QuotesParams, context: Context) -> Source[CanonicalEvent]:
            return Quotes(params, context)

        def sink(params: NoParams, context: Context) -> Consumer[CanonicalEvent]:
            return Sink(self.seen.setdefault(context.node_id, []))

        self.registry.add(spec_of("quotes", quotes, pooled=True))
        self.registry.add(spec_of("sink", sink))

    def load(self, nodes: dict[str, Any], pools: dict[str, Any] | None = None) -> GraphSpec:
        data = {"version": 1, "pools": pools or {}, "nodes": nodes}
        return flow.load_data(data, name="merging", registry=self.registry)

    def run(self, nodes: dict[str, Any], pools: dict[str, Any] | None = None, **options: Any) -> GraphRun:
        """Run a graph to its end; every edge balances then, and every pool has its objects."""
        spec, at_start = self.load(nodes, pools), options.pop("at_start", None)

        async def whole() -> GraphRun:
            replay = RunOptions(replay=[("x", "y")], speed=None, debug_pools=True)
            async with GraphRun(spec, replay, registry=self.registry, **options) as run:
                if at_start is not None:
                    at_start(run)
                await run.wait()
            return run

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            run = runner.run(whole())
        assert run.failure is None
        assert [edge.row() for edge in run.topology.edges() if edge.difference] == []
        assert_nothing_out(run.context.pools)
        return run


@pytest.fixture
def world() -> World:
    return World()


def sources(**silent: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: {"use": "quotes", "params": {"provider": name, "silent": list(silent.get(name, ()))}}
        for name in ("binance", "coinbase", "kraken")
    }


def merging(**params: Any) -> dict[str, Any]:
    """The side branch, and the main way that it joins. Kraken says nothing of ETH-USDT."""
    chosen = {
        "merges": [["*", "BestQuote"]],
        "providers": ["binance", "coinbase", "kraken"],
        "window_ms": 1000,
        **params,
    }
    return {
        **sources(kraken=("ETH-USDT",)),
        "ordered": {"use": "order-buffer", "inputs": ["binance", "coinbase", "kraken"]},
        "merged": {"use": "window-merge", "inputs": ["unique"], "params": chosen},
        "unique": {"use": "dedupe", "inputs": ["ordered"]},
        "routed": {
            "use": "route",
            "inputs": ["unique", "merged"],
            "params": {"table": {"merges": [["*", "merged"]], "btc": [["BTC-USDT", "*"]]}},
        },
        "bus": {"use": "fan-out-clone", "inputs": ["routed"]},
        "everything": {"use": "sink", "inputs": ["bus"]},
        "merges": {"use": "sink", "inputs": ["bus"]},
        "btc": {"use": "sink", "inputs": ["bus"]},
    }


def about(events: list[Any]) -> list[tuple[str, str, int]]:
    return [(event.provider, event.symbol, event.sequence) for event in events]


def by_provider(events: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """Timers of one moment run in any order, so that of two providers says nothing."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        found.setdefault(event.provider, []).append(event.row())
    return found


def test_merged_events_join_the_main_way_and_single_ones_never_wait(world: World) -> None:
    run = world.run(merging())
    seen = world.seen
    assert about(seen["merges"]) == [("merged", "BTC-USDT", number) for number in (1, 2, 3)]
    fragments = [
        [(one.provider, one.sequence) for one in event.payload.fragments] for event in seen["merges"]
    ]
    assert fragments == [[(name, n) for name in ("binance", "coinbase", "kraken")] for n in (10, 20, 30)]
    singles = [event for event in seen["everything"] if event.provider != "merged"]
    assert len(singles) == 5 * 30
    assert len(seen["everything"]) == 5 * 30 + 3
    assert Counter(event.provider for event in seen["btc"]) == {
        **dict.fromkeys(("binance", "coinbase", "kraken"), 30),
        "merged": 3,
    }
    alone = World()
    without = {name: node for name, node in merging().items() if name != "merged"}
    without["routed"]["inputs"] = ["unique"]
    alone.run(without)
    assert by_provider(singles) == by_provider(alone.seen["everything"])
    assert summarise(run)["events"] == {"merged/MergedEvent": 3}


def test_the_accounts_of_both_edges(world: World) -> None:
    run = world.run(merging())
    edges = {edge.target: edge for edge in run.topology.edges()}
    watched, joined = edges["merged"], edges["routed"]
    assert (watched.source, watched.entered, watched.out, watched.in_flight) == ("unique", 150, 9, 0)
    suppressed = watched.dropped["suppressed_partial"]
    assert (watched.coalesced, watched.dropped) == (135, {"suppressed_partial": suppressed})
    assert suppressed == 2 * 3
    assert (joined.source, joined.entered, joined.out) == ("unique, merged", 153, 153)
    assert edges["unique"].out == 150
    assert run.telemetry.count("merge.suppressed_partial") == 3
    pools = run.context.pools.figures()
    assert pools["MergedEvent"]["gets"] == pools["MergedEvent"]["puts"] == 3


def test_two_runs_are_the_same(world: World) -> None:
    other = World()
    summaries = [summarise(one.run(merging())) for one in (world, other)]
    for summary in summaries:
        for name in ("duration_s", "cpu_s", "frames_per_s"):
            summary.pop(name)
    assert summaries[0] == summaries[1]
    rows = [[event.row() for event in one.seen["merges"]] for one in (world, other)]
    assert rows[0] == rows[1] != []


def test_latency_counts_from_the_close_of_the_window(world: World) -> None:
    world.run(merging())
    for event in world.seen["merges"]:
        assert event.ingest_ts == event.payload.window_close
        assert 0 <= event.emit_ts - event.ingest_ts < 1_000_000


def test_what_is_merged_changes_while_it_runs(world: World) -> None:
    def change(run: GraphRun) -> None:
        table = run.context.service("merges of merged", merge_table)
        asyncio.get_running_loop().call_later(1.55, lambda: table.unsubscribe("*", EventType.BEST_QUOTE))

    run = world.run(merging(), at_start=change)
    assert about(world.seen["merges"]) == [("merged", "BTC-USDT", 1)]
    watched = next(edge for edge in run.topology.edges() if edge.target == "merged")
    assert watched.dropped["unsubscribed"] == 5
    assert watched.dropped["not_merged"] == 14 * 5
    assert len(world.seen["everything"]) == 151


@pytest.mark.parametrize("pool", [{"capacity": 1}, {"off": True}])
def test_a_pool_of_one_or_none_is_enough(world: World, pool: dict[str, Any]) -> None:
    world.run(merging(needs=2), pools={"MergedEvent": pool})
    assert len(world.seen["merges"]) == 6


def test_two_of_them_merge_each_what_it_names(world: World) -> None:
    nodes = merging(merges=[["BTC-USDT", "BestQuote"]], window_ms=500)
    other = {"merges": [["ETH-USDT", "BestQuote"]], "providers": ["binance", "coinbase"], "window_ms": 1000}
    nodes["slower"] = {"use": "window-merge", "inputs": ["unique"], "params": other}
    nodes["routed"]["inputs"].append("slower")
    world.run(nodes)
    seen = [(event.symbol, len(event.payload.fragments)) for event in world.seen["merges"]]
    assert Counter(seen) == {("BTC-USDT", 3): 6, ("ETH-USDT", 2): 3}


def test_idle_it_lets_everything_by(world: World) -> None:
    run = world.run(merging(merges=[], providers=[]))
    assert len(world.seen["everything"]) == 150
    watched = next(edge for edge in run.topology.edges() if edge.target == "merged")
    assert (watched.entered, watched.dropped) == (150, {"not_merged": 150})


def test_without_a_fan_out_the_one_consumer_gets_both(world: World) -> None:
    nodes = {name: node for name, node in merging().items() if name not in ("bus", "merges", "btc")}
    nodes["everything"]["inputs"] = ["routed"]
    world.run(nodes)
    assert Counter(event.provider for event in world.seen["everything"])["merged"] == 3
    assert len(world.seen["everything"]) == 153


def test_behind_the_bus_it_merges_for_one_consumer(world: World) -> None:
    """It runs in that consumer's task then, its timer too."""
    nodes = merging()
    nodes["routed"]["inputs"] = ["unique"]
    nodes["merged"]["inputs"] = ["bus"]
    nodes["merges"]["inputs"] = ["merged"]
    del nodes["routed"]["params"]
    world.run(nodes)
    assert about(world.seen["merges"]) == [("merged", "BTC-USDT", number) for number in (1, 2, 3)]
    assert {event.home for event in world.seen["merges"]} == {None}
    assert len(world.seen["everything"]) == 150


def test_several_watchers_of_one_output(world: World) -> None:
    nodes = merging()
    nodes["faster"] = {**nodes["merged"], "params": {**nodes["merged"]["params"], "window_ms": 500}}
    nodes["routed"]["inputs"] = ["faster", "unique", "merged"]
    run = world.run(nodes)
    edges = {edge.target: edge for edge in run.topology.edges()}
    assert (edges["merged"].out, edges["faster"].out) == (9, 18)
    assert len(world.seen["merges"]) == 3 + 6


def test_a_watcher_that_raises_disturbs_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(machine: WindowMerge, elements: list[Any]) -> None:
        raise ValueError("clumsy")

    monkeypatch.setattr(WindowMerge, "watch_many", stumble)
    run = world.run(merging())
    assert len(world.seen["everything"]) == 150
    watched = next(edge for edge in run.topology.edges() if edge.target == "merged")
    assert (watched.entered, watched.dead_lettered) == (150, 150)


def test_an_observed_output_is_watched_too(world: World) -> None:
    tapped: list[Any] = []

    def observe(topology: Topology) -> None:
        for name in ("unique", "merged"):
            topology.observe(name, tapped.append, lambda: None)

    world.run(merging(), observed=frozenset({"unique", "merged"}), on_built=observe)
    assert len(tapped) == 153
    assert Counter(event.provider for event in tapped)["merged"] == 3


def test_how_it_is_drawn(world: World) -> None:
    drawn = flow.mermaid(world.load(merging()), world.registry)
    for source, target in (("unique", "merged"), ("merged", "routed"), ("unique", "routed")):
        assert re.search(rf"^    {source} .*> ?(\|.*\| )?{target}$", drawn, re.MULTILINE)
