"""A small strategy: follow each order book, and hold the exchange to its word.

It keeps the book of every symbol out of the snapshots and updates that it receives. Binance numbers its best
quotes like the books they are the top of, so whenever a quote and a book bear the same number, price and size
must be equal. At the end it says how many it compared.
"""

from __future__ import annotations

import logging
from decimal import Decimal

log = logging.getLogger("strategy")

MOST_QUOTES = 1000


class SymbolBook:
    """Bids and asks by price, the number of the state, and the quotes whose book has not come yet."""

    def __init__(self):
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.number = -1
        self.quotes: dict[int, tuple[Decimal, ...]] = {}

    def change(self, levels, side):
        for price, quantity in levels:
            if float(quantity):
                side[Decimal(price)] = Decimal(quantity)
            else:
                side.pop(Decimal(price), None)

    def top(self):
        """(bid price, bid quantity, ask price, ask quantity); None where a side is empty."""
        if not self.bids or not self.asks:
            return None
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]


class TopOfBook:
    """`compared` counts the quotes that met a book with their number, `differing` those that were not its top."""

    def __init__(self):
        self.books: dict[str, SymbolBook] = {}
        self.compared = 0
        self.differing = 0

    def on_book_snapshot(self, event):
        book = self.books.setdefault(event.symbol, SymbolBook())
        book.bids.clear()
        book.asks.clear()
        self.apply(book, event)

    def on_book_update(self, event):
        book = self.books.get(event.symbol)
        if book is not None:
            self.apply(book, event)

    def on_best_quote(self, event):
        book = self.books.setdefault(event.symbol, SymbolBook())
        quote = event.payload
        texts = (quote.bid_price, quote.bid_quantity, quote.ask_price, quote.ask_quantity)
        top = tuple(Decimal(text) for text in texts)
        if event.sequence == book.number:
            self.compare(event.symbol, book, top)
        elif event.sequence > book.number:
            if len(book.quotes) >= MOST_QUOTES:
                book.quotes.clear()
            book.quotes[event.sequence] = top

    def on_stop(self):
        log.info(
            "%d best quotes met a book with their number; %d were not its top", self.compared, self.differing
        )

    def apply(self, book, event):
        book.change(event.payload.bids, book.bids)
        book.change(event.payload.asks, book.asks)
        book.number = event.sequence
        if book.number in book.quotes:
            self.compare(event.symbol, book, book.quotes[book.number])
        book.quotes = {number: top for number, top in book.quotes.items() if number > book.number}

    def compare(self, symbol, book, top):
        self.compared += 1
        if book.top() != top:
            self.differing += 1
            log.error("%s %d: the quote is %s, the book's top %s", symbol, book.number, top, book.top())
