"""What the rx.* nodes of random graphs call. None raises on a critical event: those are all accounted for."""

from __future__ import annotations

from typing import Any

from tests.graphs.random_graphs.world import here, report_of

__all__ = ["is_odd", "latest", "same", "some"]


def same(element: Any) -> Any:
    return element


def some(element: Any) -> Any:
    """Raises on every third number, and on what has none."""
    if report_of(element) is None and element.sequence % 3 == 0:
        here.get().strike("function raised")
    return element


def is_odd(element: Any) -> bool:
    return element.sequence % 2 == 1


def latest(state: Any, element: Any) -> Any:
    return element
