"""Functions that a graph names. Classes and modules are tested with the consumer that makes them,
tests/nodes/sinks/test_python.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow.context import Context
from flow.errors import FlowError
from flow.named import make_function

CODE = """
def doubled(x):
    return 2 * x

def times(x, *, factor=1):
    return x * factor

async def later(x):
    return x

class Sum:
    def __init__(self, start=0):
        self.total = start

    def __call__(self, x):
        self.total += x
        return self.total

class Later:
    async def __call__(self, x):
        return x

number = 5
"""


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Any]:
    """`made("doubled")`, of a file in a graph's folder."""
    (tmp_path / "mine.py").write_text(CODE)

    def make(name: str, arguments: tuple[str, ...] = ("element",), **params: Any) -> Any:
        context = Context(refs={"base_dir": tmp_path})
        return make_function(f"./mine.py:{name}", params, context, arguments)

    return make


def test_a_function_and_an_object_that_is_called(made: Callable[..., Any]) -> None:
    assert made("doubled")(4) == 8
    assert made("times", factor=3)(4) == 12
    total = made("Sum", start=10)
    assert (total(1), total(2)) == (11, 13)
    assert made("Sum")(1) == 1


def test_of_an_installed_module() -> None:
    truth = make_function("operator:truth", {}, Context(), ("element",))
    assert truth([1]) is True


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("later", {}, "later is async; an operator calls plain functions"),
        ("Later", {}, "Later is async; an operator calls plain functions"),
        ("number", {}, "number can't be called"),
        ("doubled", {"factr": 2}, "doubled is called as (element, factr=...): got an unexpected keyword"),
        ("times", {"factr": 2}, "'factr'; did you mean factor?"),
        ("times", {"x": 2}, "times is called as (element, x=...): multiple values for argument 'x'"),
        ("Sum", {"strat": 2}, "did you mean start?"),
        ("duobled", {}, "did you mean doubled?"),
    ],
)
def test_what_is_wrong_is_said(
    made: Callable[..., Any], name: str, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(FlowError) as refused:
        made(name, **params)
    assert said in str(refused.value)
    assert "mine.py" in str(refused.value)


def test_the_number_of_arguments_is_that_of_the_call(made: Callable[..., Any]) -> None:
    with pytest.raises(FlowError, match=r"mine.py:2: doubled is called as \(state, element\): too many"):
        made("doubled", ("state", "element"))
