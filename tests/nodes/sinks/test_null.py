"""The sink that does nothing still counts."""

from __future__ import annotations

from typing import Any

from flow.events.stream import EventType
from flow.registry import registry
from flow.testing import make_event, make_stream
from nodes.sinks.null import null


async def test_takes_whole_batches_and_is_counted(deliver: Any) -> None:
    tickers = make_stream(event_type=EventType.TICKER)
    delivery = await deliver(null(), make_event(1), make_event(2), make_event(3, tickers))
    assert delivery.by_type == {"Ticker": 1, "Trade": 2}
    assert delivery.component.handle_batch is not None
    assert delivery.component.handle(make_event(1)) is None


def test_takes_anything() -> None:
    spec = registry.nodes["null"]
    assert (spec.kind, spec.input) == ("consumer", Any)
