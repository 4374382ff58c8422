"""The summary of a run: one JSON object, the same for two runs of one recording but for times and CPU."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from flow.clock import NS_PER_S
from flow.component import Component
from flow.events.stream import Stream
from flow.runtime.delivery import Delivery
from flow.runtime.run import GraphRun

__all__ = ["summarise"]


def summarise(run: GraphRun) -> dict[str, Any]:
    """The figures of a run, now or at its end. Shapes and names are a contract with users; see the README."""
    topology = run.topology
    frames = sum(output.component.emitted - output.dropped["over_limit"] for _, output in topology.sources)
    started = datetime.fromtimestamp(run.started_ns / NS_PER_S, UTC)
    assert run.context.dead_letters is not None
    return {
        "graph": run.spec.name,
        "mode": run.options.mode,
        "started": started.isoformat(timespec="milliseconds"),
        "duration_s": round(run.duration_s, 6),
        "cpu_s": round(run.cpu_s, 6),
        "frames": frames,
        "frames_per_s": round(frames / run.duration_s, 3) if run.duration_s else 0.0,
        "events": _events(run),
        "consumers": {name: _consumer(delivery) for name, delivery in topology.deliveries.items()},
        "books": _books(run),
        "dead_letters": run.context.dead_letters.by_reason(),
        "pools": run.context.pools.figures(),
        "edges": [edge.row() for edge in topology.edges()],
        "occurrences": _occurrences(run),
        "nodes": _nodes(run),
    }


def _events(run: GraphRun) -> dict[str, int]:
    """Canonical events by provider and type: who makes events counts them, as `made_by_stream`."""
    totals: Counter[str] = Counter()
    for vertex in run.topology.vertices.values():
        for maker in (vertex.machine, vertex.component):
            made: dict[Stream, int] = getattr(maker, "made_by_stream", {})
            for stream, n in made.items():
                totals[f"{stream.provider}/{stream.event_type.value}"] += n
    return dict(sorted(totals.items()))


def _consumer(delivery: Delivery) -> dict[str, Any]:
    dropped = delivery.mailbox.dropped + delivery.dropped
    return {
        "delivered": delivery.delivered,
        "by_type": delivery.by_type,
        "coalesced": delivery.mailbox.coalesced,
        "dropped": dict(sorted(dropped.items())),
        "latency_ms": delivery.latency.figures_ms(),
    }


def _books(run: GraphRun) -> dict[str, Any]:
    books: dict[str, Any] = {}
    for _, component in run.topology.components(Component):
        books.update(component.summary().get("books", {}))
    return dict(sorted(books.items()))


def _nodes(run: GraphRun) -> dict[str, Any]:
    """What components say of themselves beside their books."""
    said: dict[str, Any] = {}
    for node_id, component in run.topology.components(Component):
        figures = {name: value for name, value in component.summary().items() if name != "books"}
        if figures:
            said[node_id] = figures
    return said


def _occurrences(run: GraphRun) -> dict[str, int]:
    """How often each occurrence was reported, by name and labels."""
    totals: Counter[str] = Counter()
    for (_, name, *labels), n in run.telemetry.counts.items():
        totals[f"{name}{{{', '.join(labels)}}}" if labels else name] += n
    return dict(sorted(totals.items()))
