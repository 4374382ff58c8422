"""How time passes while a recording is played."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable
from itertools import repeat
from typing import Final

from flow.clock import NS_PER_S
from flow.errors import FlowError, PoolTimeout
from flow.events.frames import Arrival, Connection
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.stage import door, many
from nodes.sources.recorded import Run

__all__ = ["MOST_FRAMES", "Pace", "VirtualPace", "WallPace"]

MOST_FRAMES: Final = 256
"""Frames after which everything else has its turn."""


class Pace(ABC):
    """Recorded time, and the pushing of frames whose time has come. All times in ns since the epoch."""

    @abstractmethod
    def now_ns(self) -> int:
        """The recorded time that has been reached."""

    @abstractmethod
    def turn(self, ts_ns: int) -> asyncio.Future[None]:
        """Done once `ts_ns` is reached and others have had their turn."""

    @abstractmethod
    def push(self, run: Run, most: int, connection: Connection, emit: Callable[[Arrival], None]) -> None:
        """Emit the frames from `run.at` on whose time has come, `most` at most; one at least after a `turn`.

        What `emit` raises goes through; `run.at` is then the frame that was refused.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """End the push that is going on before its next frame."""

    async def reached(self, ts_ns: int) -> None:
        """Return at `ts_ns`, at once where it is past."""
        if ts_ns > self.now_ns():
            await self.turn(ts_ns)


class VirtualPace(Pace):
    """As fast as it can be computed. The frames themselves move the loop's time.

    A push ends before anything else is due (a timer, a reply, another recording's frame), after `slice_ns` of
    recorded time, and after `MOST_FRAMES`. Then `turn` lets what was woken run until all is at rest.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, slice_ns: int) -> None:
        if not isinstance(loop, VirtualTimeLoop):
            raise FlowError(
                "a recording at top speed needs a loop on virtual time: flow.runtime.virtual_time"
            )
        self._loop = loop
        self._slice_ns = slice_ns

    def now_ns(self) -> int:
        return self._loop.now_ns

    def turn(self, ts_ns: int) -> asyncio.Future[None]:
        return self._loop.turn(ts_ns)

    def push(self, run: Run, most: int, connection: Connection, emit: Callable[[Arrival], None]) -> None:
        loop, times = self._loop, run.times_ns
        stop = min(run.at + min(most, MOST_FRAMES), len(times))
        give, at_once = many(emit), 1 if door(emit) is None else MOST_FRAMES
        loop.open_slice(self._slice_ns)
        while run.at < stop and times[run.at] <= loop.deadline_ns:
            at = run.at
            upto = max(at + 1, bisect_right(times, loop.deadline_ns, at, min(stop, at + at_once)))
            loop.advance_to_ns(times[upto - 1])
            run.at = upto
            try:
                give(list(zip(repeat(connection), run.payloads[at:upto], times[at:upto], strict=False)))
            except PoolTimeout as dry:
                run.at = upto - dry.left
                raise
            except BaseException:
                run.at = at
                raise

    def interrupt(self) -> None:
        self._loop.deadline_ns = -1


class WallPace(Pace):
    """`speed` times as fast as recorded, by the loop's clock. Time begins at `start_ns` when this is made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start_ns: int, speed: float) -> None:
        self._loop = loop
        self._start_ns = start_ns
        self._ns_per_s = speed * NS_PER_S
        self._began_s = loop.time()
        self._is_interrupted = False

    def now_ns(self) -> int:
        return self._start_ns + round((self._loop.time() - self._began_s) * self._ns_per_s)

    def turn(self, ts_ns: int) -> asyncio.Future[None]:
        waiter = self._loop.create_future()
        due_s = self._began_s + (ts_ns - self._start_ns) / self._ns_per_s
        if due_s > self._loop.time():
            timer = self._loop.call_at(due_s, _release, waiter)
            waiter.add_done_callback(lambda _: timer.cancel())
        else:
            self._loop.call_soon(_release, waiter)
        return waiter

    def push(self, run: Run, most: int, connection: Connection, emit: Callable[[Arrival], None]) -> None:
        at = run.at
        stop = at + min(most, MOST_FRAMES)
        now_ns = max(self.now_ns(), run.times_ns[at])
        self._is_interrupted = False
        try:
            for ts_ns, payload in zip(run.times_ns[at:stop], run.payloads[at:stop], strict=True):
                if ts_ns > now_ns or self._is_interrupted:
                    break
                emit((connection, payload, 0))
                at += 1
        finally:
            run.at = at

    def interrupt(self) -> None:
        self._is_interrupted = True


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
