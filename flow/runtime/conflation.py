"""How waiting events of one stream become one, so that a slow consumer is behind but never wrong.

Latest wins for Ticker, BestQuote and an open KlineSummary. A closed kline is never replaced, nor a merged
event, as each is a window of its own. Of books the state is kept: waiting updates fold into one update with
the latest quantity of every changed level, a snapshot replaces what waited, and updates fold into a waiting
snapshot. Trades and critical events are never coalesced.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any, Final

from flow.events.canonical import CanonicalEvent, OwnedEvent
from flow.events.payloads import BookSnapshotData, BookUpdateData, Kline, Level, Levels
from flow.events.stream import EventType, Lane, Stream

__all__ = ["NO_LEVELS", "BookFold", "is_book", "is_final", "slot_key"]

FLOAT_DIGITS: Final = 15
NO_LEVELS: Final = (ValueError, ArithmeticError, TypeError, AttributeError)
"""What `BookFold.event` raises where a price or a quantity is no decimal string."""
_BOOKS = frozenset({EventType.BOOK_SNAPSHOT, EventType.BOOK_UPDATE})


def slot_key(stream: Stream) -> Any:
    """Events with the same key replace each other: a stream's, or a book's snapshots and updates together.

    A book is known by its channel too: the top twenty of one say nothing of the whole book of another.
    """
    if stream.event_type in _BOOKS:
        return (stream.provider, stream.symbol, stream.channel)
    return stream


def is_book(stream: Stream) -> bool:
    return stream.event_type in _BOOKS


def is_final(event: CanonicalEvent) -> bool:
    """Whether nothing later replaces this event: a closed kline, a merged event, or whatever is not in the
    market lane."""
    if event.stream.lane is not Lane.MARKET or event.stream.event_type is EventType.MERGED:
        return True
    return event.stream.event_type is EventType.KLINE and _kline_is_closed(event)


def _kline_is_closed(event: CanonicalEvent) -> bool:
    payload = event.payload
    return isinstance(payload, Kline) and payload.is_closed


class BookFold:
    """Waiting events of one book, folded. Levels are keyed by price text, in order of their last change.

    A payload that can't be read raises and leaves the fold as it was.
    """

    __slots__ = ("asks", "bids", "first_sequence", "latest", "snapshot")

    def __init__(self, event: CanonicalEvent) -> None:
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.snapshot: Stream | None = None
        self.first_sequence = event.first_sequence
        self.latest = event
        self.add(event)

    def add(self, event: CanonicalEvent) -> None:
        """Fold the next event of the book in."""
        payload: Any = event.payload
        bids, asks = payload.bids, payload.asks
        if event.stream.event_type is EventType.BOOK_SNAPSHOT:
            self.bids, self.asks = {}, {}
            self.snapshot = event.stream
            self.first_sequence = event.first_sequence
        _fold(self.bids, bids)
        _fold(self.asks, asks)
        self.latest = event

    def event(self) -> OwnedEvent:
        """One event with the effect of all that were folded. Raises one of `NO_LEVELS` where a level is no
        number."""
        folded = self.latest.own()
        folded.first_sequence = self.first_sequence
        if self.snapshot is None:
            folded.payload = BookUpdateData(
                _sorted(self.bids.items(), is_descending=True),
                _sorted(self.asks.items(), is_descending=False),
            )
        else:
            folded.stream = self.snapshot
            folded.payload = BookSnapshotData(
                _sorted(_present(self.bids), is_descending=True),
                _sorted(_present(self.asks), is_descending=False),
            )
        return folded


def _fold(side: dict[str, str], levels: Levels) -> None:
    for price, quantity in levels:
        side.pop(price, None)
        side[price] = quantity


def _present(side: dict[str, str]) -> list[Level]:
    """The levels that are left. Texts of one price are one level, the last of them holds."""
    latest = {_plain(price): (price, quantity) for price, quantity in side.items()}
    return [level for level in latest.values() if float(level[1]) != 0.0]


def _sorted(levels: Collection[Level], *, is_descending: bool) -> list[Level]:
    """Best first; texts of one price stay in order of their last change."""
    number = Decimal if any(len(price) > FLOAT_DIGITS for price, _ in levels) else float
    return sorted(levels, key=lambda level: number(level[0]), reverse=is_descending)


def _plain(price: str) -> str:
    """The same text for every way to write a number."""
    if "e" in price or "E" in price:
        price = format(Decimal(price), "f")
    return price.rstrip("0").rstrip(".") if "." in price else price
