"""Delivery: a handler's failures are its own, and every element is counted where it went."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow.clock import NS_PER_MS
from flow.component import Consumer
from flow.context import Context
from flow.errors import ConsumerError, DoublePut
from flow.events.stream import EventType
from flow.graph.spec import MailboxSpec
from flow.runtime.delivery import Delivery, Drained
from flow.telemetry.dead_letters import DeadLetter
from flow.telemetry.occurrences import ConsumerFailed
from flow.testing import make_event, make_stream
from flow.testing.mailboxes import CountingMailbox

TICKERS = make_stream(event_type=EventType.TICKER)
TRADES = make_stream()


class Handler(Consumer[Any]):
    """Calls `do` with each element."""

    def __init__(self, do: Any) -> None:
        self.do = do

    def handle(self, element: Any) -> Any:
        return self.do(element)


class BatchHandler(Handler):
    def __init__(self, do: Any) -> None:
        super().__init__(do)
        self.handle_batch = do


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        return self.now


class Setup:
    """A delivery on a mailbox of its own, with what it reported."""

    def __init__(self, component: Consumer[Any], *, capacity: int = 64, has_operators: bool = False) -> None:
        self.clock = Clock()
        self.context = Context("strategy", clock=self.clock)
        self.reported: list[ConsumerFailed] = []
        self.context.telemetry.listeners.append(lambda _, occurrence: self.reported.append(occurrence))
        self.mailbox = CountingMailbox("strategy", MailboxSpec(capacity=capacity), self.context)
        self.delivery = Delivery("strategy", component, self.mailbox, self.context)
        if has_operators:
            self.delivery.head = Drained()
            self.delivery.head.emit = self.delivery.arrive

    def put(self, *numbers: int, stream: Any = TRADES) -> None:
        for number in numbers:
            self.mailbox.put(make_event(number, stream, ingest_ts=self.clock.now))

    async def run(self) -> None:
        self.mailbox.complete()
        await self.delivery.run()

    def balance(self) -> None:
        mailbox, delivery = self.mailbox, self.delivery
        accounted = delivery.delivered + mailbox.coalesced + mailbox.dropped.total()
        accounted += delivery.dropped.total() + mailbox.in_flight + delivery.in_flight
        assert mailbox.offered == accounted


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_delivers_in_order_and_counts_by_type() -> None:
    seen: list[int] = []
    setup = Setup(Handler(lambda event: seen.append(event.sequence)))
    setup.put(1, 2, 3)
    setup.put(4, stream=TICKERS)
    await setup.run()
    assert seen == [1, 2, 3, 4]
    assert setup.delivery.by_type == {"Ticker": 1, "Trade": 3}
    assert setup.delivery.delivered == 4
    setup.balance()


async def test_an_async_handler_is_awaited_before_the_next_event() -> None:
    log: list[str] = []

    async def handle(event: Any) -> None:
        log.append(f"begin {event.sequence}")
        await asyncio.sleep(0)
        log.append(f"end {event.sequence}")

    setup = Setup(Handler(handle))
    setup.put(1, 2)
    await setup.run()
    assert log == ["begin 1", "end 1", "begin 2", "end 2"]
    setup.balance()


async def test_while_an_async_handler_is_slow_the_mailbox_folds_and_the_account_balances() -> None:
    proceed = asyncio.Event()
    seen: list[int] = []

    async def handle(event: Any) -> None:
        await proceed.wait()
        seen.append(event.sequence)

    setup = Setup(Handler(handle), capacity=2)
    running = asyncio.ensure_future(setup.delivery.run())
    setup.put(1, stream=TICKERS)
    await settle()
    assert setup.delivery.in_flight == 1
    for number in range(2, 50):
        setup.put(number, stream=TICKERS)
        setup.balance()
    proceed.set()
    setup.mailbox.complete()
    await running
    assert seen == [1, 49]
    assert setup.mailbox.coalesced == 47
    setup.balance()


@pytest.mark.parametrize("error", [ValueError("bad"), KeyError("x"), SystemExit(3), ConsumerError("mine")])
async def test_what_a_handler_raises_costs_that_event_only(error: BaseException) -> None:
    seen: list[int] = []

    def handle(event: Any) -> None:
        if event.sequence == 2:
            raise error
        seen.append(event.sequence)

    setup = Setup(Handler(handle))
    setup.put(1, 2, 3)
    await setup.run()
    assert seen == [1, 3]
    assert setup.delivery.dropped == {"handler_raised": 1}
    assert setup.delivery.delivered == 2
    (failure,) = setup.reported
    assert (failure.consumer, failure.error) == ("strategy", type(error).__name__)
    assert "test_delivery.py:" in failure.detail
    setup.balance()


async def test_an_async_handler_that_raises_after_waiting_is_isolated_too() -> None:
    async def handle(event: Any) -> None:
        await asyncio.sleep(0)
        raise RuntimeError(f"no {event.sequence}")

    setup = Setup(Handler(handle))
    setup.put(1, 2)
    await setup.run()
    assert setup.delivery.dropped == {"handler_raised": 2}
    assert [failure.detail.split(" (")[0] for failure in setup.reported] == ["no 1", "no 2"]


async def test_a_cancellation_of_what_a_handler_waits_for_is_the_handlers_affair() -> None:
    seen: list[int] = []

    async def handle(event: Any) -> None:
        if event.sequence == 1:
            other = asyncio.ensure_future(asyncio.sleep(60))
            other.cancel()
            await other
        seen.append(event.sequence)

    setup = Setup(Handler(handle))
    setup.put(1, 2)
    await setup.run()
    assert seen == [2]
    assert setup.delivery.dropped == {"handler_raised": 1}


async def test_a_cancelled_delivery_ends_and_its_event_stays_in_flight() -> None:
    async def handle(event: Any) -> None:
        await asyncio.sleep(60)

    setup = Setup(Handler(handle))
    running = asyncio.ensure_future(setup.delivery.run())
    setup.put(1, 2)
    await settle()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert setup.delivery.in_flight == 2
    assert setup.delivery.dropped.total() == 0
    setup.balance()


@pytest.mark.parametrize("handler", [Handler, BatchHandler])
async def test_a_bug_of_ownership_is_nobodys_to_swallow(handler: type[Handler]) -> None:
    def handle(element: Any) -> None:
        raise DoublePut("twice")

    setup = Setup(handler(handle))
    setup.put(1)
    with pytest.raises(DoublePut):
        await setup.run()


async def test_latency_is_from_receipt_to_the_start_of_the_handler() -> None:
    setup = Setup(Handler(lambda event: None))

    def slow(event: Any) -> None:
        setup.clock.now += 10 * NS_PER_MS

    setup.delivery.component = Handler(slow)
    setup.put(1, 2, 3)
    setup.clock.now += 5 * NS_PER_MS
    await setup.run()
    figures = setup.delivery.latency.figures_ms()
    assert setup.delivery.latency.total == 3
    assert figures["max"] == 25.0
    assert figures["p50"] == pytest.approx(15.0, rel=0.01)


async def test_latency_is_counted_for_batches_and_for_events_whose_handler_raises() -> None:
    def handle(batch: list[Any]) -> None:
        raise ValueError("all of them")

    setup = Setup(BatchHandler(handle))
    setup.put(1, 2)
    setup.clock.now += 3 * NS_PER_MS
    await setup.run()
    assert setup.delivery.latency.total == 2
    assert setup.delivery.latency.max_ns == 3 * NS_PER_MS
    assert setup.delivery.dropped == {"handler_raised": 2}
    assert len(setup.reported) == 1
    setup.balance()


async def test_latency_of_a_batch_that_was_pressed_is_counted_event_by_event() -> None:
    setup = Setup(BatchHandler(lambda batch: None), capacity=2)
    for number, stream in ((1, TRADES), (2, make_stream(event_type=EventType.EXEC_REPORT)), (3, TICKERS)):
        setup.put(number, stream=stream)
        setup.clock.now += 5 * NS_PER_MS
    await setup.run()
    assert setup.delivery.latency.total == 3
    assert setup.delivery.latency.max_ns == 15 * NS_PER_MS


@pytest.mark.parametrize("handler", [Handler, BatchHandler])
async def test_events_and_dead_letters_may_come_mixed(handler: type[Handler]) -> None:
    setup = Setup(handler(lambda element: None))
    letter = DeadLetter("decode", "malformed", "", 0, b"{")
    setup.put(1)
    setup.mailbox.put(letter)
    setup.put(2)
    setup.mailbox.put(letter)
    await setup.run()
    assert setup.delivery.by_type == {"DeadLetter": 2, "Trade": 2}
    assert setup.delivery.latency.total == 2
    setup.balance()


async def test_a_batch_handler_gets_whole_batches() -> None:
    batches: list[list[int]] = []
    setup = Setup(BatchHandler(lambda batch: batches.append([event.sequence for event in batch])))
    running = asyncio.ensure_future(setup.delivery.run())
    setup.put(1, 2, 3)
    await settle()
    setup.put(4)
    await settle()
    setup.mailbox.complete()
    await running
    assert batches == [[1, 2, 3], [4]]
    assert setup.delivery.by_type == {"Trade": 4}


async def test_a_busy_consumer_lets_others_run() -> None:
    log: list[str] = []
    setup = Setup(Handler(lambda event: None))

    def handle(event: Any) -> None:
        log.append("handled")
        setup.clock.now += 5 * NS_PER_MS

    async def other() -> None:
        log.append("other")

    setup.delivery.component = Handler(handle)
    setup.put(*range(10))
    await asyncio.gather(setup.run(), other())
    assert log.index("other") < 5


async def test_what_a_timer_behind_the_mailbox_emits_is_delivered_without_waiting_for_more() -> None:
    seen: list[int] = []
    setup = Setup(Handler(lambda event: seen.append(event.sequence)), has_operators=True)
    running = asyncio.ensure_future(setup.delivery.run())
    setup.put(1)
    await settle()
    setup.delivery.arrive(make_event(2))
    await settle()
    assert seen == [1, 2]
    assert not running.done()
    setup.mailbox.complete()
    await running


async def test_what_operators_emit_on_completion_is_delivered() -> None:
    seen: list[int] = []
    setup = Setup(Handler(lambda event: seen.append(event.sequence)), has_operators=True)
    head, delivery = setup.delivery.head, setup.delivery
    assert head is not None
    held: list[Any] = []
    head.emit = held.append
    head.on_completed = lambda: [delivery.arrive(event) for event in held] and None
    setup.put(1, 2)
    await setup.run()
    assert seen == [1, 2]


async def test_operators_that_give_up_end_the_delivery() -> None:
    setup = Setup(Handler(lambda event: None), has_operators=True)
    assert setup.delivery.head is not None
    setup.delivery.head.emit = lambda event: setup.delivery.fail(ValueError("no more"))
    setup.put(1)
    with pytest.raises(ConsumerError, match="strategy: no more"):
        await setup.run()


def test_a_mailbox_is_not_drained_before_its_operators_are_wired() -> None:
    with pytest.raises(RuntimeError):
        Drained().emit(1)
