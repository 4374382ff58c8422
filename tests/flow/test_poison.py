"""Debug mode: whatever is done with an object that was put says so, and names the places."""

from __future__ import annotations

import copy
import pickle
import re
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from flow.context import Context
from flow.errors import DoublePut, ForeignPut, OwnershipBug, PoolTimeout, UsedAfterPut, WrongThread
from flow.events import CanonicalEvent, PooledEvent, WsFrame
from flow.poison import Place, is_poisoned
from flow.pool import DebugShelf, Pool, Pools, PoolSettings, Shelf, release
from flow.stage import Machine
from flow.telemetry.dead_letters import DeadLetter
from flow.testing import assert_nothing_out, make_event, make_stream

HERE = r"flow/test_poison\.py"
Touch = Callable[[Any], object]

TOUCHES: dict[str, Touch] = {
    "own": lambda item: item.own(),
    "unbound own": CanonicalEvent.own,
    "row": lambda item: item.row(),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "replace": lambda item: item.__replace__(sequence=1),
    "==": lambda item: item == item,
    "!=": lambda item: item != 1,
    "in a list": [1].index,
    "<": lambda item: item < item,
    "hash": hash,
    "in a set": lambda item: {item},
    "pickle": pickle.dumps,
    "pickle 2": lambda item: pickle.dumps(item, 2),
    "msgspec with a hook": lambda item: msgspec.json.encode(item, enc_hook=lambda event: event.row()),
    "msgspec with str": lambda item: msgspec.json.encode(item, enc_hook=str),
    "str": str,
    "format": lambda item: f"{item}",
    "bytes": bytes,
    "a dead letter": lambda item: DeadLetter.of("n", "r", item, "", 0),
    "dir": dir,
    "vars": vars,
    "iter": iter,
    "list": list,
    "in": lambda item: 1 in item,
    "[]": lambda item: item[0],
    "write of what is no field": lambda item: setattr(item, "nonsense", 1),
    "delete": lambda item: delattr(item, "payload"),
    "hasattr": lambda item: hasattr(item, "nonsense"),
    "reset": lambda item: item.reset(),
}


class Homed:
    __slots__ = ("home",)


class Note(Homed):
    """Has no number to be told by, and a put that forgets its text."""

    __slots__ = "text"  # noqa: PLC0205  what Python allows

    def __init__(self, desk: str) -> None:
        self.home: Shelf[Note] | None = None
        self.text = ""

    def put(self) -> None:
        home, self.home = self.home, None
        assert home is not None
        home.append(self)
        home.puts += 1


def debug_pool(capacity: int = 3, kind: str = "CanonicalEvent") -> Pool[PooledEvent]:
    return Pool(kind, PooledEvent, capacity, is_debug=True)


def put_event() -> tuple[Pool[PooledEvent], PooledEvent]:
    """A pool, and an event that was put to it."""
    pool = debug_pool()
    event = pool.shelf(make_stream()).get()
    event.put()
    return pool, event


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_whatever_is_done_after_a_put_is_a_bug_that_names_the_place(touch: Touch) -> None:
    pool, event = put_event()
    with pytest.raises(
        UsedAfterPut, match=rf"CanonicalEvent of Stream\(.*\): .* at .*:\d+ \(.*\) after its put at {HERE}"
    ):
        touch(event)
    assert pool.figures()["puts"] == pool.free_count - 2 == 1


def test_every_field_of_every_pooled_type_is_poisoned(pooled: Any) -> None:
    pools = Pools(is_debug=True)
    item = pools.of(pooled.kind.__name__, pooled.kind).shelf(pooled.key).get()
    assert type(item) is pooled.kind
    release(item)
    for name in {*pooled.fields, *vars(pooled.kind)} - {"put", "__class__"}:
        with pytest.raises(UsedAfterPut, match=f"`{name}` read"):
            getattr(item, name)
    for name in pooled.fields:
        with pytest.raises(UsedAfterPut, match="written"):
            setattr(item, name, None)
    assert_nothing_out(pools)


def test_reports_can_still_say_what_it_is() -> None:
    _, event = put_event()
    assert isinstance(event, PooledEvent)
    assert not isinstance(event, WsFrame)
    assert is_poisoned(event)
    assert re.fullmatch(rf"<CanonicalEvent of Stream\(.*\), put at {HERE}:\d+ \(put_event\)>", repr(event))


@pytest.mark.parametrize("again", [lambda event: event.put(), release], ids=["put", "release"])
def test_a_second_put_names_both_places(again: Touch) -> None:
    pool, event = put_event()
    places = rf"put at {HERE}:\d+ \(.*\), and put before at {HERE}:\d+ \(put_event\); got at {HERE}"
    with pytest.raises(DoublePut, match=places):
        again(event)
    shelf = next(iter(pool.shelves.values()))
    with pytest.raises(DoublePut, match=places):
        shelf.put(event)
    with pytest.raises(DoublePut, match=places):
        shelf.append(event)
    with pytest.raises(DoublePut, match=places):
        debug_pool().shelf(make_stream()).put(event)
    assert pool.figures() | {"timeouts": 0} == pool.figures()
    assert (pool.out, len(shelf), shelf.puts) == (0, 1, 1)


