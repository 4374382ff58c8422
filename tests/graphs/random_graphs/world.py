"""What came to pass in one run of a random graph, as its components saw it themselves."""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from typing import Any, Final, NoReturn

from flow.events.canonical import CanonicalEvent
from flow.events.stream import CRITICAL

__all__ = ["Injected", "World", "here"]

Report = tuple[str, int]
"""(provider, number) of a critical event."""


class Injected(Exception):
    """A failure that the graph's parameters asked for."""


class World:
    """The counts that the graph's own are compared with."""

    def __init__(self) -> None:
        self.struck: Counter[str] = Counter()
        """Failures that came to pass, by kind."""
        self.taken: Counter[str] = Counter()
        """Objects that sources took from pools, by type."""
        self.raised: Counter[tuple[str, str]] = Counter()
        """(node, type of error): bodies that raised."""
        self.lost_reports: dict[str, set[Report]] = {}
        """By node: critical events on which its body raised, or that it dropped as it was stopped."""
        self.broken: set[str] = set()
        """Nodes whose output has failed for good."""
        self.reports: dict[str, list[Report]] = {}
        """By source: critical events that were emitted."""
        self.delivered: dict[str, Counter[str]] = {}
        """By consumer and type: elements whose handler returned."""
        self.received: dict[str, list[Report]] = {}
        """By consumer: critical events that its handler was called with."""
        self.stuck: set[str] = set()
        """Consumers whose handler never returns."""
        self.loop_errors: list[dict[str, Any]] = []

    def strike(self, kind: str) -> NoReturn:
        """Let a failure come to pass."""
        self.struck[kind] += 1
        raise Injected(kind)

    def refused(self, node: str, element: Any, error: Exception) -> None:
        """A node's body raised on an element."""
        if not isinstance(error, Injected):
            self.struck["element could not be read"] += 1
        self.raised[(node, type(error).__name__)] += 1
        self.lose(node, element)

    def lose(self, node: str, element: Any) -> None:
        """Note that a node does not hand an element on."""
        report = report_of(element)
        if report is not None:
            self.lost_reports.setdefault(node, set()).add(report)


def report_of(element: Any) -> Report | None:
    """What identifies a critical event; None for anything else."""
    if isinstance(element, CanonicalEvent) and element.stream.event_type in CRITICAL:
        return element.stream.provider, element.sequence
    return None


here: Final[ContextVar[World]] = ContextVar("here")
"""The world that the components of a graph are made in."""
