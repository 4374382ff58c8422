"""An event loop on virtual time: a day of a recording passes as fast as it can be computed, the same way every time.

    callbacks ready     run them; time stands still
    none, tasks idle    the first of those that wait for quiet goes on; time stands still
    none, timer due     time jumps to it, without waiting
    none, no timer      wait for I/O, a signal or another thread, as any loop does

I/O is polled at every step, but time does not wait for it: a timeout on real I/O ends at once where nothing else happens.
While a thread works for the loop (`run_in_executor`) time does stand still.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from reactivex.scheduler.eventloop import AsyncIOScheduler

from flow.clock import NS_PER_S

__all__ = ["VirtualTimeLoop", "VirtualTimeScheduler", "run_virtual"]

T = TypeVar("T")
NEVER_NS: Final = 2**63 - 1
MOST_STEPS: Final = 1024
"""Steps of the loop without a quiet moment after which time goes on all the same: some task never rests."""
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector event loop whose clock is `now_ns`, in ns since the epoch; `time()` is seconds since `start_ns`.

    `now_ns` and `deadline_ns` are open to a pump that pushes recorded frames in a tight loop: it raises `now_ns` to a
    frame's time, never lowers it, and stops before the first frame after `deadline_ns`. `call_at` lowers the deadline,
    so that a timer which the push itself has set is still met at its time.
    """

    __slots__ = ("_quiet", "_steps", "_threads_at_work", "deadline_ns", "now_ns", "start_ns")

    # Private to asyncio, used nowhere else: what is ready to run, the heap of timers, and how early a timer may fire.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _clock_resolution: float

    def __init__(self, start_ns: int) -> None:
        self.start_ns = self.now_ns = start_ns
        self.deadline_ns = NEVER_NS
        self._quiet: deque[asyncio.Future[None]] = deque()
        self._steps = 0
        self._threads_at_work = 0
        super().__init__(_Jumping(self))
        self._clock_resolution = 1e-9
        self.slow_callback_duration = math.inf

    def time(self) -> float:
        return (self.now_ns - self.start_ns) / NS_PER_S

    def clock(self) -> int:
        """ns since the epoch, as a `Clock`."""
        return self.now_ns

    def advance_to_ns(self, ts_ns: int) -> None:
        """Let time go on to `ts_ns`; nothing happens where it is past. Timers run once the loop has its turn."""
        if ts_ns > self.now_ns:
            self.now_ns = ts_ns

    def next_timer_ns(self) -> int | None:
        """When the earliest timer is due. One that was cancelled still counts until the loop has dropped it."""
        return self._due_ns(self._scheduled[0].when()) if self._scheduled else None

    def has_ready(self) -> bool:
        """Whether anything would run before time goes on."""
        return bool(self._ready or self._quiet)

    def turn(self, ts_ns: int) -> asyncio.Future[None]:
        """Done at `ts_ns` (now, where that is past), once everything that was woken has run until it rests.

        Waiters go on one by one, in order of time and then of asking, each once those before it have come to rest.
        """
        waiter = self.create_future()
        if ts_ns > self.now_ns:
            self.call_at((ts_ns - self.start_ns) / NS_PER_S, self._queue, waiter)
        else:
            self._quiet.append(waiter)
        return waiter

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        due_ns = self._due_ns(when)
        if due_ns < self.deadline_ns:
            self.deadline_ns = due_ns
        return handle

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._threads_at_work += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads however long it takes: virtual seconds say nothing of them."""
        await super().shutdown_default_executor()

    def _due_ns(self, when: float) -> int:
        return self.start_ns + round(when * NS_PER_S)

    def _queue(self, waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            self._quiet.append(waiter)

    def _thread_done(self, future: asyncio.Future[Any]) -> None:
        self._threads_at_work -= 1

    def _before_wait(self, timeout: float | None) -> float | None:
        """What the selector may really wait, once time has gone on where it should."""
        if timeout is not None and timeout <= 0:
            self._steps += 1
            if self._steps < MOST_STEPS:
                return 0
            self._steps = 0
            timeout = None if not self._scheduled else self._scheduled[0].when() - self.time()
        self._steps = 0
        while self._quiet:
            waiter = self._quiet.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return 0
        if self._ready and timeout is None:
            return 0
        if timeout is None or self._threads_at_work:
            return None
        self.now_ns += max(1, round(timeout * NS_PER_S))
        return 0


class _Jumping(selectors.DefaultSelector):
    """Asked to wait for a timer, it polls, and moves the loop's time instead of waiting."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            arrived = super().select(0)
            if arrived:
                return arrived
        return super().select(self._loop._before_wait(timeout))


class VirtualTimeScheduler(AsyncIOScheduler):
    """reactivex's asyncio scheduler, with a `now` that is the loop's; the stock one takes it from the wall."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__(loop)
        self._clock = loop.clock

    @property
    def now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self._clock() // 1000)


def run_virtual(coroutine: Coroutine[Any, Any, T], start_ns: int) -> T:
    """`asyncio.run` on virtual time that starts at `start_ns` since the epoch."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(start_ns)) as runner:
        return runner.run(coroutine)