def test_a_put_written_out_where_it_runs_is_seen_too() -> None:
    pool = debug_pool()
    shelf = pool.shelf(make_stream())
    event = shelf.pop() if shelf else shelf.make()
    event.home = home = shelf.home
    assert home is not None
    event.home = None
    home.append(event)
    home.puts += 1
    assert (pool.out, pool.figures()["gets"]) == (0, 1)
    with pytest.raises(DoublePut):
        home.append(event)
    with pytest.raises(UsedAfterPut):
        event.home = None


@pytest.mark.parametrize("name", [name for name in PooledEvent.__slots__ if name != "home"])
def test_a_put_that_leaves_a_field_as_it_was_is_a_bug(name: str) -> None:
    pool = debug_pool()
    event = pool.shelf(make_stream()).get()
    event.home = None
    setattr(event, name, "left over")
    with pytest.raises(OwnershipBug, match=rf"put at {HERE}.* with {name} not cleared"):
        next(iter(pool.shelves.values())).append(event)
    assert (pool.out, pool.free_count) == (1, 2)


def test_all_that_a_put_left_is_named() -> None:
    shelf = debug_pool().shelf(make_stream())
    event = shelf.get()
    event.home, event.sequence, event.merge_id = None, 7, "m"
    with pytest.raises(OwnershipBug, match=r"with sequence, merge_id not cleared$"):
        shelf.append(event)


def test_a_slot_that_a_text_names_is_a_field_too() -> None:
    note = Pool("Note", Note, is_debug=True).shelf("desk").get()
    note.text = "left over"
    with pytest.raises(OwnershipBug, match=rf"Note of 'desk': put at {HERE}.* with text not cleared$"):
        note.put()


def test_a_put_with_the_home_left_in_place_is_a_bug() -> None:
    shelf = debug_pool().shelf(make_stream())
    with pytest.raises(OwnershipBug, match="with home not cleared"):
        shelf.append(shelf.get())


def test_a_foreign_object_is_told_by_where_it_belongs() -> None:
    pool, other = debug_pool(), debug_pool(kind="Other")
    shelf, foreign = pool.shelf(make_stream()), other.shelf(make_stream(symbol="ETH-USDT")).get()
    for item, whose in ((foreign, "Other of Stream.*ETH"), (make_event(1), "no pool")):
        with pytest.raises(ForeignPut, match=rf"belongs to {whose}.*put at {HERE}"):
            shelf.put(item)  # type: ignore[arg-type]
        with pytest.raises(ForeignPut, match=rf"belongs to {whose}"):
            shelf.append(item)  # type: ignore[arg-type]
    assert (len(shelf), shelf.puts, other.out) == (0, 0, 1)
    foreign.put()
    assert other.out == 0


def test_a_stale_reference_stays_poisoned_however_often_its_place_is_taken_again() -> None:
    pool = debug_pool(2)
    shelf = pool.shelf(make_stream())
    stale: list[PooledEvent] = []
    for _ in range(10):
        event = shelf.get()
        assert all(event is not other for other in stale)
        event.put()
        stale.append(event)
    assert all(map(is_poisoned, stale))
    assert shelf[0] is stale[-1], "what was put lies there"
    assert (pool.made, pool.out, pool.free_count, pool.figures()["gets"]) == (1, 0, 2, 10)


def test_at_the_limit_another_shelf_gives_way_and_hands_nothing_out() -> None:
    pool = debug_pool(2)
    idle, busy = pool.shelf(make_stream()), pool.shelf(make_stream())
    release(idle.get())
    taken = [busy.get(), busy.get()]
    assert (pool.made, pool.out, list(idle), idle.out) == (2, 2, [], 0)
    assert idle.left_out() == {}
    for event in taken:
        release(event)
    assert (pool.out, pool.free_count) == (0, 2)


def test_a_pool_that_is_dry_says_who_holds_most() -> None:
    pool = debug_pool(4)
    shelf = pool.shelf(make_stream())
    shelf.get()
    for _ in range(3):
        shelf.get()
    with pytest.raises(PoolTimeout) as caught:
        shelf.get()
    first, second = caught.value.holders.split(", ")
    assert re.fullmatch(rf"3 got at {HERE}:\d+ \(test_a_pool.*\)", first)
    assert re.fullmatch(rf"1 got at {HERE}:\d+ \(test_a_pool.*\)", second)
    assert str(caught.value) == (
        f"pool CanonicalEvent: all 4 objects are out (waited 0 ms); most of them: {caught.value.holders}"
    )
    assert pool.timeouts == 1


