"""Plays recordings of one provider as if they were the network: connections, frames, replies at their times.

    speed 1, 2, ...   on any loop: paced against `loop.time()`; what is late is emitted at once, without drift
    speed None (max)  on a `VirtualTimeLoop`: as fast as it can be computed, and the same every time

Files that overlap in time are merged into one connection; one that a file opens later, or a file that begins
after the others have ended, is a connection of its own, and those are played one after another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from flow.clock import NS_PER_MS
from flow.errors import PoolTimeout
from flow.events.frames import Arrival, Connection
from nodes.providers.transport import END_OF_RECORDING, EndOfRecording, Reply, Transport, Wire
from nodes.sources.pace import Pace, VirtualPace, WallPace
from nodes.sources.recorded import Replies, Run, Timeline

__all__ = ["CLOSED_IN_RECORDING", "ReplayTransport", "ReplayWire"]

CLOSED_IN_RECORDING: Final = "closed_in_recording"
"""What `Wire.read` returns where the recording goes on with another connection."""
POOL_TIMEOUT: Final = "pool_timeout"
FREE_POLL_S: Final = 0.001
MOST_REFUSALS: Final = 100
UNLIMITED: Final = 2**63
OK: Final = 200
NOT_FOUND: Final = 404

Gate = Callable[[], Awaitable[object] | None]


class ReplayTransport(Transport):
    """Connections and replies out of one provider's recordings.

    `speed` is a multiple of the recorded pace, None for the fastest. `max_frames` ends the reading early.
    `gate` is asked before each slice of frames; what it returns is awaited. `slice_ms`: at top speed a slice
    ends after so much recorded time, and what it has woken runs until it rests. Raises `CaptureError` where a
    file can't be read or holds nothing.
    """

    is_recording: ClassVar[bool] = True

    def __init__(
        self,
        paths: Sequence[Path | str],
        *,
        speed: float | None = None,
        max_frames: int | None = None,
        gate: Gate | None = None,
        slice_ms: float = 2.5,
    ) -> None:
        if speed is not None and not 0 < speed < float("inf"):
            raise ValueError(f"speed is a number above 0, or None for the fastest; not {speed}")
        self.timeline = Timeline([Path(path) for path in paths])
        self.speed = speed
        self._most_frames = UNLIMITED if max_frames is None else max_frames
        self.gate = gate
        self.emitted = 0
        """Arrivals that were handed to `emit` and taken."""
        self.refused: Counter[str] = Counter()
        """Arrivals that `emit` did not take, by reason."""
        self.missing: Counter[str] = Counter()
        """Requests that nothing recorded answers (any more), by what was asked for."""
        self.replied = self.sent = self.connections = 0
        self._slice_ns = round(slice_ms * NS_PER_MS)
        self._replies = Replies(self.timeline.paths)
        self._pace: Pace | None = None
        self._wire: ReplayWire | None = None

    @property
    def start_ns(self) -> int:
        """The time of the earliest record, ns since the epoch: where virtual time is to begin."""
        return self.timeline.start_ns

    @property
    def pace(self) -> Pace:
        """How time passes. Made by the first use within a loop; recorded pace starts there."""
        if self._pace is None:
            loop = asyncio.get_running_loop()
            self._pace = (
                VirtualPace(loop, self._slice_ns)
                if self.speed is None
                else WallPace(loop, self.start_ns, self.speed)
            )
        return self._pace

    @property
    def left(self) -> int:
        """Frames that may still be played."""
        return self._most_frames - self.emitted - self.refused[POOL_TIMEOUT]

    async def connect(self, url: str) -> Wire:
        if self._wire is not None and not self._wire.is_over:
            raise EndOfRecording("the recording has one connection at a time, and it is open")
        opens_at_ns = self.timeline.open_next() if self.left > 0 else None
        if opens_at_ns is None:
            raise EndOfRecording("the recording has no further connection")
        wire = self._wire = ReplayWire(self)
        self.connections += 1
        await self.pace.reached(opens_at_ns)
        return wire

    async def get(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Reply:
        pace = self.pace
        subject, recorded = self._replies.take(url, params, pace.now_ns())
        if recorded is None:
            self.missing[subject] += 1
            return Reply(NOT_FOUND, {}, f"nothing recorded (any more) for GET {subject}".encode())
        await pace.reached(recorded.ts_ns)
        self.replied += 1
        return Reply(OK, {}, recorded.body)

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()

    def summary(self) -> dict[str, Any]:
        """What was played: counts."""
        return {
            "connections": self.connections,
            "emitted": self.emitted,
            "refused": dict(self.refused),
            "sent": self.sent,
            "replied": self.replied,
            "missing": dict(sorted(self.missing.items())),
        }


class ReplayWire(Wire):
    """A recorded connection. What is sent on it goes nowhere and is counted."""

    def __init__(self, transport: ReplayTransport) -> None:
        self.is_over = False
        self.on_exhausted = _wait_a_little
        self._transport = transport
        self._waiting: asyncio.Future[None] | None = None

    async def read(self, connection: Connection, emit: Callable[[Arrival], None]) -> str:
        timeline = self._transport.timeline
        try:
            while self._goes_on:
                run = timeline.take()
                if run is None:
                    return CLOSED_IN_RECORDING if timeline.has_more() else END_OF_RECORDING
                await self._play(run, connection, emit)
            return "halted" if self.is_halted else "closed" if self.is_over else END_OF_RECORDING
        finally:
            self.is_over = True

    async def send(self, payload: bytes) -> None:
        self._transport.sent += 1

    async def close(self) -> None:
        self.is_over = True
        self._interrupt()

    def halt(self) -> None:
        super().halt()
        self._interrupt()

    @property
    def _goes_on(self) -> bool:
        return not (self.is_halted or self.is_over) and self._transport.left > 0

    def _interrupt(self) -> None:
        self._transport.pace.interrupt()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _play(self, run: Run, connection: Connection, emit: Callable[[Arrival], None]) -> None:
        transport = self._transport
        pace = transport.pace
        while run.at < len(run.times_ns):
            if transport.gate is not None and (opening := transport.gate()) is not None:
                await opening
            self._waiting = pace.turn(run.times_ns[run.at])
            await self._waiting
            if not self._goes_on:
                return
            begun_at, refusal = run.at, None
            try:
                pace.push(run, transport.left, connection, emit)
            except PoolTimeout as error:
                refusal = error
            finally:
                self._count(run.at - begun_at)
            if refusal is not None:
                await self._offer(run, connection, emit, refusal)

    async def _offer(
        self, run: Run, connection: Connection, emit: Callable[[Arrival], None], refusal: PoolTimeout
    ) -> None:
        """Offer a refused frame until it is taken or given up, and go on behind it."""
        transport = self._transport
        before = transport.emitted

        def offered(arrival: Arrival) -> None:
            emit(arrival)
            self._count(1)

        await self.offer_again((connection, run.payloads[run.at], run.times_ns[run.at]), offered, refusal)
        if transport.emitted == before:
            if self.is_halted:
                return
            transport.refused[POOL_TIMEOUT] += 1
            if self.counting is not None:
                self.counting.emitted += 1
        run.at += 1

    def _count(self, taken: int) -> None:
        self._transport.emitted += taken
        if self.counting is not None:
            self.counting.emitted += taken


async def _wait_a_little(payload: bytes, error: PoolTimeout, refusals: int) -> bool:
    """100 ms of the loop's time in all, 1 ms at a time."""
    await asyncio.sleep(FREE_POLL_S)
    return refusals <= MOST_REFUSALS
