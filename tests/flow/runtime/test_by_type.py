"""What a consumer was handed, by type: counted by the fan-out where all passes, else one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from flow.component import Consumer, Source
from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.events.stream import EventType
from flow.graph.load import load
from flow.graph.spec import NoParams
from flow.plugins import load_installed
from flow.registry import Registry, registry, spec_of
from flow.runtime.options import RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.virtual_time import run_virtual
from flow.testing import make_event, make_stream

GRAPH = """version: 1
name: counted
nodes:
  numbers: {use: numbers}
  bus: {use: fan-out-clone, inputs: [numbers]}
"""
BOX = "[{source: bus, mailbox: {capacity: 5}}]"
WAYS = {
    "straight": f"  sink: {{use: sink, inputs: {BOX}}}",
    "coalesce": f"  a: {{use: coalesce, inputs: {BOX}}}\n  sink: {{use: sink, inputs: [a]}}",
    "coalesce, idle throttle": (
        f"  a: {{use: coalesce, inputs: {BOX}}}\n"
        "  b: {use: throttle, inputs: [a]}\n  sink: {use: sink, inputs: [b]}"
    ),
    "coalesce, throttle": (
        f"  a: {{use: coalesce, inputs: {BOX}}}\n"
        "  b: {use: throttle, inputs: [a], params: {rate_per_s: 20}}\n  sink: {use: sink, inputs: [b]}"
    ),
    "throttle, coalesce": (
        f"  a: {{use: throttle, inputs: {BOX}, params: {{rate_per_s: 20}}}}\n"
        "  b: {use: coalesce, inputs: [a]}\n  sink: {use: sink, inputs: [b]}"
    ),
    "dedupe, coalesce": (
        f"  a: {{use: dedupe, inputs: {BOX}}}\n  b: {{use: coalesce, inputs: [a]}}\n"
        "  sink: {use: sink, inputs: [b]}"
    ),
}
COUNTED_BY_FAN_OUT = ("straight", "coalesce", "coalesce, idle throttle")
STREAMS = [
    make_stream(event_type=kind, channel=kind.value)
    for kind in (EventType.TRADE, EventType.TICKER, EventType.BEST_QUOTE)
]


class Numbers(Source[CanonicalEvent]):
    """Events in bursts of 3 to 12, numbers repeated now and then."""

    async def run(self) -> None:
        for burst in range(40):
            for at in range(3 + burst % 10):
                self.emitted += 1
                self.emit(make_event(burst * 20 + at // 2, STREAMS[at % 3]))
            await asyncio.sleep(0.01)

    def pause(self) -> None:
        return


class Sink(Consumer[CanonicalEvent]):
    """Fails at every tenth."""

    def __init__(self) -> None:
        self.count = 0
        self.got: Counter[str] = Counter()

    async def handle(self, element: CanonicalEvent) -> None:
        await asyncio.sleep(0.001)
        self.count += 1
        if self.count % 10 == 0:
            raise ValueError("every tenth")
        self.got[element.event_type.value] += 1


@pytest.mark.parametrize("way", WAYS)
def test_the_count_by_type_is_what_the_consumer_got(way: str) -> None:
    load_installed()
    known = Registry(dict(registry.nodes))
    seen: list[Any] = []

    def numbers(params: NoParams, context: Context) -> Source[CanonicalEvent]:
        return Numbers()

    def sink(params: NoParams, context: Context) -> Consumer[CanonicalEvent]:
        return Sink()

    known.add(spec_of("numbers", numbers, pooled=True))
    known.add(spec_of("sink", sink))
    spec = load("counted.yaml", text=GRAPH + WAYS[way] + "\n", registry=known)

    async def whole() -> GraphRun:
        async with GraphRun(spec, RunOptions(), registry=known) as run:
            delivery, handler = run.topology.deliveries["sink"], run.topology.vertices["sink"].component
            assert isinstance(handler, Sink)
            while run.topology.sources[0][1].component.emitted < 150:
                await asyncio.sleep(0.0123)
                seen.append((delivery.by_type, dict(sorted(handler.got.items()))))
            await run.wait()
        seen.append((delivery.by_type, dict(sorted(handler.got.items()))))
        assert all(edge.difference == 0 for edge in run.topology.edges())
        assert (delivery.inflow is not None) == (way in COUNTED_BY_FAN_OUT)
        return run

    run_virtual(whole(), start_ns=1_700_000_000_000_000_000)
    assert len(seen) > 10
    for counted, got in seen:
        assert counted == got
