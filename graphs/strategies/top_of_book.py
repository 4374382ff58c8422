"""A small strategy: follow each order book, and hold the exchange to its word.

It keeps the book of every symbol out of the snapshots and updates that it receives. Binance numbers its best
quotes like the books that they are the top of, so whenever a quote and a book bear the same number, price and
quantity must be equal. At the end it says how many it compared.
"""

from __future__ import annotations

import logging
from decimal import Decimal

from flow import CanonicalEvent
from flow.events.payloads import BestQuote, BookLevels, Levels

log = logging.getLogger("strategy")

MOST_QUOTES = 1000
Side = dict[Decimal, Decimal]
Top = tuple[Decimal, ...]
"""Bid price, bid quantity, ask price, ask quantity."""


class SymbolBook:
    """Quantities by price, the number of the state, and the quotes whose book has not come yet."""

    def __init__(self) -> None:
        self.bids: Side = {}
        self.asks: Side = {}
        self.number = -1
        self.quotes: dict[int, Top] = {}

    def change(self, side: Side, levels: Levels) -> None:
        for price, quantity in levels:
            if Decimal(quantity):
                side[Decimal(price)] = Decimal(quantity)
            else:
                side.pop(Decimal(price), None)

    def top(self) -> Top:
        if not self.bids or not self.asks:
            return ()
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]


class TopOfBook:
    """`compared` counts the quotes that met the book with their number, `differing` those unlike its top."""

    def __init__(self) -> None:
        self.books: dict[str, SymbolBook] = {}
        self.compared = 0
        self.differing = 0

    def on_book_snapshot(self, event: CanonicalEvent) -> None:
        book = self.books.setdefault(event.symbol, SymbolBook())
        book.bids.clear()
        book.asks.clear()
        self.apply(book, event)

    def on_book_update(self, event: CanonicalEvent) -> None:
        if event.symbol in self.books:
            self.apply(self.books[event.symbol], event)

    def on_best_quote(self, event: CanonicalEvent) -> None:
        assert isinstance(event.payload, BestQuote)
        quote = event.payload
        texts = (quote.bid_price, quote.bid_quantity, quote.ask_price, quote.ask_quantity)
        book = self.books.setdefault(event.symbol, SymbolBook())
        book.quotes[event.sequence] = tuple(map(Decimal, texts))
        self.compare(event.symbol, book)
        if len(book.quotes) > MOST_QUOTES:
            book.quotes.clear()

    def on_stop(self) -> None:
        said = "%d best quotes met the book with their number, %d were unlike its top"
        log.info(said, self.compared, self.differing)

    def apply(self, book: SymbolBook, event: CanonicalEvent) -> None:
        assert isinstance(event.payload, BookLevels)
        book.change(book.bids, event.payload.bids)
        book.change(book.asks, event.payload.asks)
        book.number = event.sequence
        self.compare(event.symbol, book)

    def compare(self, symbol: str, book: SymbolBook) -> None:
        """Compare the quote with the book's number, if there is one, and forget it and those before it."""
        quote = book.quotes.get(book.number)
        if quote is not None:
            self.compared += 1
            if quote != book.top():
                self.differing += 1
                log.error("%s %d: the quote is %s, the top %s", symbol, book.number, quote, book.top())
        book.quotes = {number: top for number, top in book.quotes.items() if number > book.number}
