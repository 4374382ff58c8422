"""Trade bars per window and the rolling 24 hours, from trades. Times: epoch ms; prices: ticks; volumes: lots.

Trades go into the current second. A closed second is merged into its minute, a closed minute into every
longer window and into the day: a trade costs the same however many intervals exist, and all of them agree.
"""

from collections import deque
from datetime import UTC, datetime

import msgspec

from nodes.exchange.engine import Fill

__all__ = ["DAY_MS", "Bar", "Bars", "Interval", "parse_interval"]

SECOND_MS = 1_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
MONDAY_MS = 4 * DAY_MS

LENGTHS_MS = {
    "1s": SECOND_MS, "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS, "1h": 60 * MINUTE_MS, "2h": 120 * MINUTE_MS, "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS, "8h": 480 * MINUTE_MS, "12h": 720 * MINUTE_MS, "1d": DAY_MS, "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
}  # fmt: skip


class Interval(msgspec.Struct, frozen=True):
    """A kline interval: its name, and whether its windows lie in UTC+8 (`offset_ms`)."""

    name: str
    offset_ms: int = 0

    def window(self, time_ms: int) -> tuple[int, int]:
        """The start (inclusive) and the end (exclusive) in epoch ms of the window that holds `time_ms`."""
        local = time_ms + self.offset_ms
        if self.name == "1M":
            start, end = _month(local)
        else:
            length = LENGTHS_MS[self.name]
            origin = MONDAY_MS if self.name == "1w" else 0
            start = local - (local - origin) % length
            end = start + length
        return start - self.offset_ms, end - self.offset_ms


SECOND = Interval("1s")
MINUTE = Interval("1m")
LONGER = [Interval(name) for name in [*LENGTHS_MS, "1M"] if name not in ("1s", "1m")]
ZONE_MS = 8 * 60 * MINUTE_MS
SHIFTED = [Interval(name, ZONE_MS) for name in ("6h", "12h", "1d", "3d", "1w", "1M")]


def parse_interval(text: str) -> Interval | None:
    """The interval of `1m` or of `1d@+08:00`; None where there is none such.

    A zone that moves no window of the interval is left out.
    """
    name = text.removesuffix("@+08:00")
    if name not in LENGTHS_MS and name != "1M":
        return None
    shifted = Interval(name, ZONE_MS)
    return shifted if name != text and shifted in SHIFTED else Interval(name)


def _month(local_ms: int) -> tuple[int, int]:
    day = datetime.fromtimestamp(local_ms / 1000, UTC)
    start = datetime(day.year, day.month, 1, tzinfo=UTC)
    after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return int(start.timestamp()) * 1000, int(after.timestamp()) * 1000


class Bar:
    """The trades of one window. Without any, `count` is 0, the ids -1, and the prices the last price."""

    __slots__ = (
        "close", "count", "end_ms", "first_id", "high", "last_id", "low", "open", "start_ms",
        "taker_value", "taker_volume", "value", "volume",
    )  # fmt: skip

    def __init__(self, start_ms: int, end_ms: int, price: int) -> None:
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.open = self.high = self.low = self.close = price
        self.first_id = self.last_id = -1
        self.count = self.volume = self.value = self.taker_volume = self.taker_value = 0

    def add(self, fill: Fill) -> None:
        price, quantity = fill.price, fill.quantity
        if not self.count:
            self.open = self.high = self.low = price
            self.first_id = fill.trade_id
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.last_id = fill.trade_id
        self.count += 1
        value = price * quantity
        self.volume += quantity
        self.value += value
        if not fill.is_buyer_maker:
            self.taker_volume += quantity
            self.taker_value += value

    def merge(self, later: "Bar") -> None:
        """Add the trades of a later bar to this one."""
        if not later.count:
            return
        if not self.count:
            self.open, self.high, self.low = later.open, later.high, later.low
            self.first_id = later.first_id
        else:
            self.high = max(self.high, later.high)
            self.low = min(self.low, later.low)
        self.close = later.close
        self.last_id = later.last_id
        self.count += later.count
        self.volume += later.volume
        self.value += later.value
        self.taker_volume += later.taker_volume
        self.taker_value += later.taker_value

    def copy(self) -> "Bar":
        twin = Bar(self.start_ms, self.end_ms, self.open)
        for name in Bar.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin


