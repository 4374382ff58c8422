"""A bug in the ownership of pooled objects ends the run, wherever it is and whatever catches it there."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from flow.errors import DoublePut, ForeignPut, OwnershipBug, UsedAfterPut, WrongThread
from flow.events import PooledEvent
from flow.graph.spec import GraphSpec
from flow.runtime.run import GraphRun
from flow.stage import ObserverRaised
from flow.testing import make_stream
from tests.flow.runtime.ownership_rig import COUNT, Bug, Events, World, assert_whole, run_through


def put_twice(pool: Events) -> None:
    event = pool.shelf(make_stream()).get()
    event.put()
    event.put()


def put_elsewhere(pool: Events) -> None:
    pool.shelf(make_stream()).put(PooledEvent(make_stream()))


def use_after_put(pool: Events) -> int:
    event = pool.shelf(make_stream()).get()
    event.put()
    return event.sequence


def use_in_a_thread(pool: Events) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(pool.shelf, make_stream()).result()


BUGS: dict[str, tuple[Bug, type[OwnershipBug], bool]] = {
    "double put": (put_twice, DoublePut, False),
    "foreign put": (put_elsewhere, ForeignPut, False),
    "wrong thread": (use_in_a_thread, WrongThread, False),
    "double put in debug mode": (put_twice, DoublePut, True),
    "foreign put in debug mode": (put_elsewhere, ForeignPut, True),
    "use after put": (use_after_put, UsedAfterPut, True),
    "wrong thread in debug mode": (use_in_a_thread, WrongThread, True),
}


EARLY = (
    *("source", "operator", "operator's timer", "stock operator"),
    *("transform", "transform's task", "transform's callback", "subscriber", "subscriber's task"),
    *("late operator", "late operator's timer", "late stock operator", "consumer", "consumer's coroutine"),
)
LATE = (
    *("operator's finish", "operator's close", "transform's finish", "transform's stop"),
    *("subscriber's finish", "late operator's finish", "late operator's close"),
)


CASES = [
    *((name, place) for name in ("double put", "wrong thread") for place in (*EARLY, *LATE)),
    *(("use after put", place) for place in (*EARLY, *LATE)),
    *((name, "operator") for name in BUGS if name not in ("double put", "wrong thread", "use after put")),
]


@pytest.mark.parametrize(("name", "place"), CASES)
def test_a_bug_ends_the_run_as_what_it_is(name: str, place: str, caplog: pytest.LogCaptureFixture) -> None:
    bug, kind, is_debug = BUGS[name]
    world = World(place, bug)
    run = run_through(world, is_debug=is_debug)
    assert type(run.failure) is kind
    said = [record for record in caplog.records if record.levelno >= logging.ERROR]
    lines = [record.getMessage() for record in said if "not returned" not in record.getMessage()]
    assert lines == [f"a bug in the ownership of pooled objects ends the graph: {run.failure}"]
    assert "\n" not in lines[0]
    assert run.context.dead_letters is not None
    assert len(run.context.dead_letters) == len(world.letters) == 0
    assert run.telemetry.count("pool.double_put") == (kind is DoublePut)
    assert (world.seen < COUNT) is (place in EARLY)
    assert_whole(world.pool)


def hushed(bug: Bug) -> Bug:
    def hush(pool: Events) -> None:
        with suppress(OwnershipBug):
            bug(pool)

    return hush


def turned(bug: Bug) -> Bug:
    def turn(pool: Events) -> None:
        try:
            bug(pool)
        except OwnershipBug as error:
            raise ValueError("something else") from error

    return turn


def use_in_a_thread_of_its_own(pool: Events) -> None:
    with ThreadPoolExecutor(1) as threads:
        threads.submit(pool.shelf, make_stream())


HIDDEN = {
    "hushed double put": (hushed(put_twice), DoublePut),
    "hushed foreign put": (hushed(put_elsewhere), ForeignPut),
    "hushed use after put": (hushed(use_after_put), UsedAfterPut),
    "turned use after put": (turned(use_after_put), UsedAfterPut),
    "a thread's own": (use_in_a_thread_of_its_own, WrongThread),
}


@pytest.mark.parametrize("place", ["operator", "transform", "stock operator", "late operator", "consumer"])
@pytest.mark.parametrize("name", HIDDEN)
def test_in_debug_mode_a_bug_that_code_hides_ends_the_run_too(
    name: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    bug, kind = HIDDEN[name]
    world = World(place, bug)
    run = run_through(world, is_debug=True)
    assert type(run.failure) is kind
    assert world.seen < COUNT
    assert sum("ends the graph" in message for message in caplog.messages) == 1
    assert_whole(world.pool)


def test_without_a_bug_everything_comes_and_nothing_is_left_out() -> None:
    world = World("nowhere", use_after_put)
    run = run_through(world, is_debug=True)
    assert run.failure is None
    assert (world.seen, world.pool.out) == (2 * COUNT, 0)
    assert world.pool.figures()["puts"] == COUNT
    assert_whole(world.pool)


def fail(pool: Events) -> None:
    raise ValueError("an ordinary failure")


def cancel(pool: Events) -> None:
    raise asyncio.CancelledError


AWAITING = ("source", "transform's task", "subscriber's task", "consumer", "consumer's coroutine")


@pytest.mark.parametrize(
    ("what", "place"),
    [*((fail, place) for place in (*EARLY, *LATE)), *((cancel, place) for place in AWAITING)],
)
def test_whatever_else_is_raised_every_object_comes_back(what: Bug, place: str) -> None:
    run = run_through(World(place, what), is_debug=True)
    assert not isinstance(run.failure, OwnershipBug)
    pool = run.context.pools.by_kind["CanonicalEvent"]
    assert (pool.out, pool.figures()["gets"] > 0) == (0, True)
    assert_whole(pool)


def forget(pool: Events) -> None:
    pool.shelf(make_stream()).get().sequence = 17


def test_a_forgotten_put_is_listed_at_the_end_with_the_place_of_its_get(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = run_through(World("operator", forget), is_debug=True)
    assert run.failure is None
    count, line = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert count == f"1 of pool CanonicalEvent were not returned: {make_stream()!r} x 1"
    place = "runtime/test_ownership.py"
    assert line.startswith(
        f"not returned: CanonicalEvent of {make_stream()!r}: sequence 17 trace_id 0, got at {place}"
    )


def test_without_debug_mode_it_is_listed_while_somebody_holds_it(caplog: pytest.LogCaptureFixture) -> None:
    held: list[PooledEvent] = []

    def keep(pool: Events) -> None:
        held.append(pool.shelf(make_stream()).get())
        held[0].sequence = 17

    run_through(World("operator", keep), is_debug=False)
    assert f"not returned: CanonicalEvent of {make_stream()!r}: sequence 17 trace_id 0" in caplog.messages
    held[0].put()


def raised(error: BaseException, *, in_answer_to: BaseException, is_cause: bool = False) -> BaseException:
    """An error as it is when it was raised while another was handled."""
    try:
        try:
            raise in_answer_to
        except BaseException as first:
            raise error from (first if is_cause else None)
    except BaseException as caught:
        return caught


BUG = DoublePut("again")
WRAPPED = {
    "itself": BUG,
    "cause": raised(ValueError(), in_answer_to=BUG, is_cause=True),
    "context": raised(ValueError(), in_answer_to=BUG),
    "observer's": ObserverRaised(BUG),
    "group": BaseExceptionGroup("", [ValueError(), ExceptionGroup("", [KeyError(), BUG])]),
    "deep": raised(OSError(), in_answer_to=ExceptionGroup("", [raised(ValueError(), in_answer_to=BUG)])),
}


@pytest.mark.parametrize("error", WRAPPED.values(), ids=WRAPPED)
def test_a_bug_is_found_in_whatever_wraps_it_and_counts_before_a_failure_that_came_first(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    run = GraphRun(GraphSpec("", {}))
    run.fail(ValueError("first"))
    run.fail(error)
    run.fail(UsedAfterPut("later"))
    assert run.failure is BUG
    assert caplog.messages == ["a bug in the ownership of pooled objects ends the graph: again"]


def test_of_ordinary_failures_the_first_counts_also_where_they_answer_each_other_in_a_circle() -> None:
    run = GraphRun(GraphSpec("", {}))
    first = ValueError("first")
    first.__context__ = second = OSError("second")
    second.__context__ = first
    run.fail(first)
    run.fail(second)
    assert run.failure is first
