"""What a source does when the graph has no free object: wait for one, offer again, and give up in the
open."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from flow.context import Context
from flow.errors import PoolTimeout
from flow.telemetry.occurrences import BackpressureTriggered

__all__ = ["Relief"]

MOST_REFUSALS: Final = 3
POOL_TIMEOUT: Final = "pool_timeout"


class Relief:
    """For `Wire.on_exhausted`. `dropped` counts what was given up, by reason; it goes to the dead letters
    too."""

    def __init__(self, context: Context) -> None:
        self.waits = 0
        self.dropped: Counter[str] = Counter()
        self._context = context

    async def __call__(self, payload: bytes, error: PoolTimeout, refusals: int) -> bool:
        """Wait at most 100 ms for a free object; whether to offer the payload again."""
        self.waits += 1
        self._context.occurred(BackpressureTriggered(self._context.node_id, f"pool:{error.kind}"))
        pool = self._context.pools.by_kind.get(error.kind)
        try:
            if pool is not None:
                await pool.wait_free()
            await asyncio.sleep(0)
        except PoolTimeout:
            return self._give_up(payload, error)
        return refusals < MOST_REFUSALS or self._give_up(payload, error)

    def _give_up(self, payload: bytes, error: PoolTimeout) -> bool:
        self.dropped[POOL_TIMEOUT] += 1
        if self._context.dead_letters is not None:
            self._context.refuse(payload, POOL_TIMEOUT, str(error))
        return False
