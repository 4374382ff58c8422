"""How long to wait before trying again: exponential, capped, with full jitter."""

from __future__ import annotations

from random import Random

__all__ = ["Backoff"]

MOST_DOUBLINGS = 30


class Backoff:
    """Delays in seconds, uniform in 0..min(cap, first * 2^n); n returns to 0 after something lasted
    `stable_after_s`.

    Full jitter spreads the clients of an exchange that restarts evenly over the whole interval.
    """

    __slots__ = ("_attempt", "_rng", "cap_s", "first_s", "stable_after_s")

    def __init__(
        self, rng: Random, *, first_s: float = 0.25, cap_s: float = 30.0, stable_after_s: float = 60.0
    ) -> None:
        if not 0 < first_s <= cap_s:
            raise ValueError(f"a backoff needs 0 < first <= cap, not {first_s}..{cap_s} s")
        self.first_s, self.cap_s, self.stable_after_s = first_s, cap_s, stable_after_s
        self._rng = rng
        self._attempt = 0

    def next_s(self, lasted_s: float = 0.0) -> float:
        """The next delay; `lasted_s` is how long what failed had worked before."""
        if lasted_s >= self.stable_after_s:
            self._attempt = 0
        bound = min(self.cap_s, self.first_s * 2**self._attempt)
        self._attempt = min(self._attempt + 1, MOST_DOUBLINGS)
        return self._rng.uniform(0.0, bound)

    def reset(self) -> None:
        """What was tried works: start from the first delay again."""
        self._attempt = 0
