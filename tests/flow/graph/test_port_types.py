"""Which port fits which."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NewType, Protocol, TypeVar

import pytest

from flow.graph.port_types import fits, joined, resolved, type_name

T = TypeVar("T")
Number = TypeVar("Number", int, str)


class Above:
    """A class."""


class Below(Above):
    """A subclass."""


Bounded = TypeVar("Bounded", bound=Above)
Id = NewType("Id", int)


class Shape(Protocol):
    """Not to be judged at run time."""

    def area(self) -> float: ...


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        (int, int, True), (bool, int, True), (int, bool, False), (int, float, True), (str, int, False),
        (Below, Above, True), (Above, Below, False), (Any, Below, True), (Above, Any, True),
        (Above, object, True),
        (int | str, int | str | None, True), (int | None, int, False), (None, int | None, True),
        (int, str | int, True),
        (Annotated[int, "x"], int, True), (int, Annotated[int, "x"], True), (Id, int, True),
        (tuple[Below, bytes], tuple[Above, bytes], True), (tuple[Above, bytes], tuple[Below, bytes], False),
        (tuple[int, int], tuple[int, ...], True), (tuple[int, ...], tuple[int, int], False),
        (tuple[int], tuple[int, int], False),
        (list[Below], Sequence[Above], True), (list[int], list, True), (list, list[int], True),
        (list[int], set[int], False),
        (dict[str, int], dict[str, str], False), (Literal[1], int, True), (Literal[1, "a"], int, False),
        (Literal[1], Literal[1, 2], True), (Literal[3], Literal[1, 2], False), (Above, Shape, True),
        (Below, Bounded, True), (int, Bounded, False), (int, Number, True), (float, Number, False),
        (T, int, True),
    ],
)  # fmt: skip
def test_what_fits(given: Any, wanted: Any, expected: bool) -> None:
    assert fits(given, wanted, {}) is expected


def test_a_variable_is_bound_to_all_that_came_in() -> None:
    bindings: dict[Any, Any] = {}
    assert fits(int, T, bindings)
    assert fits(str, T, bindings)
    assert resolved(T, bindings) == int | str
    assert resolved(list[T], bindings) == list[int | str]
    assert resolved(T | None, bindings) == int | str | None


def test_a_variable_inside_of_a_type_is_bound_too() -> None:
    bindings: dict[Any, Any] = {}
    assert fits(list[int], list[T], bindings)
    assert resolved(T, bindings) is int
    assert fits(Below, T | None, bindings)
    assert resolved(T, bindings) == int | Below


def test_unbound_variables_stand_for_their_bound() -> None:
    assert resolved(T, {}) is Any
    assert resolved(Bounded, {}) is Above
    assert resolved(Number, {}) == int | str
    assert joined([int, Any]) is Any
    assert joined([]) is Any


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (Above, "Above"), (int | None, "int | None"), (tuple[Above, ...], "tuple[Above, ...]"),
        (Any, "anything"),
        (Literal["a"], "'a'"), (T, "T"), (Bounded, "Above"), (list[int | str], "list[int | str]"),
        (Id, "int"),
    ],
)  # fmt: skip
def test_types_have_short_names(declared: Any, expected: str) -> None:
    assert type_name(declared) == expected
