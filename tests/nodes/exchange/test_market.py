from __future__ import annotations

from typing import Any

import pytest

from nodes.exchange import SimParams
from nodes.exchange.bars import Bar, Interval
from nodes.exchange.engine import Execution, OrderSide
from nodes.exchange.market import DepthWindow, Listing, Market
from nodes.exchange.truth import Truth

START_MS = 1_700_000_000_000
BUY, SELL = OrderSide.BUY, OrderSide.SELL


Book = dict[tuple[OrderSide, int], int]


def book(listing: Listing) -> Book:
    return {(side, price): lots for side in (BUY, SELL) for price, lots in listing.engine.levels(side)}


def apply(mirror: Book, changes: tuple[dict[int, int], dict[int, int]]) -> None:
    for side, levels in zip((BUY, SELL), changes, strict=True):
        for price, lots in levels.items():
            mirror[side, price] = lots
            if not lots:
                mirror.pop((side, price), None)


class Recorder:
    """Writes down all that a market tells, with its time."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.calls: list[tuple[Any, ...]] = []
        market.listeners.append(self)

    def on_execution(self, listing: Listing, execution: Execution) -> None:
        top = listing.engine.best_bid(), listing.engine.best_ask()
        update_id = listing.engine.update_id
        self.calls.append(("order", self.market.now_us, listing.instrument.name, update_id, top, execution))

    def on_depth(self, listing: Listing, window: DepthWindow, *, is_slow: bool) -> None:
        ids, changes = (window.first_id, window.last_id), (dict(window.bids), dict(window.asks))
        kind, name = "slow" if is_slow else "fast", listing.instrument.name
        self.calls.append((kind, self.market.now_us, name, ids, changes, book(listing)))

    def on_ticker(self, listing: Listing) -> None:
        day, before = listing.bars.day(self.market.now_ms)
        self.calls.append(("ticker", self.market.now_us, listing.instrument.name, before, day))

    def on_bar(self, listing: Listing, interval: Interval, bar: Bar, *, is_closed: bool) -> None:
        self.calls.append(("bar", self.market.now_us, listing.instrument.name, interval.name, is_closed, bar))

    def of(self, kind: str, name: str | None = None) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] == kind and name in (None, call[2])]


def flat(calls: list[tuple[Any, ...]]) -> list[Any]:
    """Calls in a form that compares by value."""
    return [
        tuple(
            [getattr(part, name) for name in Bar.__slots__] if isinstance(part, Bar) else part
            for part in call
        )
        for call in calls
    ]


def run(params: SimParams, *steps_ms: int) -> Recorder:
    market = Market(params, START_MS)
    recorder = Recorder(market)
    market.watch("BTC-USDT", Interval("1s"))
    for step in steps_ms:
        market.advance(market.now_ms + step)
    return recorder


def test_equal_seeds_make_equal_markets_however_time_is_cut() -> None:
    params = SimParams(rate=500, seed=7)
    whole = run(params, 3000)
    cut = run(params, *[7] * 428, 4)
    assert len(whole.calls) > 1000
    assert flat(whole.calls) == flat(cut.calls)
    assert flat(run(SimParams(rate=500, seed=8), 3000).calls) != flat(whole.calls)


@pytest.mark.parametrize(("symbols", "rate"), [(3, 200), (1, 50), (150, 1000), (50, 5000), (3, 10_000)])
def test_the_rate_is_kept(symbols: int, rate: int) -> None:
    recorder = run(SimParams(symbols=symbols, rate=rate, book_levels=20), 2000)
    orders = [call[5] for call in recorder.of("order")]
    frames = sum(len(order.fills) + order.is_best_changed for order in orders) + len(recorder.of("fast"))
    assert abs(frames / 2 - rate) <= 0.05 * rate + symbols / 2


@pytest.mark.parametrize("kind", ["fast", "slow"])
def test_depth_windows_join_and_rebuild_the_book(kind: str) -> None:
    market = Market(SimParams(symbols=2, rate=60, seed=3, book_levels=30), START_MS)
    recorder = Recorder(market)
    first = {name: (listing.engine.update_id, book(listing)) for name, listing in market.by_name.items()}
    market.advance(START_MS + 60_000)
    for name, (update_id, mirror) in first.items():
        windows = recorder.of(kind, name)
        assert len(windows) >= (200 if kind == "fast" else 50)
        for _, _, _, (first_id, last_id), changes, engines_own in windows:
            assert first_id == update_id + 1
            apply(mirror, changes)
            assert mirror == engines_own
            update_id = last_id


def test_the_best_quote_agrees_with_the_depth_that_has_its_update_id() -> None:
    recorder = run(SimParams(symbols=1, rate=300, seed=5, depth_ms=5), 20_000)
    tops = {call[3]: call[4] for call in recorder.of("order") if call[5].is_best_changed}
    compared = 0
    for _, _, _, (_, last_id), _, engines_own in recorder.of("fast"):
        if last_id not in tops:
            continue
        bid = max(price for side, price in engines_own if side is BUY)
        ask = min(price for side, price in engines_own if side is SELL)
        assert tops[last_id] == ((bid, engines_own[BUY, bid]), (ask, engines_own[SELL, ask]))
        compared += 1
    assert compared > 500


def test_bars_and_the_day_agree_with_the_trades() -> None:
    recorder = run(SimParams(rate=400, seed=2), 10_500)
    trades = [(call[1] // 1000, fill) for call in recorder.of("order", "BTC-USDT") for fill in call[5].fills]
    closed = [call[5] for call in recorder.of("bar") if call[4]]
    assert [bar.start_ms for bar in closed] == [START_MS + second * 1000 for second in range(10)]
    for bar in closed:
        inside = [fill for at_ms, fill in trades if bar.start_ms <= at_ms < bar.end_ms]
        assert bar.count == len(inside)
        assert bar.volume == sum(fill.quantity for fill in inside)
        assert bar.close == inside[-1].price
    _, now_us, _, _, day = recorder.of("ticker", "BTC-USDT")[-1]
    before = [fill for at_ms, fill in trades if at_ms * 1000 <= now_us]
    assert (day.count, day.volume) == (len(before), sum(fill.quantity for fill in before))
    assert (day.high, day.low) == (max(fill.price for fill in before), min(fill.price for fill in before))


def test_open_bars_are_told_at_their_period_and_only_when_they_changed() -> None:
    market = Market(SimParams(symbols=1, rate=50, seed=2, kline_ms=2000), START_MS)
    recorder = Recorder(market)
    market.watch("BTC-USDT", Interval("1h"))
    market.advance(START_MS + 20_000)
    bars = [call[5] for call in recorder.of("bar")]
    assert [call[1] // 1000 for call in recorder.of("bar")] == list(
        range(START_MS + 2000, START_MS + 20_001, 2000)
    )
    counts = [bar.count for bar in bars]
    assert counts == sorted(set(counts))
    market.unwatch("BTC-USDT", Interval("1h"))
    market.advance(START_MS + 30_000)
    assert len(recorder.of("bar")) == len(bars)


def test_a_book_keeps_about_the_levels_that_were_asked_for() -> None:
    market = Market(SimParams(symbols=2, rate=5000, seed=4, book_levels=50), START_MS)
    market.advance(START_MS + 20_000)
    for listing in market.listings:
        for side in (BUY, SELL):
            assert 30 <= len(listing.engine.levels(side)) <= 75
        assert len(listing.engine.orders) < 50 * 8
        price = listing.engine.best_bid()
        assert price is not None
        assert abs(price[0] / listing.instrument.first_price - 1) < 0.25


def test_time_can_be_skipped_and_bars_still_close() -> None:
    market = Market(SimParams(symbols=1, rate=100), START_MS)
    recorder = Recorder(market)
    market.watch("BTC-USDT", Interval("1m"))
    market.advance(START_MS + 1000)
    orders = market.orders
    market.skip(START_MS + 3_600_000)
    assert market.orders == orders
    market.advance(START_MS + 3_600_100)
    closed = [call[5] for call in recorder.of("bar") if call[4]]
    assert len(closed) == 1
    assert closed[0].start_ms <= START_MS < closed[0].end_ms
    assert 0 < market.orders - orders < 50
    market.skip(START_MS)
    assert market.now_ms == START_MS + 3_600_100


def test_truth_keeps_the_last_states_of_the_engine() -> None:
    market = Market(SimParams(symbols=1, rate=500), START_MS)
    truth = Truth(market, 5)
    market.listeners.append(truth)
    recorder = Recorder(market)
    market.advance(START_MS + 2000)
    windows = recorder.of("fast")[-5:]
    states = truth.states("BTC-USDT", 0, 100)
    assert [state.u for state in states] == [window[3][1] for window in windows]
    instrument = market.by_name["BTC-USDT"].instrument
    for state, window in zip(states, windows, strict=True):
        kept = window[5]
        bids = sorted((price for side, price in kept if side is BUY), reverse=True)
        assert state.bids == [
            (instrument.price(price), instrument.quantity(kept[BUY, price])) for price in bids
        ]
        asks = sorted(price for side, price in kept if side is SELL)
        assert state.asks == [
            (instrument.price(price), instrument.quantity(kept[SELL, price])) for price in asks
        ]
    assert [state.u for state in truth.states("BTC-USDT", states[2].u, 1)] == [states[3].u]


def test_ids_go_on_where_an_exchange_is_started_anew() -> None:
    start_ms = START_MS + 90 * 86_400_000
    first = Market(SimParams(symbols=2, seed=1, rate=50), start_ms)
    first.advance(start_ms + 10_000)
    anew = Market(SimParams(symbols=2, seed=2, rate=50), start_ms + 10_000)
    for before, after in zip(first.listings, anew.listings, strict=True):
        assert after.engine.update_id > before.engine.update_id
        assert after.engine.trade_id > before.engine.trade_id
