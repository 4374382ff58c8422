"""The virtual-time loop: it jumps instead of waiting, lets all come to rest first, and is deterministic."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import reactivex
from reactivex import operators as ops

from flow.clock import NS_PER_MS, NS_PER_S
from flow.runtime.virtual_time import MOST_STEPS, VirtualTimeLoop, VirtualTimeScheduler, run_virtual

START_NS = 1_633_998_512_063_356_900


def running() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


def test_what_is_private_to_asyncio_is_still_there():
    loop = VirtualTimeLoop(START_NS)
    try:
        plain = asyncio.SelectorEventLoop()
        plain.close()
        assert isinstance(vars(plain)["_ready"], deque)
        assert isinstance(vars(plain)["_scheduled"], list)
        assert isinstance(vars(plain)["_clock_resolution"], float)
        assert not loop.has_ready()
        assert loop.next_timer_ns() is None
        loop.call_later(2, int)
        loop.call_later(1.5, int)
        assert loop.next_timer_ns() == START_NS + 1_500_000_000
        assert not loop.has_ready()
        loop.call_soon(int)
        assert loop.has_ready()
    finally:
        loop.close()


def test_a_day_passes_without_waiting_and_to_the_ns():
    async def main() -> list[int]:
        loop = running()
        seen = [loop.now_ns]
        for seconds in (0.05, 1e-9, 86_400 * 3 + 0.123_456_789, 0.1):
            await asyncio.sleep(seconds)
            seen.append(loop.clock())
        return seen

    seen = run_virtual(main(), START_NS)
    assert [b - a for a, b in pairwise(seen)] == [
        50_000_000,
        1,
        86_400 * 3 * NS_PER_S + 123_456_789,
        100_000_000,
    ]


async def _race() -> list[tuple[str, float]]:
    log: list[tuple[str, float]] = []
    loop = running()

    async def ticker(name: str, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            log.append((name, loop.time()))

    tickers = [asyncio.create_task(ticker("a", 0.35)), asyncio.create_task(ticker("b", 0.2))]
    try:
        async with asyncio.timeout(1.0):
            await asyncio.Event().wait()
    except TimeoutError:
        log.append(("timeout", loop.time()))
    for task in tickers:
        task.cancel()
    await asyncio.gather(*tickers, return_exceptions=True)
    return log


def test_timers_tasks_and_timeouts_meet_in_order_every_time():
    first, second = run_virtual(_race(), START_NS), run_virtual(_race(), START_NS)
    assert first == second
    assert [name for name, _ in first][:6] == ["b", "a", "b", "b", "a", "b"]
    assert ("timeout", 1.0) in first
    assert [when for _, when in first] == sorted(when for _, when in first)


def test_wait_for_ends_at_its_time():
    async def main() -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 7.5)
        return running().time()

    assert run_virtual(main(), START_NS) == 7.5


def test_turn_lets_all_that_was_woken_come_to_rest_first():
    async def main() -> list[str]:
        log: list[str] = []
        loop = running()

        async def woken(name: str, steps: int) -> None:
            for step in range(steps):
                await asyncio.sleep(0)
                log.append(f"{name}{step}")

        async def waits(name: str, ts_ns: int) -> None:
            await loop.turn(ts_ns)
            log.append(name)
            await woken(name, 3)

        later = asyncio.create_task(waits("later", START_NS + 20))
        past = asyncio.create_task(waits("past", START_NS - 5))
        soon = asyncio.create_task(waits("soon", START_NS + 10))
        loop.call_at(10 / NS_PER_S, log.append, "timer")
        await woken("x", 5)
        await asyncio.gather(later, past, soon)
        assert loop.now_ns == START_NS + 20
        return log

    expected = ["x0", "x1", "x2", "x3", "x4", "past", "past0", "past1", "past2", "timer"]
    expected += ["soon", "soon0", "soon1", "soon2", "later", "later0", "later1", "later2"]
    assert run_virtual(main(), START_NS) == expected


def test_a_task_that_never_rests_does_not_stop_time():
    async def main() -> int:
        steps = 0

        async def restless() -> None:
            nonlocal steps
            while True:
                steps += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(restless())
        await asyncio.sleep(1)
        await running().turn(START_NS + 2 * NS_PER_S)
        task.cancel()
        assert running().now_ns == START_NS + 2 * NS_PER_S
        return steps

    assert MOST_STEPS <= run_virtual(main(), START_NS) <= 3 * MOST_STEPS


def test_the_deadline_of_a_slice_is_lowered_by_what_the_slice_sets():
    async def main() -> None:
        loop = running()
        loop.open_slice(NS_PER_MS)
        assert loop.deadline_ns == START_NS + NS_PER_MS
        loop.call_later(0.000_5, int)
        assert loop.deadline_ns == START_NS + NS_PER_MS // 2
        waiter = loop.turn(START_NS + 7)
        assert loop.deadline_ns == START_NS + 7
        loop.advance_to_ns(START_NS + 5)
        loop.advance_to_ns(START_NS + 3)
        assert loop.now_ns == START_NS + 5
        loop.open_slice(1)
        assert loop.deadline_ns == START_NS + 6
        loop.open_slice(NS_PER_MS)
        assert loop.deadline_ns == START_NS + 7
        await waiter

    run_virtual(main(), START_NS)


def test_an_abandoned_waiter_does_not_hold_up_time():
    async def main() -> int:
        loop = running()
        loop.turn(START_NS + 5).cancel()
        loop.turn(START_NS).cancel()
        await asyncio.sleep(1)
        return loop.now_ns

    assert run_virtual(main(), START_NS) == START_NS + NS_PER_S


def test_real_sockets_and_threads_are_served():
    async def main() -> tuple[bytes, float, float]:
        loop = running()
        near, far = socket.socketpair()
        near.setblocking(False)
        thread = threading.Thread(target=lambda: far.sendall(b"from outside"))
        thread.start()
        arrived = await loop.sock_recv(near, 100)  # no timer is due: the loop waits in earnest
        thread.join()
        near.close()
        far.close()
        go_on = threading.Event()
        loop.call_later(0.5, go_on.set)
        loop.call_soon(threading.Timer(0.05, go_on.set).start)
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(go_on.wait, 30)
        after_thread = loop.time()
        await asyncio.sleep(1)
        return arrived, after_thread, loop.time()

    assert run_virtual(main(), START_NS) == (b"from outside", 0.0, 1.0)


def test_reactivex_timers_run_on_virtual_time():
    async def main() -> tuple[list[tuple[int, int]], datetime]:
        loop = running()
        scheduler = VirtualTimeScheduler(loop)
        ticks: list[tuple[int, int]] = []
        done = asyncio.Event()
        reactivex.interval(0.25, scheduler=scheduler).pipe(ops.take(3)).subscribe(
            on_next=lambda i: ticks.append((i, loop.now_ns - START_NS)), on_completed=done.set
        )
        await done.wait()
        at: list[datetime] = []
        due = scheduler.now + timedelta(seconds=30)
        scheduler.schedule_absolute(due, lambda *_: at.append(scheduler.now))
        scheduler.schedule_relative(40.0, lambda *_: done.set())
        done.clear()
        await done.wait()
        assert at == [due]
        return ticks, scheduler.now

    ticks, now = run_virtual(main(), START_NS)
    assert ticks == [(0, 250_000_000), (1, 500_000_000), (2, 750_000_000)]
    assert now == datetime.fromtimestamp(START_NS // NS_PER_S, UTC) + timedelta(
        microseconds=START_NS % NS_PER_S // 1000
    ) + timedelta(seconds=40.75)
