"""A mailbox's batch goes through the operators before the consumer as a run, with the outcome of single
elements."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow.component import Consumer
from flow.context import Context
from flow.errors import ConsumerError
from flow.graph.spec import MailboxSpec
from flow.runtime.delivery import Delivery, Drained
from flow.runtime.mailbox import Mailbox
from flow.stage import Machine, stage
from flow.telemetry.dead_letters import DeadLetters
from flow.testing.machines import GuardedTwice, Twice


class Handler(Consumer[Any]):
    """Keeps what it is handed, after `proceed`, if there is one."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.proceed: asyncio.Event | None = None

    async def handle(self, element: Any) -> None:
        if self.proceed is not None:
            await self.proceed.wait()
        self.seen.append(element)


class Runs(Machine[Any, Any]):
    """Hands runs on and keeps their lengths."""

    guards_itself = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.lengths: list[int] = []

    def add(self, element: Any) -> None:
        self.add_many([element])

    def add_many(self, elements: list[Any]) -> None:
        self.lengths.append(len(elements))
        self.hand_on(elements)


class Setup:
    """A mailbox, machines behind it, and a delivery at their end."""

    def __init__(self, *kinds: type[Machine[Any, Any]], letters: DeadLetters | None = None) -> None:
        self.context = Context("sink", dead_letters=letters)
        self.mailbox = Mailbox("sink", MailboxSpec(capacity=64), self.context)
        self.handler = Handler()
        self.delivery = Delivery("sink", self.handler, self.mailbox, self.context)
        self.head = self.delivery.head = Drained()
        output: Any = self.head
        self.stages: list[Any] = []
        for kind in kinds:
            output = stage(lambda kind=kind: kind(self.context))(output)
            self.stages.append(output)
        output.wire(self.delivery.arrive, self.delivery.fail, lambda: None, None)

    async def run(self) -> None:
        self.mailbox.complete()
        await self.delivery.run()

    async def begin(self) -> asyncio.Future[None]:
        running = asyncio.ensure_future(self.delivery.run())
        await self.settle()
        return running

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_a_batch_is_one_run_from_the_mailbox_to_the_consumer() -> None:
    setup = Setup(Runs, Runs)
    runs: list[int] = []
    arrive_many = setup.delivery.arrive_many
    setup.stages[1].machine.emit_many = lambda run: (runs.append(len(run)), arrive_many(run))
    setup.mailbox.put_many([1, 2, 3])
    await setup.run()
    assert setup.handler.seen == [1, 2, 3]
    assert [one.machine.lengths for one in setup.stages] == [[3], [3]]
    assert runs == [3]
    assert (setup.delivery.delivered, setup.delivery.in_flight) == (3, 0)


@pytest.mark.parametrize("kinds", [(Twice,), (GuardedTwice,), (Runs, GuardedTwice), (GuardedTwice, Runs)])
async def test_order_and_counts_are_those_of_single_elements(kinds: tuple[Any, ...]) -> None:
    setup = Setup(*kinds)
    setup.mailbox.put_many([1, 2, 3])
    await setup.run()
    assert setup.handler.seen == [1, -1, 2, -2, 3, -3, 0]
    assert setup.delivery.delivered == 7


@pytest.mark.parametrize("kinds", [(Twice,), (GuardedTwice,), (Runs, Twice)])
async def test_what_raises_in_an_operator_costs_that_element_only(kinds: tuple[Any, ...]) -> None:
    letters = DeadLetters()
    setup = Setup(*kinds, letters=letters)
    setup.mailbox.put_many([1, 13, 2])
    await setup.run()
    assert setup.handler.seen == [1, -1, 2, -2, 0]
    assert letters.by_reason() == {"ValueError": 1}
    assert setup.stages[-1].machine.dead_lettered == 1


async def test_operators_that_give_up_in_the_middle_of_a_batch_end_the_delivery() -> None:
    setup = Setup(GuardedTwice)
    setup.mailbox.put_many([1, 13, 2])
    with pytest.raises(ConsumerError, match="sink: unlucky"):
        await setup.run()
    assert setup.delivery.in_flight == 2, "what came before it has arrived"


async def test_a_run_that_a_timer_emits_wakes_an_idle_consumer() -> None:
    setup = Setup(Runs)
    running = await setup.begin()
    setup.delivery.arrive_many([7, 8])
    await setup.settle()
    assert setup.handler.seen == [7, 8]
    setup.mailbox.complete()
    await running


async def test_a_run_that_comes_while_a_handler_waits_is_delivered_behind_it() -> None:
    setup = Setup(Runs)
    setup.handler.proceed = asyncio.Event()
    running = await setup.begin()
    setup.mailbox.put(1)
    await setup.settle()
    setup.delivery.arrive_many([2, 3])
    assert setup.delivery.in_flight == 3
    setup.handler.proceed.set()
    setup.mailbox.put(4)
    setup.mailbox.complete()
    await running
    assert setup.handler.seen == [1, 2, 3, 4]
    assert (setup.delivery.delivered, setup.delivery.in_flight) == (4, 0)
