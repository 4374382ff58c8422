"""When recorded frames and replies come: on virtual time, and paced by a clock."""

from __future__ import annotations

import asyncio
import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flow.clock import NS_PER_MS, NS_PER_S
from flow.errors import FlowError
from flow.events.frames import Arrival, Connection
from flow.runtime.virtual_time import VirtualTimeLoop
from nodes.providers.transport import END_OF_RECORDING
from nodes.sources.pace import MOST_FRAMES
from nodes.sources.replay import ReplayTransport

START_NS = 1_700_000_000 * NS_PER_S
URL = "wss://x.test/ws"
DEPTH = "https://api.test/api/v3/depth"
CONNECTION = Connection("x", 1)


def test_frames_come_at_their_recorded_times(capture, played):
    path = capture(f"{URL} <-> @0", "@0.5: a", "@0.5: b", "", "@2.000000001: c")
    script = played(ReplayTransport([path]))
    assert script.calls == [
        (0.0, "open"),
        (0.5, "a"),
        (0.5, "b"),
        (2.000000001, "c"),
        (2.000000001, END_OF_RECORDING),
    ]
    assert script.transport.start_ns == START_NS
    assert script.transport.emitted == 3


def test_a_frame_recorded_out_of_order_does_not_turn_time_back(capture, played):
    path = capture(f"{URL} <-> @0", "@1: a", "@0.9: b", "@1.1: c")
    assert played(ReplayTransport([path])).calls[1:4] == [(1.0, "a"), (1.0, "b"), (1.1, "c")]


def test_timers_and_replies_meet_frames_at_their_time(capture, played):
    path = capture(
        f"{URL} <-> @0",
        *(f"@{Decimal(i) / 10000}: {i}" for i in range(1, 30)),
        f"{DEPTH}?symbol=A -> @0.00125: A",
    )

    async def act(script: Any) -> None:
        loop = asyncio.get_running_loop()

        def emit(arrival: Arrival) -> None:
            script.emit(arrival)
            if arrival[1] == b"5":
                loop.call_later(0.000_25, script.note, "set while pushing")

        loop.call_later(0.002_05, script.note, "set before")
        async with asyncio.TaskGroup() as group:
            group.create_task(script.get(DEPTH, symbol="A", limit="5"))
            group.create_task(script.read(emit))

    script = played(ReplayTransport([path]), act)
    times = [when for when, _ in script.calls]
    assert times == sorted(times)
    assert (0.00075, "set while pushing") in script.calls
    assert (0.00125, "200 A") in script.calls
    assert (0.00205, "set before") in script.calls


@pytest.mark.parametrize(
    ("step_s", "most"), [("0.0001", 26), ("0.0", MOST_FRAMES), ("0.000001", MOST_FRAMES)]
)
def test_woken_tasks_come_to_rest_between_slices(capture, played, step_s: str, most: int):
    path = capture(f"{URL} <-> @0", *(f"@{1 + i * Decimal(step_s):f}: {i}" for i in range(600)))
    batches: list[int] = []

    async def act(script: Any) -> None:
        waiting: list[Arrival] = []
        wake = asyncio.Event()

        def emit(arrival: Arrival) -> None:
            waiting.append(arrival)
            wake.set()

        async def consume() -> None:
            while True:
                await wake.wait()
                wake.clear()
                batches.append(len(waiting))
                while waiting:  # many steps a batch: all are made before the next slice
                    waiting.pop()
                    await asyncio.sleep(0)

        consumer = asyncio.create_task(consume())
        await script.read(emit)
        await asyncio.sleep(1)
        consumer.cancel()

    played(ReplayTransport([path]), act)
    assert sum(batches) == 600
    assert max(batches) == most


def test_several_providers_interleave_by_time(capture, played):
    one = capture(f"{URL} <-> @0", *(f"@{i}.00001: {2 * i}" for i in range(1, 40)), name="one")
    two = capture(f"{URL} <-> @0", *(f"@{i}.00002: {2 * i + 1}" for i in range(1, 40)), name="two")

    async def act(script: Any) -> None:
        other = type(script)(ReplayTransport([two]))
        other.calls = script.calls
        await asyncio.gather(script.read(), other.read())

    script = played(ReplayTransport([one]), act)
    numbers = [int(what) for _, what in script.calls if what.isdigit()]
    assert numbers == list(range(2, 80))


