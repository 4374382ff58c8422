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
from operators.ingest import ingest

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
    for arrival in ((ONE, b"a"), (TWO, b"b"), (ONE, b"c")):
        bench.source.on_next(arrival)
    assert [(f.connection, f.payload, f.received_at, f.trace_id) for f in taken] == [
        (ONE, b"a", 1000, 1),
        (TWO, b"b", 1001, 2),
        (ONE, b"c", 1002, 3),
    ]
    assert (bench.clock.read, bench.passed) == (3, 3)
    for frame in taken:
        release(frame)
    assert_nothing_out(bench.pools)


def test_slots_are_reused_per_connection() -> None:
    bench = Bench()
    seen: list[int] = []
    bench.frames.pipe(ops.do_action(lambda frame: seen.append(id(frame)))).subscribe(release)
    for connection in (ONE, TWO, ONE, TWO):
        bench.source.on_next((connection, b"x"))
    assert seen[:2] == seen[2:]
    assert bench.pools.figures()["WsFrame"]["high_water"] == 2


def test_a_dry_pool_is_told_to_the_source_which_offers_the_arrival_again() -> None:
    bench = Bench(capacity=1)
    taken: list[WsFrame] = []
    recorder = Recorder(taken.append)
    bench.frames.subscribe(recorder)
    bench.source.on_next((ONE, b"a"))
    with pytest.raises(PoolTimeout):
        bench.source.on_next((ONE, b"b"))
    assert bench.passed == 1
    release(taken[0])
    bench.source.on_next((ONE, b"b"))
    assert [frame.trace_id for frame in taken] == [2, 2], "the slot is reused, the number not skipped"
    assert recorder.error is None


@pytest.mark.parametrize(
    "garbage", [None, 7, (ONE,), (ONE, b"a", 1), ("binance", b"a"), ([], b"a"), {"a": 1, "b": 2}]
)
@pytest.mark.parametrize("with_letters", [True, False])
def test_what_is_no_arrival_is_refused(garbage: Any, with_letters: bool) -> None:
    letters = DeadLetters() if with_letters else None
    bench = Bench(dead_letters=letters)
    recorder = Recorder(release)
    bench.frames.subscribe(recorder)
    bench.source.on_next((ONE, b"a"))
    bench.source.on_next(garbage)
    bench.source.on_next((ONE, b"b"))
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
        bench.source.on_next((ONE, b"a"))
    assert not letters.read()
    assert_nothing_out(bench.pools)


@pytest.mark.parametrize("end", ["complete", "fail", "dispose"])
def test_it_ends_with_its_source(end: str) -> None:
    bench = Bench()
    recorder = Recorder(release)
    subscription = bench.frames.subscribe(recorder)
    bench.source.on_next((ONE, b"a"))
    if end == "complete":
        bench.source.on_completed()
    elif end == "fail":
        bench.source.on_error(ValueError("broken"))
    else:
        subscription.dispose()
    bench.source.on_next((ONE, b"b"))
    assert len(recorder.elements) == 1
    assert (recorder.is_completed, recorder.error is not None) == (end == "complete", end == "fail")
    assert recorder.after_end == 0
    assert_nothing_out(bench.pools)


def test_a_new_subscription_counts_anew() -> None:
    bench = Bench()
    for _ in range(2):
        numbers: list[int] = []
        recorder = Recorder(lambda frame, numbers=numbers: (numbers.append(frame.trace_id), release(frame)))
        subscription = bench.frames.subscribe(recorder)
        bench.source.on_next((ONE, b"a"))
        subscription.dispose()
        assert numbers == [1]
