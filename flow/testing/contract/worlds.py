"""The times that an operator under contract lives in: a `TestScheduler`, the replay's loop, a real loop.

Time passes in `advance` only. What a timer raises comes out of it.
"""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from types import FrameType, TracebackType
from typing import Any, Final, Self

from reactivex import abc
from reactivex.scheduler.eventloop import AsyncIOScheduler
from reactivex.testing import TestScheduler

from flow.clock import NS_PER_MS
from flow.runtime.virtual_time import VirtualTimeLoop, VirtualTimeScheduler

__all__ = ["RealLoop", "ReplayLoop", "Scheduled", "World", "wall_time_read"]

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_FUNCTIONS: Final = frozenset(
    {
        *("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"),
        *("start_new_thread", "start_joinable_thread"),
    }
)
_METHODS: Final = frozenset({"now", "utcnow", "today"})
_BYSTANDERS: Final = ("hypothesis", "logging", "reactivex.scheduler.trampoline")
"""Who may read the wall clock while an operator runs: the last orders what is due at once by it."""


class World(ABC):
    """`scheduler` is what a subscription is given, `now_ns` the clock of its context, ns since the epoch."""

    name: str
    scheduler: abc.SchedulerBase

    @abstractmethod
    def now_ns(self) -> int: ...

    @abstractmethod
    def advance(self, ms: int) -> None:
        """Let time pass. Raises what a timer raised."""

    @abstractmethod
    def timers_left(self) -> int:
        """How many timers are to come."""

    def close(self) -> None:
        """The end of time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Scheduled(World):
    """On reactivex's `TestScheduler`."""

    name = "a TestScheduler"

    def __init__(self) -> None:
        self.virtual = TestScheduler()
        self.scheduler = self.virtual

    def now_ns(self) -> int:
        return round((self.virtual.now - _EPOCH).total_seconds() * 1000) * NS_PER_MS

    def advance(self, ms: int) -> None:
        until = self.virtual.now + timedelta(milliseconds=ms)
        raised: list[BaseException] = []
        while self.virtual.now < until:
            try:
                self.virtual.advance_to(until)
            except BaseException as error:
                raised.append(error)
                self.virtual.stop()  # or it would never run again
        if raised:
            raise raised[0]

    def timers_left(self) -> int:
        queue = self.virtual._queue  # pyright: ignore[reportPrivateUsage]
        return sum(not item.is_cancelled() for item, _ in queue.items)


class _OnLoop(World):
    """On an event loop that runs in `advance` only."""

    loop: Any

    def __init__(self) -> None:
        self.raised: list[BaseException] = []
        self.loop.set_exception_handler(self.keep)

    def keep(self, _: Any, told: dict[str, Any]) -> None:
        """What a timer raised, for `run` to raise."""
        self.raised.append(told.get("exception") or RuntimeError(told["message"]))

    def run(self, until: Callable[[], Any]) -> None:
        self.loop.run_until_complete(_awaited(until))
        raised, self.raised = self.raised, []
        if raised:
            raise raised[0]

    def timers_left(self) -> int:
        handles = [*self.loop._ready, *self.loop._scheduled]
        return sum(not handle.cancelled() for handle in handles)

    def close(self) -> None:
        self.loop.close()


async def _awaited(until: Callable[[], Any]) -> None:
    await until()


class ReplayLoop(_OnLoop):
    """On the loop on which recordings are replayed."""

    name = "the replay's VirtualTimeLoop"

    def __init__(self) -> None:
        self.loop = VirtualTimeLoop(0)
        self.scheduler = VirtualTimeScheduler(self.loop)
        super().__init__()

    def now_ns(self) -> int:
        return self.loop.now_ns

    def advance(self, ms: int) -> None:
        self.run(lambda: self.loop.turn(self.loop.now_ns + ms * NS_PER_MS))


class _Asked(AsyncIOScheduler):
    """Knows whether it was asked for the time, which on a real loop is the wall's."""

    was_asked = False

    @property
    def now(self) -> datetime:
        self.was_asked = True
        return super().now


class RealLoop(_OnLoop):
    """On asyncio's own loop, where no time is waited for."""

    name = "an AsyncIOScheduler on a real loop"

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.scheduler = self.asked = _Asked(self.loop)
        super().__init__()

    def now_ns(self) -> int:
        return 0

    def advance(self, ms: int) -> None:
        self.run(lambda: asyncio.sleep(0))


@contextmanager
def wall_time_read() -> Generator[list[str]]:
    """Collects where the wall clock is read, a thread started or the process put to sleep, as file:line."""
    found: list[str] = []

    def look(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and _is_of_the_wall(called):
            asker = _asker(frame)
            if asker is not None:
                found.append(f"{called.__name__}() at {asker.f_code.co_filename}:{asker.f_lineno}")

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _is_of_the_wall(called: Any) -> bool:
    name = called.__name__
    if name in _METHODS:
        return isinstance(called.__self__, type) and issubclass(called.__self__, date)
    return name in _FUNCTIONS and called.__module__ in ("time", "_thread")


def _asker(frame: FrameType | None) -> FrameType | None:
    """Who had the clock read: a scheduler reads it for others. None where it is nobody's concern."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(_BYSTANDERS):
            return None
        if not module.startswith(("reactivex.internal", "reactivex.scheduler")):
            return frame
        frame = frame.f_back
    return None
