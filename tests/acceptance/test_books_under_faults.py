"""The main graph against an exchange in another process that does everything wrong that an exchange can do.

Every state of every book is held against the matching engine's own. What was compared and which faults were
made is printed: `pytest -s`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import aiohttp
import pytest

from nodes.providers.book_keeper import BookKeeper, FetchSnapshot, Snapshot
from tests.acceptance.book_comparison import Comparison
from tests.acceptance.rig import Rig, main_graph
from tests.acceptance.simulator import Control, SimProcess

ENOUGH = 1000
"""Comparisons a symbol of the keeper's book. A consumer that falls behind gets states instead of updates, and
has fewer."""
SYMBOLS = 50
MARKET = f"symbols={SYMBOLS},rate=2700,depth_ms=10,book_levels=20,truth=true,truth_states=2000,seed=11"
BY_CHANCE = "faults.duplicate=0.002,faults.malformed=0.0005,faults.stall_ms=500"
A_SYMBOL = {"gap": 4, "reorder": 4, "duplicate": 2, "stale_snapshot": 1}
"""How many of a kind are forced on each symbol."""
IN_ALL = {"disconnect": 12, "stall": 10, "http_429": 5, "http_5xx": 15, "malformed": 20}
VOLLEY, PAUSE_S = 12, 0.5
"""How many faults are forced at a time, and how long it is quiet between."""
SLOWEST_REPLY_S = 0.2
SOCKET = {
    "max_streams_per_connection": 104,
    "first_delay_s": 0.05,
    "longest_delay_s": 1,
    "stable_after_s": 1,
}
BOOKS = {"depth": 100, "refresh_depth": 100, "refresh_s": 5}
"""A hundred levels a side hold the whole of these books."""


def plan_of(symbols: list[str], seed: int) -> list[tuple[str, str | None]]:
    """(kind, symbol) of every fault that is forced, in the order in which that is done."""
    plan: list[tuple[str, str | None]] = [
        (kind, symbol) for symbol in symbols for kind, times in A_SYMBOL.items() for _ in range(times)
    ]
    plan += [(kind, None) for kind, times in IN_ALL.items() for _ in range(times)]
    Random(seed).shuffle(plan)
    return plan


def slowed(fetch: FetchSnapshot, seed: int) -> FetchSnapshot:
    """On loopback a snapshot is newer than all that is held; from afar it comes behind later updates."""
    rng = Random(seed)

    async def fetch_slowly(symbol: str, depth: int) -> Snapshot:
        snapshot = await fetch(symbol, depth)
        await asyncio.sleep(rng.uniform(0, SLOWEST_REPLY_S))
        return snapshot

    return fetch_slowly


async def attack(control: Control, plan: list[tuple[str, str | None]]) -> None:
    for at in range(0, len(plan), VOLLEY):
        await asyncio.gather(*(control.force(kind, symbol) for kind, symbol in plan[at : at + VOLLEY]))
        await asyncio.sleep(PAUSE_S)


def is_enough(comparison: Comparison, rig: Rig, attacking: asyncio.Task[None]) -> bool:
    return attacking.done() and min(comparison.kept.values()) >= ENOUGH and rig.live == SYMBOLS


@pytest.mark.timeout(300)
async def test_the_books_are_the_engines_own_under_every_fault(
    project_root: Path, client: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    with SimProcess(f"{MARKET},{BY_CHANCE}") as sim:
        control = Control(client, sim.url)
        symbols = await control.symbols()
        rig = Rig(main_graph(project_root, symbols, socket=SOCKET, books=BOOKS), sim.url)
        async with rig.session as session:
            rig.watch()
            rig.keeper.fetch = slowed(rig.keeper.fetch, seed=6)
            comparison = Comparison(symbols, control, rig.follower)
            rig.listeners.append(comparison.on_state)
            attacking = asyncio.create_task(attack(control, plan_of(symbols, seed=5)))
            while not comparison.differences and not is_enough(comparison, rig, attacking):
                await asyncio.sleep(0.5)
                await comparison.catch_up()
            attacking.cancel()
        await comparison.catch_up()
        faults = await control.faults()
        status = await control.status()
    summary = session.summary()
    with capsys.disabled():
        tell(comparison, rig, faults, status, summary)
    judge_books(comparison, rig, summary)
    judge_faults(rig, faults, summary)
    rig.judge_accounts()


def tell(
    comparison: Comparison,
    rig: Rig,
    faults: dict[str, int],
    status: dict[str, Any],
    summary: dict[str, Any],
) -> None:
    kept, followed = comparison.kept, comparison.followed
    print(
        f"\nran {summary['duration_s']:.1f} s, {summary['frames']:,} frames, {summary['cpu_s']:.1f} s of CPU"
    )
    print(
        f"comparisons with the engine's books, full depth: keeper {sum(kept.values()):,} "
        f"(fewest a symbol {min(kept.values()):,}), consumer {sum(followed.values()):,} "
        f"(fewest {min(followed.values()):,}); {comparison.levels / sum(kept.values()):.0f} levels each; "
        f"{sum(map(len, comparison.unmatched.values()))} snapshots between two depth periods not comparable"
    )
    print("faults made:", ", ".join(f"{kind} {n:,}" for kind, n in faults.items()))
    print("disconnects:", status["counters"]["disconnects"], "skipped ms:", status["counters"]["skipped_ms"])
    for reason, times in rig.trust.by_reason().items():
        print(
            f"recovered after {reason}: {len(times)} times, median {median(times):.3f} s, "
            f"p99 {times[int(len(times) * 0.99)]:.3f} s, longest {times[-1]:.3f} s"
        )
    for edge in summary["edges"]:
        dropped = {key: n for key, n in edge["dropped"].items() if n}
        print(f"  {edge['from']} -> {edge['to']}: {edge['in']:,} in, {edge['out']:,} out, dropped {dropped}")
    print("dead letters:", summary["dead_letters"], "fetches that failed:", dict(rig.keeper.fetch_failures))
    print("snapshots held against live books:", refreshes(rig.keeper))
    print(f"socket: {summary['nodes']['socket']}")
    print(f"consumer: {rig.follower.taken:,} events, {rig.follower.gaps} gap markers")


def refreshes(keeper: BookKeeper) -> dict[str, int]:
    return dict(sum((kept.sync.refreshes for kept in keeper._books.values()), Counter[str]()))


def judge_books(comparison: Comparison, rig: Rig, summary: dict[str, Any]) -> None:
    assert comparison.differences == []
    assert min(comparison.kept.values()) >= ENOUGH
    assert min(comparison.followed.values()) >= ENOUGH / 50
    for symbol, numbers in comparison.unmatched.items():
        assert numbers <= rig.trust.snapshots[symbol], f"{symbol}: an update's number is none of the engine's"
    assert {book["state"] for book in summary["books"].values()} == {"live"}
    assert len(summary["books"]) == SYMBOLS
    for symbol in comparison.symbols:
        number, bids, asks = comparison.last[symbol]
        followed = rig.follower.books[symbol]
        assert (followed.number, followed.bids, followed.asks) == (number, dict(bids), dict(asks))
        book = summary["books"][f"binance/{symbol}"]
        assert (book["sequence"], book["bids"]) == (number, [list(level) for level in bids[:20]])


def judge_faults(rig: Rig, faults: dict[str, int], summary: dict[str, Any]) -> None:
    for kind, times in A_SYMBOL.items():
        assert faults[kind] >= times * SYMBOLS * 0.9, kind
    for kind, times in IN_ALL.items():
        assert faults[kind] >= times, kind
    assert rig.trust.lost == {}
    assert rig.trust.faults == []
    assert rig.follower.faults == []
    recoveries = Counter(symbol for symbol, _, _ in rig.trust.recoveries)
    assert len(recoveries) == SYMBOLS
    assert sum(recoveries.values()) >= faults["gap"] / 2
    assert {"gap", "reconnect"} <= rig.trust.by_reason().keys()
    assert "refresh_mismatch" not in rig.trust.by_reason()
    assert 0 < summary["dead_letters"]["malformed_json"] <= faults["malformed"]
    assert summary["dead_letters"].keys() <= {"malformed_json", "mailbox_full"}
