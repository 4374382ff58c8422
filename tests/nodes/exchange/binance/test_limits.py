from __future__ import annotations

from nodes.exchange import LimitParams
from nodes.exchange.binance.limits import ConnectLimit, MessageLimit, WeightLimit

MINUTE_MS = 60_000
START_MS = 28_000_000 * MINUTE_MS + 15_000


def test_weight_counts_up_and_starts_again_every_minute() -> None:
    weights = WeightLimit(LimitParams(weight_per_min=100))
    assert weights.charge(60, START_MS) is None
    assert weights.charge(40, START_MS + 1) is None
    assert weights.used == 100
    assert weights.charge(5, START_MS + MINUTE_MS) is None
    assert weights.used == 5


def test_too_much_weight_is_429_until_the_minute_is_over() -> None:
    weights = WeightLimit(LimitParams(weight_per_min=100))
    weights.charge(100, START_MS)
    refusal = weights.charge(1, START_MS)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s) == (429, 45)
    assert refusal.msg == (
        "Too much request weight used; current limit is 100 request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
    assert weights.charge(1, START_MS + 45_000) is None


def test_who_goes_on_is_banned() -> None:
    weights = WeightLimit(LimitParams(weight_per_min=10, refusals_before_ban=3, ban_s=120))
    weights.charge(10, START_MS)
    refusals = [weights.charge(1, START_MS + number) for number in range(4)]
    assert [refusal.status for refusal in refusals if refusal] == [429, 429, 429, 418]
    until = START_MS + 3 + 120_000
    later = weights.charge(1, START_MS + 60_003)
    assert later is not None
    assert (later.status, later.retry_after_s) == (418, 60)
    assert later.msg == (
        f"Way too much request weight used; IP banned until {until}. "
        "Please use WebSocket Streams for live updates to avoid bans."
    )
    assert weights.charge(1, until) is None


def test_five_messages_a_second_are_allowed() -> None:
    messages = MessageLimit(LimitParams())
    assert [messages.allows(START_MS + number * 100) for number in range(6)] == [True] * 5 + [False]
    assert messages.allows(START_MS + 1000)
    assert not messages.allows(START_MS + 1001)


def test_connection_attempts_are_counted_over_five_minutes() -> None:
    connects = ConnectLimit(LimitParams(connects_per_5_min=2))
    assert connects.allows(START_MS)
    assert connects.allows(START_MS + 1000)
    assert not connects.allows(START_MS + 2000)
    assert connects.retry_after_s(START_MS + 2000) == 298
    assert connects.allows(START_MS + 300_000)
