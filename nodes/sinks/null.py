"""Takes everything and does nothing with it, so that a benchmark measures the graph. The framework counts."""

from typing import Any

from msgspec import Struct

from flow.component import Consumer
from flow.context import Context
from flow.registry import node

__all__ = ["Null", "NullParams", "null"]


class NullParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters."""


@node("null")
def null(params: NullParams, context: Context) -> Consumer[Any]:
    """Takes every element and forgets it; for benchmarks."""
    return Null()


class Null(Consumer[Any]):
    def __init__(self) -> None:
        self.handle_batch = self.forget

    def handle(self, element: Any) -> None:
        return

    def forget(self, batch: list[Any]) -> None:
        """Take a whole batch."""
