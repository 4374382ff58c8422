"""What a person reads of a run: the announcement, the figures in short, and what does not add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from flow.runtime.options import RunOptions
from flow.runtime.run import GraphRun

__all__ = ["announcement", "failures", "report"]


def announcement(graph: str, options: RunOptions) -> str:
    """Where the data come from."""
    if options.mode == "simulated":
        params = f" {options.sim}" if options.sim else ""
        return f"flow: {graph}: SIMULATED DATA, made up by an embedded exchange (--sim{params}); not live"
    if options.mode == "replay":
        pace = "as fast as can be, on recorded time" if options.speed is None else f"at {options.speed:g} x"
        files = ", ".join(f"{provider}={path.name}" for provider, path in options.replay)
        return f"flow: {graph}: REPLAY of a recording, not live: {files}; {pace}"
    return f"flow: {graph}: live data"


def failures(run: GraphRun) -> list[str]:
    """Why the run is a failure; [] where it is none."""
    found = [] if run.failure is None else [f"the run failed: {_said(run.failure)}"]
    found += [
        f"the edge {edge.source} -> {edge.target} does not balance: "
        f"{edge.difference:+d} of {edge.entered} unaccounted for"
        for edge in run.topology.edges()
        if edge.difference
    ]
    found += [
        f"{figures['out']} objects of pool {kind} were not returned"
        for kind, figures in run.context.pools.figures().items()
        if figures["out"]
    ]
    return found


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def report(run: GraphRun, summary: dict[str, Any]) -> Iterator[str]:
    """The figures, a line each."""
    yield (
        f"flow: {summary['graph']} ({summary['mode']}) ran {summary['duration_s']:.1f} s, "
        f"{summary['cpu_s']:.2f} s of CPU"
    )
    rows = [
        ("frames", f"{summary['frames']:,}, {summary['frames_per_s']:,.0f} a second"),
        ("events", _counts(summary["events"])),
        *((f"-> {name}", _consumer(figures)) for name, figures in summary["consumers"].items()),
        ("books", _books(summary["books"])),
        ("dead letters", _counts(summary["dead_letters"])),
        ("pools", _pools(summary["pools"])),
        ("edges", _edges(run)),
    ]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        yield f"  {name:<{width}}  {text}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items()) or "none"


def _consumer(figures: dict[str, Any]) -> str:
    dropped = sum(figures["dropped"].values())
    reasons = f" ({_counts(figures['dropped'])})" if dropped else ""
    taken = f"delivered {figures['delivered']:,}, coalesced {figures['coalesced']:,}"
    return f"{taken}, dropped {dropped:,}{reasons}, p99 {figures['latency_ms']['p99']:.3f} ms"


def _books(books: dict[str, Any]) -> str:
    if not books:
        return "none"
    resyncs = sum(sum(book["resyncs"].values()) for book in books.values())
    return f"{_counts(Counter(book['state'] for book in books.values()))}, resyncs {resyncs:,}"


def _pools(pools: dict[str, dict[str, int]]) -> str:
    if not pools:
        return "none used"
    out = sum(figures["out"] for figures in pools.values())
    gets = sum(figures["gets"] for figures in pools.values())
    puts = sum(figures["puts"] for figures in pools.values())
    return f"{len(pools)}, objects out {out:,}, gets {gets:,}, puts {puts:,}"


def _edges(run: GraphRun) -> str:
    edges = run.topology.edges()
    wrong = sum(1 for edge in edges if edge.difference)
    return f"{wrong} of {len(edges)} do not balance" if wrong else f"every edge balances ({len(edges)})"
