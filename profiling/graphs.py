"""The main graph and its variants, as the benchmarks run them.

    socket ─► ingest ─► decode ─► order-buffer ─► [books] ─► dedupe
    dedupe ─┬─────────────────┴─► route ─► fan-out-clone
            └┄► window-merge ─┘
    fan-out-clone ─┬─► coalesce ─► throttle ─► null
                   ├─► null
                   └─► null

Each consumer reads a mailbox. window-merge and throttle are idle, as in graphs/binance.yaml. Pools, ledger
and telemetry are always on; a variant leaves one thing out.
"""

from typing import Any

import msgspec

import flow
from flow import GraphSpec

__all__ = ["CONSUMERS", "Variant"]

CONSUMERS = 3


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """What of the main graph is there. `source` is the node that frames come from.

    `without`: which of order-buffer, dedupe, window-merge and route are left out.
    `unpooled`: types whose pool is off.
    `levels`: None for what fits, eager where books read them.
    """

    source: str = "binance.stream"
    source_params: dict[str, Any] = {}
    symbols: tuple[str, ...] = ()
    channels: tuple[str, ...] = ("agg_trade", "book", "best_quote", "kline_1m")
    has_books: bool = False
    consumers: int = CONSUMERS
    consumer: str = "null"
    shaped: int = 1
    """How many consumers stand behind coalesce and a throttle without limits, as the main graph's console."""
    without: tuple[str, ...] = ()
    unpooled: tuple[str, ...] = ()
    levels: str | None = None
    capacity: int = 1024
    depth: int = 1000
    """Levels a side of a snapshot."""

    def graph(self) -> GraphSpec:
        """The graph, checked as a YAML file would be. Raises `flow.GraphError`."""
        return flow.load_data(self.data(), name="main")

    def data(self) -> dict[str, Any]:
        """What a YAML file would say."""
        nodes: dict[str, Any] = {"socket": {"use": self.source, "params": self._source_params()}}
        last = "socket"
        for name, node in self._operators():
            nodes[name] = {"inputs": [last], **node}
            last = name
        if "window-merge" not in self.without:
            self._add_merge(nodes)
        for number in range(1, self.consumers + 1):
            reads: list[Any] = [{"source": last, "mailbox": {"capacity": self.capacity}}]
            if number <= self.shaped:
                nodes[f"latest_{number}"] = {"use": "coalesce", "inputs": reads}
                nodes[f"paced_{number}"] = {"use": "throttle", "inputs": [f"latest_{number}"]}
                reads = [f"paced_{number}"]
            nodes[f"consumer_{number}"] = {"use": self.consumer, "inputs": reads}
        pools = {kind: {"off": True} for kind in self.unpooled}
        return {"version": 1, "name": "main", "pools": pools, "nodes": nodes}

    def _add_merge(self, nodes: dict[str, Any]) -> None:
        """The side branch, which merges nothing: it watches what goes to `routed`, or to the bus."""
        joins = nodes.get("routed") or nodes["bus"]
        (watched,) = joins["inputs"]
        nodes["merged"] = {"use": "window-merge", "inputs": [watched]}
        joins["inputs"] = [watched, "merged"]

    def _source_params(self) -> dict[str, Any]:
        if self.source_params:
            return self.source_params
        return {"symbols": list(self.symbols), "channels": list(self.channels)}

    def _operators(self) -> list[tuple[str, dict[str, Any]]]:
        levels = self.levels or ("eager" if self.has_books else "lazy")
        chain: list[tuple[str, dict[str, Any]]] = [
            ("frames", {"use": "ingest"}),
            ("events", {"use": "decode", "params": {"codec": "binance", "levels": levels}}),
            ("ordered", {"use": "order-buffer"}),
            ("books", {"use": "binance.books", "params": {"depth": self.depth}}),
            ("unique", {"use": "dedupe"}),
            ("routed", {"use": "route"}),
            ("bus", {"use": "fan-out-clone"}),
        ]
        left_out = {*self.without, *(() if self.has_books else ("binance.books",))}
        return [(name, node) for name, node in chain if node["use"] not in left_out]
