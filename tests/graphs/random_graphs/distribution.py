"""What the random graphs were made of, and what came to pass in them: counted over a whole test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.graphs.random_graphs.plan import Plan
from tests.graphs.random_graphs.running import Outcome

__all__ = ["DISTRIBUTION", "Distribution", "operators_of"]

FAN_OUT: Final = "fan-out-clone"


def operators_of(plan: Plan) -> list[str]:
    """What stands in a graph besides sources, consumers and fan-outs."""
    uses = [entry["use"] for entry in plan.graph["nodes"].values() if "inputs" in entry]
    return [use for use in uses if use not in (FAN_OUT, "trial.probe")]


@dataclass
class Distribution:
    """Failures are those that came to pass, not those that were planned."""

    graphs: int = 0
    with_three: int = 0
    with_fan_out: int = 0
    with_failure: int = 0
    with_all: int = 0
    looks: int = 0
    events: int = 0
    critical: int = 0
    by_operators: Counter[int] = field(default_factory=Counter[int])
    by_consumers: Counter[int] = field(default_factory=Counter[int])
    failures: Counter[str] = field(default_factory=Counter[str])
    uses: Counter[str] = field(default_factory=Counter[str])

    def count(self, outcome: Outcome) -> None:
        """Add a graph that ran."""
        operators = operators_of(outcome.plan)
        struck = self._struck(outcome)
        uses = {entry["use"] for entry in outcome.plan.graph["nodes"].values()}
        has = (len(operators) >= 3, FAN_OUT in uses, bool(struck))
        self.graphs += 1
        self.with_three += has[0]
        self.with_fan_out += has[1]
        self.with_failure += has[2]
        self.with_all += all(has)
        self.looks += outcome.looked
        self.events += outcome.summary["frames"]
        self.critical += sum(map(len, outcome.world.received.values()))
        self.by_operators[min(len(operators), 10)] += 1
        self.by_consumers[len(outcome.world.delivered)] += 1
        self.failures.update(struck)
        self.uses.update(uses)

    def _struck(self, outcome: Outcome) -> set[str]:
        struck = {kind for kind, n in outcome.world.struck.items() if n}
        dropped = set[str]().union(*(edge["dropped"] for edge in outcome.summary["edges"]))
        struck |= {f"dropped as {reason}" for reason in dropped if reason not in ("unrouted", "not_merged")}
        if any(delivery.in_flight for delivery in outcome.run.topology.deliveries.values()):
            struck.add("consumer cut off")
        return struck

    def lines(self) -> Iterator[str]:
        """A table for a terminal."""

        def share(count: int) -> str:
            return f"{count} ({100 * count / self.graphs:.0f} %)"

        def listed(counts: Counter[Any], most: int = 100) -> str:
            return ", ".join(f"{name} {n}" for name, n in counts.most_common(most))

        yield f"graphs                        {self.graphs}, balanced at {self.looks} moments of their runs"
        yield f"with three operators or more  {share(self.with_three)}"
        yield f"with a fan-out                {share(self.with_fan_out)}"
        yield f"with a failure                {share(self.with_failure)}"
        yield f"with all three                {share(self.with_all)}"
        yield f"by number of operators        {_by_number(self.by_operators)}"
        yield f"by number of consumers        {_by_number(self.by_consumers)}"
        yield f"elements emitted              {self.events}; critical events received {self.critical}"
        yield f"failures that came to pass    {listed(self.failures)}"
        yield f"components                    {listed(self.uses)}"


def _by_number(counts: Counter[int]) -> str:
    return ", ".join(f"{number}: {counts[number]}" for number in sorted(counts))


DISTRIBUTION: Final = Distribution()
"""Of the test of this session; printed at its end."""
