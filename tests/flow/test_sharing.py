"""Buckets and shares: what is guaranteed whatever others do, what is lent, and never more than there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import ConfigurationError
from flow.sharing import BURST_S, Allowance, Bucket, Share, Ticks

S = 1_000_000
"""Microseconds."""


def take(member: Allowance, wanted: int, now_us: int) -> int:
    """Pass up to `wanted`, and leave word whether more would have."""
    count = min(wanted, member.available(now_us))
    member.spend(count)
    member.wants_more(is_more=count < wanted)
    return count


def members(total: float, *bandwidths: float) -> list[Allowance]:
    share = Share("test", total)
    return [Allowance(bandwidth, share) for bandwidth in bandwidths]


def over(seconds: float, wants: dict[Any, int], step_us: int = 1000, begin_us: int = 0) -> dict[Any, int]:
    """What each member passes, wanting so many at each step, for some seconds after a first step."""
    for member, wanted in wants.items():
        take(member, wanted, begin_us)
    passed = dict.fromkeys(wants, 0)
    for now_us in range(begin_us + step_us, begin_us + round(seconds * S) + 1, step_us):
        for member, wanted in wants.items():
            passed[member] += take(member, wanted, now_us)
    return passed


def test_a_bucket_starts_full_and_holds_no_more_than_its_depth() -> None:
    bucket = Bucket(10, 2)
    assert [bucket.take(0) for _ in range(3)] == [True, True, False]
    assert bucket.wait_us() == 100_000
    assert [bucket.take(100 * S) for _ in range(3)] == [True, True, False]
    assert bucket.fill(99 * S) == 0
    assert bucket.fill(100 * S + 100_000) == pytest.approx(1)


def test_a_token_is_there_when_the_wait_is_over_and_not_before() -> None:
    bucket = Bucket(3, 1)
    due_us = 0
    for _ in range(1000):
        assert bucket.take(due_us)
        due_us += bucket.wait_us()
        assert not bucket.take(due_us - 1)
    assert due_us == pytest.approx(1000 / 3 * S, rel=1e-6)


def test_an_allowance_without_a_share_is_its_bandwidth() -> None:
    allowance = Allowance(100)
    assert allowance.available(0) == 100 * BURST_S
    assert over(10, {allowance: 1000})[allowance] == 1000
    assert 0 < allowance.wait_us(10 * S) <= S / 100


def test_a_member_gets_its_part_while_others_take_all_they_can() -> None:
    greedy, modest = members(100, 300, 100)
    passed = over(10, {greedy: 1000, modest: 1000})
    assert passed[greedy] == pytest.approx(750, abs=12)
    assert passed[modest] == pytest.approx(250, abs=12)


def test_what_one_does_not_use_the_others_borrow() -> None:
    greedy, modest = members(100, 300, 100)
    assert over(10, {greedy: 1000})[greedy] == pytest.approx(1000, abs=2)
    greedy, modest = members(100, 300, 100)
    assert over(10, {modest: 1000})[modest] == pytest.approx(1000, abs=2)
    assert modest.bandwidth_per_s == 100


def test_bandwidth_bounds_what_is_borrowed() -> None:
    greedy, _ = members(100, 40, 40)
    assert over(10, {greedy: 1000})[greedy] == pytest.approx(400, abs=2)


def test_a_token_of_ones_own_is_there_at_once_after_others_borrowed_all() -> None:
    greedy, modest = members(100, 200, 200)
    over(10, {greedy: 1000})
    assert modest.available(10 * S) == 5


@pytest.mark.parametrize(("step_us", "wanted"), [(100, 1), (1000, 1000), (50_000, 1000)])
def test_two_that_wait_borrow_alike(step_us: int, wanted: int) -> None:
    first, second, _ = members(1000, 1000, 1000, 1000)
    passed = over(4, {first: wanted, second: wanted}, step_us)
    assert passed[first] + passed[second] == pytest.approx(4000, abs=200)
    assert passed[first] == pytest.approx(passed[second], rel=0.05)


def test_those_that_wait_borrow_by_their_bandwidth() -> None:
    wide, narrow, _ = members(1000, 1500, 500, 1000)
    passed = over(4, {wide: 1000, narrow: 1000})
    assert passed[wide] == pytest.approx(3 * passed[narrow], rel=0.1)


def test_who_never_asked_has_no_claim_for_the_past() -> None:
    first, second, _ = members(1000, 1000, 1000, 1000)
    over(10, {first: 1000})
    passed = over(4, {first: 1000, second: 1000}, begin_us=10 * S)
    assert passed[first] == pytest.approx(passed[second], rel=0.05)


def test_one_that_only_its_bandwidth_holds_back_keeps_nothing_from_others() -> None:
    greedy, other, _ = members(1000, 2000, 1000, 1000)
    over(1, {greedy: 1000}, step_us=50_000)
    assert other.available(S) == 33
    other.wants_more(is_more=True)
    assert greedy.available(S + 10_000) == 5, "its own only, as it has just borrowed 25 and the other nothing"
    other.bandwidth.tokens = 0.5
    other.wants_more(is_more=True)
    assert greedy.available(S + 10_000) == 10


@pytest.mark.parametrize("bandwidths", [(50, 20, 30), (10, 1, 389)])
def test_the_wait_ends_when_an_event_may_pass_and_not_before(bandwidths: tuple[float, ...]) -> None:
    everyone = members(100, *bandwidths)
    now_us = 0
    for _ in range(200):
        for member in everyone:
            take(member, 1000, now_us)
        waits = [member.wait_us(now_us) for member in everyone]
        assert all(member.available(now_us + min(waits) - 2) == 0 for member in everyone)
        now_us += min(waits)
        assert sum(member.available(now_us + 1) for member in everyone) >= 1


@given(
    bandwidths=st.lists(st.floats(1, 1000), min_size=1, max_size=5),
    spare=st.floats(0.25, 3),
    steps=st.lists(
        st.tuples(st.integers(0, 400_000), st.integers(0, 4), st.integers(0, 300)), min_size=1, max_size=80
    ),
)
def test_nobody_falls_short_and_never_more_than_the_total(
    bandwidths: list[float], spare: float, steps: list[tuple[int, int, int]]
) -> None:
    total = spare * sum(bandwidths)
    everyone = members(total, *bandwidths)
    depth = max(2 * total * BURST_S, 3 * len(everyone))
    now_us, passed = 0, 0
    for wait_us, which, wanted in steps:
        now_us += wait_us
        member = everyone[which % len(everyone)]
        due = min(int(member.own.fill(now_us)), int(member.bandwidth.fill(now_us)))
        count = take(member, wanted, now_us)
        assert count >= min(wanted, due)
        passed += count
        assert passed <= depth + total * now_us / S + 1e-3
        covered = sum(member.own.fill(now_us) for member in everyone)
        assert everyone[0].share is not None
        assert everyone[0].share.common.fill(now_us) >= covered - 1e-3


def test_a_quarter_of_each_bandwidth_is_the_least_that_a_share_may_guarantee() -> None:
    share = Share("test", 25)
    share.announce(60)
    share.announce(40)
    with pytest.raises(ConfigurationError, match=r"'test' has 25 events/s .* of 101; .*25\.25"):
        share.announce(1)
    assert share.announced_per_s == 100


def test_who_leaves_leaves_its_part_to_the_others_and_who_comes_gets_one() -> None:
    first, second = members(100, 60, 40)
    assert [one.own.rate_per_us * S for one in (first, second)] == pytest.approx([60, 40])
    over(1, {first: 1000, second: 1000})
    second.leave()
    second.leave()
    assert first.own.rate_per_us * S == pytest.approx(100)
    third = Allowance(180, first.share)
    assert [one.own.rate_per_us * S for one in (first, third)] == pytest.approx([25, 75])
    passed = over(4, {first: 1000, third: 1000}, begin_us=S)
    assert [passed[first], passed[third]] == pytest.approx([100, 300], abs=10)


def test_who_comes_takes_nothing_of_what_others_have_saved() -> None:
    first, second = members(100, 200, 200)
    take(first, 1000, 0)
    assert take(first, 1000, 10_000) == 0
    take(second, 1000, 50_000)
    Allowance(100, first.share)
    assert first.own.fill(50_000) == pytest.approx(2.5, abs=0.6)
    assert first.available(50_000) >= 2


def test_whoever_comes_and_goes_nobody_is_given_more_than_there_is() -> None:
    share = Share("test", 100)
    stays = Allowance(100, share)
    passed = 0
    for now_us in range(0, 10 * S, 10_000):
        passed += take(stays, 1000, now_us)
        comes = Allowance(100, share)
        passed += take(comes, 1000, now_us + 5000)
        comes.leave()
        assert share.common.tokens >= stays.own.tokens - 1e-6
    assert passed == pytest.approx(100 * (10 + 2 * BURST_S), abs=4)


def test_a_share_that_all_have_left_begins_anew() -> None:
    share = Share("test", 100)
    counts = []
    for _ in range(2):
        only = Allowance(400, share)
        counts.append(take(only, 1000, S))
        only.leave()
    assert counts[0] == counts[1] >= 10


class Clock:
    """A scheduler whose time is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2024, 1, 1, tzinfo=UTC)

    def go(self, **by: float) -> Any:
        self.now += timedelta(**by)
        return self


def test_time_that_is_set_back_goes_on_from_where_it_was() -> None:
    ticks, clock = Ticks(), Clock()
    begun_us = ticks.now_us(clock.go())
    assert ticks.now_us(clock.go(seconds=2)) == begun_us + 2 * S
    assert ticks.now_us(clock.go(hours=-1)) == begun_us + 2 * S
    assert ticks.now_us(clock.go(microseconds=1)) == begun_us + 2 * S + 1
    assert ticks.now_us(clock.go(hours=-1)) == begun_us + 2 * S + 1
    assert ticks.now_us(clock.go(seconds=1)) == begun_us + 3 * S + 1
