"""User code as a consumer: real files, handlers of every kind, faults told in one line with their place."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from flow.context import Context
from flow.errors import ConsumerError, DoublePut, FlowError
from flow.events.payloads import GapData
from flow.events.stream import EventType
from flow.testing import make_event, make_stream
from nodes.sinks.python import HANDLERS, PythonParams, python

STREAMS = {kind: make_stream(event_type=kind) for kind in EventType}


def event(kind: EventType, number: int = 1) -> Any:
    return make_event(number, STREAMS[kind], payload=GapData(1, 1, 1, "x"))


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def put(text: str, name: str = "my_strategy.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
        return path

    return put


def load(context: Context, reference: str = "./my_strategy.py:MyStrategy", **params: Any) -> Any:
    return python(PythonParams(object=reference, params=params), context)


def fault(context: Context, reference: str = "./my_strategy.py:MyStrategy", **params: Any) -> str:
    """The one line that a wrong object gives."""
    with pytest.raises(FlowError) as raised:
        load(context, reference, **params)
    message = str(raised.value)
    assert "\n" not in message
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert message.startswith("sink: ")
    return message.removeprefix("sink: ")


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


# --- faults --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["MyStrategy", "my_strategy.py", ":MyStrategy", "./a.py:"])
def test_a_reference_names_a_place_and_an_object(context: Context, reference: str) -> None:
    assert "./file.py:Name or package.module:Name" in fault(context, reference)


def test_no_such_file(context: Context, tmp_path: Path) -> None:
    assert fault(context) == f"{tmp_path / 'my_strategy.py'}: there is no such file"


def test_a_folder_is_no_file(context: Context, tmp_path: Path) -> None:
    (tmp_path / "my_strategy.py").mkdir()
    assert fault(context) == f"{tmp_path / 'my_strategy.py'}: is no file"


def test_no_such_module(context: Context, tmp_path: Path) -> None:
    message = fault(context, "my_packag.strategies:Mine")
    assert message.startswith("no module named 'my_packag'")
    assert str(tmp_path) in message


def test_no_such_name(context: Context, write: Any) -> None:
    path = write("class MyStrategy: ...\n")
    message = fault(context, "./my_strategy.py:MyStratgy")
    assert message == f"{path}: has no 'MyStratgy'; did you mean MyStrategy?"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = 1\nclass MyStrategy\n", 2, "SyntaxError: expected ':'"),
        ("class MyStrategy:\n  a = 1\n\tb = 2\n", 3, "TabError:"),
        ("x = 1\n\nraise ValueError('no\\nluck')\n", 3, "ValueError: no"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("import sys\n\nimport no_such_thing_at_all\n", 3, "ModuleNotFoundError: No module named"),
        ("def f():\n    return 1 / 0\nf()\n", 2, "ZeroDivisionError: division by zero"),
    ],
)
@pytest.mark.parametrize("reference", ["./my_strategy.py:MyStrategy", "my_strategy:MyStrategy"])
def test_code_that_cannot_be_loaded(
    context: Context, write: Any, text: str, line: int, words: str, reference: str
) -> None:
    path = write(text)
    assert fault(context, reference).startswith(f"{path}:{line}: {words}")
    assert "flow_object_my_strategy" not in sys.modules


def test_bytes_that_are_no_text(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "my_strategy.py"
    path.write_bytes(b"x = '\xff\xfe'\n\x00")
    assert str(path) in fault(context)


STRATEGY = """
    class MyStrategy:
        def __init__(self, threshold, window=3):
            self.limit = 1 / threshold
        def on_event(self, event): ...
"""


def test_a_raising_constructor(context: Context, write: Any) -> None:
    path = write(STRATEGY)
    expected = f"{path}:3: MyStrategy(...) raised ZeroDivisionError: division by zero"
    assert fault(context, threshold=0) == expected


def test_a_wrong_constructor_parameter(context: Context, write: Any) -> None:
    path = write(STRATEGY)
    message = fault(context, treshold=1)
    assert message.startswith(f"{path}:2: MyStrategy takes threshold, window: ")
    assert "'treshold'" in message or "'threshold'" in message
    assert message.endswith("; did you mean threshold?")


def test_a_missing_constructor_parameter(context: Context, write: Any) -> None:
    write(STRATEGY)
    assert "missing a required argument: 'threshold'" in fault(context)


def test_parameters_for_a_class_that_takes_none(context: Context, write: Any) -> None:
    write("class MyStrategy:\n    def on_event(self, event): ...\n")
    assert "MyStrategy takes no parameters" in fault(context, speed=1)


def test_parameters_for_a_function(context: Context, write: Any) -> None:
    path = write("def watch(event): ...\n")
    message = fault(context, "./my_strategy.py:watch", speed=1)
    assert message == f"{path}:1: watch is no class: only a class takes parameters"


def test_a_class_without_handlers(context: Context, write: Any) -> None:
    path = write("\nclass MyStrategy:\n    def trade(self, event): ...\n")
    message = fault(context)
    assert message.startswith(f"{path}:")
    assert "MyStrategy has no handler; it could have on_event or on_trade, on_ticker" in message


def test_a_value_that_is_nothing_to_call(context: Context, write: Any) -> None:
    write("MyStrategy = 5\n")
    assert "int has no handler" in fault(context)


def test_a_misspelt_handler(context: Context, write: Any) -> None:
    path = write("""
        class MyStrategy:
            def on_trade(self, event): ...
            def on_best_qoute(self, event): ...
    """)
    message = fault(context)
    expected = "MyStrategy.on_best_qoute would never be called; did you mean on_best_quote?"
    assert message == f"{path}:3: {expected}"


def test_a_helper_that_only_looks_like_a_handler_is_let_be(context: Context, write: Any) -> None:
    write("""
        class MyStrategy:
            def on_trade(self, event): ...
            def on_trades(self, events): ...
            def on_my_own_idea(self): ...
    """)
    assert load(context).target is not None


@pytest.mark.parametrize("signature", ["self", "self, event, more"])
def test_a_handler_that_cannot_take_an_event(context: Context, write: Any, signature: str) -> None:
    path = write(f"class MyStrategy:\n    def on_trade({signature}): ...\n")
    message = fault(context)
    assert message.startswith(f"{path}:2: on_trade(")
    assert message.endswith("must take one event")
