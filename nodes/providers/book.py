"""An exact and fast order book.

Prices and quantities are kept as the exchange's own strings; order and identity are by number, so that
`83284.1` and `83284.10` are one level. A price of at most 15 significant digits is told apart from any
other such by its float; the first one with more turns the whole book over to Decimal keys.

What an update costs is what counts. A known price is found by its text alone; the sorted keys have the
best at the end, where most changes are; and a deleted level leaves its key behind until it would be the
best or too many have gathered, because most deleted prices come back.
"""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable
from decimal import Decimal
from itertools import islice, takewhile
from math import inf
from operator import neg
from typing import Any, Final

import msgspec

from flow.events.payloads import Level, Levels

__all__ = ["Book"]

FLOAT_DIGITS: Final = 15
FLOAT_RANGE: Final = 1e-300, 1e300
SLACK: Final = 256
"""How many keys of deleted levels are always tolerated."""

Key = Any
"""float or Decimal, negated on the ask side; one kind throughout a book."""

_floats: Final = msgspec.json.Decoder(list[float]).decode


def _number(text: str) -> float:
    """A number from 0 up, in plain or exponent notation. Raises ValueError where it is none."""
    if "0" <= text < ":" and "." < text[-1] < ":" and "_" not in text and text.isascii():
        value = float(text)
        if value < inf:
            return value
    raise ValueError(f"{text[:40]!r} is no price or quantity")


def _numbers(texts: Iterable[str]) -> list[float]:
    """Many numbers at the price of few. Raises ValueError where one is none."""
    joined = ",".join(texts)
    if not joined:
        return []
    try:
        numbers = _floats(f"[{joined}]")
    except msgspec.DecodeError as error:
        raise ValueError(f"no price or quantity: {error}") from None
    if len(numbers) != joined.count(",") + 1 or len(joined.split()) != 1 or "-" in joined.replace("e-", ""):
        raise ValueError("no price or quantity")
    return numbers


def _needs_decimal(text: str, value: float) -> bool:
    """Whether a float can't tell this number from its neighbours."""
    if len(text) <= FLOAT_DIGITS and "e" not in text and "E" not in text:
        return False
    digits = re.split("[eE]", text)[0].replace(".", "").strip("0")
    if not digits:
        return False
    return len(digits) > FLOAT_DIGITS or not FLOAT_RANGE[0] < value < FLOAT_RANGE[1]


class _Ladder:
    """One side: quantities by price text, '' for a deleted level whose key still stands in `keys`."""

    __slots__ = (
        "is_ask",
        "is_exact",
        "keys",
        "most_keys",
        "other",
        "quantities",
        "text_of",
        "unknown_deletes",
        "zero",
    )

    def __init__(self, *, is_ask: bool) -> None:
        self.is_ask = is_ask
        self.is_exact = False
        self.other: _Ladder = self
        """The other side of the book."""
        self.quantities: dict[str, str] = {}
        self.text_of: dict[Key, str] = {}
        self.keys: list[Key] = []
        self.most_keys = SLACK
        self.unknown_deletes = 0
        self.zero = "0.00000000"
        """How the exchange last wrote zero."""

    def __len__(self) -> int:
        return sum(map(bool, self.quantities.values()))

    def clear(self) -> None:
        self.quantities.clear()
        self.text_of.clear()
        self.keys.clear()

    def apply(self, levels: Levels) -> None:
        """Set and delete levels, later ones winning. Raises ValueError midway at a malformed one.

        Parsing a quantity would cost more than all the rest, so most are judged by their ends: positive is
        what begins with 1 to 9, or sorts after zero's text and is as long.
        """
        quantities, zero = self.quantities, self.zero
        width, has_deleted = len(zero), False
        for price, quantity in levels:
            if (
                (quantity >= "1" or (zero < quantity and len(quantity) == width))
                and quantity < ":"
                and "/" < quantity[-1] < ":"
            ) or (quantity != zero and _number(quantity)):
                if price not in quantities:
                    self._admit(price)
                quantities[price] = quantity
            else:
                self.zero = quantity
                self._delete(price)
                has_deleted = True
        if has_deleted:
            keys = self.keys
            while keys and not quantities[self.text_of[keys[-1]]]:
                del quantities[self.text_of.pop(keys.pop())]

    def replace(self, levels: Levels) -> None:
        """Begin anew with these levels; of several with one price the last wins."""
        self.clear()
        quantities = dict(levels)
        values = _numbers(quantities)
        is_plain = all(_numbers(quantities.values())) and not self.is_exact
        if is_plain and not any(map(_needs_decimal, quantities, values)):
            text_of = dict(zip(map(neg, values) if self.is_ask else values, quantities, strict=True))
            if len(text_of) == len(quantities):
                self.quantities.update(quantities)
                self.text_of.update(text_of)
        if not self.keys and not self.quantities:
            self.apply(levels)
        self._compact()

    def levels(self, n: int | None = None) -> list[Level]:
        """The best `n` levels, or all, best first."""
        quantities, text_of = self.quantities, self.text_of
        texts = (text_of[key] for key in reversed(self.keys))
        return list(islice(((price, quantities[price]) for price in texts if quantities[price]), n))

    def best(self) -> Level | None:
        if not self.keys:
            return None
        price = self.text_of[self.keys[-1]]
        return price, self.quantities[price]

    def known(self, limit: Key | None) -> list[tuple[Key, Level]]:
        """The levels down to `limit`, best first, with their keys."""
        quantities, text_of = self.quantities, self.text_of
        keys = reversed(self.keys) if limit is None else takewhile(limit.__le__, reversed(self.keys))
        return [(key, (p, quantities[p])) for key in keys if quantities[p := text_of[key]]]

    def worst(self) -> str | None:
        """The price of the last level."""
        return next((p for key in self.keys if self.quantities[p := self.text_of[key]]), None)

    def widen(self) -> None:
        """Turn over to Decimal keys, the other side too."""
        if self.is_exact:
            return
        self.is_exact = True
        self.text_of = {self.key_of(price): price for price in self.text_of.values()}
        self.keys[:] = sorted(self.text_of)
        self.other.widen()

    def key_of(self, price: str) -> Key:
        """The key of a price that is known to be well-formed and, but for Decimals, short enough."""
        if not self.is_exact:
            return -float(price) if self.is_ask else float(price)
        return Decimal(price).copy_negate() if self.is_ask else Decimal(price)

    def _key(self, price: str) -> Key:
        """The key of any text. Raises ValueError where it is no price; may turn the book over."""
        value = _number(price)
        if not self.is_exact and not _needs_decimal(price, value):
            return -value if self.is_ask else value
        self.widen()
        try:
            return self.key_of(price)
        except ArithmeticError:
            raise ValueError(f"{price[:40]!r} is no price") from None

    def _admit(self, price: str) -> None:
        """Make room for a new text. Its number may be here under another, then that one goes."""
        key = self._key(price)
        former = self.text_of.get(key)
        self.text_of[key] = price
        if former is not None:
            del self.quantities[former]
            return
        insort(self.keys, key)
        if len(self.keys) > self.most_keys:
            self.quantities[price] = self.zero
            self._compact()

    def _delete(self, price: str) -> None:
        """Delete a level, which may be here under another text, or not at all: that is normal."""
        former: str | None = price
        if price not in self.quantities:
            former = self.text_of.get(self._key(price))
        if former is None or not self.quantities[former]:
            self.unknown_deletes += 1
        else:
            self.quantities[former] = ""

    def _compact(self) -> None:
        """Forget the keys of deleted levels."""
        quantities, text_of = self.quantities, self.text_of
        for key, price in list(text_of.items()):
            if not quantities[price]:
                del text_of[key], quantities[price]
        self.keys[:] = sorted(text_of)
        self.most_keys = 2 * len(self.keys) + SLACK


