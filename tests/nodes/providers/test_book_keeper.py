"""What the keeper lets through, and when it asks for snapshots."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from flow.errors import Retryable
from flow.events import EventType, Sequence
from nodes.providers.book_keeper import Snapshot
from tests.nodes.providers.book_rig import ASKS, NOW_NS, Rig, run


def test_holds_until_the_snapshot_and_puts_the_held_into_it() -> None:
    async def story() -> None:
        async with Rig() as rig:
            rig.answer(rig.market().whole(102))
            rig.send(101)
            rig.quote()
            rig.send(102, 104)
            assert rig.kinds() == "Q"
            assert rig.keeper.in_flight == 2
            rig.check_balance()
            await asyncio.sleep(0.04)
            rig.send(105)
            await asyncio.sleep(0.05)
            assert rig.kinds() == "QS"
            assert rig.out[-1].sequence == 105
            rig.send(106)
            rig.quote()
            assert rig.kinds() == "QSUQ"
            assert rig.keeper.dropped == {"in_snapshot": 3}
            assert rig.keeper.in_flight == 0

    run(story())


def test_the_snapshot_event_carries_the_whole_book_and_the_newest_updates_times() -> None:
    async def story() -> None:
        async with Rig() as rig:
            rig.answer(rig.market().whole(101))
            for n in range(101, 105):
                rig.send(n)
            await asyncio.sleep(1)
            [event] = rig.out
            assert event.stream.event_type is EventType.BOOK_SNAPSHOT
            assert (event.stream.channel, event.stream.sequence) == ("depth@100ms", Sequence.NONE)
            assert (event.sequence, event.first_sequence) == (104, 104)
            assert (event.ingest_ts, event.exchange_ts, event.trace_id) == (NOW_NS + 104, 104, 104)
            payload: Any = event.payload
            assert payload.bids == rig.market().whole(104).bids
            assert payload.asks == ASKS
            assert rig.asked == [(0.0, "BTC-USDT", 1000)]

    run(story())


def test_a_snapshot_that_covers_all_that_is_held_bears_the_clocks_time() -> None:
    async def story() -> None:
        async with Rig() as rig:
            await rig.synced()
            assert rig.out[0].ingest_ts == NOW_NS

    run(story())


def test_holding_does_not_exhaust_the_pool() -> None:
    async def story() -> None:
        async with Rig(capacity=2) as rig:
            for n in range(101, 201):
                rig.send(n)
            assert rig.keeper.in_flight == 100
            assert rig.pool.out == 0
            await asyncio.sleep(1)
            assert rig.figures()["sequence"] == 200

    run(story())


def test_a_gap_costs_the_trust_until_the_next_snapshot() -> None:
    async def story() -> None:
        async with Rig() as rig:
            await rig.synced()
            rig.send(102)
            rig.send(104)
            assert rig.figures()["state"] == "resyncing"
            assert rig.figures()["bids"] == []
            rig.send(105)
            assert rig.kinds() == "SU"
            await asyncio.sleep(1)
            rig.send(106)
            assert rig.kinds() == "SUSU"
            assert rig.figures()["resyncs"] == {"gap": 1}
            counts = rig.context.telemetry.counts
            assert counts[("books", "book.resync", "binance", "BTC-USDT", "gap")] == 1

    run(story())


def test_a_stale_book_is_fetched_anew() -> None:
    async def story() -> None:
        async with Rig(stale_after_s=60) as rig:
            await rig.synced()
            await asyncio.sleep(58)
            rig.send(102)
            await asyncio.sleep(59)
            assert rig.figures()["resyncs"] == {}
            await asyncio.sleep(4)
            assert rig.figures() | {"bids": [], "asks": []} == {
                "state": "live",
                "sequence": 102,
                "resyncs": {"stale": 1},
                "bids": [],
                "asks": [],
            }
            assert rig.kinds() == "SUS"

    run(story())


def test_a_replay_grows_no_older() -> None:
    async def story() -> None:
        rig = Rig()
        rig.context.mode = "replay"
        async with rig:
            await rig.synced()
            await asyncio.sleep(600)
            assert rig.figures()["resyncs"] == {}
            assert len(rig.asked) == 1

    run(story())


def test_a_reconnect_begins_every_symbol_anew() -> None:
    async def story() -> None:
        async with Rig() as rig:
            for symbol in ("A-B", "C-D", "E-F"):
                await rig.synced(symbol)
            [gone], [back] = rig.on_disconnected, rig.on_connected
            gone("connection 1", {"A-B", "C-D"})
            assert [rig.figures(s)["state"] for s in ("A-B", "C-D", "E-F")] == [
                "resyncing",
                "resyncing",
                "live",
            ]
            await asyncio.sleep(30)
            assert len(rig.asked) == 3
            back("connection 2", {"A-B", "C-D"})
            rig.send(250, symbol="A-B")
            await asyncio.sleep(0.5)
            assert [rig.figures(s)["state"] for s in ("A-B", "C-D", "E-F")] == ["live", "resyncing", "live"]
            await asyncio.sleep(3)
            assert rig.figures("C-D")["state"] == "live"
            assert rig.figures("C-D")["resyncs"] == {"reconnect": 1}
        assert rig.on_connected == []
        assert rig.on_disconnected == []

    run(story())


def test_a_snapshot_that_arrives_while_disconnected_is_not_trusted() -> None:
    async def story() -> None:
        async with Rig() as rig:
            rig.send(101)
            rig.on_disconnected[0]("connection 1", {"BTC-USDT"})
            await asyncio.sleep(30)
            assert rig.kinds() == ""
            assert rig.keeper.dropped == {"reconnect": 1}

    run(story())


def test_a_refresh_compares_without_stopping_the_book() -> None:
    async def story() -> None:
        async with Rig(refresh_s=180, refresh_depth=100) as rig:
            await rig.synced()
            for n in range(102, 700):
                rig.send(n)
                await asyncio.sleep(1)
            depths = [depth for _, _, depth in rig.asked]
            assert depths == [1000, 100, 100, 100]
            times = [at for at, _, _ in rig.asked]
            assert 120 <= times[1] <= 241
            assert all(179 <= b - a <= 182 for a, b in pairwise(times[1:]))
            assert rig.kinds() == "S" + "U" * 598
            [kept] = rig.keeper._books.values()
            assert kept.sync.refreshes == {"equal": 3}

    run(story())


def test_a_refresh_that_differs_costs_the_trust() -> None:
    async def story() -> None:
        async with Rig(refresh_s=180, stale_after_s=1000) as rig:
            await rig.synced()
            rig.answer(Snapshot(101, [("99", "7")], ASKS))
            await asyncio.sleep(200)
            assert rig.figures()["resyncs"] == {"refresh_mismatch": 1}
            assert rig.figures()["state"] == "live"
            assert rig.kinds() == "SS"
            assert [depth for _, _, depth in rig.asked] == [1000, 500, 1000]

    run(story())


def test_a_failed_refresh_leaves_the_book_alone() -> None:
    async def story() -> None:
        async with Rig(refresh_s=180, stale_after_s=1000) as rig:
            await rig.synced()
            rig.answer(Retryable("busy"))
            await asyncio.sleep(250)
            assert len(rig.asked) == 2
            assert rig.figures()["resyncs"] == {}
            rig.send(102)
            assert rig.kinds() == "SU"

    run(story())


def test_on_state_sees_every_state_of_a_trusted_book() -> None:
    seen: list[tuple[str, int, tuple[str, str] | None]] = []

    async def story() -> None:
        async with Rig() as rig:
            rig.keeper.on_state = lambda stream, number, book: seen.append(
                (stream.symbol, number, book.best_bid)
            )
            await rig.synced()
            rig.send(102)
            rig.send(103, 104)
            rig.send(110)

    run(story())
    assert seen == [
        ("BTC-USDT", 101, ("99", "101")),
        ("BTC-USDT", 102, ("99", "102")),
        ("BTC-USDT", 104, ("99", "104")),
    ]
