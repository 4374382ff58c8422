"""Every pooled type of the project, found by itself: a new one is tested from its first day."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import flow
import nodes
import operators
from flow.events import Connection
from flow.poison import Poisoned
from flow.pool import Shelf
from flow.testing import make_stream

KEYS = {"stream": make_stream, "connection": lambda: Connection("binance", 1)}


def slots(kind: type[Any]) -> list[str]:
    """The fields of a slotted class, those of its parents too."""
    named = [getattr(parent, "__slots__", ()) for parent in kind.__mro__]
    return [name for names in named for name in ((names,) if isinstance(names, str) else names)]


def modules() -> Iterator[Any]:
    for package in (flow, operators, nodes):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def pooled_types() -> list[type[Any]]:
    """All classes with a slot for their home, by name."""
    kinds = {
        kind
        for module in modules()
        for kind in vars(module).values()
        if inspect.isclass(kind) and "home" in slots(kind) and not issubclass(kind, Shelf | Poisoned)
    }
    return sorted(kinds, key=lambda kind: kind.__qualname__)


POOLED = pooled_types()


class PooledType:
    """One pooled type: what it is keyed by, and its fields."""

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        (self.key_field,) = inspect.signature(kind).parameters
        self.key = KEYS[self.key_field]()
        self.fields = slots(kind)


@pytest.fixture(params=POOLED, ids=[kind.__name__ for kind in POOLED])
def pooled(request: pytest.FixtureRequest) -> PooledType:
    return PooledType(request.param)
