"""An exchange's limits, kept on our side: a token bucket, a sliding window, and a gate that an exchange
may shut.

All three make the caller wait, first come first served, and survive a cancelled waiter. Times are the
event loop's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["TOLERANCE_S", "Gate", "SlidingWindow", "TokenBucket"]


TOLERANCE_S = 1e-6
"""A wait shorter than this is over: an event loop's timers may fire that much early."""


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up. Starts full."""

    def __init__(self, rate: float, burst: float, time: Callable[[], float] = _loop_time) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError(f"a token bucket needs a rate and a burst above 0, not {rate} and {burst}")
        self.rate, self.burst = rate, burst
        self._time = time
        self._tokens = burst
        self._at: float | None = None
        self._turn = asyncio.Lock()

    @property
    def tokens(self) -> float:
        """What could be taken now without waiting."""
        now = self._time()
        if self._at is not None:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        return self._tokens

    async def acquire(self, n: float = 1.0) -> None:
        """Take `n` tokens; more than `burst` are paid off by those who come after."""
        async with self._turn:
            needed = min(n, self.burst)
            while True:
                wait = (needed - self.tokens) / self.rate
                if wait <= TOLERANCE_S:
                    break
                await asyncio.sleep(wait)
            self._tokens -= n


class SlidingWindow:
    """At most `limit` units in any `window_s` seconds, whichever way the exchange lays its own windows."""

    def __init__(self, limit: float, window_s: float, time: Callable[[], float] = _loop_time) -> None:
        if limit <= 0 or window_s <= 0:
            raise ValueError(f"a window needs a limit and a length above 0, not {limit} and {window_s}")
        self.limit, self.window_s = limit, window_s
        self._time = time
        self._charges: deque[tuple[float, float]] = deque()
        self._used = 0.0
        self._turn = asyncio.Lock()

    @property
    def used(self) -> float:
        """Units charged within the last `window_s` seconds."""
        self._forget(self._time())
        return self._used

    async def acquire(self, n: float = 1.0) -> None:
        """Charge `n` units, waiting until they fit; what exceeds the limit alone waits for an empty
        window."""
        async with self._turn:
            while True:
                now = self._time()
                self._forget(now)
                if self._used + n <= self.limit or not self._charges:
                    self._charge(now, n)
                    return
                await asyncio.sleep(self._charges[0][0] + self.window_s - now)

    def at_least(self, reported: float) -> None:
        """The exchange counts `reported` units: charge what we did not know of, such as another client's."""
        now = self._time()
        self._forget(now)
        if reported > self._used:
            self._charge(now, reported - self._used)

    def _charge(self, now: float, n: float) -> None:
        self._charges.append((now, n))
        self._used += n

    def _forget(self, now: float) -> None:
        charges = self._charges
        while charges and charges[0][0] + self.window_s <= now + TOLERANCE_S:
            self._used -= charges.popleft()[1]
        if not charges:
            self._used = 0.0


class Gate:
    """Open, until an exchange asks everybody to wait."""

    def __init__(self, time: Callable[[], float] = _loop_time) -> None:
        self._time = time
        self._opens_at = 0.0

    @property
    def shut_for_s(self) -> float:
        """Seconds until it opens; 0 where it is open."""
        return max(0.0, self._opens_at - self._time())

    def shut(self, seconds: float) -> None:
        """Stay shut for so long at least."""
        self._opens_at = max(self._opens_at, self._time() + seconds)

    async def passed(self) -> None:
        """Return once it is open."""
        while True:
            wait = self.shut_for_s
            if wait <= TOLERANCE_S:
                return
            await asyncio.sleep(wait)
