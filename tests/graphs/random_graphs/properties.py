"""What must hold of every run of every graph, whatever fails in it. Each check gives what it found wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from flow.errors import ConsumerError
from flow.telemetry.ledger import Edge
from tests.graphs.random_graphs.running import Outcome
from tests.graphs.random_graphs.world import Injected, Report

__all__ = ["figures", "wrongs"]

Reports = list[Report]


def wrongs(outcome: Outcome) -> list[str]:
    """Everything that should not be; [] for a good run."""
    checks = (_ends, _pools, _edges, _refusals, _deliveries, _reports)
    return [wrong for check in checks for wrong in check(outcome)]


def _ends(outcome: Outcome) -> Iterator[str]:
    """Nothing fails but what was asked to, and nothing is left behind."""
    failure = outcome.run.failure
    is_asked_for = isinstance(failure, Injected) or (
        outcome.world.broken and isinstance(failure, LookupError | ConsumerError)
    )
    if failure is not None and not is_asked_for:
        yield f"the run failed: {failure!r}"
    for context in outcome.world.loop_errors:
        if not isinstance(context.get("exception"), Injected):
            yield f"the loop was told of {context.get('exception')!r}: {context['message']}"
    if outcome.left_tasks:
        yield f"tasks are left: {outcome.left_tasks}"
    if outcome.left_timers:
        yield f"{outcome.left_timers} timers are left"


def _pools(outcome: Outcome) -> Iterator[str]:
    for kind, figure in outcome.summary["pools"].items():
        if figure["out"] or figure["gets"] != figure["puts"]:
            yield f"pool {kind}: {figure}"
    for kind, least in _taken(outcome).items():
        pool = outcome.run.context.pools.by_kind[kind]
        if not pool.is_off and outcome.summary["pools"][kind]["gets"] < least:
            yield f"pool {kind}: {least} objects were used, the pool says {pool.figures()}"


def _taken(outcome: Outcome) -> Counter[str]:
    """Pooled objects that were taken for certain, by type."""
    taken = Counter(outcome.world.taken)
    for edge in outcome.run.topology.edges():
        if outcome.spec.nodes[edge.target].use == "ingest":
            taken["WsFrame"] += edge.out
        elif outcome.spec.nodes[edge.target].use == "decode":
            made = outcome.run.topology.vertices[edge.target].emitted
            taken.update({"ProviderRaw": made, "CanonicalEvent": made})
    return taken


def _edges(outcome: Outcome) -> Iterator[str]:
    for at, edge in outcome.looks:
        yield f"at {at:g} s {_account(edge)}"
    cut_off = _cut_off(outcome)
    for edge in outcome.run.topology.edges():
        if edge.difference:
            yield f"at the end {_account(edge)}"
        if outcome.run.topology.consumer_of(edge.target) in cut_off:
            continue
        if edge.in_flight:
            yield f"after the drain {_account(edge)}"
        if "disposed" in edge.dropped and not outcome.world.broken:
            yield f"not flushed {_account(edge)}"


def _account(edge: Edge) -> str:
    return f"{edge.source} -> {edge.target}: {edge.difference} of {edge.row()}"


def _cut_off(outcome: Outcome) -> set[str]:
    """Consumers that were not done when the drain was over."""
    return {
        name
        for name, delivery in outcome.run.topology.deliveries.items()
        if delivery.in_flight or delivery.mailbox.in_flight
    }


def _refusals(outcome: Outcome) -> Iterator[str]:
    """What a body raised is a dead letter of its node."""
    letters = outcome.run.context.dead_letters
    assert letters is not None
    for (node, error), count in outcome.world.raised.items():
        if letters.counts[(node, error)] < count:
            yield f"{node} raised {count} {error}, its dead letters are {letters.of_node(node)}"


def _deliveries(outcome: Outcome) -> Iterator[str]:
    """The graph's figures of consumers are what the consumers saw."""
    for name, delivered in outcome.world.delivered.items():
        figure = outcome.summary["consumers"][name]
        if figure["delivered"] != delivered.total():
            yield f"{name} handled {delivered.total()}, the summary says {figure['delivered']}"
        if figure["by_type"] != dict(sorted(delivered.items())):
            yield f"{name} handled {dict(delivered)}, the summary says {figure['by_type']}"


def _reports(outcome: Outcome) -> Iterator[str]:
    """Critical events reach every consumer, all and in order, whatever the load."""
    cut_off = _cut_off(outcome)
    for name in outcome.world.delivered:
        above = _above(outcome, name)
        lost = set[Report]().union(*(outcome.world.lost_reports.get(node, ()) for node in above))
        sent = [report for source in sorted(above) for report in outcome.world.reports.get(source, ())]
        due = _by_provider([report for report in sent if report not in lost])
        got = _by_provider(outcome.world.received[name])
        is_limited = outcome.plan.max_frames is not None
        may_end_early = is_limited or name in cut_off or bool(above & outcome.world.broken)
        for provider in due | got:
            expected, received = due.get(provider, []), got.get(provider, [])
            if received != expected[: len(received)] or (not may_end_early and received != expected):
                yield f"{name} got the reports {received} of {provider}, due were {expected}"


def _by_provider(reports: Reports) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for provider, number in reports:
        found.setdefault(provider, []).append(number)
    return found


def _above(outcome: Outcome, name: str) -> set[str]:
    """The nodes whose output reaches a consumer."""
    found, waiting = set[str](), [name]
    for node in waiting:
        for item in outcome.spec.nodes[node].inputs:
            if item.port == "out" and item.source not in found:
                found.add(item.source)
                waiting.append(item.source)
    return found


VOLATILE = ("started", "duration_s", "cpu_s", "frames_per_s")


def figures(outcome: Outcome) -> dict[str, Any]:
    """What two runs of one plan have in common: all of the summary but for times."""
    return {name: value for name, value in outcome.summary.items() if name not in VOLATILE}
