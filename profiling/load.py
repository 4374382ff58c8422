"""A graph under a steady load: the simulated exchange in another process, real sockets, real time.

The main graph with books for N symbols x (trade, depth, bookTicker) and three consumers that do nothing; one
of them, the witness, also looks how old an event of each batch is by the exchange's own time.
"""

import asyncio
import gc
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec
from msgspec import Struct

import flow
from flow.clock import wall_ns
from flow.component import Consumer
from flow.context import Context
from flow.registry import node
from profiling.graphs import Variant
from profiling.vitals import Ages, Pauses, Quantiles, cpu_of, quantiles, rss_bytes

__all__ = [
    "LoadFigures",
    "LoadParams",
    "Witness",
    "WitnessParams",
    "exchange",
    "measure",
    "report",
    "witness",
]

MOST_P99_MS = 5.0
MOST_GROWTH_BYTES = 1_000_000
MOST_PAUSE_P99_MS = 10.0
FREEZE_AFTER_S = 5.0
CHANNELS = ("trade", "book", "best_quote")
DEPTH = 500
"""Levels a side: all that the market has. 150 snapshots of 1,000 would weigh more than a minute allows."""


class LoadParams(Struct, frozen=True, kw_only=True):
    """rate: frames a second, all symbols together."""

    symbols: int = 150
    rate: float = 1000.0
    duration_s: float = 300.0
    seed: int = 7
    sample_s: float = 10.0
    is_frozen: bool = False

    @property
    def first_s(self) -> float:
        """What the growth of RSS does not count: a minute, less in a short run."""
        return min(60.0, self.duration_s / 5)


class LoadFigures(Struct, frozen=True, kw_only=True):
    """Latency from receipt to consumer in ms, the worst of the three; RSS in bytes by second."""

    params: LoadParams
    python: str
    frames: int
    frames_per_s: float
    cpu_share: float
    exchange_cpu_share: float
    latency_ms: dict[str, float]
    age_ms: Quantiles
    """Of one event a batch, by the exchange's own time, above the least that was seen: what waits in sockets
    counts too, what the two clocks differ by does not."""
    rss: list[tuple[float, int]]
    pauses: dict[str, Quantiles]
    latest_pause_s: float
    """When the latest collection began, after the start."""
    books: dict[str, int]
    resyncs: dict[str, int]
    delivered: dict[str, int]
    lost: dict[str, int]
    """What did not reach a consumer as it was, by reason; `coalesced` with it."""
    occurrences: dict[str, int]
    exchange: dict[str, Any]

    @property
    def growth_bytes(self) -> int:
        """From the first sample after the first minute to the last."""
        later = [size for at_s, size in self.rss if at_s >= self.params.first_s]
        return later[-1] - later[0] if later else 0

    def misses(self) -> list[str]:
        """What the load is held against and was missed."""
        found = {
            f"p99 {self.latency_ms['p99']:.2f} ms": self.latency_ms["p99"] >= MOST_P99_MS,
            f"RSS growth {self.growth_bytes / 1e6:.2f} MB": self.growth_bytes >= MOST_GROWTH_BYTES,
            f"pauses p99 {self.pauses['all'].p99:.2f} ms": self.pauses["all"].p99 >= MOST_PAUSE_P99_MS,
        }
        return [what for what, is_missed in found.items() if is_missed]


class WitnessParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters."""


@node("profiling.witness")
def witness(params: WitnessParams, context: Context) -> Consumer[Any]:
    """Takes everything, and notes how old the first event of each batch is that bears the exchange's time."""
    return Witness()


class Witness(Consumer[Any]):
    ages = Ages()
    """What the witness of the latest run noted."""

    def __init__(self) -> None:
        Witness.ages = Ages()
        self.handle_batch = self.note

    def handle(self, element: Any) -> None:
        self.note([element])

    def note(self, batch: list[Any]) -> None:
        """Take a whole batch."""
        for event in batch:
            if event.exchange_ts:
                Witness.ages.add(wall_ns() - event.exchange_ts)
                return