class Bars:
    """The current bar of every interval of one symbol, and its rolling 24 hours in whole minutes.

    A window that began before the first trade known here holds the trades since then.
    """

    def __init__(self, start_ms: int, price: int) -> None:
        self.start_ms = start_ms
        self._second = self._fresh(SECOND, start_ms, price)
        self._minute = self._fresh(MINUTE, start_ms, price)
        self._long = {key: self._fresh(key, start_ms, price) for key in [*LONGER, *SHIFTED]}
        self._closed: dict[Interval, Bar] = {}
        self._minutes: deque[Bar] = deque()
        self._day = Bar(start_ms, start_ms, price)
        self._before_day = price

    @staticmethod
    def _fresh(interval: Interval, time_ms: int, price: int) -> Bar:
        start, end = interval.window(time_ms)
        return Bar(start, end, price)

    def add(self, fill: Fill, time_ms: int) -> None:
        """Count a trade. Times never go back."""
        if time_ms >= self._second.end_ms:
            self._roll(time_ms)
        self._second.add(fill)

    def bar(self, interval: Interval, time_ms: int) -> Bar:
        """The bar of the window that holds `time_ms`, which must not lie before the last trade; a copy."""
        if time_ms >= self._second.end_ms:
            self._roll(time_ms)
        return self._current(interval)

    def closed(self, interval: Interval, start_ms: int, time_ms: int) -> Bar:
        """The finished bar of the latest window: it began at `start_ms` and ended by `time_ms`."""
        if time_ms >= self._second.end_ms:
            self._roll(time_ms)
        bar = self._closed.get(interval)
        if bar is not None and bar.start_ms == start_ms:
            return bar
        return Bar(*interval.window(start_ms), self._second.open if bar is None else bar.close)

    def day(self, time_ms: int) -> tuple[Bar, int]:
        """The trades of the last 24 hours and the price before the first of them."""
        if time_ms >= self._second.end_ms:
            self._roll(time_ms)
        day = self._day.copy()
        day.merge(self._minute)
        day.merge(self._second)
        day.start_ms, day.end_ms = time_ms - DAY_MS, time_ms
        return day, self._before_day

    def _current(self, interval: Interval) -> Bar:
        if interval == SECOND:
            return self._second.copy()
        bar = (self._minute if interval == MINUTE else self._long[interval]).copy()
        if interval != MINUTE:
            bar.merge(self._minute)
        bar.merge(self._second)
        return bar

    def _roll(self, time_ms: int) -> None:
        second = self._second
        price = second.close
        self._minute.merge(second)
        self._closed[SECOND] = second
        self._second = self._fresh(SECOND, time_ms, price)
        if time_ms < self._minute.end_ms:
            return
        minute = self._closed[MINUTE] = self._minute
        self._minute = self._fresh(MINUTE, time_ms, price)
        for key, bar in self._long.items():
            bar.merge(minute)
            if time_ms >= bar.end_ms:
                self._closed[key] = bar
                self._long[key] = self._fresh(key, time_ms, price)
        self._add_minute(minute, time_ms)

    def _add_minute(self, minute: Bar, time_ms: int) -> None:
        if minute.count:
            self._minutes.append(minute)
            self._day.merge(minute)
        if self._minutes and self._minutes[0].start_ms <= time_ms - DAY_MS:
            while self._minutes and self._minutes[0].start_ms <= time_ms - DAY_MS:
                self._before_day = self._minutes.popleft().close
            self._day = self._total(self._before_day)

    def _total(self, price: int) -> Bar:
        total = Bar(0, 0, price)
        for minute in self._minutes:
            total.merge(minute)
        return total
