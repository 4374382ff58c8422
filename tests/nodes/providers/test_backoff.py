from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.providers.backoff import Backoff


@given(seed=st.integers(), attempts=st.integers(1, 80))
def test_each_delay_is_below_its_doubled_bound_and_the_cap(seed: int, attempts: int) -> None:
    backoff = Backoff(Random(seed), first_s=0.5, cap_s=10.0)
    for attempt in range(attempts):
        assert 0.0 <= backoff.next_s() <= min(10.0, 0.5 * 2**attempt)


def test_the_delays_grow_and_are_spread_over_the_whole_interval() -> None:
    backoff = Backoff(Random(1), first_s=1.0, cap_s=64.0)
    for _ in range(6):
        backoff.next_s()
    capped = [backoff.next_s() for _ in range(400)]
    assert min(capped) < 6.4
    assert max(capped) > 57.6
    assert 28 < sum(capped) / len(capped) < 36


def test_what_lasted_long_enough_starts_from_the_first_delay_again() -> None:
    backoff = Backoff(Random(1), first_s=0.1, cap_s=100.0, stable_after_s=60.0)
    for _ in range(12):
        backoff.next_s(lasted_s=59.9)
    assert max(backoff.next_s() for _ in range(50)) > 1.0
    assert backoff.next_s(lasted_s=60.0) <= 0.1


def test_reset_starts_from_the_first_delay_again() -> None:
    backoff = Backoff(Random(1), first_s=0.1, cap_s=100.0)
    for _ in range(12):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 0.1


def test_the_same_seed_gives_the_same_delays() -> None:
    first, second = Backoff(Random(3)), Backoff(Random(3))
    assert [first.next_s() for _ in range(9)] == [second.next_s() for _ in range(9)]


@pytest.mark.parametrize(("first_s", "cap_s"), [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_bounds_that_make_no_sense_are_refused(first_s: float, cap_s: float) -> None:
    with pytest.raises(ValueError, match="0 < first <= cap"):
        Backoff(Random(1), first_s=first_s, cap_s=cap_s)
