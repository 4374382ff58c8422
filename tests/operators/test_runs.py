"""Runs: whatever way a stream of elements is cut into runs, the outcome is that of one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
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
from flow.stage import Machine, door, many
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import assert_nothing_out, make_event
from nodes.providers.binance.codec import BinanceCodec
from operators.decode import Decoder
from operators.dedupe import DedupeParams, Deduper
from operators.fan_out_clone import FanOutStage
from operators.order_buffer import OrderBuffer, OrderBufferParams
from operators.route import Router

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


class Chain:
    """A machine with what it needs around it, and a record of what came out of it."""

    def __init__(self, make: Callable[[Context], Machine[Any, Any]]) -> None:
        self.pools = Pools()
        self.letters = DeadLetters()
        self.context = Context("under test", pools=self.pools, dead_letters=self.letters, clock=lambda: 5)
        self.machine = make(self.context)
        self.machine.after = lambda seconds, action: None  # type: ignore[method-assign,assignment,return-value]
        self.machine.lead_to(self.take)
        self.out: list[tuple[str, int, int]] = []

    def take(self, event: Any) -> None:
        self.out.append((event.channel, event.sequence, event.routing_version))
        release(event)

    def elements(self, script: list[tuple[int, int, bool]]) -> list[Any]:
        return [
            make_event(number, STREAMS[stream], pools=self.pools) if is_event else object()
            for stream, number, is_event in script
        ]

    def account(self) -> tuple[Any, ...]:
        machine = self.machine
        return self.out, machine.passed, dict(machine.dropped), machine.dead_lettered, machine.in_flight


MACHINES: dict[str, Callable[[Context], Machine[Any, Any]]] = {
    "order-buffer": lambda context: OrderBuffer(OrderBufferParams(capacity=3), context),
    "dedupe": lambda context: Deduper(DedupeParams(window=4), context),
    "route": lambda context: Router(RoutingTable(), context),
}


@pytest.mark.parametrize("name", MACHINES)
@given(script=steps, lengths=cuts)
def test_the_outcome_is_that_of_one_after_another(
    name: str, script: list[tuple[int, int, bool]], lengths: list[int]
) -> None:
    one, cut = Chain(MACHINES[name]), Chain(MACHINES[name])
    for element in one.elements(script):
        one.machine.add(element)
    elements, at = cut.elements(script), 0
    while at < len(elements):
        length = lengths[at % len(lengths)]
        cut.machine.add_many(elements[at : at + length])
        at += length
    assert cut.account() == one.account()
    for chain in (one, cut):
        chain.machine.close()
        assert_nothing_out(chain.pools, used=False)


@given(script=steps, lengths=cuts)
def test_subscribers_of_a_fan_out_get_the_same_from_runs(
    script: list[tuple[int, int, bool]], lengths: list[int]
) -> None:
    outcomes: list[Any] = []
    for is_cut in (False, True):
        chain = Chain(MACHINES["route"])
        table = RoutingTable()
        chain.context.services["routing"] = table
        table.subscribe("narrow", "A-B")
        stage: Any = FanOutStage(reactivex.never(), chain.context)
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
        elements = chain.elements(script)
        if is_cut:
            for at in range(0, len(elements), lengths[0]):
                stage.machine.add_many(elements[at : at + lengths[0]])
        else:
            for element in elements:
                stage.machine.add(element)
        sent = [subscriber.sent for subscriber in subscribers]
        assert sent == [len(received["wide"]), len(received["narrow"])]
        assert_nothing_out(chain.pools, used=False)
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
        elements = [make_event(number, STREAMS[stream]) for stream, number, _ in script]
        if is_cut:
            for at in range(0, len(elements), lengths[0]):
                mailbox.put_many(elements[at : at + lengths[0]])
        else:
            for element in elements:
                mailbox.put(element)
        waiting = mailbox.in_flight
        taken = [(event.channel, event.sequence) for event in mailbox.take_now()]
        outcomes.append((waiting, taken, mailbox.coalesced, dict(mailbox.dropped), mailbox.markers))
    assert outcomes[0] == outcomes[1]


def test_a_bound_method_has_a_door_where_its_owner_takes_runs() -> None:
    machine = MACHINES["dedupe"](Context())
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
    chain = Chain(MACHINES["route"])
    stage: Any = FanOutStage(reactivex.never(), chain.context)
    stage.wire_named("any", _ignore, _ignore, _ignore, None)
    event: Any = make_event(7, STREAMS[0], pools=chain.pools, merge_id="m")
    for name in set(PooledEvent.__slots__) - {"stream", "home", "payload", "merge_id"}:
        setattr(event, name, 9)
    stage.machine.add_many([event])
    assert lies_cleared(chain.pools, "CanonicalEvent", "stream") == 1

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
