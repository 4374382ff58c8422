"""Where a pooled object goes back to."""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

from flow.errors import DoublePut

__all__ = ["Home", "refuse_put"]


class Home(Protocol):
    """What a pooled object names while it is out: its shelf. None while it lies there, or where it is
    nobody's."""

    puts: int

    def append(self, item: Any, /) -> None:
        """Lay a cleared object down."""
        ...

    def put(self, item: Any) -> None:
        """Take the object back, cleared. A second put or a foreign object raises an `OwnershipBug`."""
        ...


def refuse_put(item: object) -> NoReturn:
    """Raises `DoublePut`: the object has no home, so it was put already, or never taken from a pool."""
    key = getattr(item, "stream", None) or getattr(item, "connection", None)
    name = type(item).__name__ + (f" of {key!r}" if key is not None else "")
    raise DoublePut(f"put of a {name} that is already in its pool, or in none")
