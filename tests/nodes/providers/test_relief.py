from __future__ import annotations

import asyncio
from collections.abc import Callable

from flow.context import Context
from flow.errors import PoolTimeout
from flow.events.frames import Connection, WsFrame
from flow.pool import Pool, Pools, PoolSettings
from flow.telemetry.dead_letters import DeadLetters
from flow.telemetry.occurrences import BackpressureTriggered
from nodes.providers.relief import Relief

CONNECTION = Connection("binance", 1)


def surroundings() -> tuple[Context, Pool[WsFrame]]:
    pools = Pools({"WsFrame": PoolSettings(1)})
    context = Context("socket", pools=pools, dead_letters=DeadLetters(), clock=lambda: 5)
    return context, pools.of("WsFrame", WsFrame)


def test_it_waits_until_an_object_is_free(virtually: Callable) -> None:
    async def main() -> None:
        context, pool = surroundings()
        relief = Relief(context)
        frame = pool.shelf(CONNECTION).get()
        asyncio.get_running_loop().call_later(0.05, pool.shelf(CONNECTION).put, frame)
        assert await relief(b"x", PoolTimeout("WsFrame", 1), 1)
        assert asyncio.get_running_loop().time() == 0.05
        assert relief.waits == 1
        assert context.telemetry.counts[("socket", BackpressureTriggered.name, "socket", "pool:WsFrame")] == 1
        assert len(context.dead_letters) == 0

    virtually(main())


def test_after_100_ms_the_payload_is_given_up_in_the_open(virtually: Callable) -> None:
    async def main() -> None:
        context, pool = surroundings()
        relief = Relief(context)
        pool.shelf(CONNECTION).get()
        assert not await relief(b"x", PoolTimeout("WsFrame", 1), 1)
        assert asyncio.get_running_loop().time() == 0.1
        assert relief.dropped == {"pool_timeout": 1}
        [letter] = context.dead_letters.read()
        assert (letter.node, letter.reason, letter.original) == ("socket", "pool_timeout", b"x")
        assert pool.timeouts == 1

    virtually(main())


async def test_a_pool_that_runs_dry_again_and_again_does_not_hold_the_reader_for_ever() -> None:
    context, _ = surroundings()
    relief = Relief(context)
    assert [await relief(b"x", PoolTimeout("WsFrame", 1), n) for n in (1, 2, 3)] == [True, True, False]
    assert relief.dropped == {"pool_timeout": 1}


async def test_a_bare_context_counts_what_it_gives_up() -> None:
    relief = Relief(Context("socket"))
    assert not await relief(b"x", PoolTimeout("Unknown", 1), 3)
    assert relief.dropped == {"pool_timeout": 1}
