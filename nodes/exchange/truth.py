"""The engine's own book states at the update ids of recent depth periods, for tests that compare books."""

from array import array
from collections import deque
from collections.abc import Iterator
from itertools import chain

import msgspec

from nodes.exchange.bars import Bar, Interval
from nodes.exchange.engine import Engine, Execution, OrderSide
from nodes.exchange.instruments import Instrument
from nodes.exchange.market import DepthWindow, Listing, Market

__all__ = ["BookState", "Truth"]


class BookState(msgspec.Struct, frozen=True):
    """A complete book: decimal strings, best first."""

    u: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Kept:
    """A state in 16 bytes a level: price and quantity in turn."""

    __slots__ = ("asks", "bids", "update_id")

    def __init__(self, engine: Engine) -> None:
        self.update_id = engine.update_id
        self.bids = array("q", chain.from_iterable(engine.levels(OrderSide.BUY)))
        self.asks = array("q", chain.from_iterable(engine.levels(OrderSide.SELL)))

    def state(self, instrument: Instrument) -> BookState:
        return BookState(
            self.update_id, [*_decimal(self.bids, instrument)], [*_decimal(self.asks, instrument)]
        )


def _decimal(flat: "array[int]", instrument: Instrument) -> Iterator[tuple[str, str]]:
    for price, lots in zip(flat[::2], flat[1::2], strict=True):
        yield instrument.price(price), instrument.quantity(lots)


class Truth:
    """A market listener that keeps the last `capacity` states of each book, read from the engine."""

    def __init__(self, market: Market, capacity: int) -> None:
        self._rings = {name: deque[_Kept](maxlen=capacity) for name in market.by_name}
        self._market = market

    def states(self, name: str, after: int, limit: int) -> list[BookState]:
        """The states of a symbol with an update id above `after`, oldest first. KeyError if unknown."""
        instrument = self._market.by_name[name].instrument
        found = [kept for kept in self._rings[name] if kept.update_id > after][:limit]
        return [kept.state(instrument) for kept in found]

    def on_depth(self, listing: Listing, window: DepthWindow, *, is_slow: bool) -> None:
        if not is_slow:
            self._rings[listing.instrument.name].append(_Kept(listing.engine))

    def on_execution(self, listing: Listing, execution: Execution) -> None:
        """Nothing to keep: states are taken where a depth period ends."""

    def on_ticker(self, listing: Listing) -> None:
        """Nothing to keep."""

    def on_bar(self, listing: Listing, interval: Interval, bar: Bar, *, is_closed: bool) -> None:
        """Nothing to keep."""