@pytest.mark.parametrize("speed", [1.0, 4.0, 0.5])
def test_paced_replay_keeps_the_recorded_distances(capture, played, speed: float):
    lines = [f"{DEPTH}?symbol=A -> @3: A", f"{URL} <-> @4", "@5: a", "@5: b", "@9: c"]
    path = capture(f"{DEPTH}?symbol=B -> @0: B", *lines)

    async def act(script: Any) -> None:
        await asyncio.gather(script.get(DEPTH, symbol="A"), script.read())

    script = played(ReplayTransport([path], speed=speed), act)
    expected = [(3, "200 A"), (4, "open"), (5, "a"), (5, "b"), (9, "c"), (9, END_OF_RECORDING)]
    assert script.calls == [(seconds / speed, what) for seconds, what in expected]


def test_late_frames_are_emitted_at_once_without_drift(capture, played):
    path = capture(f"{URL} <-> @0", *(f"@{i}: {i}" for i in range(1, 9)))

    async def act(script: Any) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)

        def emit(arrival: Arrival) -> None:
            script.emit(arrival)
            if arrival[1] == b"2":
                loop.advance_to_ns(loop.now_ns + 3 * NS_PER_S + 500 * NS_PER_MS)

        await script.read(emit)

    calls = played(ReplayTransport([path], speed=1.0), act).calls
    assert calls[1:-1] == [
        (1, "1"),
        (2, "2"),
        (5.5, "3"),
        (5.5, "4"),
        (5.5, "5"),
        (6, "6"),
        (7, "7"),
        (8, "8"),
    ]


async def test_paced_replay_runs_on_an_ordinary_loop(capture):
    path = capture(f"{URL} <-> @0", *(f"@{i}: {i}" for i in range(1, 30)))
    transport = ReplayTransport([path], speed=1e6)
    seen: list[bytes] = []
    wire = await transport.connect(URL)
    assert await wire.read(CONNECTION, lambda arrival: seen.append(arrival[1])) == END_OF_RECORDING
    assert seen == [str(i).encode() for i in range(1, 30)]
    await transport.close()


async def test_top_speed_refuses_an_ordinary_loop(capture):
    with pytest.raises(FlowError, match="needs a loop on virtual time"):
        await ReplayTransport([capture(f"{URL} <-> @0")]).connect(URL)


@pytest.mark.parametrize("speed", [None, 10.0])
def test_two_runs_of_the_recordings_make_the_same_calls(
    played, recordings: Path, tmp_path: Path, speed: float | None
):
    folder = recordings / "binance"
    packed = tmp_path / "stream"
    packed.write_bytes(gzip.compress((folder / "stream.raw").read_bytes()))

    async def act(script: Any) -> None:
        await script.get("https://api.binance.com/api/v3/exchangeInfo")
        async with asyncio.TaskGroup() as group:
            for symbol in ("RUNEEUR", "LRCBTC", "BLZETH", "NKNUSDT", "NKNUSDT"):
                group.create_task(
                    script.get("https://api.binance.com/api/v3/depth", symbol=symbol, limit="1000")
                )
            group.create_task(script.read())

    def run(stream: Path) -> Any:
        paths = [stream, folder / "http.raw", folder / "exchange-info.raw"]
        return played(ReplayTransport(paths, speed=speed), act)

    first, second = run(folder / "stream.raw"), run(packed)
    assert first.calls == second.calls
    assert first.transport.summary() == {
        "connections": 1,
        "emitted": 265,
        "refused": {},
        "sent": 0,
        "replied": 5,
        "missing": {"/api/v3/depth symbol=NKNUSDT": 1},
    }
    times = [when for when, _ in first.calls]
    assert times == sorted(times)
    assert sum(what.startswith("200 ") for _, what in first.calls) == 5
