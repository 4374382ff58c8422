"""The ledger: what happened to every element of every edge.

    in = out + coalesced + dropped (by reason) + dead_lettered + in_flight

`in` is counted by whoever puts an element on the edge, `out` by whoever took it off and handled it,
`in_flight` from the containers. No figure is computed from the others, so an element that vanishes shows as a
difference.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

__all__ = ["Edge"]


class Edge(Struct, kw_only=True):
    """One edge's account."""

    source: str
    target: str
    entered: int
    out: int
    coalesced: int = 0
    dropped: dict[str, int] = field(default_factory=dict[str, int])
    dead_lettered: int = 0
    in_flight: int = 0

    @property
    def difference(self) -> int:
        """Elements unaccounted for; 0 where the edge balances."""
        accounted = self.out + self.coalesced + sum(self.dropped.values()) + self.dead_lettered
        return self.entered - accounted - self.in_flight

    def row(self) -> dict[str, Any]:
        return {
            "from": self.source,
            "to": self.target,
            "in": self.entered,
            "out": self.out,
            "coalesced": self.coalesced,
            "dropped": dict(sorted(self.dropped.items())),
            "dead_lettered": self.dead_lettered,
            "in_flight": self.in_flight,
        }
