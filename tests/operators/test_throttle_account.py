"""Whatever comes, under whatever limits: everything is accounted for, in order, and never too much."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flow.events.payloads import BookSnapshotData, BookUpdateData
from flow.events.stream import EventType, Lane
from flow.runtime.conflation import slot_key
from flow.sharing import BURST_S
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import make_event
from tests.operators.throttle_rig import (
    GAPS,
    KLINES,
    MERGED,
    OTHERS,
    REPORTS,
    SNAPSHOTS,
    TICKERS,
    TRADES,
    UPDATES,
    Pipe,
    kline,
)

STREAMS = (TRADES, OTHERS, TICKERS, KLINES, MERGED, SNAPSHOTS, UPDATES, REPORTS, GAPS)
BOOK = (SNAPSHOTS, UPDATES)

steps = st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 7, 50, 400]), st.integers(0, 8)), max_size=80)
limits = st.fixed_dictionaries(
    {},
    optional={
        "rate_per_s": st.sampled_from([0.5, 3, 10, 1000]),
        "burst": st.integers(1, 5),
        "capacity": st.integers(1, 4),
    },
)
budgets = st.sampled_from(
    [
        {},
        {"bandwidth_per_s": 4},
        {"bandwidth_per_s": 35.5},
        {"bandwidth_per_s": 35.5, "total_per_s": 10},
        {"bandwidth_per_s": 3, "total_per_s": 100},
    ]
)


def made(number: int, stream: Any) -> Any:
    payload: Any = None
    if stream is KLINES:
        payload = kline(is_closed=number % 3 == 0)
    elif stream is SNAPSHOTS:
        payload = BookSnapshotData([(str(number % 5), str(number)), ("9", "1")], [])
    elif stream is UPDATES:
        payload = BookUpdateData([(str(number % 5), str(number % 3))], [(str(10 + number % 4), "1")])
    return make_event(number, stream, payload=payload)


def book_of(events: list[Any]) -> dict[str, str]:
    """What a reader of book events ends with: quantities above 0 by price."""
    levels: dict[str, str] = {}
    for event in events:
        if event.stream is SNAPSHOTS:
            levels = {}
        levels.update([*event.payload.bids, *event.payload.asks])
    return {price: quantity for price, quantity in levels.items() if quantity != "0"}


def play(pipe: Pipe, script: list[tuple[int, int]], *, in_runs: bool) -> list[Any]:
    """Push as the script says (ms before, stream), checking the account at each step; what was pushed."""
    pushed: list[Any] = []
    run: list[Any] = []
    for number, (wait_ms, which) in enumerate(script, 1):
        if wait_ms:
            pipe.machine.add_many(run)
            run = []
            pipe.advance(wait_ms / 1000)
        pushed.append(made(number, STREAMS[which]))
        run.append(pushed[-1])
        if not in_runs:
            pipe.source.on_next(run.pop())
            check(pipe, len(pushed))
    pipe.machine.add_many(run)
    check(pipe, len(pushed))
    return pushed


def check(pipe: Pipe, pushed: int) -> None:
    machine = pipe.machine
    accounted = machine.passed + machine.coalesced + machine.dropped.total() + machine.in_flight
    assert pushed + machine.markers == accounted
    assert machine.passed == len(pipe.left)
    assert pipe.timers == (machine.in_flight > 0)


@given(script=steps, limits=limits, budget=budgets, in_runs=st.booleans())
def test_whatever_comes(
    script: list[tuple[int, int]], limits: dict[str, Any], budget: dict[str, Any], in_runs: bool
) -> None:
    pipe = Pipe(letters=DeadLetters(), **limits, **budget)
    pushed = play(pipe, script, in_runs=in_runs)
    pipe.advance(1000)
    check(pipe, len(pushed))
    assert pipe.machine.in_flight == 0, "all that waited has left in the end"
    left = pipe.recorder.elements
    _check_order(pushed, left)
    _check_losses(pushed, left, pipe)
    _check_rates(pipe, limits, budget)


def _check_order(pushed: list[Any], left: list[Any]) -> None:
    """Each stream in order, the critical complete, and the last of all that folds arrives."""
    mine = [event for event in left if not (event.event_type is EventType.GAP and event.stream is not GAPS)]
    by_key: dict[Any, list[int]] = defaultdict(list)
    for event in mine:
        by_key[slot_key(event.stream)].append(event.sequence)
    assert all(numbers == sorted(set(numbers)) for numbers in by_key.values())
    critical = [event for event in pushed if event.stream.lane is Lane.CRITICAL]
    assert [event for event in mine if event.stream.lane is Lane.CRITICAL] == critical
    last = {slot_key(event.stream): event.sequence for event in pushed}
    assert {key: numbers[-1] for key, numbers in by_key.items()} == last
    assert book_of([one for one in mine if one.stream in BOOK]) == book_of(
        [one for one in pushed if one.stream in BOOK]
    )
    closed = [
        one for one in pushed if one.stream is MERGED or (one.stream is KLINES and one.payload.is_closed)
    ]
    missing = {one.sequence for one in closed} - {one.sequence for one in mine}
    told = [one.payload for one in left if one.event_type is EventType.GAP and one.stream is not GAPS]
    assert all(any(gap.first_sequence <= one <= gap.last_sequence for gap in told) for one in missing)


def _check_losses(pushed: list[Any], left: list[Any], pipe: Pipe) -> None:
    """Every trade that is missing was dropped, and its marker stands before what follows it."""
    markers = [one for one in left if one.event_type is EventType.GAP and one.stream is not GAPS]
    assert sum(marker.payload.missed for marker in markers) == pipe.machine.dropped.total()
    assert pipe.context.dead_letters is not None
    assert pipe.context.dead_letters.by_reason() == dict(pipe.machine.dropped)
    for stream in (TRADES, OTHERS):
        expected = {one.sequence for one in pushed if one.stream is stream}
        seen = 0
        for one in left:
            if one in markers and (one.symbol, one.channel) == (stream.symbol, stream.channel):
                assert one.payload.first_sequence > seen
                lost = {n for n in expected if one.payload.first_sequence <= n <= one.payload.last_sequence}
                assert len(lost) == one.payload.missed
                expected -= lost
                seen = one.payload.last_sequence
            elif one.stream is stream:
                assert min(expected) == one.sequence
                expected.discard(one.sequence)
                seen = one.sequence
        assert not expected


def _check_rates(pipe: Pipe, limits: dict[str, Any], budget: dict[str, Any]) -> None:
    """In no window more than the burst and the rate allow."""
    timed = [
        (at / 1000, event)
        for (at, _, _), event in zip(pipe.left, pipe.recorder.elements, strict=True)
        if event.stream.lane is not Lane.CRITICAL
    ]
    assert all(one[0] <= other[0] for one, other in pairwise(timed))
    if (rate := limits.get("rate_per_s")) is not None:
        for key in {slot_key(event.stream) for _, event in timed}:
            times = [at for at, event in timed if slot_key(event.stream) == key]
            _check_windows(times, rate, limits.get("burst", 1))
    if (bandwidth := budget.get("bandwidth_per_s")) is not None:
        _check_windows([at for at, _ in timed], bandwidth, max(1, bandwidth * BURST_S))
    if (total := budget.get("total_per_s")) is not None:
        _check_windows([at for at, _ in timed], total, max(3, 2 * total * BURST_S))


def _check_windows(times: list[float], rate: float, burst: float) -> None:
    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            most = burst + rate * (times[last] - begin + 0.001)
            assert last - first + 1 <= most + 1e-3
