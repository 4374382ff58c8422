"""Binance's limits as its server counts them: request weight, connection attempts and messages.

Times are epoch ms and handed in. All clients of the embedded exchange count as one address.
"""

from collections import deque

import msgspec

from nodes.exchange.params import LimitParams

__all__ = ["ConnectLimit", "MessageLimit", "Refusal", "WeightLimit"]

MINUTE_MS = 60_000
CONNECT_WINDOW_MS = 5 * MINUTE_MS
MESSAGE_WINDOW_MS = 1_000
ADVICE = "Please use WebSocket Streams for live updates to avoid"


class Refusal(msgspec.Struct, frozen=True):
    """A refused request: HTTP status, seconds to wait, and the text of error -1003."""

    status: int
    retry_after_s: int
    msg: str


class WeightLimit:
    """Request weight per clock minute. `used` is the weight of the current minute."""

    def __init__(self, params: LimitParams) -> None:
        self._params = params
        self._minute = -1
        self._refused = 0
        self._banned_until_ms = 0
        self.used = 0

    def charge(self, weight: int, now_ms: int) -> Refusal | None:
        """Count a request; what is not allowed is returned as a refusal: 429, and 418 for who goes on."""
        if now_ms < self._banned_until_ms:
            return self._ban(now_ms)
        if now_ms // MINUTE_MS != self._minute:
            self._minute, self._refused, self.used = now_ms // MINUTE_MS, 0, 0
        self.used += weight
        if self.used <= self._params.weight_per_min:
            return None
        self._refused += 1
        if self._refused > self._params.refusals_before_ban:
            self._banned_until_ms = now_ms + self._params.ban_s * 1000
            return self._ban(now_ms)
        return self.too_much(_seconds((self._minute + 1) * MINUTE_MS - now_ms))

    def too_much(self, retry_after_s: int) -> Refusal:
        """The refusal with 429."""
        limit = self._params.weight_per_min
        text = f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE."
        return Refusal(429, retry_after_s, f"{text} {ADVICE} polling the API.")

    def _ban(self, now_ms: int) -> Refusal:
        text = f"Way too much request weight used; IP banned until {self._banned_until_ms}."
        return Refusal(418, _seconds(self._banned_until_ms - now_ms), f"{text} {ADVICE} bans.")


class _SlidingLimit:
    """At most `count` events in any window of `window_ms`."""

    def __init__(self, count: int, window_ms: int) -> None:
        self._count = count
        self._window_ms = window_ms
        self._times: deque[int] = deque()

    def allows(self, now_ms: int) -> bool:
        """Count an event; False where it is one too many."""
        times = self._times
        while times and times[0] <= now_ms - self._window_ms:
            times.popleft()
        if len(times) >= self._count:
            return False
        times.append(now_ms)
        return True

    def retry_after_s(self, now_ms: int) -> int:
        """Seconds until the next event is allowed."""
        if len(self._times) < self._count:
            return 0
        return _seconds(self._times[0] + self._window_ms - now_ms)


class ConnectLimit(_SlidingLimit):
    """Connection attempts in 5 minutes."""

    def __init__(self, params: LimitParams) -> None:
        super().__init__(params.connects_per_5_min, CONNECT_WINDOW_MS)


class MessageLimit(_SlidingLimit):
    """Incoming messages of one connection in a second: requests, pings and pongs."""

    def __init__(self, params: LimitParams) -> None:
        super().__init__(params.messages_per_s, MESSAGE_WINDOW_MS)


def _seconds(span_ms: int) -> int:
    return max(1, -(-span_ms // 1000))
