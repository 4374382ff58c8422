"""How a graph is to be run, and the doors through which nodes provide a simulated or a recorded exchange.

The framework knows no exchange. What stands behind `--sim` and `--replay` is a `Backend` that nodes register
as the services `sim` and `replay`; it sets `context.refs["endpoints"]` or `context.refs["transports"]`, which
providers look at.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

from msgspec import Struct, field

from flow.context import Mode

__all__ = ["Backend", "RunOptions"]


class RunOptions(Struct, frozen=True, kw_only=True):
    """`speed` is a factor of the recorded pace, or None for as fast as can be, on virtual time."""

    sim: str | None = None
    """Parameters of the embedded exchange as `k=v,...`; None for no simulation."""
    replay: list[tuple[str, Path]] = field(default_factory=list[tuple[str, Path]])
    """(provider, capture file), several a provider allowed."""
    speed: float | None = 1.0
    duration_s: float | None = None
    max_frames: int | None = None
    drain_s: float = 5.0
    seed: int | None = None
    debug_pools: bool = False
    """Poison what was put back to a pool, and name places when ownership goes wrong; some times slower."""

    @property
    def mode(self) -> Mode:
        if self.replay:
            return "replay"
        return "simulated" if self.sim is not None else "live"

    @property
    def is_virtual(self) -> bool:
        """Whether the run needs an event loop on virtual time."""
        return bool(self.replay) and self.speed is None


class Backend(ABC):
    """A simulated or recorded exchange behind a run."""

    start_ns: int = 0
    """Where virtual time starts, ns since the epoch; 0 where wall time is right."""
    kind: Literal["sim", "replay"]

    @abstractmethod
    async def start(self) -> None:
        """Be ready for connections. Raises `FlowError` where that can't be."""

    async def wait(self) -> None:
        """Return when it is over of its own accord, which most never are. Raises what broke it."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Close everything."""
