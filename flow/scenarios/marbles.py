"""Marbles: what happens on a line of virtual time, as text.

    1-2---(3,4)-5|     one place is one step of time

`-` is a place where nothing happens, any other character an element with that name. Brackets are one place:
several names at the same moment, or one that is longer than a character, as in `(10)`. `|` is the end, alone
or last in a bracket. Spaces mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["END", "NAME", "Cells", "MarbleError", "Marbles", "drawn", "parse_marbles"]

END: Final = "|"
NAME: Final = re.compile(r"[^\s()|,#-]+")
_PLACE: Final = re.compile(r"\(([^()]*)\)|([^\s()])")

Cells = list[str]
"""A drawing, a text for each place."""


class MarbleError(ValueError):
    """Why a text is no row of marbles. `at` is the place in the text, from 0."""

    def __init__(self, at: int, message: str) -> None:
        self.at = at
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Marbles:
    """Names by place, where in the text each place begins, and the place of the end if there is one."""

    places: tuple[tuple[str, ...], ...] = ()
    starts: tuple[int, ...] = ()
    end: int | None = None


def parse_marbles(text: str) -> Marbles:
    """Raises `MarbleError`."""
    places: list[tuple[str, ...]] = []
    starts: list[int] = []
    end: int | None = None
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found = _PLACE.match(text, at)
        if found is None:
            raise MarbleError(at, f"{text[at]!r} without its other bracket")
        if end is not None:
            raise MarbleError(at, f"{text[at]!r} comes after the end '|'")
        names = _names(found, at)
        if END in names:
            end = len(places)
        places.append(tuple(name for name in names if name != END))
        starts.append(at)
        at = found.end()
    return Marbles(tuple(places), tuple(starts), end)


def _names(found: re.Match[str], at: int) -> list[str]:
    group, single = found.groups()
    names = (
        ([] if single == "-" else [single]) if group is None else [part.strip() for part in group.split(",")]
    )
    for number, name in enumerate(names):
        if name == END and number < len(names) - 1:
            raise MarbleError(at, "in brackets the end '|' comes last")
        if name != END and not NAME.fullmatch(name):
            why = (
                "a source that fails can't be drawn" if name == "#" else f"{name!r} is no name of an element"
            )
            raise MarbleError(at, why)
    return names


def drawn(moments: Iterable[tuple[int, str]], end: int | None, length: int) -> Cells:
    """Names at their places, each (place, name) in order of place; at least `length` places."""
    cells: dict[int, list[str]] = {}
    for place, name in moments:
        cells.setdefault(place, []).append(name)
    if end is not None:
        cells.setdefault(end, []).append(END)
    count = max([length, *(place + 1 for place in cells)])
    return [_cell(cells.get(place, ())) for place in range(count)]


def _cell(names: Sequence[str]) -> str:
    if not names:
        return "-"
    return names[0] if len(names) == 1 and len(names[0]) == 1 else f"({','.join(names)})"
