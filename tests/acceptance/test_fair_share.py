"""Three consumers behind one budget at five times what they may take: a greedy, a slow and a modest one.

    load ─► routed ─► bus ─► [mailbox] coalesce ─► throttle ─► greedy | slow | modest

Time is virtual: the handlers of the slow one take a part of a second each, the load comes at its rate.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from msgspec import Struct

from flow.clock import NS_PER_S
from flow.component import Consumer, Source
from flow.context import Context
from flow.errors import GraphError
from flow.events.canonical import CanonicalEvent
from flow.events.payloads import BookUpdateData
from flow.events.stream import EventType, Lane, Stream
from flow.graph.load import load
from flow.graph.spec import NoParams
from flow.plugins import load_installed
from flow.registry import Registry, registry, spec_of
from flow.runtime.options import RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.sharing import BURST_S, Allowance, Share
from flow.testing import assert_nothing_out, make_event, make_stream

BANDWIDTHS = {"greedy": 240, "slow": 40, "modest": 40}
TOTAL = sum(BANDWIDTHS.values()) // 4
OVERLOAD = 5
SECONDS = 5
REPORTS_PER_S = 10
SLOW_S = 0.04
"""What one event takes the slow one."""
SYMBOLS = {"greedy": "AAA-USDT", "slow": "BBB-USDT", "modest": "CCC-USDT"}
"""The slow and the modest one subscribe to theirs, the greedy one to all."""
TYPES = (EventType.TRADE, EventType.BEST_QUOTE, EventType.BOOK_UPDATE, EventType.TICKER)

HEAD = """version: 1
name: fair_share
nodes:
  load: {use: load}
  routed: {use: route, inputs: [load], params: {table: {slow: [[BBB-USDT, "*"]], modest: [[CCC-USDT, "*"]]}}}
  bus: {use: fan-out-clone, inputs: [routed]}
"""
BRANCH = """  latest_{name}: {{use: coalesce, inputs: [{{source: bus, mailbox: {{capacity: 256}}}}]}}
  paced_{name}:
    use: throttle
    inputs: [latest_{name}]
    params: {{bandwidth_per_s: {bandwidth}, total_per_s: {total}, capacity: 64}}
  {name}: {{use: taker, inputs: [paced_{name}], params: {{takes_s: {takes_s}}}}}
"""


def graph(**more: float) -> str:
    return HEAD + "".join(
        BRANCH.format(name=name, bandwidth=bandwidth, total=TOTAL, takes_s=SLOW_S if name == "slow" else 0.0)
        for name, bandwidth in {**BANDWIDTHS, **more}.items()
    )


class TakerParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    takes_s: float = 0.0


class Taker(Consumer[CanonicalEvent]):
    """Notes what it gets, and takes its time."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s
        self.got: list[CanonicalEvent] = []

    async def handle(self, element: CanonicalEvent) -> None:
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        self.got.append(element)