class Book:
    """The book of one symbol. An update that raises ValueError leaves it empty, never half applied."""

    __slots__ = ("_ask_keys", "_asks", "_bid_keys", "_bids", "_ends")

    def __init__(self, bids: Levels = (), asks: Levels = ()) -> None:
        self._bids = _Ladder(is_ask=False)
        self._asks = _Ladder(is_ask=True)
        self._bids.other, self._asks.other = self._asks, self._bids
        self._bid_keys, self._ask_keys = self._bids.keys, self._asks.keys
        self._ends: tuple[str | None, str | None] = None, None
        """How deep the last snapshot reached: below is known only what has changed since."""
        if bids or asks:
            self.replace(bids, asks)

    def __len__(self) -> int:
        return len(self._bids) + len(self._asks)

    def apply(self, bids: Levels, asks: Levels) -> None:
        """Set the levels given, delete those of quantity zero. Raises ValueError at a malformed level."""
        try:
            if bids:
                self._bids.apply(bids)
            if asks:
                self._asks.apply(asks)
        except (ValueError, TypeError, IndexError) as error:
            self.clear()
            raise ValueError(f"malformed level: {error}") from error

    def replace(self, bids: Levels, asks: Levels) -> None:
        """Begin anew with a whole book. Raises ValueError at a malformed level."""
        try:
            self._bids.replace(bids)
            self._asks.replace(asks)
        except (ValueError, TypeError, IndexError) as error:
            self.clear()
            raise ValueError(f"malformed level: {error}") from error
        self._ends = self._bids.worst(), self._asks.worst()

    def clear(self) -> None:
        self._bids.clear()
        self._asks.clear()
        self._ends = None, None

    @property
    def best_bid(self) -> Level | None:
        return self._bids.best()

    @property
    def best_ask(self) -> Level | None:
        return self._asks.best()

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        try:
            return self._bid_keys[-1] >= -self._ask_keys[-1]
        except IndexError:
            return False

    @property
    def unknown_deletes(self) -> int:
        """How many deletes met no level: normal, as levels beyond a snapshot's depth are unknown."""
        return self._bids.unknown_deletes + self._asks.unknown_deletes

    def bids(self, n: int | None = None) -> list[Level]:
        """The best `n` bids, or all, from the highest price down."""
        return self._bids.levels(n)

    def asks(self, n: int | None = None) -> list[Level]:
        """The best `n` asks, or all, from the lowest price up."""
        return self._asks.levels(n)

    def difference(self, other: Book) -> str:
        """The first level that differs, '' where none does, as deep as the snapshots of both reached."""
        if self._bids.is_exact or other._bids.is_exact:
            self._bids.widen()
            other._bids.widen()
        return self._side_difference(other, 0) or self._side_difference(other, 1)

    def _side_difference(self, other: Book, side: int) -> str:
        mine, theirs = (self._bids, other._bids) if side == 0 else (self._asks, other._asks)
        ends = [mine.key_of(end) for end in (self._ends[side], other._ends[side]) if end is not None]
        limit = max(ends, default=None)
        name = "ask" if side else "bid"
        ours, others = mine.known(limit), theirs.known(limit)
        if ours == others:
            return ""
        for (key, level), (other_key, other_level) in zip(ours, others, strict=False):
            if key != other_key or Decimal(level[1]) != Decimal(other_level[1]):
                return f"{name} {level[0]} x {level[1]} against {other_level[0]} x {other_level[1]}"
        return f"{len(ours)} {name}s against {len(others)}" if len(ours) != len(others) else ""
