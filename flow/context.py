"""What a node is handed: its id, pools, dead letters, occurrences, clock and scheduler.

Every default works in a bare `.pipe(...)`: a context of its own with private pools, the wall clock, and no
dead-letter queue, so that what a stage can't process goes to `on_error`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from reactivex.abc import SchedulerBase

from flow.clock import Clock, wall_ns
from flow.pool import Pools
from flow.telemetry.dead_letters import DeadLetter, DeadLetters
from flow.telemetry.occurrences import Occurrence, Telemetry

__all__ = ["Context", "Mode"]

T = TypeVar("T")
Mode = str
"""`live`, `simulated` or `replay`."""


class Context:
    """The surroundings of one node. `services` is shared by the nodes of one graph."""

    def __init__(
        self,
        node_id: str = "",
        *,
        pools: Pools | None = None,
        dead_letters: DeadLetters | None = None,
        telemetry: Telemetry | None = None,
        clock: Clock = wall_ns,
        scheduler: SchedulerBase | None = None,
        services: dict[str, Any] | None = None,
        mode: Mode = "live",
        refs: dict[str, Any] | None = None,
    ) -> None:
        self.node_id = node_id
        self.pools = Pools() if pools is None else pools
        self.dead_letters = dead_letters
        self.telemetry = Telemetry() if telemetry is None else telemetry
        self.clock = clock
        self.scheduler = scheduler
        self.services: dict[str, Any] = {} if services is None else services
        self.mode = mode
        self.refs: dict[str, Any] = {} if refs is None else refs
        """What the run was told beside the YAML: `base_dir`, endpoints of an embedded exchange,
        recordings."""

    def for_node(self, node_id: str) -> Context:
        """The same surroundings under another id."""
        return Context(
            node_id,
            pools=self.pools,
            dead_letters=self.dead_letters,
            telemetry=self.telemetry,
            clock=self.clock,
            scheduler=self.scheduler,
            services=self.services,
            mode=self.mode,
            refs=self.refs,
        )

    def service(self, name: str, make: Callable[[Context], T]) -> T:
        """The graph's one object of that name, made on first use."""
        if name not in self.services:
            self.services[name] = make(self)
        return self.services[name]

    def occurred(self, occurrence: Occurrence) -> None:
        """Report something that operations should know of."""
        self.telemetry.report(self.node_id, occurrence)

    def refuse(self, element: Any, reason: str, detail: str = "") -> None:
        """Send an element to the dead letters. Only where `dead_letters` is not None."""
        assert self.dead_letters is not None
        self.dead_letters.add(DeadLetter.of(self.node_id, reason, element, detail, self.clock()))