class Load(Source[CanonicalEvent]):
    """Market data at `OVERLOAD` times the bandwidth of each consumer, and reports among them."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.reports: list[int] = []
        self.report_stream = make_stream(event_type=EventType.EXEC_REPORT, channel="orders")
        self.streams: dict[str, list[Stream]] = {
            symbol: [make_stream(symbol=symbol, event_type=kind, channel=kind.value) for kind in TYPES]
            for symbol in SYMBOLS.values()
        }

    async def run(self) -> None:
        steps = 100
        rates = {SYMBOLS[name]: OVERLOAD * BANDWIDTHS[name] for name in ("slow", "modest")}
        rates[SYMBOLS["greedy"]] = OVERLOAD * BANDWIDTHS["greedy"] - sum(rates.values())
        number = 0
        for step in range(SECONDS * steps):
            for symbol, rate in rates.items():
                for at in range(rate // steps):
                    number += 1
                    self.send(number, self.streams[symbol][(step + at) % len(TYPES)])
            if step % (steps // REPORTS_PER_S) == 0:
                number += 1
                self.reports.append(number)
                self.send(number, self.report_stream)
            await asyncio.sleep(1 / steps)

    def send(self, number: int, stream: Stream) -> None:
        payload: Any = None
        if stream.event_type is EventType.BOOK_UPDATE:
            payload = BookUpdateData([(str(number % 9), str(number))], [])
        self.emitted += 1
        ingest_ts = self.context.clock()
        self.emit(make_event(number, stream, ingest_ts=ingest_ts, payload=payload, pools=self.context.pools))

    def pause(self) -> None:
        return


class Outcome:
    """A run of the graph to its end."""

    def __init__(self, text: str) -> None:
        load_installed()
        self.taken: dict[str, Counter[Lane]] = {}
        """What each consumer was handed while the load lasted."""
        self.registry = Registry(dict(registry.nodes))

        def taker(params: TakerParams, context: Context) -> Consumer[CanonicalEvent]:
            return Taker(params.takes_s)

        def source(params: NoParams, context: Context) -> Source[CanonicalEvent]:
            return Load(context)

        self.registry.add(spec_of("taker", taker))
        self.registry.add(spec_of("load", source, pooled=True, carries_critical=True))
        self.spec = load("fair_share.yaml", text=text, registry=self.registry)
        with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(1_700_000_000 * NS_PER_S)) as runner:
            self.run = runner.run(self.go())

    async def go(self) -> GraphRun:
        async with GraphRun(self.spec, RunOptions(), registry=self.registry) as run:
            await run.wait()
            for name in BANDWIDTHS:
                self.taken[name] = Counter(event.stream.lane for event in self.taker(run, name).got)
        return run

    @property
    def reports(self) -> list[int]:
        source = self.run.topology.vertices["load"].component
        assert isinstance(source, Load)
        return source.reports

    def taker(self, run: GraphRun, name: str) -> Taker:
        component = run.topology.vertices[name].component
        assert isinstance(component, Taker)
        return component

    def rate(self, name: str) -> float:
        """Market events a second that a consumer was handed while the load lasted."""
        taken = self.taken[name]
        return (taken[Lane.MARKET] + taken[Lane.TRADES]) / SECONDS

    def parts(self) -> dict[str, float]:
        return {name: self.rate(name) / bandwidth for name, bandwidth in BANDWIDTHS.items()}


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return Outcome(graph())


def test_none_gets_less_than_a_quarter_of_its_bandwidth(outcome: Outcome) -> None:
    assert min(outcome.parts().values()) >= 0.25, outcome.parts()
    assert sum(outcome.rate(name) for name in BANDWIDTHS) <= TOTAL * (1 + 2 * BURST_S / SECONDS)


def test_it_was_an_overload_of_five(outcome: Outcome) -> None:
    sent = {edge.target: edge.entered for edge in outcome.run.topology.edges()}
    for name, bandwidth in BANDWIDTHS.items():
        market = sent[f"latest_{name}"] - len(outcome.reports)
        assert market == pytest.approx(OVERLOAD * bandwidth * SECONDS, rel=0.05)
        paced = outcome.run.topology.vertices[f"paced_{name}"].machine
        assert paced is not None
        assert paced.dropped["throttled"] > 0
        assert getattr(paced, "coalesced", 0) > 0
        assert getattr(paced, "markers", 0) > 0


def test_every_report_is_delivered_in_order_to_everyone(outcome: Outcome) -> None:
    assert len(outcome.reports) == SECONDS * REPORTS_PER_S
    for name in BANDWIDTHS:
        got = outcome.taker(outcome.run, name).got
        reports = [event.sequence for event in got if event.event_type is EventType.EXEC_REPORT]
        assert reports == outcome.reports


def test_everything_is_accounted_for(outcome: Outcome) -> None:
    run = outcome.run
    assert run.failure is None
    edges = run.topology.edges()
    assert len(edges) == 2 + 3 * len(BANDWIDTHS)
    assert [(edge.target, edge.difference, edge.in_flight) for edge in edges] == [
        (edge.target, 0, 0) for edge in edges
    ]
    assert_nothing_out(run.context.pools)


def test_first_come_first_served_would_starve_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    divide = Share._divide

    def guarantee_nothing(self: Share, members: list[Allowance]) -> None:
        divide(self, members)
        self.kept = 0.0
        for member in members:
            member.own.depth = member.own.tokens = 0.0

    monkeypatch.setattr(Share, "_divide", guarantee_nothing)
    monkeypatch.setattr(Allowance, "_others_waiting", lambda self, share: [])
    parts = Outcome(graph()).parts()
    assert min(parts.values()) < 0.15 < 0.6 < max(parts.values())


def test_a_graph_that_asks_for_more_than_can_be_guaranteed_is_refused() -> None:
    with pytest.raises(GraphError) as raised:
        Outcome(graph(fourth=1.0))
    (fault,) = raised.value.faults
    assert fault.message.startswith(
        "paced_fourth: the share 'default' has 80 events/s for subscriptions of 321"
    )
    assert fault.file == "fair_share.yaml"
    assert fault.line == 1 + graph(fourth=1.0).splitlines().index("  paced_fourth:")
