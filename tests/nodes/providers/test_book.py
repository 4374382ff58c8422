"""The book against a naive model of Decimals, and what malformed levels do to it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.providers.book import SLACK, Book

Levels = list[tuple[str, str]]


class Model:
    """One side, by number: the last text of a price and its quantity."""

    def __init__(self) -> None:
        self.levels: dict[Decimal, tuple[str, str]] = {}
        self.unknown_deletes = 0

    def apply(self, levels: Levels) -> None:
        for price, quantity in levels:
            if Decimal(quantity) != 0:
                self.levels[Decimal(price)] = (price, quantity)
            elif self.levels.pop(Decimal(price), None) is None:
                self.unknown_deletes += 1

    def sorted(self, *, is_ask: bool) -> Levels:
        return [self.levels[price] for price in sorted(self.levels, reverse=not is_ask)]


def written(number: int, decimals: int, zeros: int) -> str:
    text = f"{number / 10**decimals:.{decimals}f}"
    return text + ("0" * zeros if "." in text else "." + "0" * zeros if zeros else "")


short_prices = st.builds(written, st.integers(1, 60), st.integers(0, 2), st.integers(0, 3))
long_prices = st.integers(10**19, 10**19 + 40).map(lambda n: f"{n // 10**4}.{n % 10**4:04d}")
quantities = st.one_of(
    st.sampled_from(["0", "0.0", "0.00000000", "1", "0.5", "0.05000000", "10.00000000", "7.25", "1e-7"]),
    st.integers(0, 10**12).map(lambda n: f"{n // 10**8}.{n % 10**8:08d}"),
)


def updates(prices: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[Levels, Levels]]]:
    side = st.lists(st.tuples(prices, quantities), max_size=6)
    return st.lists(st.tuples(side, side), max_size=30)


def check_against_model(changes: list[tuple[Levels, Levels]]) -> None:
    book, bids, asks = Book(), Model(), Model()
    for bid_levels, ask_levels in changes:
        book.apply(bid_levels, ask_levels)
        bids.apply(bid_levels)
        asks.apply(ask_levels)
        best_bids, best_asks = bids.sorted(is_ask=False), asks.sorted(is_ask=True)
        assert book.bids() == best_bids
        assert book.asks() == best_asks
        assert book.bids(3) == best_bids[:3]
        assert book.best_bid == (best_bids[0] if best_bids else None)
        assert book.best_ask == (best_asks[0] if best_asks else None)
        assert len(book) == len(best_bids) + len(best_asks)
        assert book.unknown_deletes == bids.unknown_deletes + asks.unknown_deletes
        crossed = best_bids and best_asks and Decimal(best_bids[0][0]) >= Decimal(best_asks[0][0])
        assert book.is_crossed == bool(crossed)
    whole = Book(book.bids(), book.asks())
    assert (whole.bids(), whole.asks()) == (book.bids(), book.asks())
    assert whole.difference(book) == ""


@given(updates(short_prices))
def test_equals_the_model(changes: list[tuple[Levels, Levels]]) -> None:
    check_against_model(changes)


@given(updates(st.one_of(short_prices, long_prices)))
def test_equals_the_model_with_prices_that_no_float_tells_apart(
    changes: list[tuple[Levels, Levels]],
) -> None:
    check_against_model(changes)


@given(updates(short_prices), updates(short_prices))
def test_replace_forgets_everything_before(
    before: list[tuple[Levels, Levels]], after: list[tuple[Levels, Levels]]
) -> None:
    book, fresh = Book(), Book()
    for bids, asks in before:
        book.apply(bids, asks)
    for bids, asks in after:
        book.replace(bids, asks)
        fresh = Book(bids, asks)
        assert (book.bids(), book.asks()) == (fresh.bids(), fresh.asks())
        model = Model()
        model.apply(bids)
        assert book.bids() == model.sorted(is_ask=False)


def test_one_number_in_two_texts_is_one_level() -> None:
    book = Book([("83284.1", "1")], [])
    book.apply([("83284.10", "2")], [])
    assert book.bids() == [("83284.10", "2")]
    book.apply([("83284.1", "0")], [])
    assert book.bids() == []
    assert book.unknown_deletes == 0


def test_keeps_the_exchanges_own_digits() -> None:
    book = Book([("0.35210000", "672.00000000")], [("0.35220000", "1.50")])
    assert book.best_bid == ("0.35210000", "672.00000000")
    assert book.best_ask == ("0.35220000", "1.50")


def test_a_price_too_long_for_a_float_turns_both_sides_over() -> None:
    book = Book([("1.5", "1")], [("2.0000000000000001", "1"), ("2.00000000000000011", "3"), ("2.5", "1")])
    book.apply([("2.00000000000000005", "4")], [])
    assert not book.is_crossed
    assert [price for price, _ in book.asks()] == ["2.0000000000000001", "2.00000000000000011", "2.5"]
    book.apply([("2.0000000000000001", "4")], [("2.50", "9")])
    assert book.is_crossed
    assert book.asks()[-1] == ("2.50", "9")


def test_a_deleted_level_that_returns_is_found_again() -> None:
    book = Book([("3", "1"), ("2", "1"), ("1", "1")], [])
    book.apply([("2", "0")], [])
    book.apply([("3", "0")], [])
    assert book.best_bid == ("1", "1")
    book.apply([("2", "5")], [])
    assert book.bids() == [("2", "5"), ("1", "1")]


def test_keys_of_deleted_levels_do_not_gather_without_end() -> None:
    book = Book([("1000000", "1")], [])
    for price in range(1, 5000):
        book.apply([(str(price), "1")], [])
        book.apply([(str(price), "0")], [])
    assert len(book) == 1
    assert len(book._bid_keys) <= SLACK + 3


@pytest.mark.parametrize(
    "level",
    [
        ("1.0", "abc"),
        ("1.0", "NaN"),
        ("1.0", "inf"),
        ("1.0", "-1"),
        ("1.0", ""),
        ("1.0", " 1"),
        ("1.0", "1x"),
        ("1.0", None),
        ("1.0",),
        ("1.0", "1", "2"),
        ("abc", "1"),
        ("NaN", "1"),
        ("Infinity", "1"),
        ("-1", "1"),
        ("", "1"),
        ("1_0", "1"),
        ("1e999", "1"),
        ("1e-99999999999999999999", "1"),
        ("٣", "1"),
        (None, "1"),
        (7, "1"),
        None,
    ],
)
@pytest.mark.parametrize("how", ["bids", "asks", "snapshot"])
def test_a_malformed_level_raises_and_leaves_nothing_half_applied(level: object, how: str) -> None:
    book = Book([("1.0", "1"), ("2.0", "1")], [("3.0", "1")])
    levels: list[object] = [("2.0", "5"), level, ("1.5", "1")]
    change: Any = book.replace if how == "snapshot" else book.apply
    sides = ([], levels) if how == "asks" else (levels, [])
    with pytest.raises(ValueError, match="malformed level"):
        change(*sides)
    assert len(book) == 0
    assert book.best_bid is None
    book.replace([("1.0", "1")], [])
    assert book.bids() == [("1.0", "1")]


def test_a_locked_book_is_crossed_and_a_one_sided_one_is_not() -> None:
    assert Book([("2.0", "1")], [("2", "1")]).is_crossed
    assert not Book([("2.0", "1")], []).is_crossed
    assert not Book().is_crossed


def test_difference_names_the_first_level_that_differs() -> None:
    book = Book([("3", "1"), ("2", "1.0")], [("4", "1")])
    assert book.difference(Book([("3.0", "1.00"), ("2", "1")], [("4", "1")])) == ""
    assert "bid 2" in book.difference(Book([("3", "1"), ("2", "1.1")], [("4", "1")]))
    assert book.difference(Book([("3", "1"), ("2", "1")], [("5", "1")])) == "1 asks against 0"


def test_difference_looks_no_deeper_than_both_snapshots_reached() -> None:
    book = Book([("5", "1"), ("4", "1"), ("3", "1")], [])
    assert book.difference(Book([("5", "1"), ("4", "1")], [])) == ""
    shallow = Book([("5", "1"), ("4", "1")], [])
    shallow.apply([("2", "9")], [])
    assert book.difference(shallow) == ""