@contextmanager
def exchange(params: LoadParams) -> Iterator[tuple[str, int]]:
    """The simulated exchange in a process of its own: its address and process id."""
    wanted = f"symbols={params.symbols},rate={params.rate:g},seed={params.seed}"
    process = subprocess.Popen(
        [sys.executable, "-m", "flow.cli", "sim", wanted], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            name, _, url = line.decode().strip().rpartition(" ")
            if name.endswith("rest"):
                break
        else:
            raise RuntimeError(f"flow sim {wanted} ended with {process.wait()}")
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(timeout=10)
        process.stdout.close()


def measure(params: LoadParams) -> LoadFigures:
    """Run the load and gather what it says."""
    with exchange(params) as (url, pid):
        symbols = tuple(_status(url)["symbols"])
        variant = Variant(symbols=symbols, channels=CHANNELS, has_books=True, depth=DEPTH)
        data = variant.data()
        data["nodes"]["consumer_3"]["use"] = "profiling.witness"
        graph = flow.load_data(data, name="load")
        gc.collect()
        pauses = Pauses()
        began, began_pid = time.process_time(), cpu_of(pid)
        summary, rss = asyncio.run(_drive(graph, params, url, pauses))
        spent, spent_pid = time.process_time() - began, cpu_of(pid) - began_pid
        counters = _status(url)["counters"]
    return _figures(params, summary, rss, counters, pauses, (spent, spent_pid))


async def _drive(
    graph: flow.GraphSpec, params: LoadParams, url: str, pauses: Pauses
) -> tuple[dict[str, Any], list[tuple[float, int]]]:
    """Run the graph for the time given, with a look at the memory now and then."""
    rss: list[tuple[float, int]] = []

    async def sample() -> None:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        for number in range(int(params.duration_s / sample_s) + 1):
            await asyncio.sleep(begun_s + number * sample_s - loop.time())
            rss.append((round(loop.time() - begun_s, 1), rss_bytes()))

    async def freeze() -> None:
        await asyncio.sleep(FREEZE_AFTER_S)
        gc.collect()
        gc.freeze()

    sample_s = min(params.sample_s, params.first_s / 2)
    try:
        with ExitStack() as watched:
            watched.enter_context(pauses)
            async with flow.Session(graph, sim=f"url={url}", duration_s=params.duration_s) as session:
                beside = [asyncio.create_task(sample())]
                if params.is_frozen:
                    beside.append(asyncio.create_task(freeze()))
                await session.wait()
                watched.close()
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
        return session.summary(), rss
    finally:
        gc.unfreeze()


def _status(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/sim/status", timeout=30) as reply:
        return msgspec.json.decode(reply.read())


def _figures(
    params: LoadParams,
    summary: dict[str, Any],
    rss: list[tuple[float, int]],
    counters: dict[str, Any],
    pauses: Pauses,
    spent: tuple[float, float],
) -> LoadFigures:
    consumers = summary["consumers"].values()
    marks = next(iter(consumers))["latency_ms"]
    lost: Counter[str] = Counter()
    for edge in summary["edges"]:
        lost.update({f"{edge['to']}: {reason}": n for reason, n in edge["dropped"].items()})
        lost.update(
            {f"{edge['to']}: coalesced": edge["coalesced"], f"{edge['to']}: dead": edge["dead_lettered"]}
        )
    resyncs: Counter[str] = Counter()
    for book in summary["books"].values():
        resyncs.update(book["resyncs"])
    names = ("generation 0", "generation 1", "generation 2")
    return LoadFigures(
        params=params,
        python=".".join(map(str, sys.version_info[:3])),
        frames=summary["frames"],
        frames_per_s=summary["frames_per_s"],
        cpu_share=round(spent[0] / summary["duration_s"], 4),
        exchange_cpu_share=round(spent[1] / summary["duration_s"], 4),
        latency_ms={mark: max(consumer["latency_ms"][mark] for consumer in consumers) for mark in marks},
        age_ms=Witness.ages.above_least(),
        rss=rss,
        pauses={"all": quantiles(pauses.all), "all, CPU time": quantiles(pauses.cpu_ns)}
        | {name: quantiles(values) for name, values in zip(names, pauses.by_generation, strict=True)},
        latest_pause_s=round(pauses.latest_s, 1),
        books=dict(Counter(book["state"] for book in summary["books"].values())),
        resyncs=dict(resyncs),
        delivered={name: consumer["delivered"] for name, consumer in summary["consumers"].items()},
        lost={what: n for what, n in sorted(lost.items()) if n},
        occurrences=summary["occurrences"],
        exchange=counters,
    )


def report(figures: LoadFigures) -> str:
    """The figures in words and numbers."""
    params, marks, age = figures.params, figures.latency_ms, figures.age_ms
    missed = figures.misses()
    pauses = ", ".join(
        f"{name} {one.count} (p99 {one.p99} ms, max {one.max} ms)" for name, one in figures.pauses.items()
    )
    sizes = " ".join(f"{size / 1e6:.2f}" for _, size in figures.rss)
    return "\n".join(
        [
            f"{params.symbols} symbols at {params.rate:g} frames/s for {params.duration_s:g} s, CPython "
            f"{figures.python}" + (", frozen" if params.is_frozen else ""),
            f"  frames     {figures.frames:,}, {figures.frames_per_s:,.0f} a second; the exchange sent "
            f"{figures.exchange['frames']:,}, and left out {figures.exchange['skipped_ms']} ms of its market",
            f"  CPU        {figures.cpu_share:.1%} of a core, the exchange {figures.exchange_cpu_share:.1%}",
            "  latency    " + ", ".join(f"{mark} {ms:.3f} ms" for mark, ms in marks.items()),
            f"  age        p50 {age.p50} ms, p99 {age.p99} ms, max {age.max} ms, of {age.count:,} batches",
            f"  RSS MB     {sizes}; after {params.first_s:g} s it grew by {figures.growth_bytes / 1e6:.2f}",
            f"  collector  {pauses}; the latest at {figures.latest_pause_s} s",
            f"  books      {figures.books}, resyncs {figures.resyncs}",
            f"  lost       {figures.lost or 'nothing'}; occurrences {figures.occurrences or 'none'}",
            f"  exchange   disconnects {figures.exchange['disconnects'] or 'none'}",
            f"  at most p99 {MOST_P99_MS:g} ms, growth {MOST_GROWTH_BYTES / 1e6:g} MB, pauses p99 "
            f"{MOST_PAUSE_P99_MS:g} ms: " + (f"MISSED: {', '.join(missed)}" if missed else "met"),
        ]
    )
