"""The main graph while the exchange in another process dies, comes back, and renews its connections."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from flow.telemetry.occurrences import Occurrence, ProviderDisconnected
from tests.acceptance.book_comparison import Comparison
from tests.acceptance.rig import Rig, main_graph
from tests.acceptance.simulator import Control, SimProcess

SYMBOLS = 5
MARKET = f"symbols={SYMBOLS},rate=400,depth_ms=20,book_levels=20,truth=true,truth_states=2000"
BOOKS = {"depth": 100, "refresh_depth": 100}
ENOUGH = 40
ATTEMPTS = 3
RENEWALS = 3


async def compared(comparison: Comparison, rig: Rig) -> None:
    """Return once all books are live and both books of each symbol have been compared often enough."""
    while rig.live < SYMBOLS or min(*comparison.kept.values(), *comparison.followed.values()) < ENOUGH:
        await asyncio.sleep(0.1)
        await comparison.catch_up()
    assert comparison.differences == []


async def renewed(comparison: Comparison, rig: Rig, reason: str, times: int) -> None:
    """Return once connections were replaced so often for this reason."""
    while rig.session.summary()["nodes"]["socket"]["reconnects"].get(reason, 0) < times:
        await asyncio.sleep(0.1)
        await comparison.catch_up()


@pytest.mark.timeout(120)
async def test_the_books_come_back_after_the_exchange_was_killed(
    project_root: Path, client: aiohttp.ClientSession
) -> None:
    refused: list[ProviderDisconnected] = []
    is_trying = asyncio.Event()

    def note(node_id: str, occurrence: Occurrence) -> None:
        if isinstance(occurrence, ProviderDisconnected) and occurrence.reason == "connect_failed":
            refused.append(occurrence)
            if len(refused) == ATTEMPTS:
                is_trying.set()

    with SimProcess(f"{MARKET},seed=1") as first:
        control = Control(client, first.url)
        symbols = await control.symbols()
        socket = {"first_delay_s": 0.05, "longest_delay_s": 0.4}
        rig = Rig(main_graph(project_root, symbols, socket=socket, books=BOOKS), first.url)
        rig.telemetry.listeners.append(note)
        async with rig.session as session:
            rig.watch()
            comparison = Comparison(symbols, control, rig.follower)
            rig.listeners.append(comparison.on_state)
            await compared(comparison, rig)
            rig.listeners.remove(comparison.on_state)
            first.kill()
            await is_trying.wait()
            assert rig.live == 0
            rig.follower.forget()
            with SimProcess(f"{MARKET},seed=2", first.port) as second:
                comparison = Comparison(symbols, Control(client, second.url), rig.follower)
                rig.listeners.append(comparison.on_state)
                await compared(comparison, rig)
                session.stop()
                await session.wait()
    assert all(0 < occurrence.retry_in_s <= 0.4 for occurrence in refused)
    assert all("--sim" in occurrence.detail and "--replay" in occurrence.detail for occurrence in refused)
    books = session.summary()["books"].values()
    assert [book["resyncs"] for book in books] == [{"reconnect": 1}] * SYMBOLS
    assert (rig.trust.faults, rig.follower.faults) == ([], [])
    rig.judge_accounts()


@pytest.mark.timeout(120)
async def test_a_connection_whose_time_is_up_is_replaced_without_a_gap(
    project_root: Path, client: aiohttp.ClientSession
) -> None:
    with SimProcess(f"{MARKET},seed=3") as sim:
        control = Control(client, sim.url)
        symbols = await control.symbols()
        # The two connections are read one after the other: on a busy machine one may be far behind.
        sets = ("nodes.ordered.params.lateness_ms=20000", "nodes.ordered.params.capacity=5000")
        socket = {"lifetime_s": 1.5, "overlap_s": 0.5}
        rig = Rig(main_graph(project_root, symbols, socket=socket, books=BOOKS, sets=sets), sim.url)
        async with rig.session as session:
            rig.watch()
            comparison = Comparison(symbols, control, rig.follower)
            rig.listeners.append(comparison.on_state)
            await renewed(comparison, rig, "lifetime", RENEWALS)
            await control.announce_shutdown()
            await renewed(comparison, rig, "server_shutdown", 1)
            await compared(comparison, rig)
    assert [book["resyncs"] for book in session.summary()["books"].values()] == [{}] * SYMBOLS
    assert (rig.trust.faults, rig.follower.faults) == ([], [])
    assert (rig.follower.missing, rig.follower.gaps) == (0, 0)
    assert rig.session.summary()["dead_letters"] == {}
    duplicates = next(e["dropped"] for e in rig.session.summary()["edges"] if e["to"] == "ordered")
    assert duplicates["duplicate"] > 0
    rig.judge_accounts()
