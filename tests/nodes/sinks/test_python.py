"""User code as a consumer: real files, handlers of every kind, faults told in one line with their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flow.context import Context
from flow.errors import ConsumerError, DoublePut
from flow.events.payloads import GapData
from flow.events.stream import EventType
from flow.testing import make_event, make_stream
from nodes.sinks.python import HANDLERS, PythonParams, python

STREAMS = {kind: make_stream(event_type=kind) for kind in EventType}


def event(kind: EventType, number: int = 1) -> Any:
    return make_event(number, STREAMS[kind], payload=GapData(1, 1, 1, "x"))


def load(context: Context, reference: str = "./my_strategy.py:MyStrategy", **params: Any) -> Any:
    return python(PythonParams(object=reference, params=params), context)


# --- handlers ------------------------------------------------------------------------------------------


async def test_on_event_gets_every_event(context: Context, write: Any, deliver: Any) -> None:
    write("""
        class MyStrategy:
            def __init__(self):
                self.seen = []
            def on_event(self, event):
                self.seen.append((event.event_type.value, event.sequence))
    """)
    consumer = load(context)
    delivery = await deliver(consumer, event(EventType.TRADE, 1), event(EventType.GAP, 2))
    assert consumer.target.seen == [("Trade", 1), ("Gap", 2)]
    assert delivery.delivered == 2


async def test_what_is_no_event_goes_to_on_event(context: Context, write: Any, deliver: Any) -> None:
    write("class MyStrategy:\n    seen, on_trade = [], print\n    def on_event(self, x): self.seen.append(x)")
    consumer = load(context)
    delivery = await deliver(consumer, 1.5, [2])
    assert consumer.target.seen == [1.5, [2]]
    assert delivery.delivered == 2


async def test_each_type_goes_to_its_handler(context: Context, write: Any, deliver: Any) -> None:
    handlers = "\n".join(
        f"    {'async ' if number % 2 else ''}def {name}(self, event): self.seen.append('{name}')"
        for number, name in enumerate(HANDLERS)
    )
    write(f"class MyStrategy:\n    seen = []\n{handlers}\n")
    consumer = load(context)
    await deliver(consumer, *[event(kind) for kind in HANDLERS.values()])
    assert consumer.target.seen == list(HANDLERS)


async def test_on_event_gets_the_types_that_have_no_handler(
    context: Context, write: Any, deliver: Any
) -> None:
    write("""
        class MyStrategy:
            def __init__(self):
                self.seen = []
            def on_event(self, event):
                self.seen.append("any")
            def on_trade(self, event):
                self.seen.append("trade")
    """)
    consumer = load(context)
    await deliver(consumer, event(EventType.TRADE), event(EventType.TICKER), event(EventType.CONTROL_ACK))
    assert consumer.target.seen == ["trade", "any", "any"]


async def test_events_without_a_handler_are_passed_over(context: Context, write: Any, deliver: Any) -> None:
    write("""
        class MyStrategy:
            seen = 0
            async def on_trade(self, event):
                self.seen += 1
    """)
    consumer = load(context)
    delivery = await deliver(consumer, event(EventType.TRADE), event(EventType.TICKER))
    assert (consumer.target.seen, delivery.delivered) == (1, 2)


@pytest.mark.parametrize("word", ["def", "async def"])
async def test_a_function_is_called_for_each_event(
    context: Context, write: Any, deliver: Any, word: str
) -> None:
    write(f"""
        seen = []
        {word} watch(event):
            seen.append(event.sequence)
    """)
    consumer = load(context, "./my_strategy.py:watch")
    await deliver(consumer, event(EventType.TRADE, 1), event(EventType.TRADE, 2))
    assert consumer.target.__globals__["seen"] == [1, 2]


async def test_an_object_that_the_module_made_is_taken_as_it_is(
    context: Context, write: Any, deliver: Any
) -> None:
    write("""
        class Strategy:
            count = 0
            def on_trade(self, event):
                self.count += 1
        class Book:
            mine = Strategy()
    """)
    consumer = load(context, "my_strategy.py:Book.mine")
    await deliver(consumer, event(EventType.TRADE))
    assert consumer.target.count == 1


async def test_params_are_the_constructors_keyword_arguments(
    context: Context, write: Any, deliver: Any
) -> None:
    write("""
        from dataclasses import dataclass, field
        @dataclass
        class MyStrategy:
            threshold: float
            symbols: list = field(default_factory=list)
            def __call__(self, event):
                self.last = event
    """)
    consumer = load(context, threshold=2.5, symbols=["BTC-USDT"])
    assert (consumer.target.threshold, consumer.target.symbols) == (2.5, ["BTC-USDT"])
    trade = event(EventType.TRADE)
    await deliver(consumer, trade)
    assert consumer.target.last is trade


async def test_a_raising_handler_is_isolated_counted_and_placed(
    context: Context, write: Any, deliver: Any, reported: list[Any]
) -> None:
    write("""
        class MyStrategy:
            seen = 0
            async def on_trade(self, event):
                if event.sequence == 2:
                    raise LookupError("no price")
                self.seen += 1
    """)
    consumer = load(context)
    delivery = await deliver(consumer, *[event(EventType.TRADE, number) for number in (1, 2, 3)])
    assert consumer.target.seen == 2
    assert delivery.dropped == {"handler_raised": 1}
    (failure,) = reported
    assert (failure.error, failure.detail) == ("LookupError", "no price (my_strategy.py:5)")


# --- start and stop ------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["def", "async def"])
async def test_on_start_comes_first_and_on_stop_last(
    context: Context, write: Any, deliver: Any, word: str
) -> None:
    write(f"""
        class MyStrategy:
            def __init__(self): self.log = []
            {word} on_start(self): self.log.append("start")
            def on_event(self, event): self.log.append("event")
            {word} on_stop(self): self.log.append("stop")
    """)
    consumer = load(context)
    await deliver(consumer, event(EventType.TRADE))
    assert consumer.target.log == ["start", "event", "stop"]


async def test_a_raising_on_start_is_one_error_and_on_stop_is_not_called(
    context: Context, write: Any
) -> None:
    path = write("""
        class MyStrategy:
            stopped = False
            def on_start(self):
                raise OSError("no model file")
            def on_event(self, event): ...
            def on_stop(self):
                self.stopped = True
    """)
    consumer = load(context)
    with pytest.raises(ConsumerError) as raised:
        await consumer.start()
    assert str(raised.value) == f"sink: {path}:4: on_start raised OSError: no model file"
    await consumer.stop()
    assert not consumer.target.stopped


async def test_a_raising_on_stop_is_reported(
    context: Context, write: Any, deliver: Any, reported: list[Any]
) -> None:
    path = write("""
        class MyStrategy:
            def on_event(self, event): ...
            async def on_stop(self):
                raise ValueError("unfinished")
    """)
    await deliver(load(context))
    assert [failure.detail for failure in reported] == [f"{path}:4: on_stop raised ValueError: unfinished"]


async def test_a_bug_of_ownership_on_stop_is_no_mere_report(
    context: Context, write: Any, deliver: Any
) -> None:
    write("""
        from flow.errors import DoublePut

        class MyStrategy:
            def on_event(self, event): ...
            def on_stop(self):
                raise DoublePut("again")
    """)
    with pytest.raises(DoublePut):
        await deliver(load(context))


# --- where the code lies -------------------------------------------------------------------------------


async def test_a_module_of_the_graphs_folder(context: Context, write: Any) -> None:
    write("class Mine:\n    def on_event(self, event): ...\n", "my_package/strategies.py")
    consumer = load(context, "my_package.strategies:Mine")
    assert type(consumer.target).__module__ == "my_package.strategies"


def test_a_file_may_import_what_lies_beside_it(context: Context, write: Any) -> None:
    write("FACTOR = 3\n", "my_indicators.py")
    write("""
        from my_indicators import FACTOR
        class MyStrategy:
            factor = FACTOR
            def on_event(self, event): ...
    """)
    assert load(context).target.factor == 3


def test_two_nodes_of_a_graph_share_a_file_and_two_graphs_do_not(write: Any, tmp_path: Path) -> None:
    write("class MyStrategy:\n    def on_event(self, event): ...\n")
    first, other = (Context(refs={"base_dir": tmp_path}) for _ in range(2))
    classes = [type(load(context).target) for context in (first.for_node("a"), first.for_node("b"), other)]
    assert classes[0] is classes[1]
    assert classes[0] is not classes[2]
