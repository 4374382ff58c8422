"""Linting makes each operator once: what its factory does wrong is told at the node's place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from reactivex import operators as ops

from flow.component import Consumer
from flow.context import Context
from flow.errors import FlowError
from flow.graph.load import lint
from flow.registry import Operator, Registry, spec_of
from flow.stage import Machine, stage

TEXT = """version: 1
nodes:
  numbers: {use: numbers}
  tried: {use: tried, inputs: [numbers]}
  again: {use: again, inputs: [tried]}
  sink: {use: sink, inputs: [again]}
"""


class NoParams(Struct):
    """None."""


class Relay(Machine[Any, Any]):
    def __init__(self, context: Context, extra: int) -> None:
        super().__init__(context)

    def add(self, element: Any) -> None:
        self.emit(element)


class NoAdd(Machine[Any, Any]):
    def on_next(self, element: Any) -> None:
        self.emit(element)


class AsyncAdd(Machine[Any, Any]):
    async def add(self, element: Any) -> None:
        self.emit(element)


class NoSuper(Machine[Any, Any]):
    def __init__(self, context: Context) -> None:
        self.kept = context

    def add(self, element: Any) -> None:
        self.emit(element)


class Lines:
    """The faults of a graph whose operator `tried` is made by `make`."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.contexts: list[Context] = []

    def __call__(self, make: Callable[[Context], Any]) -> list[str]:
        def tried(params: NoParams, context: Context) -> Operator[Any, Any]:
            self.contexts.append(context)
            return make(context)

        def again(params: NoParams, context: Context) -> Operator[Any, Any]:
            self.contexts.append(context)
            return ops.as_observable()

        def sink(params: NoParams, context: Context) -> Consumer[Any]:
            raise AssertionError("components are not made")

        for factory in (tried, again, sink):
            self.registry.nodes[factory.__name__] = spec_of(factory.__name__, factory)
        self.registry.nodes["numbers"] = self.registry.nodes["gateway"]
        return [str(fault) for fault in lint("g.yaml", text=TEXT, registry=self.registry)]


@pytest.fixture
def lines(registry: Registry) -> Lines:
    return Lines(registry)


def test_what_can_be_made_is_no_fault(lines: Lines) -> None:
    assert lines(lambda context: stage(lambda: Relay(context, 1))) == []


def test_operators_are_made_in_surroundings_of_one_graph(lines: Lines) -> None:
    lines(lambda context: ops.as_observable())
    tried, again = lines.contexts
    assert (tried.node_id, again.node_id) == ("tried", "again")
    assert tried.services is again.services
    assert tried.refs == {"base_dir": Path()}


def raises(context: Context) -> Any:
    raise ValueError("no good")


def refuses(context: Context) -> Any:
    raise FlowError("./mine.py:3: has no 'price'")


def dead(source: Any) -> int:
    return 7


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (raises, "node 'tried': tried can't be made: HERE: ValueError: no good"),
        (refuses, "node 'tried': ./mine.py:3: has no 'price'"),
        (lambda context: None, "node 'tried': HEREtried returns nothing; it is to return an operator"),
        (
            lambda context: Relay(context, 1),
            "node 'tried': HEREtried returns an object of type Relay; it is to return an",
        ),
        (lambda context: dead, "node 'tried': HEREtried makes an object of type int of its source; it is to"),
        (
            lambda context: stage(lambda: Relay(context)),  # type: ignore[call-arg]
            "node 'tried': tried can't be made: HERE: TypeError: Relay.__init__() missing 1",
        ),
        (
            lambda context: stage(Relay(context, 1)),  # type: ignore[arg-type]
            "node 'tried': HEREtried is to give `stage` a function that makes a Machine",
        ),
        (
            lambda context: stage(lambda: context),  # type: ignore[arg-type]
            "node 'tried': HEREtried is to give `stage` a function that makes a Machine",
        ),
        (lambda context: stage(lambda: NoAdd(context)), "node 'tried': HERENoAdd has no method `add`"),
        (
            lambda context: stage(lambda: AsyncAdd(context)),
            "node 'tried': HEREAsyncAdd.add is async; it is to be a plain method",
        ),
        (
            lambda context: stage(lambda: NoSuper(context)),
            "node 'tried': HERENoSuper.__init__ does not call super().__init__(context)",
        ),
    ],
)
def test_what_is_wrong_with_a_factory(lines: Lines, make: Callable[[Context], Any], said: str) -> None:
    [line] = lines(make)
    place, _, message = line.partition(": ")
    assert place == "g.yaml:4:3"
    before, here, after = said.partition("HERE")
    assert message.startswith(before)
    assert (__file__ in message) == bool(here)
    assert after in message


def test_a_graph_with_other_faults_is_not_tried(lines: Lines, registry: Registry) -> None:
    text = TEXT.replace("inputs: [again]", "inputs: [agin]")
    assert lines(raises) != []
    found = lint("g.yaml", text=text, registry=registry)
    assert not any("can't be made" in fault.message for fault in found)
