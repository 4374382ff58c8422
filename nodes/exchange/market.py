"""The simulated market: N engines under one seeded order flow, on virtual time. Knows no wire format.

`Market.advance(to_ms)` runs everything that is due; what happens reaches the listeners as calls. Equal params
give equal calls, however the way is cut into `advance` calls. Times are epoch ms (`now_us` in µs).
"""

import heapq
import zlib
from collections.abc import Callable
from random import Random
from typing import Protocol

from nodes.exchange.bars import Bar, Bars, Interval
from nodes.exchange.crowd import Crowd
from nodes.exchange.engine import Engine, Execution, OrderSide
from nodes.exchange.instruments import Instrument, instruments
from nodes.exchange.params import SimParams

__all__ = ["DepthWindow", "Listing", "Market", "MarketListener", "Snapshot"]

WARM_UP_ACTS = 40
SLOW_EVERY = 10
IDS_SINCE_MS = 1_704_067_200_000
"""Ids begin higher the later a market is started, so that they go on where an exchange starts anew."""


class DepthWindow:
    """The levels of one book that changed in a period: price in ticks to the quantity in lots it has now."""

    __slots__ = ("asks", "bids", "first_id", "last_id")

    def __init__(self) -> None:
        self.clear(0)

    def clear(self, last_id: int) -> None:
        """Forget the levels; the next window begins after `last_id`."""
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.first_id = last_id + 1
        self.last_id = last_id

    def merge(self, later: "DepthWindow") -> None:
        self.bids.update(later.bids)
        self.asks.update(later.asks)
        self.last_id = later.last_id


class Snapshot:
    """A complete book at one update id: (price in ticks, quantity in lots), best first."""

    __slots__ = ("asks", "bids", "update_id")

    def __init__(self, engine: Engine, limit: int | None = None) -> None:
        self.update_id = engine.update_id
        self.bids = engine.levels(OrderSide.BUY, limit)
        self.asks = engine.levels(OrderSide.SELL, limit)


