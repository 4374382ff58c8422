"""User code that can't be used: one line each, with file and line where it is the code's own fault."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from flow.context import Context
from flow.errors import FlowError
from nodes.sinks.python import PythonParams, python


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
