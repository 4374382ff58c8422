"""Marbles: text into places and names, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.scenarios.marbles import MarbleError, Marbles, drawn, parse_marbles


@pytest.mark.parametrize(
    ("text", "places", "end"),
    [
        ("", (), None),
        ("-", ((),), None),
        ("1-2|", (("1",), (), ("2",), ()), 3),
        ("12", (("1",), ("2",)), None),
        ("(12)", (("12",),), None),
        ("a - (b, c) -", (("a",), (), ("b", "c"), ()), None),
        ("-(3,|)", ((), ("3",)), 1),
        ("|", ((),), 0),
        ("()", None, None),
    ],
)
def test_places(text: str, places: tuple[tuple[str, ...], ...] | None, end: int | None) -> None:
    if places is None:
        with pytest.raises(MarbleError, match="'' is no name"):
            parse_marbles(text)
        return
    found = parse_marbles(text)
    assert (found.places, found.end) == (places, end)


def test_where_in_the_text_a_place_begins() -> None:
    assert parse_marbles("a (b,c)-|").starts == (0, 2, 7, 8)


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("1-(2", 2, "'(' without its other bracket"),
        ("1)2", 1, "')' without its other bracket"),
        ("1|-", 2, "'-' comes after the end '|'"),
        ("1|2", 2, "'2' comes after the end '|'"),
        ("-(|,1)", 1, "in brackets the end '|' comes last"),
        ("1-#", 2, "a source that fails can't be drawn"),
        ("-,", 1, "',' is no name of an element"),
        ("(1,)", 0, "'' is no name of an element"),
        ("(a-b)", 0, "'a-b' is no name of an element"),
    ],
)
def test_what_is_no_row_of_marbles(text: str, at: int, said: str) -> None:
    with pytest.raises(MarbleError) as caught:
        parse_marbles(text)
    assert (caught.value.at, str(caught.value)) == (at, said)


def test_a_drawing_fills_up_to_its_length() -> None:
    assert drawn([(0, "1"), (2, "a"), (2, "10")], None, 5) == ["1", "-", "(a,10)", "-", "-"]
    assert drawn([], 1, 0) == ["-", "|"]
    assert drawn([(1, "x")], 1, 0) == ["-", "(x,|)"]


NAMES = st.text("abcxyz0123456789", min_size=1, max_size=3)


@given(st.lists(st.lists(NAMES, max_size=3), max_size=8), st.booleans())
def test_what_is_drawn_reads_as_it_was(places: list[list[str]], is_ended: bool) -> None:
    end = len(places) if is_ended else None
    moments = [(place, name) for place, names in enumerate(places) for name in names]
    read = parse_marbles("".join(drawn(moments, end, len(places))))
    wanted = [tuple(names) for names in places] + ([()] if is_ended else [])
    assert read == Marbles(tuple(wanted), read.starts, end)