class Listing:
    """One symbol of the market: its instrument, engine, bars and depth windows.

    `early` is a book older than anything a listener was told of.
    """

    def __init__(self, instrument: Instrument, params: SimParams, rng: Random, start_ms: int) -> None:
        first_id = max(0, start_ms - IDS_SINCE_MS) + 1_000_000_000
        first_id += zlib.crc32(instrument.name.encode()) % 1_000_000_000
        self.instrument = instrument
        self.engine = Engine(update_id=first_id, trade_id=first_id // 10, order_id=first_id * 2)
        self.crowd = Crowd(self.engine, instrument, rng, params.book_levels)
        self.crowd.open_book()
        self.early = Snapshot(self.engine)
        self.bars = Bars(start_ms, instrument.first_price)
        self.last_trade: tuple[int, int] = (instrument.first_price, 0)
        self.aggregate_id = first_id // 20
        for _ in range(WARM_UP_ACTS):
            self.crowd.act()
        self.fast = DepthWindow()
        self.fast.clear(self.engine.update_id)
        self.slow = DepthWindow()
        self.slow.clear(self.engine.update_id)
        self.periods = 0
        self.is_active = True


class MarketListener(Protocol):
    """What a market tells. Called in order of market time; must not block, and must not change the market."""

    def on_execution(self, listing: Listing, execution: Execution) -> None:
        """An order was handled: its fills, and whether the best bid or ask changed."""
        ...

    def on_depth(self, listing: Listing, window: DepthWindow, *, is_slow: bool) -> None:
        """The levels that changed in the period that now ends; `is_slow` is the one of ten periods."""
        ...

    def on_ticker(self, listing: Listing) -> None:
        """It is time for the 24 h statistics of a symbol in which something happened."""
        ...

    def on_bar(self, listing: Listing, interval: Interval, bar: Bar, *, is_closed: bool) -> None:
        """A watched bar: at its period, and once more when its window has closed."""
        ...


Timer = Callable[[], int | None]


class Market:
    """N symbols whose order flow is paced: trades, changes of the best and depth windows come at `rate`."""

    def __init__(self, params: SimParams, start_ms: int) -> None:
        self._rng = Random(params.seed)
        self._params = params
        self.start_ms = self.now_ms = start_ms
        self.now_us = start_ms * 1000
        self.listings = [Listing(each, params, self._rng, start_ms) for each in instruments(params.symbols)]
        self.by_name = {listing.instrument.name: listing for listing in self.listings}
        self.listeners: list[MarketListener] = []
        self.orders = 0
        self._origin_ms = float(start_ms)
        self._owed = 0
        self._ms_per_frame = 1000.0 / params.rate
        self._timers: list[tuple[int, int, Timer]] = []
        self._timer_count = 0
        self._watches: dict[tuple[str, Interval], BarWatch] = {}
        self._start_timers()

    def advance(self, to_ms: int) -> None:
        """Run all that is due until `to_ms`, inclusive."""
        while True:
            order_ms = self._origin_ms + self._owed * self._ms_per_frame
            timer_ms = self._timers[0][0]
            if min(order_ms, timer_ms) > to_ms:
                break
            if timer_ms <= order_ms:
                self._run_timer()
            else:
                self._set_time(int(order_ms * 1000))
                self._owed += self._act()
        self._set_time(to_ms * 1000)

    def skip(self, to_ms: int) -> None:
        """Let time pass without orders, as after a pause of the process; timers run late, once."""
        if to_ms <= self.now_ms:
            return
        self._set_time(to_ms * 1000)
        self._origin_ms, self._owed = float(to_ms), 0
        self._timers = [(max(due, to_ms), number, timer) for due, number, timer in self._timers]
        heapq.heapify(self._timers)

    def watch(self, name: str, interval: Interval) -> None:
        """Report the bars of `interval` from now on. Counted: each `watch` wants one `unwatch`."""
        key = (name, interval)
        watch = self._watches.get(key)
        if watch is None:
            period = self._params.kline_ms // 2 if interval.name == "1s" else self._params.kline_ms
            watch = self._watches[key] = BarWatch(self, self.by_name[name], interval, period)
            self._add_timer(watch.due_ms(), watch.run)
        watch.users += 1

    def unwatch(self, name: str, interval: Interval) -> None:
        """Undo one `watch`."""
        watch = self._watches[(name, interval)]
        watch.users -= 1
        if not watch.users:
            del self._watches[(name, interval)]

    def _set_time(self, now_us: int) -> None:
        self.now_us = max(now_us, self.now_us)
        self.now_ms = self.now_us // 1000

    def _act(self) -> int:
        """One order of the crowd in a symbol drawn at random; returns the frames it stands for."""
        listing = self.listings[int(self._rng.random() * len(self.listings))]
        execution = listing.crowd.act()
        self.orders += 1
        window = listing.fast
        is_first = not (window.bids or window.asks)
        for change in execution.changes:
            levels = window.bids if change.side is OrderSide.BUY else window.asks
            levels[change.price] = change.quantity
        window.last_id = listing.engine.update_id
        for fill in execution.fills:
            listing.bars.add(fill, self.now_ms)
            listing.last_trade = (fill.price, fill.quantity)
        listing.is_active = True
        for listener in self.listeners:
            listener.on_execution(listing, execution)
        return len(execution.fills) + execution.is_best_changed + is_first

    def _start_timers(self) -> None:
        """Spread the symbols evenly over the periods."""
        count = len(self.listings)
        for index, listing in enumerate(self.listings):
            depth_ms, ticker_ms = self._params.depth_ms, self._params.ticker_ms
            self._add_timer(self.start_ms + 1 + index * depth_ms // count, self._depth_timer(listing))
            self._add_timer(self.start_ms + 1 + index * ticker_ms // count, self._ticker_timer(listing))

    def _add_timer(self, due_ms: int, timer: Timer) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (due_ms, self._timer_count, timer))

    def _run_timer(self) -> None:
        due_ms, _, timer = heapq.heappop(self._timers)
        self._set_time(due_ms * 1000)
        next_ms = timer()
        if next_ms is not None:
            self._add_timer(next_ms, timer)

    def _depth_timer(self, listing: Listing) -> Timer:
        def run() -> int:
            self._end_period(listing)
            return self.now_ms + self._params.depth_ms

        return run

    def _end_period(self, listing: Listing) -> None:
        fast, slow = listing.fast, listing.slow
        listing.periods += 1
        if fast.bids or fast.asks:
            slow.merge(fast)
            for listener in self.listeners:
                listener.on_depth(listing, fast, is_slow=False)
            fast.clear(fast.last_id)
        if listing.periods % SLOW_EVERY == 0 and (slow.bids or slow.asks):
            for listener in self.listeners:
                listener.on_depth(listing, slow, is_slow=True)
            slow.clear(slow.last_id)

    def _ticker_timer(self, listing: Listing) -> Timer:
        def run() -> int:
            if listing.is_active:
                listing.is_active = False
                for listener in self.listeners:
                    listener.on_ticker(listing)
            return self.now_ms + self._params.ticker_ms

        return run


class BarWatch:
    """Reports one bar at its period where it changed, and when its window has closed."""

    def __init__(self, market: Market, listing: Listing, interval: Interval, period_ms: int) -> None:
        self.users = 0
        self._market = market
        self._listing = listing
        self._interval = interval
        self._period_ms = period_ms
        self._reported = -1
        self._start_ms, self._end_ms = interval.window(market.now_ms)

    def due_ms(self) -> int:
        """When to run next: at the next multiple of the period or at the window's end."""
        period = self._market.now_ms // self._period_ms + 1
        return min(period * self._period_ms, self._end_ms)

    def run(self) -> int | None:
        """Report what is due; returns the time of the next run, or None when nobody watches."""
        if not self.users:
            return None
        bars, now_ms = self._listing.bars, self._market.now_ms
        if now_ms >= self._end_ms:
            self._report(bars.closed(self._interval, self._start_ms, now_ms), is_closed=True)
            self._start_ms, self._end_ms = self._interval.window(now_ms)
            self._reported = 0
        else:
            bar = bars.bar(self._interval, now_ms)
            if bar.count != self._reported:
                self._reported = bar.count
                self._report(bar, is_closed=False)
        return self.due_ms()

    def _report(self, bar: Bar, *, is_closed: bool) -> None:
        for listener in self._market.listeners:
            listener.on_bar(self._listing, self._interval, bar, is_closed=is_closed)
