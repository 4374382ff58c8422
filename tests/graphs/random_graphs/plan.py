"""A random graph and what is done to it, as plain data, and the names that it is made of."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from flow.events.canonical import CanonicalEvent
from flow.graph.port_types import fits
from flow.plugins import load_installed
from flow.registry import NodeSpec, Registry, registry, spec_of
from tests.graphs.random_graphs import consumers, operators, sources

__all__ = ["Change", "Plan", "fitting", "has_defaults", "trial_registry"]

OWN: Final[tuple[tuple[str, Any, dict[str, Any]], ...]] = (
    ("trial.events", sources.events, {"pooled": True}),
    ("trial.reports", sources.reports, {"pooled": True, "carries_critical": True}),
    ("trial.owned-events", sources.owned_events, {}),
    ("trial.arrivals", sources.arrivals, {}),
    ("trial.careful", operators.careful, {"pooled": True}),
    ("trial.careless", operators.careless, {}),
    ("trial.keeping", operators.keeping, {"pooled": True}),
    ("trial.stock-map", operators.raising_map, {}),
    ("trial.stock-filter", operators.filtering, {"loss": "anything"}),
    ("trial.step", operators.step, {"pooled": True}),
    ("trial.step-of-owned", operators.step, {}),
    ("trial.probe", consumers.probe, {}),
)


@dataclass(frozen=True)
class Change:
    """A change of the routing table."""

    at_ms: int
    consumer: str
    is_on: bool
    symbol: str
    provider: str


@dataclass(frozen=True)
class Plan:
    """`graph` is what a YAML file says. Times are ms of virtual time from the start."""

    graph: dict[str, Any]
    drain_s: float = 5.0
    max_frames: int | None = None
    stop_at_ms: int | None = None
    look_at_ms: tuple[int, ...] = ()
    changes: tuple[Change, ...] = ()
    observed: tuple[str, int] | None = None
    """(node, the element at which its observer raises; 0: never)."""


OWN_PACKAGES: Final = ("operators.", "nodes.")


@functools.cache
def trial_registry() -> Registry:
    """Everything of the project that is registered, and the components of the random graphs; not what other
    tests have loaded, some of it broken on purpose."""
    faults = load_installed()
    assert not faults, faults
    own = {name: spec for name, spec in registry.nodes.items() if spec.origin.startswith(OWN_PACKAGES)}
    made = Registry(own, registry.codecs, registry.services)
    for name, factory, flags in OWN:
        made.add(spec_of(name, factory, **flags))
    return made


@functools.cache
def fitting() -> dict[str, NodeSpec]:
    """The operators that stand between canonical events and canonical events, by name."""
    return {
        spec.name: spec
        for spec in trial_registry().operators()
        if fits(CanonicalEvent, spec.input, {})
        and (spec.output is Any or fits(spec.output, CanonicalEvent, {}))
        and not spec.shares
    }


@functools.cache
def has_defaults(name: str) -> bool:
    """Whether a node can be had without parameters."""
    try:
        msgspec.convert({}, trial_registry().nodes[name].params)
    except msgspec.ValidationError:
        return False
    return True
