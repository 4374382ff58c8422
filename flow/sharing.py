"""Token buckets, and budgets that several consumers share.

A `Share` is a budget of `total_per_s` events a second. Each member is guaranteed
`total_per_s` x its bandwidth / all bandwidths, which fills a bucket of its own; what it does not use, the
others may borrow. For that there is a common bucket: it fills at `total_per_s`, holds more than the members'
buckets together, and pays for every event. A member borrows only while more is left in it than fills the
buckets of all others, so that a token of its own is always covered, whatever the others do.

In any `t` seconds the members together pass at most `total_per_s` x (2 x `BURST_S` + `t`) events; where that
holds less, 3 for each member besides `total_per_s` x `t`. Where several wait, who has borrowed less for its
bandwidth borrows first. Nothing here sets a timer; an idle member costs nothing.
"""

from __future__ import annotations

import math
from typing import Final

from reactivex.abc import SchedulerBase

from flow.errors import ConfigurationError

__all__ = ["BURST_S", "LEAST_PART", "Allowance", "Bucket", "Share", "Ticks"]

BURST_S: Final = 0.1
"""How much of a bandwidth, or of a total, may leave at once, in seconds."""
LEAST_PART: Final = 0.25
"""The part of its bandwidth that a member of a share is guaranteed at least."""
_NEARLY: Final = 1e-6
"""A token that lacks no more than this is whole; what it lacks is owed, so that no error adds up."""
_US: Final = 1_000_000


class Ticks:
    """A graph's schedulers' time in µs; one that is set back goes on from where it was."""

    def __init__(self, _: object = None) -> None:
        self.latest_us = 0
        self.ahead_us = 0

    def now_us(self, scheduler: SchedulerBase) -> int:
        now_us = round(scheduler.now.timestamp() * _US) + self.ahead_us
        if now_us < self.latest_us:
            self.ahead_us += self.latest_us - now_us
            return self.latest_us
        self.latest_us = now_us
        return now_us


class Bucket:
    """Fills at `rate_per_s` up to `depth` tokens, and starts full."""

    __slots__ = ("at_us", "depth", "rate_per_us", "tokens")

    def __init__(self, rate_per_s: float, depth: float) -> None:
        self.rate_per_us = rate_per_s / _US
        self.tokens = self.depth = depth
        self.at_us = 0

    def fill(self, now_us: int) -> float:
        """What is there now."""
        if now_us > self.at_us:
            self.tokens = min(self.depth, self.tokens + (now_us - self.at_us) * self.rate_per_us)
            self.at_us = now_us
        return self.tokens

    def take(self, now_us: int) -> bool:
        """Take a token, if there is one."""
        if self.fill(now_us) < 1 - _NEARLY:
            return False
        self.tokens -= 1
        return True

    def wait_us(self) -> int:
        """How long after the last `fill` there is a whole token."""
        return _wait_us(1 - self.tokens, self.rate_per_us)


def _whole(tokens: float) -> int:
    return max(0, int(tokens + _NEARLY))


def _wait_us(lacking: float, rate_per_us: float) -> int:
    return math.ceil((lacking - _NEARLY) / rate_per_us) if lacking > _NEARLY else 0


class Share:
    """A budget, and those who have a part in it."""

    def __init__(self, name: str, total_per_s: float) -> None:
        self.name = name
        self.total_per_s = total_per_s
        self.announced_per_s = 0.0
        self.members: list[Allowance] = []
        self.common = Bucket(total_per_s, 0.0)
        self.kept = 0.0
        """What has to stay in the common bucket for the others when one of them borrows."""
        self.turn = 0.0
        """The least account among those that borrow: nobody's counts as lower, or idleness would be saved
        up."""

    def announce(self, bandwidth_per_s: float) -> None:
        """Say what a member will subscribe to. Raises `ConfigurationError` where that voids the guarantee."""
        announced = self.announced_per_s + bandwidth_per_s
        if self.total_per_s < LEAST_PART * announced * (1 - _NEARLY):
            raise ConfigurationError(
                f"the share {self.name!r} has {self.total_per_s:g} events/s for subscriptions of "
                f"{announced:g}; each is to get {LEAST_PART:.0%} at least, so the total has to be "
                f"{LEAST_PART * announced:g} or more"
            )
        self.announced_per_s = announced

    def join(self, member: Allowance) -> None:
        """Take a member in. The first finds all buckets full, others their part of what is there."""
        if not self.members:
            self.common.tokens = math.inf
        self._divide([*self.members, member])

    def leave(self, member: Allowance) -> None:
        """Let a member go; the others have its part."""
        self._divide([one for one in self.members if one is not member])

    def _divide(self, members: list[Allowance]) -> None:
        """Fill all buckets up to when somebody last looked; from then on the new parts hold."""
        subscribed, count = sum(one.bandwidth_per_s for one in members), max(1, len(members))
        common = self.common
        depth = max(2.0, self.total_per_s * BURST_S / count)
        common.depth = depth * count + max(1.0, self.total_per_s * BURST_S)
        common.tokens = spare = min(common.tokens, common.depth)
        for one in members:
            own = one.own
            own.fill(common.at_us)
            own.depth = depth
            own.rate_per_us = common.rate_per_us * one.bandwidth_per_s / subscribed
            own.tokens = min(depth, spare, own.tokens if one in self.members else depth)
            own.at_us = common.at_us
            spare -= own.tokens
        self.kept = depth * (count - 1)
        self.members = members


