"""What was wanted and what came are set beside each other in the longest way there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flow.graph.tree import Faults, Tree
from flow.scenarios.difference import difference
from flow.scenarios.patterns import Pattern
from flow.scenarios.spec import Wanted
from flow.scenarios.vocabulary import Port, Vocabulary

NUMBERS = st.lists(st.integers(0, 4), max_size=8)
PORT = Port("value", int)


def compared(wanted: list[int], came: list[int], *, is_timed: bool = False) -> list[str]:
    entries = [(at if is_timed else None, Pattern(Tree.of_data(n)), "") for at, n in enumerate(wanted)]
    words = Vocabulary({}, {}, Faults("x"))
    return difference(Wanted(1, entries), list(enumerate(came)), None, PORT, words)


def longest(one: list[int], other: list[int]) -> int:
    """How long the longest common row of two lists is, by trying."""
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + longest(one[1:], other[1:])
    return max(longest(one[1:], other), longest(one, other[1:]))


@given(NUMBERS, NUMBERS)
def test_nothing_is_said_of_what_is_alike_and_all_of_the_rest(wanted: list[int], came: list[int]) -> None:
    lines = compared(wanted, came)
    if wanted == came:
        assert lines == []
        return
    rows = [line.split() for line in lines[1:]]
    marks = [row[0] if len(row) == 2 else " " for row in rows]
    common = longest(wanted, came)
    assert marks.count("-") == len(wanted) - common
    assert marks.count("+") == len(came) - common


def test_the_same_at_another_time_is_not_alike() -> None:
    assert compared([1, 2], [1, 2], is_timed=True) == []
    assert compared([2, 1], [1, 2], is_timed=True) == [
        "   at_ms  element",
        "-  0      2",
        "-  1e-06  1",
        "+  0      1",
        "+  1e-06  2",
    ]


def test_too_many_to_be_aligned_are_listed_as_they_are() -> None:
    lines = compared([1] * 1001, [2] * 1001)
    assert len(lines) == 42
    assert lines[-1] == "  ... and 1962 more"


def test_the_end_is_told_beside_rows() -> None:
    words = Vocabulary({}, {}, Faults("x"))
    never = difference(Wanted(1, [], is_ended=True, completed_ns=5_000_000), [], None, PORT, words)
    assert never[-1] == "expected the end at 5 ms, it came never"
    late = difference(Wanted(1, [], is_ended=True, completed_ns=5_000_000), [], 7_500_000, PORT, words)
    assert late[-1] == "expected the end at 5 ms, it came at 7.5 ms"
