"""Runs beyond the operators' contract: subscribers of a fan-out, mailboxes, puts that are written out."""

from __future__ import annotations

from typing import Any

import reactivex
from hypothesis import given
from hypothesis import strategies as st

from flow.context import Context
from flow.events.canonical import PooledEvent
from flow.events.frames import Connection, WsFrame
from flow.events.stream import EventType, Sequence, Stream
from flow.graph.spec import MailboxSpec
from flow.pool import Pools, release
from flow.routing import RoutingTable
from flow.runtime.mailbox import Mailbox
from flow.stage import door, many
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import assert_nothing_out, make_event
from nodes.providers.binance.codec import BinanceCodec
from operators.decode import Decoder
from operators.dedupe import DedupeParams, Deduper
from operators.fan_out_clone import FanOutStage

STREAMS = [
    Stream("test", symbol, EventType.TRADE, kind.value, kind)
    for symbol in ("A-B", "C-D")
    for kind in Sequence
]
steps = st.lists(st.tuples(st.integers(0, len(STREAMS) - 1), st.integers(1, 12), st.booleans()), max_size=60)
QUOTE = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":4,"s":"BTCUSDT","b":"1.0","B":"2.0","a":"3.0","A":"4.0"}}'
)
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=20)


def elements(script: list[tuple[int, int, bool]], pools: Pools) -> list[Any]:
    return [
        make_event(number, STREAMS[stream], pools=pools) if is_event else object()
        for stream, number, is_event in script
    ]


def fan_out(pools: Pools, table: RoutingTable) -> Any:
    services: dict[str, Any] = {"routing": table}
    context = Context(
        "under test", pools=pools, dead_letters=DeadLetters(), clock=lambda: 5, services=services
    )
    return FanOutStage(reactivex.never(), context)


@given(script=steps, lengths=cuts)
def test_subscribers_of_a_fan_out_get_the_same_from_runs(
    script: list[tuple[int, int, bool]], lengths: list[int]
) -> None:
    outcomes: list[Any] = []
    for is_cut in (False, True):
        pools, table = Pools(), RoutingTable()
        table.subscribe("narrow", "A-B")
        stage = fan_out(pools, table)
        received: dict[str, list[tuple[str, int]]] = {"wide": [], "narrow": []}
        subscribers = [
            stage.wire_named(
                name,
                lambda clone, got=got: got.append((clone.symbol, clone.sequence)),
                _ignore,
                _ignore,
                None,
            )
            for name, got in received.items()
        ]
        events = elements(script, pools)
        if is_cut:
            for at in range(0, len(events), lengths[0]):
                stage.machine.add_many(events[at : at + lengths[0]])
        else:
            for event in events:
                stage.machine.add(event)
        sent = [subscriber.sent for subscriber in subscribers]
        assert sent == [len(received["wide"]), len(received["narrow"])]
        assert_nothing_out(pools, used=False)
        outcomes.append((received, sent, stage.machine.passed, stage.machine.dead_lettered))
    assert outcomes[0] == outcomes[1]


def _ignore(*_: Any) -> None:
    return


@given(script=steps, lengths=cuts, capacity=st.integers(1, 12))
def test_a_mailbox_takes_runs_as_it_takes_single_elements(
    script: list[tuple[int, int, bool]], lengths: list[int], capacity: int
) -> None:
    outcomes: list[Any] = []
    for is_cut in (False, True):
        mailbox = Mailbox("consumer", MailboxSpec(capacity=capacity), Context(clock=lambda: 5))
        events = [make_event(number, STREAMS[stream]) for stream, number, _ in script]
        if is_cut:
            for at in range(0, len(events), lengths[0]):
                mailbox.put_many(events[at : at + lengths[0]])
        else:
            for event in events:
                mailbox.put(event)
        waiting = mailbox.in_flight
        taken = [(event.channel, event.sequence) for event in mailbox.take_now()]
        outcomes.append((waiting, taken, mailbox.coalesced, dict(mailbox.dropped), mailbox.markers))
    assert outcomes[0] == outcomes[1]


def test_a_bound_method_has_a_door_where_its_owner_takes_runs() -> None:
    machine = Deduper(DedupeParams(), Context())
    assert door(machine.add) == machine.add_many
    assert door(print) is None
    assert door([].append) is None
    seen: list[int] = []
    many(seen.append)([1, 2, 3])
    assert seen == [1, 2, 3]


def lies_cleared(pools: Pools, kind: str, key_field: str) -> int:
    """How many objects of a kind lie in their pool; each must be as a fresh one is, but for its key."""
    pool = pools.by_kind[kind]
    lying = [(shelf.key, item) for shelf in pool.shelves.values() for item in shelf]
    for key, item in lying:
        fresh = type(item)(key)
        fields = [name for parent in type(item).__mro__ for name in getattr(parent, "__slots__", ())]
        assert key_field in fields
        assert {name: getattr(item, name) for name in fields} == {
            name: getattr(fresh, name) for name in fields
        }
    return len(lying)


def test_what_is_put_where_it_is_used_is_cleared_of_every_field() -> None:
    """The fan-out and the decoder write their puts out; a new field that they forget fails here."""
    pools = Pools()
    stage = fan_out(pools, RoutingTable())
    stage.wire_named("any", _ignore, _ignore, _ignore, None)
    event: Any = make_event(7, STREAMS[0], pools=pools, merge_id="m")
    for name in set(PooledEvent.__slots__) - {"stream", "home", "payload", "merge_id"}:
        setattr(event, name, 9)
    stage.machine.add_many([event])
    assert lies_cleared(pools, "CanonicalEvent", "stream") == 1

    pools = Pools()
    decoder = Decoder(
        BinanceCodec({"BTCUSDT": "BTC-USDT"}.get), Context("d", pools=pools, dead_letters=DeadLetters())
    )
    decoder.lead_to(release)
    shelf = pools.of("WsFrame", WsFrame).shelf(Connection("binance", 1))
    for _ in range(2):
        frame = shelf.get()
        frame.payload, frame.received_at, frame.message_type = QUOTE, 5, "binary"
        decoder.add_many([frame])
    assert decoder.emitted == 2
    for kind, key_field in (("WsFrame", "connection"), ("ProviderRaw", "stream")):
        assert lies_cleared(pools, kind, key_field) == 1
