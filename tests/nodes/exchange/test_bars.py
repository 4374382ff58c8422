from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.exchange.bars import DAY_MS, Bar, Bars, Interval, parse_interval
from nodes.exchange.engine import Fill

START_MS = 1_700_000_000_000
GAPS = st.lists(
    st.tuples(st.integers(0, 200_000), st.integers(90, 110), st.integers(1, 50)), min_size=1, max_size=40
)


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1000  # type: ignore[arg-type]


def fill(number: int, price: int, quantity: int, is_buyer_maker: bool = False) -> Fill:
    return Fill(number, price, quantity, 1, 2, is_buyer_maker)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("1s", ms(2024, 2, 29, 13, 45, 30), ms(2024, 2, 29, 13, 45, 31)),
        ("15m", ms(2024, 2, 29, 13, 45), ms(2024, 2, 29, 14)),
        ("12h", ms(2024, 2, 29, 12), ms(2024, 3, 1)),
        ("1d", ms(2024, 2, 29), ms(2024, 3, 1)),
        ("1d@+08:00", ms(2024, 2, 28, 16), ms(2024, 2, 29, 16)),
        ("1w", ms(2024, 2, 26), ms(2024, 3, 4)),
        ("1M", ms(2024, 2, 1), ms(2024, 3, 1)),
        ("1h@+08:00", ms(2024, 2, 29, 13), ms(2024, 2, 29, 14)),
    ],
)
def test_windows_begin_where_the_calendar_says(text: str, start: int, end: int) -> None:
    interval = parse_interval(text)
    assert interval is not None
    assert interval.window(ms(2024, 2, 29, 13, 45, 30)) == (start, end)


def test_the_last_month_of_a_year_ends_with_it() -> None:
    assert Interval("1M").window(ms(2023, 12, 31, 23)) == (ms(2023, 12, 1), ms(2024, 1, 1))


@pytest.mark.parametrize("text", ["", "2m", "1m@", "1m@+09:00", "m1", "1S"])
def test_what_is_no_interval_is_none(text: str) -> None:
    assert parse_interval(text) is None


@given(GAPS, st.sampled_from(["1s", "1m", "3m", "1h", "1d", "1d@+08:00", "1w", "1M"]))
def test_a_bar_is_what_its_trades_make(trades: list[tuple[int, int, int]], text: str) -> None:
    interval = parse_interval(text)
    assert interval is not None
    bars, now = Bars(START_MS, 100), START_MS
    kept: list[tuple[int, int, int, int]] = []
    for number, (gap, price, quantity) in enumerate(trades, 1):
        now += gap
        bars.add(fill(number, price, quantity, number % 2 == 0), now)
        kept.append((now, number, price, quantity))
    bar = bars.bar(interval, now)
    inside = [trade for trade in kept if trade[0] >= bar.start_ms]
    prices = [trade[2] for trade in inside]
    assert (bar.open, bar.high, bar.low, bar.close) == (prices[0], max(prices), min(prices), prices[-1])
    assert (bar.first_id, bar.last_id, bar.count) == (inside[0][1], inside[-1][1], len(inside))
    assert bar.volume == sum(trade[3] for trade in inside)
    assert bar.value == sum(trade[2] * trade[3] for trade in inside)
    taken = [trade for trade in inside if trade[1] % 2]
    assert bar.taker_volume == sum(trade[3] for trade in taken)
    assert bar.taker_value == sum(trade[2] * trade[3] for trade in taken)


@pytest.mark.parametrize("text", ["1s", "1m", "3m", "1h", "12h@+08:00", "1M"])
def test_a_closed_bar_stays_until_the_next_one_closes(text: str) -> None:
    interval = parse_interval(text)
    assert interval is not None
    bars = Bars(START_MS, 100)
    start, end = interval.window(START_MS)
    bars.add(fill(1, 104, 2), START_MS)
    bars.add(fill(2, 105, 3), end - 1)
    bars.add(fill(3, 90, 1), end)
    bars.day(end + 1)
    closed = bars.closed(interval, start, end + 1)
    assert (closed.start_ms, closed.end_ms) == (start, end)
    assert (closed.open, closed.close, closed.low, closed.count, closed.volume) == (104, 105, 104, 2, 5)


def test_a_window_without_trades_has_the_last_price() -> None:
    minute = Interval("1m")
    bars = Bars(START_MS, 100)
    bars.add(fill(1, 105, 2), START_MS)
    _, end = minute.window(START_MS)
    empty = bars.closed(minute, end, end + 60_000)
    assert (empty.open, empty.close, empty.count, empty.first_id, empty.volume) == (105, 105, 0, -1, 0)
    assert (empty.start_ms, empty.end_ms) == (end, end + 60_000)


def test_the_day_forgets_what_is_older_than_24_hours() -> None:
    bars = Bars(START_MS, 100)
    bars.add(fill(1, 200, 5), START_MS)
    bars.add(fill(2, 90, 1), START_MS + 120_000)
    bars.add(fill(3, 95, 1), START_MS + DAY_MS + 60_000)
    day, before = bars.day(START_MS + DAY_MS + 60_000)
    assert (day.open, day.high, day.low, day.close, day.count) == (90, 95, 90, 95, 2)
    assert (day.first_id, day.last_id, before) == (2, 3, 200)


def test_the_day_holds_all_trades_of_a_shorter_run() -> None:
    bars = Bars(START_MS, 100)
    for number in range(1, 500):
        bars.add(fill(number, 100 + number % 7, 1), START_MS + number * 1_700)
    day, before = bars.day(START_MS + 500 * 1_700)
    assert (day.count, day.volume, day.first_id, day.last_id, before) == (499, 499, 1, 499, 100)
    assert (day.high, day.low) == (106, 100)


def test_a_bar_is_copied_whole() -> None:
    bar = Bar(0, 1000, 100)
    bar.add(fill(7, 101, 3))
    twin = bar.copy()
    assert all(getattr(twin, name) == getattr(bar, name) for name in Bar.__slots__)