def test_only_the_three_places_that_hold_most_are_named() -> None:
    pool = debug_pool(5)
    shelf = pool.shelf(make_stream())
    shelf.get()
    for _ in range(2):
        shelf.get()
    shelf.get()
    shelf.get()
    assert [held.split(" got at ")[0] for held in pool.holders().split(", ")] == ["2", "1", "1"]


async def test_so_does_one_that_stays_dry() -> None:
    pool = debug_pool(1)
    pool.shelf(make_stream()).get()
    with pytest.raises(PoolTimeout, match=rf"waited 1 ms\); most of them: 1 got at {HERE}"):
        await pool.wait_free(1)


class Forgetful(Machine[CanonicalEvent, CanonicalEvent]):
    def add(self, element: CanonicalEvent) -> None:
        self.held = self.context.pools.of("CanonicalEvent", PooledEvent).shelf(element.stream).get()
        self.drop(element, "forgotten")


def test_a_place_names_the_node_whose_code_is_at_work() -> None:
    pools = Pools(is_debug=True)
    machine = Forgetful(Context("few", pools=pools))
    event = make_event(1, pools=pools)
    machine.add(event)
    assert re.search(rf"put at {HERE}:\d+ \(add, node few\)>", repr(event))
    machine.held.sequence, machine.held.trace_id = 17, 5
    (line,) = pools.by_kind["CanonicalEvent"].left_out()
    expected = rf"CanonicalEvent of Stream\(.*\): sequence 17 trace_id 5, got at {HERE}:\d+ \(add, node few\)"
    assert re.fullmatch(expected, line)


def test_a_place_is_the_callers_where_pools_and_events_act_for_it() -> None:
    line = Place.here().line
    _, event = put_event()
    with pytest.raises(UsedAfterPut) as caught:
        CanonicalEvent.row(event)
    assert f"test_poison.py:{line + 3} (" in str(caught.value)


def test_what_was_not_returned_is_listed_by_key_and_place() -> None:
    pool = debug_pool()
    shelf = pool.shelf(make_stream())
    for sequence in (1, 2):
        shelf.get().sequence = sequence
    shelf.get().sequence = 3
    one, other = pool.left_out()
    assert ": sequence 1 trace_id 0, sequence 2 trace_id 0, got at " in one
    assert ": sequence 3 trace_id 0, got at " in other


def test_without_debug_mode_what_is_held_is_found_and_what_is_lost_is_counted() -> None:
    pool = Pool("CanonicalEvent", PooledEvent, 3)
    shelf = pool.shelf(make_stream())
    held = [shelf.get(), shelf.get()]
    for event, sequence in zip(held, (7, 8), strict=True):
        event.sequence = sequence
    shelf.get()
    names, lost = pool.left_out()
    head, _, numbers = names.partition("): ")
    assert head == f"CanonicalEvent of {shelf.key!r}"[:-1]
    assert sorted(numbers.split(", ")) == ["sequence 7 trace_id 0", "sequence 8 trace_id 0"]
    assert lost == f"CanonicalEvent of {shelf.key!r}: 1 that nobody holds any more"
    for event in held:
        event.put()
    assert pool.left_out() == [lost]


def test_what_has_no_number_is_told_by_where_it_lies_in_memory() -> None:
    pool = Pool("Note", Note)
    note = pool.shelf("desk").get()
    assert pool.left_out() == [f"Note of 'desk': Note at {id(note):#x}"]


@pytest.mark.parametrize("is_free", [True, False], ids=["get", "make"])
def test_another_thread_may_neither_get_nor_put(is_free: bool) -> None:
    pool = debug_pool()
    shelf = pool.shelf(make_stream())
    event = shelf.get()
    if is_free:
        release(shelf.get())
    raised: list[Exception] = []

    def intrude() -> None:
        for touch in (shelf.get, event.put):
            try:
                touch()
            except OwnershipBug as error:
                raised.append(error)

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert [type(error) for error in raised] == [WrongThread, WrongThread]
    for error in raised:
        assert re.search(rf"event loop \(touched at {HERE}:\d+ \(intrude\)\)$", str(error))
    assert (pool.out, pool.figures()["puts"]) == (1, is_free)


def test_only_debug_pools_that_are_on_have_debug_shelves() -> None:
    pools = Pools({"WsFrame": PoolSettings(is_off=True)}, is_debug=True)
    assert type(pools.of("CanonicalEvent", PooledEvent).shelf(1)) is DebugShelf
    assert type(pools.of("WsFrame", WsFrame).shelf(1)) is Shelf
    assert type(Pools().of("CanonicalEvent", PooledEvent).shelf(1)) is Shelf
