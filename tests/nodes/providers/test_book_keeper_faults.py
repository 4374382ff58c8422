"""Failing fetches, malformed updates, raising consumers: what they cost, and that all is accounted for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow.errors import DoublePut, Retryable, Terminal
from flow.events import CanonicalEvent
from flow.events.payloads import BookUpdateData, Levels
from flow.pool import release
from nodes.providers.transport import EndOfRecording
from tests.nodes.providers.book_rig import Rig, run


def test_a_snapshot_that_is_too_old_is_asked_for_again_after_a_growing_pause() -> None:
    async def story() -> None:
        async with Rig() as rig:
            old = rig.market().whole(100)
            rig.answer(old, old, old)
            rig.send(105)
            await asyncio.sleep(5)
            assert [round(at, 2) for at, _, _ in rig.asked] == [0.0, 0.3, 0.85, 1.9]
            assert rig.kinds() == "S"

    run(story())


def test_an_absurd_number_does_not_end_a_book_for_ever() -> None:
    async def story() -> None:
        async with Rig() as rig:
            await rig.synced()
            market = rig.market()
            event = rig.pool.shelf(market.stream).get()
            event.first_sequence = event.sequence = 10**15
            event.payload = BookUpdateData([], [])
            rig.sent += 1
            rig.keeper.add(event)
            await asyncio.sleep(5)
            assert rig.figures()["state"] == "live"
            rig.send(102)
            assert rig.kinds() == "SSU"

    run(story())


@pytest.mark.parametrize(
    "error", [Retryable("busy", 3.0), Terminal("no such symbol"), TimeoutError(), ValueError("no JSON")]
)
def test_a_failed_fetch_is_tried_again(error: Exception) -> None:
    async def story() -> None:
        async with Rig() as rig:
            rig.answer(error)
            rig.send(101)
            await asyncio.sleep(2)
            if isinstance(error, Retryable | Terminal):
                assert len(rig.asked) == 1
            await asyncio.sleep(12)
            assert rig.kinds() == "S"
            assert rig.keeper.fetch_failures == {type(error).__name__: 1}
            expected = {"bad_snapshot": 1} if isinstance(error, ValueError) else {}
            assert rig.figures()["resyncs"] == expected

    run(story())


def test_after_the_end_of_a_recording_nothing_is_asked_for_again() -> None:
    async def story() -> None:
        async with Rig() as rig:
            rig.answer(EndOfRecording("no such reply"))
            rig.send(101)
            await asyncio.sleep(1)
            rig.send(102)
            await asyncio.sleep(30)
            assert len(rig.asked) == 1
            assert rig.keeper.in_flight == 2
        assert rig.keeper.dropped == {"stopped": 2}

    run(story())


def test_one_bad_symbol_disturbs_no_other_and_few_are_fetched_at_a_time() -> None:
    async def story() -> None:
        async with Rig(concurrency=2) as rig:
            rig.answer(*[Retryable("no")] * 1000, symbol="BAD-USDT")
            symbols = ["BAD-USDT", *(f"S{n}-USDT" for n in range(10))]
            for symbol in symbols:
                rig.send(101, symbol=symbol)
            await asyncio.sleep(3)
            states = {symbol: rig.figures(symbol)["state"] for symbol in symbols}
            assert states.pop("BAD-USDT") == "buffering"
            assert set(states.values()) == {"live"}
            assert rig.most_under_way == 2

    run(story())


class Unreadable:
    """A payload whose levels turn out malformed when they are read."""

    @property
    def bids(self) -> Levels:
        raise ValueError("malformed levels")

    asks = bids

    def row(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("dead_letters", [True, False])
@pytest.mark.parametrize(
    "payload", [Unreadable(), BookUpdateData([("99", "x")], []), BookUpdateData([("99",)], [])]
)  # type: ignore[list-item]
def test_a_malformed_update_is_refused_and_the_book_recovers(payload: Any, dead_letters: bool) -> None:
    async def story() -> None:
        async with Rig(dead_letters=dead_letters) as rig:
            await rig.synced()
            rig.send(102, payload=payload)
            rig.send(103)
            rig.send(104, payload=payload)
            rig.send(105)
            await asyncio.sleep(5)
            rig.send(106)
            assert rig.figures()["state"] == "live"
            assert rig.kinds() == "SSU"
            assert set(rig.figures()["resyncs"]) == {"malformed"}
            if dead_letters:
                assert rig.context.dead_letters is not None
                assert rig.context.dead_letters.by_reason()["malformed_book"] == rig.keeper.dead_lettered
                assert 1 <= rig.keeper.dead_lettered <= 2
            else:
                assert rig.keeper.dropped["malformed"] >= 1

    run(story())


def test_what_a_consumer_raises_is_not_caught() -> None:
    def fails(event: CanonicalEvent) -> None:
        release(event)
        raise DoublePut("downstream")

    async def story() -> None:
        rig = Rig()
        async with rig:
            await rig.synced()
            rig.keeper.emit = fails
            for act in (lambda: rig.send(102), rig.quote):
                with pytest.raises(DoublePut):
                    act()
            assert rig.figures()["state"] == "live"
            rig.out.extend(rig.out * 2)

    run(story())


def test_what_a_snapshot_meets_downstream_is_raised_by_the_next_update() -> None:
    async def story() -> None:
        rig = Rig()
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

        def fails(event: CanonicalEvent) -> None:
            raise DoublePut("downstream")

        rig.keeper.emit = fails
        await rig.keeper.start()
        rig.send(101)
        await asyncio.sleep(1)
        assert isinstance(reported[0]["exception"], DoublePut)
        with pytest.raises(DoublePut):
            rig.send(102)
        await rig.keeper.stop()

    run(story())


def test_what_a_snapshot_meets_downstream_is_raised_by_stop_at_the_latest() -> None:
    async def story() -> None:
        rig = Rig()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: None)

        def fails(event: CanonicalEvent) -> None:
            raise DoublePut("downstream")

        rig.keeper.emit = fails
        await rig.keeper.start()
        rig.send(101)
        await asyncio.sleep(1)
        with pytest.raises(DoublePut):
            await rig.keeper.stop()

    run(story())


def test_stop_cancels_what_is_under_way() -> None:
    async def story() -> None:
        async with Rig() as rig:
            rig.latency_s = 1000
            for n in range(10):
                rig.send(101, symbol=f"S{n}-X")
            await asyncio.sleep(1)
            assert rig.under_way == 4
        assert rig.under_way == 0
        assert rig.keeper.dropped == {"stopped": 10}
        rig.send(102)
        assert len(asyncio.all_tasks()) == 1

    run(story())