class Allowance:
    """What one consumer may pass: its bandwidth, and its part of a share, where there is one.

    `available` says how many events may pass, `spend` that they have.
    """

    def __init__(self, bandwidth_per_s: float, share: Share | None = None) -> None:
        self.bandwidth_per_s = bandwidth_per_s
        self.bandwidth = Bucket(bandwidth_per_s, max(1.0, bandwidth_per_s * BURST_S))
        self.share = share
        self.own = Bucket(bandwidth_per_s, 0.0)
        """What is guaranteed of the share, which sets it."""
        self.account = 0.0
        """What was borrowed, in seconds of the bandwidth."""
        self.is_waiting = False
        """Whether it would pass more if the share gave more."""
        if share is not None:
            share.join(self)

    def available(self, now_us: int) -> int:
        """How many events may pass now."""
        most = _whole(self.bandwidth.fill(now_us))
        if most == 0 or self.share is None:
            return most
        self.share.common.fill(now_us)
        return min(most, _whole(self.own.fill(now_us)) + _whole(self._to_borrow(self.share)))

    def spend(self, count: int) -> None:
        """So many of those that were available have passed: first what is guaranteed, the rest borrowed."""
        self.bandwidth.tokens -= count
        share = self.share
        if share is None:
            return
        guaranteed = min(count, _whole(self.own.tokens))
        self.own.tokens -= guaranteed
        share.common.tokens -= count
        if count > guaranteed:
            begin = max(self.account, share.turn)
            self.account = begin + (count - guaranteed) / self.bandwidth_per_s
            least = min([begin, *(other.account for other in self._others_waiting(share))])
            share.turn = max(share.turn, least)

    def leave(self) -> None:
        """Have no part any more."""
        self.is_waiting = False
        if self.share is not None:
            self.share.leave(self)

    def wants_more(self, *, is_more: bool) -> None:
        """Whether events wait. One that only its own bandwidth holds back does not keep others from
        borrowing."""
        self.is_waiting = is_more and _whole(self.bandwidth.tokens) > 0

    def wait_us(self, now_us: int) -> int:
        """How long until an event may pass, if others take nothing until then."""
        wait_us = self.bandwidth.wait_us() if _whole(self.bandwidth.fill(now_us)) == 0 else 0
        share = self.share
        if share is None:
            return wait_us
        self.own.fill(now_us)
        share.common.fill(now_us)
        part_us = self.own.wait_us()
        surplus_per_us = share.common.rate_per_us - self.own.rate_per_us
        if len(share.members) > 1:
            part_us = min(part_us, _wait_us(1 - self._to_borrow(share), surplus_per_us))
        return max(wait_us, part_us)

    def _to_borrow(self, share: Share) -> float:
        """What is in the common bucket beyond what is kept: for oneself, to fill the others' buckets, and for
        those that wait and have borrowed less."""
        mine = max(self.account, share.turn)
        owed = 0.0
        for other in self._others_waiting(share):
            owed += max(0.0, mine - max(other.account, share.turn)) * other.bandwidth_per_s
        return share.common.tokens - self.own.tokens - share.kept - owed

    def _others_waiting(self, share: Share) -> list[Allowance]:
        return [other for other in share.members if other.is_waiting and other is not self]
