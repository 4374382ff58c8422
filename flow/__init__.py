"""A framework for graphs of reactive operators, declared in YAML.

This is the public face, for who writes operators, nodes and scripts. Importing it costs next to nothing: a
name is imported from where it lives when it is first asked for. What lifts an operator has the name of its
module: `from flow.stage import Machine, stage`.

    graph = flow.load("graphs/binance.yaml", sets=["symbols=[BTC-USDT]"])
    summary = flow.run(graph, sim="", duration_s=10)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow.api import Session, run
    from flow.component import Component, Consumer, Source, Transform
    from flow.context import Context
    from flow.errors import (
        ConfigurationError,
        ConsumerError,
        Fault,
        FlowError,
        GraphError,
        OwnershipBug,
        PoolTimeout,
        ProviderError,
        Retryable,
        Terminal,
    )
    from flow.events.canonical import CanonicalEvent, OwnedEvent, PooledEvent
    from flow.events.merged import MergedEvent
    from flow.events.stream import EventType, Sequence, Stream
    from flow.graph.draw import mermaid
    from flow.graph.load import lint, load, load_data
    from flow.graph.spec import GraphSpec
    from flow.pool import Pools, release
    from flow.registry import Operator, Registry, codec, node, operator, service
    from flow.runtime.options import Backend, RunOptions
    from flow.telemetry.dead_letters import DeadLetter
    from flow.telemetry.occurrences import Occurrence, Telemetry

__all__ = [
    "Backend",
    "CanonicalEvent",
    "Component",
    "ConfigurationError",
    "Consumer",
    "ConsumerError",
    "Context",
    "DeadLetter",
    "EventType",
    "Fault",
    "FlowError",
    "GraphError",
    "GraphSpec",
    "MergedEvent",
    "Occurrence",
    "Operator",
    "OwnedEvent",
    "OwnershipBug",
    "PoolTimeout",
    "PooledEvent",
    "Pools",
    "ProviderError",
    "Registry",
    "Retryable",
    "RunOptions",
    "Sequence",
    "Session",
    "Source",
    "Stream",
    "Telemetry",
    "Terminal",
    "Transform",
    "codec",
    "lint",
    "load",
    "load_data",
    "mermaid",
    "node",
    "operator",
    "release",
    "run",
    "service",
]

_HOMES = {
    "flow.api": ("Session", "run"),
    "flow.component": ("Component", "Consumer", "Source", "Transform"),
    "flow.context": ("Context",),
    "flow.errors": (
        *("ConfigurationError", "ConsumerError", "Fault", "FlowError", "GraphError", "OwnershipBug"),
        *("PoolTimeout", "ProviderError", "Retryable", "Terminal"),
    ),
    "flow.events.canonical": ("CanonicalEvent", "OwnedEvent", "PooledEvent"),
    "flow.events.merged": ("MergedEvent",),
    "flow.events.stream": ("EventType", "Sequence", "Stream"),
    "flow.graph.draw": ("mermaid",),
    "flow.graph.load": ("lint", "load", "load_data"),
    "flow.graph.spec": ("GraphSpec",),
    "flow.pool": ("Pools", "release"),
    "flow.registry": ("Operator", "Registry", "codec", "node", "operator", "service"),
    "flow.runtime.options": ("Backend", "RunOptions"),
    "flow.telemetry.dead_letters": ("DeadLetter",),
    "flow.telemetry.occurrences": ("Occurrence", "Telemetry"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
