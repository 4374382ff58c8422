from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.providers.limits import Gate, SlidingWindow, TokenBucket

Virtually = Callable[[Any], Any]


def now() -> float:
    return asyncio.get_running_loop().time()


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate(virtually: Virtually) -> None:
    async def main() -> list[float]:
        bucket = TokenBucket(2.0, 3)
        times = []
        for _ in range(7):
            await bucket.acquire()
            times.append(now())
        return times

    assert virtually(main()) == pytest.approx([0, 0, 0, 0.5, 1.0, 1.5, 2.0])


def test_a_bucket_saves_up_no_more_than_its_burst(virtually: Virtually) -> None:
    async def main() -> tuple[float, float]:
        bucket = TokenBucket(10.0, 2)
        await bucket.acquire(2)
        await asyncio.sleep(100)
        await bucket.acquire(2)
        at_once = now()
        await bucket.acquire()
        return at_once, now()

    assert virtually(main()) == pytest.approx((100.0, 100.1))


def test_a_bucket_serves_in_the_order_of_asking(virtually: Virtually) -> None:
    async def main() -> list[str]:
        bucket, served = TokenBucket(1.0, 5), []

        async def take(name: str, n: float) -> None:
            await bucket.acquire(n)
            served.append(name)

        async with asyncio.TaskGroup() as group:
            for name, n in (("first", 5), ("large", 4), ("small", 1), ("smaller", 0.5)):
                group.create_task(take(name, n))
        return served

    assert virtually(main()) == ["first", "large", "small", "smaller"]


def test_more_than_the_burst_is_paid_off_by_the_next(virtually: Virtually) -> None:
    async def main() -> list[float]:
        bucket, times = TokenBucket(1.0, 2), []
        for n in (6, 1):
            await bucket.acquire(n)
            times.append(now())
        return times

    assert virtually(main()) == pytest.approx([0.0, 5.0])


def test_a_cancelled_waiter_takes_nothing_and_blocks_nobody(virtually: Virtually) -> None:
    async def main() -> float:
        bucket = TokenBucket(1.0, 1)
        await bucket.acquire()
        waiter = asyncio.create_task(bucket.acquire())
        await asyncio.sleep(0.5)
        waiter.cancel()
        await asyncio.wait([waiter])
        await bucket.acquire()
        return now()

    assert virtually(main()) == pytest.approx(1.0)


@given(
    charges=st.lists(st.tuples(st.integers(1, 12), st.floats(0, 3)), min_size=1, max_size=60),
    limit=st.integers(3, 15),
)
def test_no_window_ever_holds_more_than_the_limit(charges: list[tuple[int, float]], limit: int) -> None:
    async def main() -> list[tuple[float, int]]:
        window, taken = SlidingWindow(limit, 2.0, time=lambda: clock[0]), []
        for n, pause in charges:
            n = min(n, limit)
            await window.acquire(n)
            taken.append((clock[0], n))
            clock[0] += pause
        return taken

    clock = [0.0]

    async def pass_time(seconds: float) -> None:
        clock[0] += seconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nodes.providers.limits.asyncio.sleep", pass_time)
        runner = main()
        taken: list[tuple[float, int]] = []
        try:
            runner.send(None)
        except StopIteration as done:
            taken = done.value
    assert len(taken) == len(charges)
    for start, _ in taken:
        assert sum(n for at, n in taken if start <= at < start + 2.0 - 1e-5) <= limit


def test_a_window_waits_only_until_its_oldest_charge_is_forgotten(virtually: Virtually) -> None:
    async def main() -> list[float]:
        window, times = SlidingWindow(2, 10.0), []
        for pause in (0, 3, 0, 0):
            await asyncio.sleep(pause)
            await window.acquire()
            times.append(now())
        return times

    assert virtually(main()) == pytest.approx([0.0, 3.0, 10.0, 13.0])


def test_what_exceeds_the_limit_alone_waits_for_an_empty_window(virtually: Virtually) -> None:
    async def main() -> list[float]:
        window, times = SlidingWindow(5, 10.0), []
        for n in (1, 50, 1):
            await window.acquire(n)
            times.append(now())
        return times

    assert virtually(main()) == pytest.approx([0.0, 10.0, 20.0])


def test_the_exchange_can_report_more_but_never_less(virtually: Virtually) -> None:
    async def main() -> tuple[float, float, float, float]:
        window = SlidingWindow(100, 60.0)
        await window.acquire(10)
        window.at_least(5)
        fewer = window.used
        window.at_least(95)
        more = window.used
        await window.acquire(10)
        return fewer, more, now(), window.used

    assert virtually(main()) == (10, 95, 60.0, 10)


def test_a_gate_that_is_shut_holds_everybody_until_the_longest_wait_is_over(virtually: Virtually) -> None:
    async def main() -> tuple[list[float], float]:
        gate, times = Gate(), []

        async def go() -> None:
            await gate.passed()
            times.append(now())

        await go()
        gate.shut(5.0)
        gate.shut(2.0)
        async with asyncio.TaskGroup() as group:
            group.create_task(go())
            group.create_task(go())
            await asyncio.sleep(4.0)
            gate.shut(3.0)
        return times, gate.shut_for_s

    assert virtually(main()) == (pytest.approx([0.0, 7.0, 7.0]), 0.0)


@pytest.mark.parametrize("make", [TokenBucket, SlidingWindow])
@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0), (-1, 1)])
def test_limits_that_make_no_sense_are_refused(make: type[Any], first: float, second: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        make(first, second)
