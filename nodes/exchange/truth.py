"""The engine's own book states at the update ids of recent depth periods, for tests that compare books."""

from collections import deque

import msgspec

from nodes.exchange.bars import Bar, Interval
from nodes.exchange.engine import Execution
from nodes.exchange.market import DepthWindow, Listing, Market, Snapshot

__all__ = ["BookState", "Truth"]


class BookState(msgspec.Struct, frozen=True):
    """A complete book: decimal strings, best first."""

    u: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class Truth:
    """A market listener that keeps the last `capacity` states of each book, read from the engine."""

    def __init__(self, market: Market, capacity: int) -> None:
        self._rings = {name: deque[Snapshot](maxlen=capacity) for name in market.by_name}
        self._market = market

    def states(self, name: str, after: int, limit: int) -> list[BookState]:
        """The states of a symbol with an update id above `after`, oldest first. KeyError if unknown."""
        instrument = self._market.by_name[name].instrument
        found = [state for state in self._rings[name] if state.update_id > after][:limit]
        return [
            BookState(
                state.update_id,
                [(instrument.price(price), instrument.quantity(lots)) for price, lots in state.bids],
                [(instrument.price(price), instrument.quantity(lots)) for price, lots in state.asks],
            )
            for state in found
        ]

    def on_depth(self, listing: Listing, window: DepthWindow, *, is_slow: bool) -> None:
        if not is_slow:
            self._rings[listing.instrument.name].append(Snapshot(listing.engine))

    def on_execution(self, listing: Listing, execution: Execution) -> None:
        """Nothing to keep: states are taken where a depth period ends."""

    def on_ticker(self, listing: Listing) -> None:
        """Nothing to keep."""

    def on_bar(self, listing: Listing, interval: Interval, bar: Bar, *, is_closed: bool) -> None:
        """Nothing to keep."""
