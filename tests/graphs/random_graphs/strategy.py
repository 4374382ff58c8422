"""Graphs that pass the check by construction, out of whatever is registered, and failures for them.

Several sources, each with a chain of operators; chains that join; trees of fan-outs; readers of dead letters.
The shape is drawn first, then the components. An operator that nobody has described in `parameters.py` is
used with its defaults, if it has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st

from flow.registry import NodeSpec
from tests.graphs.random_graphs.parameters import (
    FEEDS,
    MAILBOXES,
    POOLS,
    STYLES,
    changes,
    parameters_of,
)
from tests.graphs.random_graphs.plan import Plan, fitting, trial_registry

__all__ = ["plans"]

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[T]], T]
MOST_CONSUMERS = 5


def _loses(spec: NodeSpec) -> bool:
    """Whether a critical event may not come out as it is: dropped, or as a part of something."""
    return spec.loss == "anything" or spec.name == "rx.pairwise"


class Tip(NamedTuple):
    """Where a graph can grow on: a node whose output nobody reads yet."""

    node: str
    is_pooled: bool = True
    is_critical: bool = False
    is_shared: bool = False
    """Several may read it, each gets elements of its own."""


class Builder:
    """Draws one graph. `nodes` is the section of the YAML."""

    def __init__(self, draw: Draw[Any]) -> None:
        self.draw = draw
        self.nodes: dict[str, dict[str, Any]] = {}
        self.is_replay = draw(st.booleans())
        self.consumers = self.to_come = 0
        self.direct: list[tuple[str, Tip]] = []
        """Consumers that read a fan-out without anything between."""

    def some(self, most: int, least: int = 0) -> int:
        return self.draw(st.integers(least, most))

    def one_in(self, n: int) -> bool:
        return self.draw(st.integers(1, n)) == n

    def add(self, use: str, inputs: list[Any], params: dict[str, Any] | None = None, node: str = "") -> str:
        name = node or f"{use.rpartition('.')[2].replace('-', '_')}_{len(self.nodes)}"
        entry: dict[str, Any] = {"use": use}
        if inputs:
            entry["inputs"] = inputs
        if params:
            entry["params"] = params
        self.nodes[name] = entry
        return name

    def sources(self) -> list[Tip]:
        return [self.source(f"p{number + 1}") for number in range(self.draw(st.sampled_from((1, 1, 2, 3))))]

    def source(self, provider: str) -> Tip:
        use = self.draw(st.sampled_from(("events", "events", "reports", "arrivals", "owned-events")))
        feed = self.draw(FEEDS).hex()
        params: dict[str, Any] = {"feed": feed, "provider": provider, "as_runs": not self.one_in(4)}
        params["then"] = self.draw(st.sampled_from(("end", "end", "end", "wait", "wait", "raise")))
        node = self.add(f"trial.{use}", [], params)
        if use == "arrivals":
            frames = self.add("ingest", [node])
            reading = self.draw(st.sampled_from(("lazy", "eager")))
            return Tip(self.add("decode", [frames], {"codec": "binance", "levels": reading}))
        return Tip(node, use != "owned-events", use == "reports")

    @property
    def room(self) -> int:
        """How many consumers may be added, one left for each branch that has none yet."""
        return MOST_CONSUMERS - self.consumers - self.to_come

    def operator(self, tips: list[Tip], *, as_tail: bool = False, mailbox: Any = None) -> Tip:
        """One operator, or outside of a tail also a transform, that reads all of the tips."""
        is_critical = any(tip.is_critical for tip in tips)
        known = [spec for spec in fitting().values() if not (is_critical and _loses(spec))]
        usable = [spec for spec in known if not getattr(spec, "watches", False)]
        uses = [spec.name for spec in usable if parameters_of(spec) is not None]
        uses += [] if as_tail else ["trial.step", "trial.step-of-owned"]
        nodes = trial_registry().nodes
        if tips[0].is_pooled and not self.one_in(4):  # else few pooled events would get as far as a fan-out
            uses = [use for use in uses if nodes[use].pooled]
        spec = nodes[self.draw(st.sampled_from(uses))]
        inputs: list[Any] = [tip.node for tip in tips]
        if mailbox is not None:
            inputs = [{"source": inputs[0], "mailbox": mailbox}]
        is_pooled = spec.pooled and any(tip.is_pooled for tip in tips)
        return Tip(self.add(spec.name, inputs, self.params(spec)), is_pooled, is_critical)

    def params(self, spec: NodeSpec) -> dict[str, Any]:
        drawn = parameters_of(spec)
        assert drawn is not None
        return self.draw(drawn)

    def chain(self, tips: list[Tip], most: int = 4) -> Tip:
        """Operators one after another, the first of which joins the tips; now and then a side branch."""
        joined = len(tips) > 1
        for number in range(self.some(most, 1 if joined else 0)):
            tips = [self.operator([*tips, *self.watchers(tips)] if number else tips)]
        return tips[0]

    def watchers(self, tips: list[Tip]) -> list[Tip]:
        """Operators that look at what another node owns."""
        found = [spec for spec in fitting().values() if getattr(spec, "watches", False)]
        if not found or not tips[0].is_pooled or self.one_in(2):
            return []
        spec = self.draw(st.sampled_from(found))
        return [Tip(self.add(spec.name, [tips[0].node], self.params(spec)), is_critical=tips[0].is_critical)]

    def trunks(self) -> None:
        tips = self.sources()
        trunks = [tips] if len(tips) == 1 or self.draw(st.booleans()) else [[tip] for tip in tips]
        self.to_come = len(trunks)
        for trunk in trunks:
            self.to_come -= 1
            self.grow(self.chain(trunk), depth=0)

    def grow(self, tip: Tip, depth: int) -> None:
        """From one tip to its consumers."""
        if depth == 0 and not self.one_in(8):
            tip = Tip(self.add("fan-out-clone", [tip.node]), False, tip.is_critical, is_shared=True)
        is_split = not tip.is_pooled and not tip.is_shared and self.room >= 2 and self.one_in(3)
        readers = self.some(3, 2 if is_split else 1) if is_split or tip.is_shared else 1
        tip = tip._replace(is_shared=tip.is_shared or is_split)
        readers = min(readers, max(1, self.room))
        self.to_come += readers
        for _ in range(readers):
            self.to_come -= 1
            self.branch(tip, depth)

    def branch(self, tip: Tip, depth: int) -> None:
        if depth < 2 and self.room >= 1 and self.one_in(4):
            inner = self.chain([tip], 2)
            bus = self.add("fan-out-clone", [inner.node])
            self.grow(Tip(bus, False, inner.is_critical, is_shared=True), depth + 1)
            return
        self.tail(tip)

    def tail(self, tip: Tip) -> None:
        """Operators that lead to one consumer; the mailbox stands before one of them, or before it."""
        if self.one_in(5):
            use = self.draw(st.sampled_from(("trial.step", "trial.step-of-owned")))
            spec = trial_registry().nodes[use]
            step = self.add(use, [tip.node], self.params(spec))
            tip = Tip(step, tip.is_pooled and spec.pooled, tip.is_critical)
        length = self.draw(st.sampled_from((0, 0, 1, 2)))
        place = 0 if tip.is_shared else self.some(length)
        mailbox = None if self.one_in(4) else self.mailbox(is_critical=tip.is_critical)
        for number in range(length):
            tip = self.operator([tip], as_tail=True, mailbox=mailbox if number == place else None)
        self.consumer(tip, mailbox if place == length else None, is_direct=tip.is_shared and length == 0)

    def mailbox(self, *, is_critical: bool) -> dict[str, Any]:
        policies = ["latest_by_key", *(["block"] if self.is_replay else [])]
        policies += [] if is_critical else ["drop_oldest", "drop_newest"]
        return {"capacity": self.draw(MAILBOXES), "when_full": self.draw(st.sampled_from(policies))}

    def consumer(self, tip: Tip, mailbox: Any, *, is_direct: bool) -> None:
        self.consumers += 1
        item: Any = tip.node if mailbox is None else {"source": tip.node, "mailbox": mailbox}
        node = self.add("trial.probe", [item], self.draw(STYLES), f"consumer_{self.consumers}")
        if is_direct:
            self.direct.append((node, tip))

    def second_input(self) -> None:
        """Let a consumer read a second fan-out, or somebody's dead letters."""
        if not self.direct:
            return
        node, tip = self.draw(st.sampled_from(self.direct))
        others = [other.node for _, other in self.direct if other.node != tip.node and not other.is_critical]
        if tip.is_critical or not others:
            others = [f"{tip.node}.dead_letters"]
        self.nodes[node]["inputs"].append(self.draw(st.sampled_from(others)))

    def letters(self) -> None:
        """Somebody who reads what a node refused."""
        node = self.draw(st.sampled_from(sorted(self.nodes)))
        item: Any = f"{node}.dead_letters"
        if self.draw(st.booleans()):
            item = {"source": item, "mailbox": self.mailbox(is_critical=False)}
        self.add("trial.probe", [item], self.draw(STYLES))

    def graph(self) -> dict[str, Any]:
        self.trunks()
        if self.one_in(4):
            self.second_input()
        for _ in range(self.draw(st.sampled_from((0, 0, 1, 2)))):
            self.letters()
        graph: dict[str, Any] = {"version": 1, "name": "random"}
        if self.is_replay:
            graph["mode"] = "replay"
        pools = self.draw(POOLS)
        if pools:
            graph["pools"] = pools
        return graph | {"nodes": self.nodes}


@st.composite
def plans(draw: Draw[Any]) -> Plan:
    """A graph, and what is done to it from outside."""
    builder = Builder(draw)
    graph = builder.graph()
    outputs = [name for name, entry in builder.nodes.items() if entry["use"] != "trial.probe"]
    observed = None
    if builder.one_in(6):
        observed = draw(st.tuples(st.sampled_from(outputs), st.sampled_from((0, 1, 5))))
    return Plan(
        graph,
        drain_s=draw(st.sampled_from((5.0, 5.0, 5.0, 0.0, 0.01, 0.3))),
        max_frames=draw(st.sampled_from((*[None] * 6, 5, 30))),
        stop_at_ms=draw(st.sampled_from((*[None] * 6, 3, 100))),
        look_at_ms=tuple(draw(st.lists(st.sampled_from((0, 1, 2, 21, 60, 151, 500, 1700)), max_size=3))),
        changes=draw(changes(MOST_CONSUMERS)),
        observed=observed,
    )
