"""Ingest: a frame per arrival, one clock reading, backpressure that loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from reactivex import operators as ops
from reactivex.subject import Subject

from flow.context import Context
from flow.errors import PoolTimeout
from flow.events import Arrival, Connection, WsFrame
from flow.pool import Pools, PoolSettings, release
from flow.stage import Stage
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import Recorder, assert_nothing_out
from operators.ingest import Ingester, ingest

ONE, TWO = Connection("binance", 1), Connection("kraken", 2)


class Ticking:
    """A clock that counts its readings."""

    def __init__(self) -> None:
        self.readings: Iterator[int] = count(1000)
        self.read = 0

    def __call__(self) -> int:
        self.read += 1
        return next(self.readings)


class Bench:
    def __init__(self, capacity: int = 10, dead_letters: DeadLetters | None = None) -> None:
        self.clock = Ticking()
        self.pools = Pools({"WsFrame": PoolSettings(capacity)})
        self.context = Context("frames", pools=self.pools, clock=self.clock, dead_letters=dead_letters)
        self.source: Subject[Arrival] = Subject()
        self.frames = self.source.pipe(ingest(context=self.context))

    @property
    def passed(self) -> int:
        assert isinstance(self.frames, Stage)
        assert self.frames.machine is not None
        return self.frames.machine.passed


def test_each_arrival_becomes_a_frame_with_one_reading_of_the_clock() -> None:
    bench = Bench()
    taken: list[WsFrame] = []
    bench.frames.subscribe(taken.append)
    for arrival in ((ONE, b"a", 0), (TWO, b"b", 0), (ONE, b"c", 0), (ONE, b"d", 77)):
        bench.source.on_next(arrival)
    assert [(f.connection, f.payload, f.received_at) for f in taken] == [
        (ONE, b"a", 1000),
        (TWO, b"b", 1001),
        (ONE, b"c", 1002),
        (ONE, b"d", 77),
    ]
    assert (bench.clock.read, bench.passed) == (3, 4), "a time that came with the arrival is not read again"
    for frame in taken:
        release(frame)
    assert_nothing_out(bench.pools)


def test_slots_are_reused_per_connection() -> None:
    bench = Bench()
    seen: list[int] = []
    bench.frames.pipe(ops.do_action(lambda frame: seen.append(id(frame)))).subscribe(release)
    for connection in (ONE, TWO, ONE, TWO):
        bench.source.on_next((connection, b"x", 0))
    assert seen[:2] == seen[2:]
    assert bench.pools.figures()["WsFrame"]["high_water"] == 2


def test_a_dry_pool_is_told_to_the_source_which_offers_the_arrival_again() -> None:
    bench = Bench(capacity=1)
    taken: list[WsFrame] = []
    recorder = Recorder(taken.append)
    bench.frames.subscribe(recorder)
    bench.source.on_next((ONE, b"a", 0))
    with pytest.raises(PoolTimeout):
        bench.source.on_next((ONE, b"b", 0))
    assert bench.passed == 1
    release(taken[0])
    bench.source.on_next((ONE, b"b", 0))
    assert taken[0] is taken[1], "the slot is reused"
    assert bench.passed == 2, "what was offered again counts once"
    assert recorder.error is None


@pytest.mark.parametrize(
    "garbage", [None, 7, (ONE,), (ONE, b"a"), ("binance", b"a", 0), ([], b"a", 0), {"a": 1, "b": 2}]
)
@pytest.mark.parametrize("with_letters", [True, False])
def test_what_is_no_arrival_is_refused(garbage: Any, with_letters: bool) -> None:
    letters = DeadLetters() if with_letters else None
    bench = Bench(dead_letters=letters)
    recorder = Recorder(release)
    bench.frames.subscribe(recorder)
    bench.source.on_next((ONE, b"a", 0))
    bench.source.on_next(garbage)
    bench.source.on_next((ONE, b"b", 0))
    assert len(recorder.elements) == (1 if letters is None else 2)
    assert isinstance(recorder.error, (TypeError, ValueError)) is not with_letters
    assert letters is None or len(letters) == 1
    assert_nothing_out(bench.pools)


def test_what_a_handler_raises_reaches_the_source_and_the_frame_goes_back() -> None:
    def refuse(frame: WsFrame) -> None:
        raise ValueError("not now")

    letters = DeadLetters()
    bench = Bench(dead_letters=letters)
    bench.frames.subscribe(Recorder(refuse))
    with pytest.raises(ValueError, match="not now"):
        bench.source.on_next((ONE, b"a", 0))
    assert not letters.read()
    assert_nothing_out(bench.pools)


@pytest.mark.parametrize("end", ["complete", "fail", "dispose"])
def test_it_ends_with_its_source(end: str) -> None:
    bench = Bench()
    recorder = Recorder(release)
    subscription = bench.frames.subscribe(recorder)
    bench.source.on_next((ONE, b"a", 0))
    if end == "complete":
        bench.source.on_completed()
    elif end == "fail":
        bench.source.on_error(ValueError("broken"))
    else:
        subscription.dispose()
    bench.source.on_next((ONE, b"b", 0))
    assert len(recorder.elements) == 1
    assert (recorder.is_completed, recorder.error is not None) == (end == "complete", end == "fail")
    assert recorder.after_end == 0
    assert_nothing_out(bench.pools)


def test_a_new_subscription_counts_anew() -> None:
    bench = Bench()
    for _ in range(2):
        subscription = bench.frames.subscribe(Recorder(release))
        bench.source.on_next((ONE, b"a", 0))
        subscription.dispose()
        assert bench.passed == 1


def offer(machine: Ingester, run: list[Arrival]) -> int:
    """Offer a run; how many of it were taken."""
    try:
        machine.add_many(run)
    except PoolTimeout as dry:
        return len(run) - dry.left
    return len(run)


def test_a_run_gives_what_single_arrivals_give() -> None:
    taken: list[tuple[Connection, bytes, int]] = []
    machine = Ingester(Context("frames", pools=Pools(), clock=Ticking()))
    machine.emit = lambda frame: (
        taken.append((frame.connection, frame.payload, frame.received_at)),
        release(frame),
    )
    run = [(ONE, b"a", 5), (TWO, b"b", 6), (ONE, b"c", 7)]
    assert offer(machine, list(run)) == 3
    assert taken == run
    assert machine.passed == 3


def test_a_run_that_meets_a_dry_pool_is_taken_as_far_as_it_goes() -> None:
    taken: list[WsFrame] = []
    machine = Ingester(Context("frames", pools=Pools({"WsFrame": PoolSettings(2)}), clock=Ticking()))
    machine.emit = taken.append
    run: list[Arrival] = [(ONE, bytes([letter]), 1) for letter in b"abc"]
    assert offer(machine, run) == 2
    assert machine.passed == 2
    for frame in taken:
        release(frame)
    assert offer(machine, run[2:]) == 1
    assert len(taken) == 3
    assert machine.passed == 3


@pytest.mark.parametrize("frames", [1, 2, 3, 100])
@pytest.mark.parametrize("room", [1, 2, 3])
def test_nothing_of_a_run_is_lost_where_the_pool_behind_is_dry_too(frames: int, room: int) -> None:
    pools, letters = Pools({"WsFrame": PoolSettings(frames)}), DeadLetters()
    machine = Ingester(Context("frames", pools=pools, dead_letters=letters, clock=Ticking()))
    taken: list[bytes] = []

    def take(elements: list[WsFrame]) -> None:
        taken.extend(frame.payload for frame in elements[:room])
        left = len(elements[room:])
        for frame in elements:
            release(frame)
        if left:
            dry = PoolTimeout("CanonicalEvent", room)
            dry.left = left
            raise dry

    machine.emit_many = take
    run: list[Any] = [(ONE, b"a", 1), (ONE, b"b", 1), None, (TWO, b"c", 1), (ONE, b"d", 1), 7, (TWO, b"e", 1)]
    offers, rest = 0, run
    while rest:
        rest = rest[offer(machine, list(rest)) :]
        offers += 1
        assert machine.passed + machine.dead_lettered == len(run) - len(rest)
        assert offers <= len(run)
    assert taken == [b"a", b"b", b"c", b"d", b"e"]
    assert len(letters) == 2
    assert_nothing_out(pools)
