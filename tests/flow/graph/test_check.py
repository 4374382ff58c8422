"""What must hold of a whole graph."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as altered

from flow.graph import GraphSpec, InputSpec, MailboxSpec, NodeEntry, check
from flow.registry import Registry

Graph = Callable[..., str]
Linter = Callable[..., list[str]]

SOCKET = "socket: {use: socket}"
FRAMES = "frames: {use: ingest, inputs: [socket]}"
EVENTS = "events: {use: gateway}"


def sink(name: str, *inputs: str) -> str:
    return f"{name}: {{use: console, inputs: [{', '.join(inputs)}]}}"


@pytest.fixture
def said(nodes: Graph, faults: Linter) -> Linter:
    """The faults of some `nodes` lines; the first is in line 3."""

    def said(*lines: str, head: str = "", **given: Any) -> list[str]:
        return faults(nodes(*lines, head=head), **given)

    return said


# --- ends ---


def test_a_source_takes_no_inputs(said: Linter) -> None:
    assert said(EVENTS, "socket: {use: socket, inputs: [events]}", FRAMES, sink("c", "frames", "events")) == [
        "4:34: node 'socket': socket is a source: it takes no inputs",
    ]


def test_what_is_no_source_wants_inputs(said: Linter) -> None:
    found = said(
        "a: {use: same}", sink("c", "a"), "d: {use: console, inputs: []}", "b: {use: books}", sink("e", "b")
    )
    assert found == [
        "3:3: node 'a': nobody feeds it; same is an operator and wants inputs",
        "5:3: node 'd': nobody feeds it; console is a consumer and wants inputs",
        "6:3: node 'b': nobody feeds it; books is a transform and wants inputs",
    ]


def test_what_nobody_reads_goes_nowhere(said: Linter) -> None:
    assert said(SOCKET, FRAMES, "x: {use: socket}", sink("c", "frames.dead_letters")) == [
        "4:3: node 'frames': nobody reads what it gives (Event); every path ends in a consumer",
        "5:3: node 'x': nobody reads what it gives (Raw); every path ends in a consumer",
    ]


def test_nothing_comes_out_of_a_consumer_but_its_dead_letters(said: Linter) -> None:
    assert said(EVENTS, sink("c", "events"), sink("d", "c")) == [
        "5:30: node 'd': 'c' is a consumer (console): nothing comes out of it"
    ]
    assert said(EVENTS, sink("c", "events"), sink("d", "c.dead_letters")) == []


def test_of_a_graph_half_read_nothing_is_said_to_be_missing(said: Linter) -> None:
    assert said(SOCKET, FRAMES, "c: {use: console, inputs: frames}") == [
        "5:29: node 'c': inputs: a list belongs here, not 'frames'; write [frames]"
    ]
    assert said(SOCKET, FRAMES, "o: {use: ordr-buffer, inputs: [frames]}", sink("c", "o")) == [
        "5:12: node 'o': unknown operator or component 'ordr-buffer', did you mean 'order-buffer'?"
    ]


# --- cycles ---


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a: {use: same, inputs: [events, a]}", sink("c", "a")], ["4:3: node 'a': a cycle: a -> a"]),
        (
            ["a: {use: same, inputs: [events, b]}", "b: {use: same, inputs: [a]}", sink("c", "b")],
            ["4:3: node 'a': a cycle: a -> b -> a"],
        ),
        (
            ["c: {use: same, inputs: [b]}", "a: {use: same, inputs: [c, events]}",
             "b: {use: same, inputs: [a]}", sink("d", "c")],
            ["4:3: node 'c': a cycle: c -> a -> b -> c"],
        ),
        (
            ["a: {use: same, inputs: [b]}", "b: {use: same, inputs: [a]}", sink("d", "events"),
             "x: {use: same, inputs: [y]}", "y: {use: same, inputs: [x, a]}", sink("z", "y")],
            ["4:3: node 'a': a cycle: a -> b -> a", "7:3: node 'x': a cycle: x -> y -> x"],
        ),
        (
            ["a: {use: same, inputs: [events, b.dead_letters]}", "b: {use: same, inputs: [a]}",
             sink("c", "b")],
            ["4:3: node 'a': a cycle: a -> b -> a"],
        ),
    ],
)  # fmt: skip
def test_cycles_are_named(said: Linter, lines: list[str], expected: list[str]) -> None:
    assert said(EVENTS, *lines) == [f"{fault}; a graph runs one way only" for fault in expected]


def test_a_long_cycle_is_not_written_out(said: Linter) -> None:
    ring = [f"n{i}: {{use: same, inputs: [n{(i - 1) % 500}]}}" for i in range(500)]
    [fault, *_] = said(*ring)
    assert fault.startswith("3:3: node 'n0': a cycle: n0 -> n1 -> n2 -> ")
    assert fault.endswith(" -> (489 more) -> n0; a graph runs one way only")


def test_many_cycles_are_found_in_a_moment(said: Linter) -> None:
    pairs = [f"n{i}: {{use: same, inputs: [n{i ^ 1}]}}" for i in range(8000)]
    assert len(said(*pairs)) == 201


# --- types ---


def test_a_misfit_names_both_nodes_both_types_and_a_way_out(said: Linter) -> None:
    assert said(SOCKET, "o: {use: order-buffer, inputs: [socket]}", sink("c", "o")) == [
        "4:35: node 'o': order-buffer takes Event, but 'socket' (socket) gives Raw; put ingest between"
    ]
    assert said(EVENTS, "i: {use: ingest, inputs: [events]}", sink("c", "i")) == [
        "4:29: node 'i': ingest takes Raw, but 'events' (gateway) gives Event"
    ]


def test_subclasses_fit_and_superclasses_do_not(said: Linter) -> None:
    trades = "t: {use: trades-only, inputs: [events]}"
    assert said(EVENTS, trades, "o: {use: order-buffer, inputs: [t]}", sink("c", "o")) == []
    assert said(EVENTS, trades, "s: {use: trade-sink, inputs: [t]}") == []
    assert said(EVENTS, "s: {use: trade-sink, inputs: [events]}") == [
        "4:33: node 's': trade-sink takes Trade, but 'events' (gateway) gives Event; put trades-only between"
    ]


def test_a_type_variable_stands_for_what_comes_in(said: Linter) -> None:
    same = "{use: same, inputs: [%s]}"
    chain = ["a: " + same % "t", "b: " + same % "a"]
    assert (
        said(EVENTS, "t: {use: trades-only, inputs: [events]}", *chain, "s: {use: trade-sink, inputs: [b]}")
        == []
    )
    assert said(EVENTS, "a: " + same % "events", "s: {use: trade-sink, inputs: [a]}")[0].startswith(
        "5:33: node 's': trade-sink takes Trade, but 'a' (same) gives Event"
    )
    both = said(
        SOCKET, EVENTS, "a: " + same % "events, socket", "o: {use: order-buffer, inputs: [a]}", sink("c", "o")
    )
    assert both == ["6:35: node 'o': order-buffer takes Event, but 'a' (same) gives Event | Raw"]


def test_dead_letters_have_a_type_of_their_own(said: Linter) -> None:
    head = [SOCKET, FRAMES, sink("c", "frames")]
    assert said(*head, "j: {use: jsonl, inputs: [frames.dead_letters, frames], params: {path: x}}") != []
    assert said(*head, "j: {use: jsonl, inputs: [frames.dead_letters], params: {path: x}}") == []
    [fault] = said(*head, "s: {use: trade-sink, inputs: [frames.dead_letters]}")
    assert "trade-sink takes Trade, but 'frames.dead_letters' gives DeadLetter" in fault


# --- ownership ---


def test_a_pooled_object_has_one_owner(said: Linter) -> None:
    assert said(SOCKET, FRAMES, sink("c", "frames"), sink("d", "frames"), sink("e", "frames")) == [
        "6:30: node 'd': 'frames' gives pooled objects, which have one owner, but 3 nodes read it (c, d, e); "
        "put a fan-out-clone between"
    ]
    bus = "bus: {use: fan-out-clone, inputs: [frames]}"
    assert said(SOCKET, FRAMES, bus, sink("c", "bus"), sink("d", "bus")) == []


def test_what_is_not_pooled_may_be_read_by_many(said: Linter) -> None:
    behind_the_bus = ["bus: {use: fan-out-clone, inputs: [frames]}", "o: {use: order-buffer, inputs: [bus]}"]
    assert said(SOCKET, FRAMES, *behind_the_bus, sink("c", "o"), sink("d", "o")) == []
    assert said(EVENTS, sink("c", "events"), sink("d", "events")) == []
    assert (
        said(
            SOCKET,
            FRAMES,
            sink("c", "frames"),
            sink("d", "frames.dead_letters"),
            sink("e", "frames.dead_letters"),
        )
        == []
    )


def test_a_pooled_operator_passes_on_what_it_gets(said: Linter) -> None:
    found = said(SOCKET, FRAMES, "o: {use: books, inputs: [frames]}", sink("c", "o"), sink("d", "o"))
    assert [fault.split(",")[0] for fault in found] == ["7:30: node 'd': 'o' gives pooled objects"]


# --- critical events ---


def test_critical_events_meet_nothing_that_may_lose_anything(said: Linter) -> None:
    sample = "s: {use: sample, inputs: [o]}"
    assert said(EVENTS, "o: {use: same, inputs: [events]}", sample, sink("c", "s")) == [
        "5:3: node 's': critical events come this way (events -> o -> s), and sample may lose anything; "
        "branch off before it"
    ]
    assert (
        said(
            EVENTS, sink("d", "events"), SOCKET, FRAMES, "s: {use: sample, inputs: [frames]}", sink("c", "s")
        )
        == []
    )
    assert said(EVENTS, "l: {use: coalesce, inputs: [events]}", sink("c", "l")) == []


@pytest.mark.parametrize("when_full", ["drop_oldest", "drop_newest"])
def test_critical_events_meet_no_mailbox_that_drops(said: Linter, when_full: str) -> None:
    box = f"{{source: o, mailbox: {{when_full: {when_full}}}}}"
    assert said(EVENTS, "o: {use: same, inputs: [events]}", sink("c", box)) == [
        "5:39: node 'c': critical events come this way (events -> o -> c), which a mailbox that may "
        f"{when_full} could lose"
    ]
    assert (
        said(
            EVENTS, sink("d", "events"), SOCKET, FRAMES, sink("c", box.replace("source: o", "source: frames"))
        )
        == []
    )


def test_a_mailbox_that_drops_stands_on_every_edge_of_its_node(said: Linter) -> None:
    box = "{source: frames, mailbox: {when_full: drop_oldest}}"
    (found,) = said(EVENTS, SOCKET, FRAMES, sink("c", f"events, {box}"))
    assert "critical events come this way (events -> c), which a mailbox that may drop_oldest could" in found


def test_a_mailbox_that_keeps_the_latest_has_a_lane_for_critical_events(said: Linter) -> None:
    assert said(EVENTS, sink("c", "{source: events, mailbox: {when_full: latest_by_key}}")) == []


# --- mailboxes ---


def test_block_is_for_replay_only(said: Linter) -> None:
    lines = [SOCKET, FRAMES, sink("c", "{source: frames, mailbox: {when_full: block}}")]
    assert said(*lines) == [
        "5:39: node 'c': block stops the sources; only a graph with `mode: replay` may have it"
    ]
    assert said(*lines, head="mode: replay\n") == []
    assert said(*lines, sets=["mode=replay"]) == []


BUS = "bus: {use: fan-out-clone, inputs: [frames]}"
BOXED = "{source: %s, mailbox: {}}"
INSIDE = "a mailbox can't stand inside of the synchronous chain"


def test_a_mailbox_stands_where_one_consumer_follows(said: Linter) -> None:
    tail = f"l: {{use: coalesce, inputs: [{BOXED % 'bus'}]}}"
    assert said(SOCKET, FRAMES, BUS, tail, sink("c", "l")) == []
    assert said(SOCKET, FRAMES, BUS, tail, "s: {use: same, inputs: [l]}", sink("c", "s")) == []
    assert (
        said(SOCKET, FRAMES, f"o: {{use: order-buffer, inputs: [{BOXED % 'frames'}]}}", sink("c", "o")) == []
    )


@pytest.mark.parametrize(
    "lines",
    [
        [f"frames: {{use: ingest, inputs: [{BOXED % 'socket'}]}}", BUS, sink("c", "bus")],
        [FRAMES, f"bus: {{use: fan-out-clone, inputs: [{BOXED % 'frames'}]}}", sink("c", "bus")],
        [FRAMES, BUS, f"o: {{use: books, inputs: [{BOXED % 'bus'}]}}", sink("c", "o")],
        [FRAMES, BUS, f"o: {{use: same, inputs: [{BOXED % 'bus'}]}}", sink("c", "o"), sink("d", "o")],
        [
            FRAMES,
            BUS,
            f"o: {{use: same, inputs: [{BOXED % 'bus'}]}}",
            "b: {use: fan-out-clone, inputs: [o]}",
            sink("c", "b"),
        ],
    ],
)
def test_no_mailbox_inside_of_the_chain(said: Linter, lines: list[str]) -> None:
    [fault] = said(SOCKET, *lines)
    assert INSIDE in fault


@pytest.mark.parametrize("edge", [BOXED % "bus", "bus"])
def test_one_mailbox_a_path(said: Linter, edge: str) -> None:
    """Also where the first one is not named: it stands behind the fan-out."""
    tail = f"l: {{use: coalesce, inputs: [{edge}]}}"
    assert said(SOCKET, FRAMES, BUS, tail, sink("c", BOXED % "l")) == [
        "7:39: node 'c': the mailbox of this path stands in front of 'l'; put yours there"
    ]
    assert said(SOCKET, FRAMES, BUS, sink("c", BOXED % "bus"), sink("d", BOXED % "bus")) == []


def test_what_comes_through_a_mailbox_is_joined_with_nothing(said: Linter) -> None:
    tail = "l: {use: coalesce, inputs: [bus]}"
    assert said(SOCKET, FRAMES, BUS, tail, sink("c", "l", "frames.dead_letters")) == [
        "7:3: node 'c': one of its inputs comes through the mailbox in front of 'l'; so all have to, "
        "join them before it"
    ]
    assert (
        said(SOCKET, FRAMES, BUS, "l: {use: same, inputs: [bus, frames.dead_letters]}", sink("c", "l")) == []
    )


def test_the_inputs_of_a_node_share_a_mailbox(said: Linter) -> None:
    other = "{source: frames.dead_letters, mailbox: {capacity: 5}}"
    assert said(SOCKET, FRAMES, sink("c", BOXED % "frames", other)) == [
        "5:70: node 'c': all inputs of a node share one mailbox, but two are described"
    ]
    assert said(SOCKET, FRAMES, sink("c", "frames", other)) == []
    assert said(SOCKET, FRAMES, sink("c", BOXED % "frames", BOXED % "frames.dead_letters")) == []


def test_a_mailbox_in_front_of_any_consumer(said: Linter) -> None:
    assert said(SOCKET, FRAMES, sink("c", BOXED % "frames"), sink("d", BOXED % "frames.dead_letters")) == []


# --- graphs built in Python ---


def built(registry: Registry, **changed: NodeEntry) -> GraphSpec:
    def entry(name: str, use: str, *inputs: InputSpec) -> NodeEntry:
        return NodeEntry(name, use, list(inputs), registry.nodes[use].params())

    nodes = {"a": entry("a", "gateway"), "b": entry("b", "console", InputSpec("a"))}
    return GraphSpec(name="mine", nodes=nodes | changed)


def test_a_graph_of_data_alone_is_checked(registry: Registry) -> None:
    assert check(built(registry), registry) == []
    assert [str(fault) for fault in check(GraphSpec(name="x", nodes={}), registry)] == [
        "<x>:0:0: this graph has no nodes"
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"use": "consle"},
            "<mine>:0:0: node 'b': unknown operator or component 'consle', did you mean 'console'?",
        ),
        ({"id": "x"}, "<mine>:0:0: node 'b': its entry has the id 'x'"),
        ({"params": MailboxSpec()}, "<mine>:0:0: node 'b': params: expected NoneParams, got MailboxSpec"),
        ({"inputs": [InputSpec("a", "in")]}, "<mine>:0:0: node 'b': there is no port 'in'"),  # type: ignore[arg-type]
        (
            {"inputs": [InputSpec("a", mailbox=MailboxSpec(capacity=0))]},
            "<mine>:0:0: node 'b': mailbox: Expected `int` >= 1 - at `$.capacity`",
        ),
    ],
)
def test_what_reading_would_have_found(registry: Registry, changes: dict[str, Any], expected: str) -> None:
    spec = built(registry)
    spec.nodes["b"] = altered(spec.nodes["b"], **changes)
    assert expected in [str(fault) for fault in check(spec, registry)]


def test_a_bad_id_is_found_in_data_too(registry: Registry) -> None:
    spec = built(registry)
    spec.nodes["B-2"] = altered(spec.nodes["b"], id="B-2")
    assert "snake_case" in str(check(spec, registry)[0])


def test_the_flag_for_critical_events_is_off_by_default(registry: Registry) -> None:
    assert not registry.nodes["socket"].carries_critical
    registry.nodes["gateway"] = replace(registry.nodes["gateway"], carries_critical=False)
    spec = built(registry)
    spec.nodes["s"] = NodeEntry("s", "sample", [InputSpec("a")], registry.nodes["sample"].params())
    spec.nodes["c"] = NodeEntry("c", "console", [InputSpec("s")], registry.nodes["console"].params())
    assert check(spec, registry) == []
