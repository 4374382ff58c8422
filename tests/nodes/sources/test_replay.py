"""Replay: recorded connections, frames and replies at their times, paced or on virtual time."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flow.clock import NS_PER_MS, NS_PER_S
from flow.errors import FlowError, PoolTimeout
from flow.events.frames import Arrival, Connection
from flow.runtime.virtual_time import VirtualTimeLoop, run_virtual
from nodes.providers.transport import END_OF_RECORDING, EndOfRecording
from nodes.sources.capture import CaptureError
from nodes.sources.pace import MOST_FRAMES
from nodes.sources.replay import CLOSED_IN_RECORDING, ReplayTransport, ReplayWire

T0 = 1_700_000_000
START_NS = T0 * NS_PER_S
URL = "wss://x.test/ws"
DEPTH = "https://api.test/api/v3/depth"
CONNECTION = Connection("x", 1)
Call = tuple[float, str]
"""Seconds since T0, and what happened."""


def capture(folder: Path, *lines: str, name: str = "capture.raw") -> Path:
    """A recording; in its lines `@1.5` stands for 1.5 s after T0."""
    path = folder / name
    path.write_text("".join(f"{_timed(line)}\n" for line in lines))
    return path


def _timed(line: str) -> str:
    head, at, rest = line.partition("@")
    seconds, colon, text = rest.partition(":")
    return f"{head}{Decimal(seconds) + T0:f}{colon}{text}" if at else line


def elapsed() -> float:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return (loop.now_ns - START_NS) / NS_PER_S


class Script:
    """Uses a transport as a provider does and writes down every call."""

    def __init__(self, transport: ReplayTransport) -> None:
        self.transport = transport
        self.calls: list[Call] = []
        self.wire: ReplayWire | None = None

    def note(self, what: str) -> None:
        self.calls.append((elapsed(), what))

    def emit(self, arrival: Arrival) -> None:
        assert arrival[0] is CONNECTION
        self.note(arrival[1].decode())

    async def read(self, emit: Callable[[Arrival], None] | None = None) -> str:
        wire = await self.transport.connect(URL)
        assert isinstance(wire, ReplayWire)
        self.wire = wire
        self.note("open")
        reason = await wire.read(CONNECTION, emit or self.emit)
        self.note(reason)
        return reason

    async def get(self, url: str, **params: str) -> bytes:
        reply = await self.transport.get(url, params)
        self.note(f"{reply.status} {reply.body[:80].decode()}")
        return reply.body


def played(
    transport: ReplayTransport, act: Callable[[Script], Coroutine[Any, Any, object]] = Script.read
) -> Script:
    script = Script(transport)
    run_virtual(act(script), transport.start_ns)
    return script


def test_frames_come_at_their_recorded_times(tmp_path: Path):
    path = capture(tmp_path, f"{URL} <-> @0", "@0.5: a", "@0.5: b", "", "@2.000000001: c")
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


def test_a_frame_recorded_out_of_order_does_not_turn_time_back(tmp_path: Path):
    path = capture(tmp_path, f"{URL} <-> @0", "@1: a", "@0.9: b", "@1.1: c")
    assert played(ReplayTransport([path])).calls[1:4] == [(1.0, "a"), (1.0, "b"), (1.1, "c")]


def test_timers_and_replies_meet_frames_at_their_time(tmp_path: Path):
    path = capture(
        tmp_path,
        f"{URL} <-> @0",
        *(f"@{Decimal(i) / 10000}: {i}" for i in range(1, 30)),
        f"{DEPTH}?symbol=A -> @0.00125: A",
    )

    async def act(script: Script) -> None:
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
    ("step_s", "most"), [("0.0001", 11), ("0.0", MOST_FRAMES), ("0.000001", MOST_FRAMES)]
)
def test_woken_tasks_come_to_rest_between_slices(tmp_path: Path, step_s: str, most: int):
    path = capture(tmp_path, f"{URL} <-> @0", *(f"@{1 + i * Decimal(step_s):f}: {i}" for i in range(600)))
    batches: list[int] = []

    async def act(script: Script) -> None:
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


def test_several_providers_interleave_by_time(tmp_path: Path):
    one = capture(tmp_path, f"{URL} <-> @0", *(f"@{i}.00001: {2 * i}" for i in range(1, 40)), name="one")
    two = capture(tmp_path, f"{URL} <-> @0", *(f"@{i}.00002: {2 * i + 1}" for i in range(1, 40)), name="two")

    async def act(script: Script) -> None:
        other = Script(ReplayTransport([two]))
        other.calls = script.calls
        await asyncio.gather(script.read(), other.read())

    script = played(ReplayTransport([one]), act)
    numbers = [int(what) for _, what in script.calls if what.isdigit()]
    assert numbers == list(range(2, 80))


def test_depth_replies_are_handed_out_once_in_order_at_their_time(tmp_path: Path):
    path = capture(
        tmp_path,
        "https://api.test/api/v3/exchangeInfo -> @0: I1",
        f"{DEPTH}?symbol=A&limit=1000 -> @1: A1",
        f"{DEPTH}?symbol=B -> @2: B1",
        f"{DEPTH}?limit=5&symbol=A -> @3: A2",
        "https://api.test/api/v3/exchangeInfo?symbols=x -> @6: I2",
    )

    async def act(script: Script) -> None:
        await asyncio.gather(*(script.get(DEPTH, symbol=symbol, limit="100") for symbol in "ABAAC"))
        info = "https://elsewhere.test/api/v3/exchangeInfo"
        await script.get(info, symbols='["A"]')
        await asyncio.sleep(4)
        await script.get(info)
        await script.get(info)
        await script.get("https://api.test/api/v3/time")

    nothing = "404 nothing recorded (any more) for GET"
    script = played(ReplayTransport([path]), act)
    assert script.calls == [
        (0.0, f"{nothing} /api/v3/depth symbol=A"),
        (0.0, f"{nothing} /api/v3/depth symbol=C"),
        (1.0, "200 A1"),
        (2.0, "200 B1"),
        (3.0, "200 A2"),
        (3.0, "200 I1"),
        (7.0, "200 I2"),
        (7.0, "200 I2"),
        (7.0, f"{nothing} /api/v3/time"),
    ]
    assert script.transport.replied == 6
    assert script.transport.missing.total() == 3
    assert script.transport.missing["/api/v3/depth symbol=A"] == 1


def test_connections_are_played_one_after_another(tmp_path: Path):
    path = capture(tmp_path, f"{URL} <-> @1", "@2: a", f"{URL} <-> @5", "@6: b", f"{URL} <-> @7")

    async def act(script: Script) -> None:
        assert await script.read() == CLOSED_IN_RECORDING
        await asyncio.sleep(0.5)
        assert await script.read() == CLOSED_IN_RECORDING
        assert await script.read() == END_OF_RECORDING
        with pytest.raises(EndOfRecording):
            await script.transport.connect(URL)

    script = played(ReplayTransport([path]), act)
    assert script.calls == [
        (1.0, "open"),
        (2.0, "a"),
        (2.0, CLOSED_IN_RECORDING),
        (5.0, "open"),
        (6.0, "b"),
        (6.0, CLOSED_IN_RECORDING),
        (7.0, "open"),
        (7.0, END_OF_RECORDING),
    ]


def test_files_that_overlap_are_one_connection_and_later_ones_are_more(tmp_path: Path):
    one = capture(tmp_path, f"{URL} <-> @0", "@1: a", "@3: c", "@5: e", name="one")
    two = capture(tmp_path, f"{URL} <-> @0.5", "@2: b", "@4: d", name="two")
    late = capture(tmp_path, f"{URL} <-> @10", "@11: f", name="late")

    async def act(script: Script) -> None:
        while await script.read() != END_OF_RECORDING:
            pass

    script = played(ReplayTransport([late, two, one]), act)
    words = [what for _, what in script.calls]
    assert words == ["open", "a", "b", "c", "d", "e", CLOSED_IN_RECORDING, "open", "f", END_OF_RECORDING]


def test_one_connection_at_a_time_and_what_is_sent_goes_nowhere(tmp_path: Path):
    path = capture(tmp_path, f"{URL} <-> @0", f"{URL} <- @0.1: recorded", "@1: ack")

    async def act(script: Script) -> None:
        wire = await script.transport.connect(URL)
        with pytest.raises(EndOfRecording):
            await script.transport.connect(URL)
        await wire.send(b"SUBSCRIBE")
        assert await wire.read(CONNECTION, script.emit) == END_OF_RECORDING

    script = played(ReplayTransport([path]), act)
    assert script.calls == [(1.0, "ack")]
    assert script.transport.sent == 1


@pytest.mark.parametrize("end", ["close", "halt", "cancel", "close in emit", "halt in emit"])
def test_what_was_not_played_is_left_for_the_next_connection(tmp_path: Path, end: str):
    path = capture(tmp_path, f"{URL} <-> @0", "@1: a", "@1: b", "@3: c")

    async def act(script: Script) -> None:
        def emit(arrival: Arrival) -> None:
            script.emit(arrival)
            if end.endswith("in emit"):
                assert script.wire is not None
                script.wire.halt() if end.startswith("halt") else closing.append(script.wire.close())

        closing: list[Awaitable[None]] = []
        reading = asyncio.create_task(script.read(emit))
        await asyncio.sleep(2)
        assert script.wire is not None
        for coroutine in closing:
            await coroutine
        if end == "cancel":
            reading.cancel()
            await asyncio.wait([reading])
        else:
            await script.wire.close() if end.startswith("close") else script.wire.halt()
            assert await reading == ("closed" if end.startswith("close") else "halted")
        script.note("again")
        await script.read()

    script = played(ReplayTransport([path]), act)
    words = [what for when, what in script.calls]
    again = words.index("again")
    assert [what for what in words if len(what) == 1] == ["a", "b", "c"]
    assert words[:again].count("b") == (0 if end == "halt in emit" else 1)
    assert script.calls[-2:] == [(3.0, "c"), (3.0, END_OF_RECORDING)]


@pytest.mark.parametrize("speed", [None, 1.0])
def test_max_frames_ends_the_reading_early(tmp_path: Path, speed: float | None):
    path = capture(tmp_path, f"{URL} <-> @0", *(f"@1: {i}" for i in range(1000)), f"{URL} <-> @2", "@3: x")

    async def act(script: Script) -> None:
        assert await script.read() == END_OF_RECORDING
        with pytest.raises(EndOfRecording):
            await script.read()

    script = played(ReplayTransport([path], max_frames=300, speed=speed), act)
    assert script.transport.emitted == 300
    assert [what for _, what in script.calls if what.isdigit()] == [str(i) for i in range(300)]


def test_a_gate_holds_the_source(tmp_path: Path):
    path = capture(tmp_path, f"{URL} <-> @0", "@1: a", "@2: b")
    holds = [5.0]

    def gate() -> Awaitable[None] | None:
        return asyncio.sleep(holds.pop()) if holds else None

    script = played(ReplayTransport([path], gate=gate))
    assert script.calls[1:] == [(5.0, "a"), (5.0, "b"), (5.0, END_OF_RECORDING)]


@pytest.mark.parametrize("speed", [None, 1.0])
def test_an_exhausted_pool_is_waited_for_100_ms_and_then_counted(tmp_path: Path, speed: float | None):
    path = capture(tmp_path, f"{URL} <-> @0", "@1: a", "@2: b", "@2.001: c", "@3: d")

    async def act(script: Script) -> None:
        def emit(arrival: Arrival) -> None:
            is_dry = elapsed() < 1.05 or (2 <= elapsed() < 2.5 and arrival[1] == b"b")
            if is_dry:
                raise PoolTimeout("WsFrame", 1)
            script.emit(arrival)

        await script.read(emit)

    script = played(ReplayTransport([path], speed=speed), act)
    assert [what for _, what in script.calls] == ["open", "a", "c", "d", END_OF_RECORDING]
    assert script.calls[1][0] == pytest.approx(1.05, abs=0.0011)
    assert script.calls[2][0] == pytest.approx(2.101, abs=0.0011)
    assert script.transport.emitted == 3
    assert script.transport.refused == {"pool_timeout": 1}
    assert script.transport.summary()["refused"] == {"pool_timeout": 1}


def test_who_reads_may_decide_what_an_exhausted_pool_means(tmp_path: Path):
    path = capture(tmp_path, f"{URL} <-> @0", "@1: a", "@2: b")
    asked: list[tuple[bytes, int]] = []

    async def act(script: Script) -> None:
        async def decide(payload: bytes, error: PoolTimeout, refusals: int) -> bool:
            asked.append((payload, refusals))
            return refusals < 2

        def emit(arrival: Arrival) -> None:
            if arrival[1] == b"a":
                raise PoolTimeout("WsFrame", 1)
            script.emit(arrival)

        wire = await script.transport.connect(URL)
        wire.on_exhausted = decide
        await wire.read(CONNECTION, emit)

    script = played(ReplayTransport([path]), act)
    assert asked == [(b"a", 1), (b"a", 2)]
    assert script.calls == [(2.0, "b")]
    assert script.transport.refused == {"pool_timeout": 1}


def test_what_emit_raises_goes_through_and_is_not_counted(tmp_path: Path):
    path = capture(tmp_path, f"{URL} <-> @0", "@1: a", "@1: b")

    async def act(script: Script) -> None:
        def emit(arrival: Arrival) -> None:
            if arrival[1] == b"b":
                raise KeyError("broken graph")
            script.emit(arrival)

        with pytest.raises(KeyError, match="broken graph"):
            await script.read(emit)

    assert played(ReplayTransport([path]), act).transport.emitted == 1


@pytest.mark.parametrize("speed", [1.0, 4.0, 0.5])
def test_paced_replay_keeps_the_recorded_distances(tmp_path: Path, speed: float):
    lines = [f"{DEPTH}?symbol=A -> @3: A", f"{URL} <-> @4", "@5: a", "@5: b", "@9: c"]
    path = capture(tmp_path, f"{DEPTH}?symbol=B -> @0: B", *lines)

    async def act(script: Script) -> None:
        await asyncio.gather(script.get(DEPTH, symbol="A"), script.read())

    script = played(ReplayTransport([path], speed=speed), act)
    expected = [(3, "200 A"), (4, "open"), (5, "a"), (5, "b"), (9, "c"), (9, END_OF_RECORDING)]
    assert script.calls == [(seconds / speed, what) for seconds, what in expected]


def test_late_frames_are_emitted_at_once_without_drift(tmp_path: Path):
    path = capture(tmp_path, f"{URL} <-> @0", *(f"@{i}: {i}" for i in range(1, 9)))

    async def act(script: Script) -> None:
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


async def test_paced_replay_runs_on_an_ordinary_loop(tmp_path: Path):
    path = capture(tmp_path, f"{URL} <-> @0", *(f"@{i}: {i}" for i in range(1, 30)))
    transport = ReplayTransport([path], speed=1e6)
    seen: list[bytes] = []
    wire = await transport.connect(URL)
    assert await wire.read(CONNECTION, lambda arrival: seen.append(arrival[1])) == END_OF_RECORDING
    assert seen == [str(i).encode() for i in range(1, 30)]
    await transport.close()


async def test_top_speed_refuses_an_ordinary_loop(tmp_path: Path):
    with pytest.raises(FlowError, match="needs a loop on virtual time"):
        await ReplayTransport([capture(tmp_path, f"{URL} <-> @0")]).connect(URL)


def test_unusable_recordings_and_speeds(tmp_path: Path):
    empty = capture(tmp_path, "", "note: nothing else", name="empty")
    with pytest.raises(CaptureError, match="empty: holds no record"):
        ReplayTransport([empty])
    with pytest.raises(CaptureError, match="can't be read"):
        ReplayTransport([tmp_path / "absent"])
    for speed in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="speed is a number above 0"):
            ReplayTransport([capture(tmp_path, f"{URL} <-> @0")], speed=speed)


def test_a_fault_further_on_ends_the_reading_with_its_place(tmp_path: Path):
    path = capture(tmp_path, f"{URL} <-> @0", *(f"@1: {i}" for i in range(9)), "!", "@2: b")

    async def act(script: Script) -> None:
        with pytest.raises(CaptureError, match=r"capture.raw:11: not a record"):
            await script.read()

    assert played(ReplayTransport([path]), act).transport.emitted == 9


@pytest.mark.parametrize("speed", [None, 10.0])
def test_two_runs_of_the_recordings_make_the_same_calls(
    recordings: Path, tmp_path: Path, speed: float | None
):
    folder = recordings / "binance"
    packed = tmp_path / "stream"
    packed.write_bytes(gzip.compress((folder / "stream.raw").read_bytes()))

    async def act(script: Script) -> None:
        await script.get("https://api.binance.com/api/v3/exchangeInfo")
        async with asyncio.TaskGroup() as group:
            for symbol in ("RUNEEUR", "LRCBTC", "BLZETH", "NKNUSDT", "NKNUSDT"):
                group.create_task(
                    script.get("https://api.binance.com/api/v3/depth", symbol=symbol, limit="1000")
                )
            group.create_task(script.read())

    def run(stream: Path) -> Script:
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
