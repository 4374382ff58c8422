"""What a replayed recording answers: connections, replies, refusals and faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from flow.errors import PoolTimeout
from flow.events.frames import Arrival, Connection
from nodes.providers.transport import END_OF_RECORDING, EndOfRecording
from nodes.sources.capture import CaptureError
from nodes.sources.replay import CLOSED_IN_RECORDING, ReplayTransport

URL = "wss://x.test/ws"
DEPTH = "https://api.test/api/v3/depth"
CONNECTION = Connection("x", 1)


def test_depth_replies_are_handed_out_once_in_order_at_their_time(capture, played):
    path = capture(
        "https://api.test/api/v3/exchangeInfo -> @0: I1",
        f"{DEPTH}?symbol=A&limit=1000 -> @1: A1",
        f"{DEPTH}?symbol=B -> @2: B1",
        f"{DEPTH}?limit=5&symbol=A -> @3: A2",
        "https://api.test/api/v3/exchangeInfo?symbols=x -> @6: I2",
    )

    async def act(script: Any) -> None:
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


def test_connections_are_played_one_after_another(capture, played):
    path = capture(f"{URL} <-> @1", "@2: a", f"{URL} <-> @5", "@6: b", f"{URL} <-> @7")

    async def act(script: Any) -> None:
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


def test_files_that_overlap_are_one_connection_and_later_ones_are_more(capture, played):
    one = capture(f"{URL} <-> @0", "@1: a", "@3: c", "@5: e", name="one")
    two = capture(f"{URL} <-> @0.5", "@2: b", "@4: d", name="two")
    late = capture(f"{URL} <-> @10", "@11: f", name="late")

    async def act(script: Any) -> None:
        while await script.read() != END_OF_RECORDING:
            pass

    script = played(ReplayTransport([late, two, one]), act)
    words = [what for _, what in script.calls]
    assert words == ["open", "a", "b", "c", "d", "e", CLOSED_IN_RECORDING, "open", "f", END_OF_RECORDING]


def test_one_connection_at_a_time_and_what_is_sent_goes_nowhere(capture, played):
    path = capture(f"{URL} <-> @0", f"{URL} <- @0.1: recorded", "@1: ack")

    async def act(script: Any) -> None:
        wire = await script.transport.connect(URL)
        with pytest.raises(EndOfRecording):
            await script.transport.connect(URL)
        await wire.send(b"SUBSCRIBE")
        assert await wire.read(CONNECTION, script.emit) == END_OF_RECORDING

    script = played(ReplayTransport([path]), act)
    assert script.calls == [(1.0, "ack")]
    assert script.transport.sent == 1


@pytest.mark.parametrize("end", ["close", "halt", "cancel", "close in emit", "halt in emit"])
def test_what_was_not_played_is_left_for_the_next_connection(capture, played, end: str):
    path = capture(f"{URL} <-> @0", "@1: a", "@1: b", "@3: c")

    async def act(script: Any) -> None:
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
def test_max_frames_ends_the_reading_early(capture, played, speed: float | None):
    path = capture(f"{URL} <-> @0", *(f"@1: {i}" for i in range(1000)), f"{URL} <-> @2", "@3: x")

    async def act(script: Any) -> None:
        assert await script.read() == END_OF_RECORDING
        with pytest.raises(EndOfRecording):
            await script.read()

    script = played(ReplayTransport([path], max_frames=300, speed=speed), act)
    assert script.transport.emitted == 300
    assert [what for _, what in script.calls if what.isdigit()] == [str(i) for i in range(300)]


def test_a_gate_holds_the_source(capture, played):
    path = capture(f"{URL} <-> @0", "@1: a", "@2: b")
    holds = [5.0]

    def gate() -> Awaitable[None] | None:
        return asyncio.sleep(holds.pop()) if holds else None

    script = played(ReplayTransport([path], gate=gate))
    assert script.calls[1:] == [(5.0, "a"), (5.0, "b"), (5.0, END_OF_RECORDING)]


@pytest.mark.parametrize("speed", [None, 1.0])
def test_an_exhausted_pool_is_waited_for_100_ms_and_then_counted(
    capture, played, elapsed, speed: float | None
):
    path = capture(f"{URL} <-> @0", "@1: a", "@2: b", "@2.001: c", "@3: d")

    async def act(script: Any) -> None:
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


def test_who_reads_may_decide_what_an_exhausted_pool_means(capture, played):
    path = capture(f"{URL} <-> @0", "@1: a", "@2: b")
    asked: list[tuple[bytes, int]] = []

    async def act(script: Any) -> None:
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


def test_what_emit_raises_goes_through_and_is_not_counted(capture, played):
    path = capture(f"{URL} <-> @0", "@1: a", "@1: b")

    async def act(script: Any) -> None:
        def emit(arrival: Arrival) -> None:
            if arrival[1] == b"b":
                raise KeyError("broken graph")
            script.emit(arrival)

        with pytest.raises(KeyError, match="broken graph"):
            await script.read(emit)

    assert played(ReplayTransport([path]), act).transport.emitted == 1


def test_unusable_recordings_and_speeds(capture, tmp_path: Path):
    empty = capture("", "note: nothing else", name="empty")
    with pytest.raises(CaptureError, match="empty: holds no record"):
        ReplayTransport([empty])
    with pytest.raises(CaptureError, match="can't be read"):
        ReplayTransport([tmp_path / "absent"])
    for speed in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="speed is a number above 0"):
            ReplayTransport([capture(f"{URL} <-> @0")], speed=speed)


def test_a_fault_further_on_ends_the_reading_with_its_place(capture, played):
    path = capture(f"{URL} <-> @0", *(f"@1: {i}" for i in range(9)), "!", "@2: b")

    async def act(script: Any) -> None:
        with pytest.raises(CaptureError, match=r"capture.raw:11: not a record"):
            await script.read()

    assert played(ReplayTransport([path]), act).transport.emitted == 9
