"""Where a pooled object goes back to."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Home"]


class Home(Protocol):
    """What a pooled object names while it is out: its shelf. None while it lies there, or where it is
    nobody's."""

    def put(self, item: Any) -> None:
        """Take the object back, reset. A second put or a foreign object raises an `OwnershipBug`."""
        ...
