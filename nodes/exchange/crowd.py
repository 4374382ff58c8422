"""The order flow of one symbol: a seeded crowd that quotes, cancels and trades around a wandering price."""

from math import log
from random import Random

from nodes.exchange.engine import Engine, Execution, OrderSide
from nodes.exchange.instruments import Instrument

__all__ = ["Crowd"]

BUY, SELL = OrderSide.BUY, OrderSide.SELL
STEPS_IN_PRICE = 20_000
PULL_BACK_AT = 0.05
FEWEST_LEVELS = 3
MOST_ORDERS_A_LEVEL = 6


class Crowd:
    """Sends orders to an engine so that about `book_levels` price levels stand on each side.

    Every draw comes from the random generator that is handed in, so equal seeds give equal markets.
    """

    def __init__(self, engine: Engine, instrument: Instrument, rng: Random, book_levels: int) -> None:
        self._engine = engine
        self._rng = rng
        self._anchor = instrument.first_price
        self._usual = instrument.usual_lots
        self._levels = book_levels
        self._step = max(1, instrument.first_price // STEPS_IN_PRICE)

    def open_book(self) -> None:
        """Fill both sides from empty."""
        for number in range(1, self._levels + 1):
            distance = number * self._step
            self._engine.limit(SELL, self._anchor + distance, self._size())
            if self._anchor - distance >= 1:
                self._engine.limit(BUY, self._anchor - distance, self._size())

    def act(self) -> Execution:
        """One order or cancel; it always does something."""
        draw = self._rng.random()
        side = BUY if self._rng.random() < 0.5 else SELL
        count = len(self._engine.half(side).keys)
        if count < FEWEST_LEVELS:
            return self._quote(side)
        if draw < 0.28:
            return self._trade(side)
        is_crowded = len(self._engine.orders) > MOST_ORDERS_A_LEVEL * self._levels
        cancel_below = 0.85 if is_crowded or count > self._levels else 0.64
        if draw < cancel_below and (is_crowded or count > self._levels * 0.8):
            return self._withdraw(side, count)
        return self._quote(side)

    def _size(self) -> int:
        return 1 + int(-log(1.0 - self._rng.random()) * self._usual)

    def _trade(self, side: OrderSide) -> Execution:
        """A market order; far from the anchor price most of them push back towards it."""
        best = self._engine.best_ask() if side is BUY else self._engine.best_bid()
        if best is None:
            return self._quote(side)
        off = best[0] / self._anchor - 1.0
        if abs(off) > PULL_BACK_AT and (off > 0) == (side is BUY) and self._rng.random() < 0.8:
            side = SELL if side is BUY else BUY
        maker = SELL if side is BUY else BUY
        half = self._engine.half(maker)
        if len(half.keys) < FEWEST_LEVELS:
            return self._quote(maker)
        sweep = self._rng.random()
        most = half.levels[half.keys[-1] * half.sign].quantity
        if sweep < 0.3:
            most += half.levels[half.keys[-2] * half.sign].quantity
        return self._engine.market(side, max(1, min(self._size(), most)))

    def _withdraw(self, side: OrderSide, count: int) -> Execution:
        """Cancel an order: sometimes one at the best price, else one anywhere, deep ones more often."""
        half = self._engine.half(side)
        draw = self._rng.random()
        index = count - 1 if draw < 0.2 else int(self._rng.random() * self._rng.random() * count)
        orders = half.levels[half.keys[index] * half.sign].orders
        order_id = next(reversed(orders)) if draw < 0.5 else next(iter(orders))
        execution = self._engine.cancel(order_id)
        assert execution is not None, "a resting order could not be cancelled"
        return execution

    def _quote(self, side: OrderSide) -> Execution:
        """A limit order: inside the spread, at the best price, or some ticks behind it."""
        engine = self._engine
        own, other = engine.best_bid(), engine.best_ask()
        if side is SELL:
            own, other = other, own
        sign = int(side)
        draw = self._rng.random()
        if own is None:
            start = (other[0] if other else self._anchor) - sign
            return engine.limit(side, max(1, start), self._size())
        price = own[0]
        if draw < 0.25 and other is not None and abs(other[0] - price) > 1:
            price += sign * (1 + int(self._rng.random() * (abs(other[0] - price) - 1)))
        elif draw >= 0.4:
            price -= sign * (1 + int(-log(1.0 - self._rng.random()) * self._levels * self._step * 0.6))
        return engine.limit(side, min(max(1, price), self._anchor * 8), self._size())
