"""Pools: bounded, keyed, reset, honest about what is out, and hard on ownership bugs."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import DoublePut, ForeignPut, OwnershipBug, PoolTimeout, WrongThread
from flow.events import PooledEvent, ProviderRaw, WsFrame
from flow.pool import Pool, Pools, PoolSettings, Shelf, release
from flow.runtime.virtual_time import run_virtual
from flow.testing import assert_nothing_out, make_event, make_stream


def event_pool(capacity: int = 3, *, is_off: bool = False) -> Pool[PooledEvent]:
    return Pool("CanonicalEvent", PooledEvent, capacity, is_off=is_off)


def test_a_put_and_a_reset_clear_every_field_but_the_key(pooled: Any) -> None:
    fresh, used, reset = (pooled.kind(pooled.key) for _ in range(3))
    assert {pooled.key_field, "home"} < set(pooled.fields)
    for name in set(pooled.fields) - {pooled.key_field}:
        setattr(used, name, object())
        if name != "home":
            setattr(reset, name, object())
    used.home = shelf = Pool("any", pooled.kind).shelf(pooled.key)
    used.put()
    reset.reset()
    assert (list(shelf), shelf.puts) == ([used], 1)
    for cleared in (used, reset):
        assert [getattr(cleared, name) for name in pooled.fields] == [
            getattr(fresh, name) for name in pooled.fields
        ]
        assert getattr(cleared, pooled.key_field) is pooled.key
    assert not hasattr(used, "__dict__"), "a field without a slot would escape this test"


def test_an_object_comes_back_reset_and_keeps_its_key() -> None:
    pool = event_pool()
    stream = make_stream()
    shelf = pool.shelf(stream)
    event = shelf.get()
    assert (event.stream, event.home) == (stream, shelf)
    event.sequence, event.merge_id = 7, "m"
    shelf.put(event)
    assert event.home is None
    again = shelf.get()
    assert again is event
    assert (again.stream, again.sequence, again.merge_id) == (stream, 0, None)


def test_shelves_are_kept_apart_by_key() -> None:
    pool = event_pool()
    one, other = make_stream(), make_stream()
    event = pool.shelf(one).get()
    release(event)
    assert pool.shelf(one) is pool.shelf(one)
    assert pool.shelf(other).get() is not event


def test_figures_count_what_is_out() -> None:
    pool = event_pool()
    shelf, other = pool.shelf(make_stream()), pool.shelf(make_stream())
    first, _, third = shelf.get(), shelf.get(), other.get()
    release(first)
    release(third)
    assert pool.figures() == {
        "capacity": 3,
        "out": 1,
        "high_water": 3,
        "gets": 3,
        "puts": 2,
        "timeouts": 0,
    }
    assert pool.whereabouts() == f"{shelf.key!r} x 1"
    shelf.get()
    other.get()
    assert pool.whereabouts() == f"{shelf.key!r} x 2, {other.key!r} x 1"


def test_an_exhausted_pool_raises_at_once_and_counts() -> None:
    pool = event_pool(2)
    shelf = pool.shelf(make_stream())
    taken = [shelf.get(), shelf.get()]
    with pytest.raises(PoolTimeout) as caught:
        shelf.get()
    assert (caught.value.kind, caught.value.capacity) == ("CanonicalEvent", 2)
    assert (pool.timeouts, pool.out, pool.free_count) == (1, 2, 0)
    with pytest.raises(PoolTimeout):
        shelf.get()
    assert pool.timeouts == 2
    release(taken[0])
    assert shelf.get() is taken[0]


def test_at_the_limit_an_object_that_lies_on_another_shelf_gives_way() -> None:
    pool = event_pool(2)
    idle, busy = pool.shelf(make_stream()), pool.shelf(make_stream())
    release(idle.get())
    taken = [busy.get(), busy.get()]
    assert all(event.stream is busy.key for event in taken)
    assert (pool.made, pool.out, list(idle)) == (2, 2, [])
    with pytest.raises(PoolTimeout):
        idle.get()
    for event in taken:
        release(event)
    assert (pool.out, pool.free_count) == (0, 2)


def test_a_factory_that_raises_costs_no_capacity() -> None:
    is_broken = True

    def make(key: Any) -> PooledEvent:
        if is_broken:
            raise MemoryError
        return PooledEvent(key)

    pool = Pool("CanonicalEvent", make, 1)
    shelf = pool.shelf(make_stream())
    with pytest.raises(MemoryError):
        shelf.get()
    is_broken = False
    assert shelf.get().home is shelf


def test_a_second_put_is_a_bug_and_leaves_the_pool_whole() -> None:
    pool = event_pool()
    shelf = pool.shelf(make_stream())
    event = shelf.get()
    shelf.put(event)
    with pytest.raises(DoublePut, match="already"):
        shelf.put(event)
    assert (pool.out, len(shelf), pool.figures()["puts"]) == (0, 1, 1)


def test_a_put_of_a_foreign_object_is_a_bug_and_leaves_both_pools_whole() -> None:
    pool, other = event_pool(), event_pool()
    shelf = pool.shelf(make_stream())
    foreign = other.shelf(make_stream()).get()
    for item, whose in (
        (foreign, f"PooledEvent that belongs to CanonicalEvent of {foreign.stream!r}"),
        (PooledEvent(make_stream()), "PooledEvent that belongs to no pool"),
        (make_event(1), "OwnedEvent that belongs to no pool"),
        (object(), "object that belongs to no pool"),
    ):
        with pytest.raises(ForeignPut, match=re.escape(f"CanonicalEvent: put of a {whose}") + "$"):
            shelf.put(item)  # type: ignore[arg-type]
    assert (pool.free_count, pool.figures()["puts"], other.out) == (3, 0, 1)
    assert foreign.home is not None


def test_a_put_on_another_shelf_of_the_same_pool_is_foreign_too() -> None:
    pool = event_pool()
    event = pool.shelf(make_stream()).get()
    with pytest.raises(ForeignPut):
        pool.shelf(make_stream()).put(event)
    release(event)
    assert pool.out == 0


def test_release_puts_what_is_pooled_and_leaves_the_rest_alone() -> None:
    class House:
        home = "Elm Street"

    event = event_pool().shelf(make_stream()).get()
    release(event)
    assert event.home is None
    for element in (event, make_event(1), 7, None, House()):
        release(element)


async def test_wait_free_returns_at_once_where_something_is_free() -> None:
    pool = event_pool(1)
    await pool.wait_free(0)
    release(pool.shelf(make_stream()).get())
    await pool.wait_free(0)
    assert pool.timeouts == 0


async def test_wait_free_wakes_on_a_put() -> None:
    pool = event_pool(1)
    event = pool.shelf(make_stream()).get()
    waiting = asyncio.create_task(pool.wait_free(30_000))
    await asyncio.sleep(0)
    assert not waiting.done()
    release(event)
    await waiting
    assert pool.timeouts == 0


async def test_of_two_that_wait_for_one_object_the_second_waits_on() -> None:
    pool = event_pool(1)
    shelf = pool.shelf(make_stream())
    event = shelf.get()

    async def take() -> PooledEvent:
        await pool.wait_free(30_000)
        return shelf.get()

    tasks = [asyncio.create_task(take()) for _ in range(2)]
    await asyncio.sleep(0)
    release(event)
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(pending), pool.timeouts) == (1, 1, 0)
    release(done.pop().result())
    release(await pending.pop())
    assert pool.figures()["gets"] == pool.figures()["puts"] == 3


async def test_wait_free_times_out_counted() -> None:
    pool = event_pool(1)
    pool.shelf(make_stream()).get()
    with pytest.raises(PoolTimeout, match="waited 1 ms"):
        await pool.wait_free(1)
    assert pool.timeouts == 1


def test_wait_free_waits_as_long_as_it_was_told() -> None:
    async def wait() -> float:
        pool = event_pool(1)
        pool.shelf(make_stream()).get()
        started = asyncio.get_running_loop().time()
        with pytest.raises(PoolTimeout):
            await pool.wait_free(5000)
        return asyncio.get_running_loop().time() - started

    assert run_virtual(wait(), 0) == pytest.approx(5.0)


async def test_a_cancelled_waiter_costs_nothing() -> None:
    pool = event_pool(1)
    event = pool.shelf(make_stream()).get()
    waiting = asyncio.create_task(pool.wait_free(30_000))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    release(event)
    assert (pool.out, pool.timeouts) == (0, 0)


def test_a_pool_belongs_to_the_thread_that_made_it() -> None:
    pool = event_pool()
    shelf = pool.shelf(make_stream())
    raised: list[Exception] = []

    def intrude() -> None:
        for touch in (lambda: pool.shelf(make_stream()), shelf.get, lambda: asyncio.run(pool.wait_free())):
            try:
                touch()
            except OwnershipBug as error:
                raised.append(error)

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert [type(error) for error in raised] == [WrongThread] * 3
    assert {str(error) for error in raised} == {
        "the pool of CanonicalEvent belongs to another thread's event loop"
    }
    assert pool.made == 0


def test_a_pool_that_is_off_gives_fresh_objects_that_are_nobodys() -> None:
    pool = event_pool(1, is_off=True)
    shelf = pool.shelf(make_stream())
    assert shelf.home is None
    first, second = shelf.get(), shelf.get()
    assert first is not second
    assert (first.home, first.stream) == (None, shelf.key)
    release(first)
    assert (pool.out, pool.made, pool.free_count, pool.timeouts) == (0, 0, 1, 0)


def test_pools_are_made_with_the_settings_of_their_kind() -> None:
    pools = Pools({"WsFrame": PoolSettings(5), "ProviderRaw": PoolSettings(is_off=True)})
    assert pools.of("WsFrame", WsFrame).capacity == 5
    assert pools.of("ProviderRaw", ProviderRaw).is_off
    assert pools.of("WsFrame", WsFrame) is pools.of("WsFrame", WsFrame)
    assert list(pools.figures()) == ["ProviderRaw", "WsFrame"]


def test_who_listens_for_bugs_is_told_of_the_very_one_that_is_raised() -> None:
    pools = Pools()
    told: list[OwnershipBug] = []
    pools.bug_listeners.append(told.append)
    with pytest.raises(ForeignPut) as caught:
        pools.of("CanonicalEvent", PooledEvent).shelf(make_stream()).put(make_event(1))  # type: ignore[arg-type]
    assert told == [caught.value]


def test_nothing_out_finds_what_is_out_and_what_was_never_taken() -> None:
    pools = Pools()
    with pytest.raises(AssertionError, match="no object was taken"):
        assert_nothing_out(pools)
    assert_nothing_out(pools, used=False)
    event = make_event(1, pools=pools)
    with pytest.raises(AssertionError, match="1 of CanonicalEvent"):
        assert_nothing_out(pools)
    release(event)
    assert_nothing_out(pools)
    pools.of("CanonicalEvent", PooledEvent).shelf(event.stream).clear()
    with pytest.raises(AssertionError, match="1 of CanonicalEvent"):
        assert_nothing_out(pools)


@given(st.booleans(), st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 9)), max_size=200))
def test_whatever_is_done_the_books_are_right(is_debug: bool, steps: list[tuple[bool, int, int]]) -> None:
    pool = Pool("CanonicalEvent", PooledEvent, 5, is_debug=is_debug)
    shelves: list[Shelf[PooledEvent]] = [pool.shelf(make_stream()) for _ in range(4)]
    out: list[PooledEvent] = []
    for is_get, key, position in steps:
        if is_get and len(out) == 5:
            with pytest.raises(PoolTimeout):
                shelves[key].get()
        elif is_get:
            event = shelves[key].get()
            assert event.stream is shelves[key].key
            assert all(event is not other for other in out)
            out.append(event)
        elif out:
            release(out.pop(position % len(out)))
        figures = pool.figures()
        assert figures["gets"] - figures["puts"] == figures["out"] == pool.out == len(out)
        assert pool.free_count == 5 - len(out)
        assert pool.made <= 5
        assert sum(map(len, pool.shelves.values())) == pool.made - len(out)
