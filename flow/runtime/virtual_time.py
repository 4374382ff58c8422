"""An event loop on virtual time: a recorded day passes as fast as it can be computed, always in the same way.

    something is ready    it runs; time stands still
    all is at rest        time jumps to the next timer or waiter (`turn`), without waiting
    nothing to jump to    wait for I/O, a signal or another thread, as any loop does

I/O is polled at every step, but time does not wait for it: a timeout on real I/O ends at once where nothing
else happens. While a thread works for the loop (`run_in_executor`) time does stand still.
"""

from __future__ import annotations

import asyncio
import heapq
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
    """A selector event loop. Its clock is `now_ns`, ns since the epoch; `time()` is seconds since `start_ns`.

    `now_ns` and `deadline_ns` are open to a pump that pushes recorded frames in a tight loop: after
    `open_slice` it raises `now_ns` to a frame's time, never lowers it, and stops before the first frame after
    `deadline_ns`. `call_at` and `turn` lower the deadline: what the push itself sets is met at its time.
    """

    __slots__ = ("_asked", "_steps", "_threads_at_work", "_waiters", "deadline_ns", "now_ns", "start_ns")

    # Private to asyncio: what is ready to run, the heap of timers, and how early (s) a timer may fire.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _clock_resolution: float

    def __init__(self, start_ns: int = 0) -> None:
        self.start_ns = self.now_ns = start_ns
        self.deadline_ns = NEVER_NS
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._asked = 0
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

    def begin_at_ns(self, ts_ns: int) -> None:
        """Begin anew at another time of day, for who learns only within the loop when that is.

        `time()` goes on from where it is, and so do timers. Not while a waiter is under way.
        """
        if self._waiters:
            raise RuntimeError("time can't begin anew: something waits for a time of day")
        passed_ns = self.now_ns - self.start_ns
        self.start_ns, self.now_ns = ts_ns - passed_ns, ts_ns
        self.deadline_ns = NEVER_NS

    def advance_to_ns(self, ts_ns: int) -> None:
        """Let time go on to `ts_ns`; nothing happens where it is past. Timers run at the loop's next step."""
        if ts_ns > self.now_ns:
            self.now_ns = ts_ns

    def next_timer_ns(self) -> int | None:
        """When the earliest timer is due. A cancelled one still counts until the loop has dropped it."""
        return self._due_ns(self._scheduled[0].when()) if self._scheduled else None

    def has_ready(self) -> bool:
        """Whether anything would run before time goes on."""
        return bool(self._ready) or bool(self._waiters and self._waiters[0][0] <= self.now_ns)

    def turn(self, ts_ns: int) -> asyncio.Future[None]:
        """Done at `ts_ns` (now, where that is past), once everything that was woken has run until it rests.

        Waiters go on one by one, in order of time and then of asking, each once what the one before has woken
        is at rest. A timer due at the same time comes before them.
        """
        waiter = self.create_future()
        self._asked += 1
        heapq.heappush(self._waiters, (ts_ns, self._asked, waiter))
        if ts_ns < self.deadline_ns:
            self.deadline_ns = ts_ns
        return waiter

    def open_slice(self, longest_ns: int) -> None:
        """Set `deadline_ns`: the next timer or waiter, at most `longest_ns` from now."""
        deadline_ns = self.now_ns + longest_ns
        if self._scheduled:
            deadline_ns = min(deadline_ns, self._due_ns(self._scheduled[0].when()))
        if self._waiters:
            deadline_ns = min(deadline_ns, self._waiters[0][0])
        self.deadline_ns = deadline_ns

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

    def _thread_done(self, future: asyncio.Future[Any]) -> None:
        self._threads_at_work -= 1

    def before_wait(self, timeout: float | None) -> float | None:
        """For the selector: let time go on where it should; how long to wait in earnest, 0 or None."""
        is_busy = timeout is not None and timeout <= 0
        if is_busy:
            self._steps += 1
            if self._steps < MOST_STEPS:
                return 0
            timeout = max(0.0, self._scheduled[0].when() - self.time()) if self._scheduled else None
        self._steps = 0
        due_ns = NEVER_NS if timeout is None else self.now_ns + max(1, round(timeout * NS_PER_S))
        horizon_ns = self.now_ns if self._threads_at_work else due_ns - 1
        if self._release_waiter(horizon_ns):
            return 0
        if timeout is None or self._threads_at_work:
            return 0 if is_busy else None
        self.now_ns = due_ns
        return 0

    def _release_waiter(self, horizon_ns: int) -> bool:
        """Let the first waiter go on where its time comes by `horizon_ns`."""
        waiters = self._waiters
        while waiters and waiters[0][0] <= max(horizon_ns, self.now_ns):
            ts_ns, _, waiter = heapq.heappop(waiters)
            if not waiter.done():
                self.advance_to_ns(ts_ns)
                waiter.set_result(None)
                return True
        return False


class _Jumping(selectors.DefaultSelector):
    """Asked to wait for a timer, it polls, and moves the loop's time instead of waiting."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        arrived = super().select(0)
        if arrived or self._loop.before_wait(timeout) == 0:
            return arrived
        return super().select(None)


class VirtualTimeScheduler(AsyncIOScheduler):
    """reactivex's asyncio scheduler with the loop's own `now`; the stock one takes it from the wall."""

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
