"""What must hold where nodes watch pooled objects beside their owner."""

from collections.abc import Callable

import pytest

Graph = Callable[..., str]
Linter = Callable[..., list[str]]

HEAD = ["socket: {use: socket}", "frames: {use: ingest, inputs: [socket]}"]
WATCH = "w: {use: watch, inputs: [frames]}"
MAIN = "o: {use: order-buffer, inputs: [frames, w]}"
BUS = "bus: {use: fan-out-clone, inputs: [o]}"


def sink(name: str, *inputs: str) -> str:
    return f"{name}: {{use: console, inputs: [{', '.join(inputs)}]}}"


@pytest.fixture
def said(nodes: Graph, faults: Linter) -> Linter:
    """The faults of some `nodes` lines; the first is in line 3."""

    def said(*lines: str) -> list[str]:
        return faults(nodes(*lines))

    return said


def test_a_watcher_comes_beside_the_one_owner(said: Linter) -> None:
    assert said(*HEAD, WATCH, MAIN, BUS, sink("c", "bus"), sink("d", "bus")) == []
    assert said(*HEAD, WATCH, MAIN, sink("c", "o")) == []


def test_there_may_be_many_watchers(said: Linter) -> None:
    more = [f"w{n}: {{use: watch, inputs: [frames]}}" for n in range(3)]
    main = "o: {use: order-buffer, inputs: [w0, w1, frames, w2]}"
    assert said(*HEAD, *more, main, BUS, sink("c", "bus")) == []


def test_two_owners_are_too_many_and_the_watcher_is_not_counted(said: Linter) -> None:
    assert said(*HEAD, WATCH, MAIN, sink("c", "o"), sink("d", "frames")) == [
        "8:30: node 'd': 'frames' gives pooled objects, which have one owner, but 2 nodes read it (o, d); "
        "put a fan-out-clone between"
    ]


def test_watchers_alone_own_nothing(said: Linter) -> None:
    message = "gives pooled objects, which have one owner, but who reads it only watches"
    assert said(*HEAD, WATCH, sink("c", "w")) == [
        f"5:28: node 'w': 'frames' {message} (w); let another node take them, such as the one that reads 'w'"
    ]
    [fault] = said(*HEAD, WATCH, "v: {use: watch, inputs: [frames]}", sink("c", "w"), sink("d", "v"))
    assert f"'frames' {message} (w, v)" in fault


def test_of_a_graph_half_read_no_owner_is_said_to_be_missing(said: Linter) -> None:
    [fault] = said(*HEAD, WATCH, sink("c", "w"), "x: {use: ordr-buffer, inputs: [frames]}")
    assert "unknown operator or component 'ordr-buffer'" in fault


def test_a_watcher_of_what_is_not_pooled_needs_no_owner_beside(said: Linter) -> None:
    events = "events: {use: gateway}"
    plain = said(events, "w: {use: watch, inputs: [events]}", sink("c", "w"))
    assert [fault for fault in plain if "pooled" in fault] == []
    behind = [
        "o: {use: order-buffer, inputs: [frames]}",
        BUS,
        "w: {use: watch, inputs: [bus]}",
        sink("c", "w"),
    ]
    assert said(*HEAD, *behind) == []


def test_a_watcher_gives_pooled_objects_of_its_own(said: Linter) -> None:
    [fault] = said(
        *HEAD, WATCH, "o: {use: order-buffer, inputs: [frames]}", sink("c", "o", "w"), sink("d", "w")
    )
    assert "'w' gives pooled objects, which have one owner, but 2 nodes read it (c, d)" in fault


def test_critical_events_go_on_with_their_owner_and_not_with_a_watcher(said: Linter) -> None:
    events = "events: {use: gateway}"
    watch = "w: {use: watch, inputs: [%s]}"
    assert said(events, watch % "events", "o: {use: same, inputs: [events, w]}", sink("c", "o")) == []
    assert said(events, "bus: {use: fan-out-clone, inputs: [events]}", watch % "bus", sink("c", "w")) == [
        "5:3: node 'w': critical events come this way (events -> bus -> w), and watch may lose anything; "
        "branch off before it"
    ]
    [fault] = said(events, watch % "events", sink("c", "w"))
    assert "critical events come this way (events -> w), and watch may lose anything" in fault


def test_no_mailbox_stands_before_a_watcher(said: Linter) -> None:
    watch = "w: {use: watch, inputs: [{source: frames, mailbox: {}}]}"
    message = "5:37: node 'w': it watches 'frames' from inside of the call: no mailbox stands between"
    assert said(*HEAD, watch, MAIN, BUS, sink("c", "bus"), sink("d", "bus")) == [message]
    assert said(*HEAD, watch, MAIN, sink("c", "o")) == [message]


def test_behind_a_fan_out_it_is_a_reader_like_any(said: Linter) -> None:
    lines = ["o: {use: order-buffer, inputs: [frames]}", BUS]
    boxed = "w: {use: watch, inputs: [{source: bus, mailbox: {}}]}"
    assert said(*HEAD, *lines, boxed, sink("c", "w"), sink("d", "bus")) == []


def test_the_other_readers_of_what_is_not_pooled_share_it(said: Linter) -> None:
    lines = [
        "events: {use: gateway}",
        "w: {use: watch, inputs: [events]}",
        "o: {use: same, inputs: [events, w]}",
        sink("c", "o"),
        sink("d", "events"),
    ]
    assert said(*lines) == []
