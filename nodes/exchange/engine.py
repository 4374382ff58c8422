"""A matching engine for one symbol: limit and market orders by price, then time. No I/O and no clock.

Prices are integer ticks and quantities integer lots. Each operation returns an `Execution` that holds the
trades and the price levels that changed. Every changed level raises `Engine.update_id` by one.
"""

from bisect import bisect_left, insort
from enum import IntEnum

import msgspec

__all__ = ["Engine", "Execution", "Fill", "Level", "LevelChange", "Order", "OrderSide"]


class OrderSide(IntEnum):
    """The side of an order; the value is the sign that makes the best price the greatest key."""

    BUY = 1
    SELL = -1


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One trade between a resting (maker) and an incoming (taker) order; price in ticks, quantity in lots."""

    trade_id: int
    price: int
    quantity: int
    buyer_order_id: int
    seller_order_id: int
    is_buyer_maker: bool


class LevelChange(msgspec.Struct, frozen=True, gc=False):
    """The quantity in lots that a price level has after an operation; 0 means that it is gone."""

    side: OrderSide
    price: int
    quantity: int


class Execution(msgspec.Struct, frozen=True):
    """What one operation did. `remaining` lots rest (limit), expired (market) or were withdrawn (cancel)."""

    order_id: int
    remaining: int
    fills: list[Fill]
    changes: list[LevelChange]
    is_best_changed: bool


class Order:
    """A resting order; `quantity` is what is left of it, in lots."""

    __slots__ = ("order_id", "price", "quantity", "side")

    def __init__(self, order_id: int, side: OrderSide, price: int, quantity: int) -> None:
        self.order_id = order_id
        self.side = side
        self.price = price
        self.quantity = quantity


class Level:
    """The orders at one price, oldest first, and their total quantity in lots."""

    __slots__ = ("orders", "quantity")

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.quantity = 0


class Half:
    """One side of the book. `keys` are the prices times the side's sign, ascending: the best is the last."""

    __slots__ = ("keys", "levels", "sign")

    def __init__(self, side: OrderSide) -> None:
        self.sign = int(side)
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}

    def best(self) -> tuple[int, int] | None:
        """The best price in ticks and its quantity in lots; None where the side is empty."""
        if not self.keys:
            return None
        price = self.keys[-1] * self.sign
        return price, self.levels[price].quantity

    def add(self, order: Order) -> int:
        level = self.levels.get(order.price)
        if level is None:
            level = self.levels[order.price] = Level()
            insort(self.keys, order.price * self.sign)
        level.orders[order.order_id] = order
        level.quantity += order.quantity
        return level.quantity

    def drop(self, price: int) -> None:
        del self.levels[price]
        key = price * self.sign
        if self.keys[-1] == key:
            self.keys.pop()
        else:
            del self.keys[bisect_left(self.keys, key)]


class Engine:
    """The order book of one symbol and its matching rules.

    `update_id`, `trade_id` and `order_id` are the last ones given out; each counts up by one.
    """

    def __init__(self, *, update_id: int = 0, trade_id: int = 0, order_id: int = 0) -> None:
        self.update_id = update_id
        self.trade_id = trade_id
        self.order_id = order_id
        self.bids = Half(OrderSide.BUY)
        self.asks = Half(OrderSide.SELL)
        self.orders: dict[int, Order] = {}

    def half(self, side: OrderSide) -> Half:
        return self.bids if side is OrderSide.BUY else self.asks

    def best_bid(self) -> tuple[int, int] | None:
        return self.bids.best()

    def best_ask(self) -> tuple[int, int] | None:
        return self.asks.best()

    def levels(self, side: OrderSide, limit: int | None = None) -> list[tuple[int, int]]:
        """The (price, quantity) levels of one side, best first; at most `limit` of them."""
        half = self.half(side)
        sign, levels = half.sign, half.levels
        keys = half.keys if limit is None else half.keys[-limit:]
        return [(key * sign, levels[key * sign].quantity) for key in reversed(keys)]

    def limit(self, side: OrderSide, price: int, quantity: int) -> Execution:
        """Match what crosses `price`, rest what is left. Raises ValueError below 1 tick or 1 lot."""
        if price < 1 or quantity < 1:
            raise ValueError(f"a limit order needs a price and a quantity above 0: {price}, {quantity}")
        tops = self._tops()
        self.order_id += 1
        order_id = self.order_id
        fills, changes, remaining = self._match(side, quantity, price)
        if remaining:
            order = Order(order_id, side, price, remaining)
            self.orders[order_id] = order
            total = self.half(side).add(order)
            changes.append(LevelChange(side, price, total))
        return self._done(order_id, remaining, fills, changes, tops)

    def market(self, side: OrderSide, quantity: int) -> Execution:
        """Match against the best prices there are; what finds none expires. Raises ValueError below 1 lot."""
        if quantity < 1:
            raise ValueError(f"a market order needs a quantity above 0, not {quantity}")
        tops = self._tops()
        self.order_id += 1
        order_id = self.order_id
        fills, changes, remaining = self._match(side, quantity, None)
        return self._done(order_id, remaining, fills, changes, tops)

    def cancel(self, order_id: int) -> Execution | None:
        """Take a resting order out of the book; None where no such order rests."""
        order = self.orders.pop(order_id, None)
        if order is None:
            return None
        tops = self._tops()
        half = self.half(order.side)
        level = half.levels[order.price]
        del level.orders[order_id]
        level.quantity -= order.quantity
        if not level.orders:
            half.drop(order.price)
        changes = [LevelChange(order.side, order.price, level.quantity)]
        return self._done(order_id, order.quantity, [], changes, tops)

    def _tops(self) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        return self.bids.best(), self.asks.best()

    def _done(
        self,
        order_id: int,
        remaining: int,
        fills: list[Fill],
        changes: list[LevelChange],
        tops: tuple[tuple[int, int] | None, tuple[int, int] | None],
    ) -> Execution:
        self.update_id += len(changes)
        return Execution(order_id, remaining, fills, changes, tops != self._tops())

    def _match(
        self, side: OrderSide, quantity: int, price: int | None
    ) -> tuple[list[Fill], list[LevelChange], int]:
        """Trade lots of the incoming order `self.order_id` against the other side, best level first."""
        fills: list[Fill] = []
        changes: list[LevelChange] = []
        maker_side = OrderSide.SELL if side is OrderSide.BUY else OrderSide.BUY
        half = self.half(maker_side)
        worst = None if price is None else price * half.sign
        while quantity and half.keys and (worst is None or half.keys[-1] >= worst):
            level_price = half.keys[-1] * half.sign
            level = half.levels[level_price]
            quantity = self._take(level, level_price, side, quantity, fills)
            if not level.orders:
                half.drop(level_price)
            changes.append(LevelChange(maker_side, level_price, level.quantity))
        return fills, changes, quantity

    def _take(self, level: Level, price: int, side: OrderSide, quantity: int, fills: list[Fill]) -> int:
        """Fill from the oldest order of one level on; returns the lots that are still wanted."""
        taker_id = self.order_id
        is_buy = side is OrderSide.BUY
        while quantity and level.orders:
            maker_id = next(iter(level.orders))
            maker = level.orders[maker_id]
            filled = min(quantity, maker.quantity)
            quantity -= filled
            maker.quantity -= filled
            level.quantity -= filled
            if not maker.quantity:
                del level.orders[maker_id]
                del self.orders[maker_id]
            self.trade_id += 1
            buyer, seller = (taker_id, maker_id) if is_buy else (maker_id, taker_id)
            fills.append(Fill(self.trade_id, price, filled, buyer, seller, not is_buy))
        return quantity
