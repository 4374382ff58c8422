"""The exchange as a whole: its life, its control endpoints, and each fault as a client meets it."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import aiohttp
import msgspec
import pytest

from nodes.exchange import Exchange, FaultParams, SimParams
from nodes.exchange.faults import FRAME_KINDS

FAST = SimParams(symbols=2, rate=400, speed=10, seed=5, faults=FaultParams(stall_ms=600))
DEPTH = "/ws/btcusdt@depth@100ms"


async def read(ws: aiohttp.ClientWebSocketResponse, count: int) -> list[Any]:
    """The next frames decoded; None for one that is no JSON."""
    found: list[Any] = []
    for _ in range(count):
        message = await ws.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        try:
            found.append(msgspec.json.decode(message.data))
        except msgspec.DecodeError:
            found.append(None)
    return found


async def forced(serve: Any, kind: str) -> tuple[list[Any], dict[str, int]]:
    """Frames of one depth stream before and after one forced fault, and the fault counts."""
    async with serve(FAST) as client:
        ws = await client.connect(DEPTH)
        frames = await read(ws, 2)
        assert (await client.post("/sim/fault", {"kind": kind, "symbol": "BTC-USDT"}))[0] == 200
        forced_at = client.exchange.market.by_name["BTC-USDT"].engine.update_id
        while frames[-1] is None or frames[-1]["u"] <= forced_at:
            frames += await read(ws, 1)
        frames += await read(ws, 5)
        counts = (await client.get("/sim/faults"))[2]["counts"]
        return frames, {kind: count for kind, count in counts.items() if count}


def breaks(frames: list[Any]) -> int:
    """How often an event does not follow on the one before."""
    return sum(later["U"] != earlier["u"] + 1 for earlier, later in pairwise(frames))


async def test_without_faults_nothing_is_missing(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect(DEPTH)
        assert breaks(await read(ws, 50)) == 0


async def test_a_gap_leaves_one_depth_frame_out(serve: Any) -> None:
    frames, counts = await forced(serve, "gap")
    assert (breaks(frames), counts) == (1, {"gap": 1})
    assert all(later["U"] > earlier["u"] for earlier, later in pairwise(frames))


async def test_a_duplicate_comes_twice_in_a_row(serve: Any) -> None:
    frames, counts = await forced(serve, "duplicate")
    assert counts == {"duplicate": 1}
    assert sum(earlier == later for earlier, later in pairwise(frames)) == 1


async def test_a_reorder_swaps_two_neighbours(serve: Any) -> None:
    frames, counts = await forced(serve, "reorder")
    assert counts == {"reorder": 1}
    assert sum(later["u"] < earlier["u"] for earlier, later in pairwise(frames)) == 1
    assert breaks(sorted(frames, key=lambda event: event["u"])) == 0


async def test_a_malformed_frame_comes_before_the_true_one(serve: Any) -> None:
    frames, counts = await forced(serve, "malformed")
    assert (frames.count(None), counts) == (1, {"malformed": 1})
    assert breaks([event for event in frames if event is not None]) == 0


async def test_a_stalled_stream_is_silent_and_then_goes_on(serve: Any) -> None:
    frames, counts = await forced(serve, "stall")
    assert (breaks(frames), counts) == (1, {"stall": 1})
    silence = max(later["E"] - earlier["E"] for earlier, later in pairwise(frames))
    assert 600 <= silence <= 600 + 3 * 100


async def test_a_stall_leaves_the_other_streams_alone(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect("/stream?streams=btcusdt@depth@100ms/ethusdt@depth@100ms")
        client.exchange.faults.force("stall", "BTC-USDT")
        frames = await read(ws, 60)
        eth = [each["data"] for each in frames if each["stream"].startswith("eth")]
        assert len(eth) > 25
        assert breaks(eth) == 0


async def test_a_disconnect_has_no_close_frame(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect(DEPTH)
        await client.post("/sim/fault", {"kind": "disconnect"})
        while (message := await ws.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert ws.close_code == 1006
        await ws.close()
        assert client.exchange.counters.disconnects == {"fault": 1}
        again = await client.connect(DEPTH)
        assert breaks(await read(again, 5)) == 0


async def test_faults_come_by_themselves_at_their_rates(serve: Any) -> None:
    rates = FaultParams(gap=0.05, duplicate=0.05, reorder=0.05, malformed=0.05, stall=0.01, stall_ms=100)
    params = SimParams(symbols=2, rate=400, speed=20, seed=9, faults=rates)
    async with serve(params) as client:
        ws = await client.connect("/stream?streams=btcusdt@depth@100ms/btcusdt@trade/ethusdt@depth@100ms")
        frames = await read(ws, 600)
        counts = client.exchange.faults.counts
        made = {kind for kind in FRAME_KINDS if counts[kind]}
        assert made == set(FRAME_KINDS) - {"disconnect"}
        assert 10 < frames.count(None) <= counts["malformed"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "fire"}, 400),
        ({}, 400),
        ({"kind": "gap", "symbol": "BTCUSDT"}, 404),
        ({"kind": "gap", "x": 1}, 400),
    ],
)
async def test_a_wrong_fault_is_refused(serve: Any, body: dict[str, Any], status: int) -> None:
    async with serve(FAST) as client:
        found, reply = await client.post("/sim/fault", body)
        assert found == status
        assert reply["error"]
        assert client.exchange.faults.forced == 0


async def test_the_status_tells_what_happened(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect(DEPTH)
        await read(ws, 3)
        _, _, status = await client.get("/sim/status")
        assert (status["simulated"], status["truth"]) == (True, False)
        assert status["symbols"] == ["BTC-USDT", "ETH-USDT"]
        assert status["orders"] > 0
        assert status["counters"]["frames"] >= 3
        assert status["counters"]["open_connections"] == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [("symbol=NO-ONE", 404), ("symbol=BTC-USDT&after=x", 400), ("symbol=BTC-USDT&limit=-1", 400)],
)
async def test_truth_refuses_what_it_does_not_know(serve: Any, query: str, status: int) -> None:
    async with serve(SimParams(truth=True)) as client:
        assert (await client.get(f"/sim/truth?{query}"))[0] == status


async def test_truth_is_kept_only_when_asked_for(serve: Any) -> None:
    async with serve(SimParams()) as client:
        assert (await client.get("/sim/truth?symbol=BTC-USDT"))[0] == 409
        status, reply = await client.post("/sim/shutdown_notice", {"close_after_s": -1})
        assert (status, "error" in reply) == (400, True)


async def test_after_a_pause_time_goes_on_without_the_missed_orders(serve: Any, hand_clock: Any) -> None:
    async with serve(SimParams(symbols=1, rate=1000), clock=hand_clock) as client:
        ws = await client.connect("/ws/btcusdt@trade")
        hand_clock.advance(30)
        (event,) = await read(ws, 1)
        assert event["E"] >= 1_700_000_000_000 + 29_000
        assert 28_000 < client.exchange.counters.skipped_ms <= 30_000
        assert client.exchange.market.orders < 500


async def test_a_port_that_is_taken_is_an_os_error(serve: Any) -> None:
    async with serve(SimParams()) as client:
        port = int(client.exchange.ws_url.rpartition(":")[2])
        second = Exchange(SimParams(port=port))
        with pytest.raises(OSError, match="in use"):
            await second.start()
        with pytest.raises(RuntimeError, match="before it is started"):
            _ = second.ws_url


async def test_starting_twice_is_refused_and_stopping_twice_is_not() -> None:
    exchange = Exchange(SimParams())
    await exchange.start()
    with pytest.raises(RuntimeError, match="already"):
        await exchange.start()
    await exchange.stop()
    await exchange.stop()


async def test_run_forever_ends_when_it_is_stopped() -> None:
    exchange = Exchange(SimParams())
    await exchange.start()
    task = asyncio.create_task(exchange.run_forever())
    async with aiohttp.ClientSession() as http, http.get(exchange.rest_url + "/api/v3/ping") as reply:
        assert reply.status == 200
    await exchange.stop()
    await task


async def test_a_broken_market_does_not_stand_still_in_silence() -> None:
    exchange = Exchange(SimParams(rate=1000))
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise LookupError(name)

    await exchange.start()
    exchange.market.listeners.insert(0, Broken())  # type: ignore[arg-type]
    with pytest.raises(LookupError):
        await exchange.run_forever()
    assert len(reported) == 1
