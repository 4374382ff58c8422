"""Which streams have gone silent. Only decoded frames count, so heartbeats and pings do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["Staleness"]

MOST_DOUBLINGS = 6


class _Watched:
    __slots__ = ("count", "judged_at", "seen_at", "strikes")

    def __init__(self, count: int, now: float) -> None:
        self.count = count
        self.seen_at = self.judged_at = now
        self.strikes = 0


class Staleness:
    """Judges streams by their frame counts. One that stays silent is reported at ever longer intervals."""

    def __init__(self, stale_after_s: float) -> None:
        self.stale_after_s = stale_after_s
        self._watched: dict[str, _Watched] = {}

    def check(self, names: Iterable[str], counts: Mapping[str, int], now: float) -> dict[str, float]:
        """The streams that have become stale, with the seconds they have been silent."""
        watched, self._watched = self._watched, {}
        stale: dict[str, float] = {}
        for name in names:
            count = counts.get(name, 0)
            stream = self._watched[name] = watched.get(name) or _Watched(count, now)
            if count != stream.count:
                stream.count, stream.seen_at, stream.judged_at, stream.strikes = count, now, now, 0
            elif now - stream.judged_at >= self.stale_after_s * 2**stream.strikes:
                stream.judged_at = now
                stream.strikes = min(stream.strikes + 1, MOST_DOUBLINGS)
                stale[name] = now - stream.seen_at
        return stale

    def is_stale(self, name: str) -> bool:
        """Whether nothing has come since the stream was judged stale."""
        stream = self._watched.get(name)
        return stream is not None and stream.strikes > 0
