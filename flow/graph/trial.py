"""Makes each operator of a graph once, to see that it can be made: what `flow lint` adds to `check`.

Operators only, which have no life of their own: nothing is started, and what was made is let go.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, cast

from reactivex import Observable, never

from flow.context import Context
from flow.errors import Fault, FlowError
from flow.graph.spec import GraphSpec
from flow.graph.tree import Faults, quoted
from flow.named import place_of, where_raised
from flow.registry import Registry
from flow.stage import Machine, Stage

__all__ = ["problem_of", "trial"]

WANTED: Final = "it is to return an operator, such as `stage(lambda: ...)`"


def trial(spec: GraphSpec, registry: Registry) -> list[Fault]:
    """What factories and machines raise, and what is no operator, each at its node's place."""
    faults = Faults(spec.file)
    context = Context(mode=spec.mode, refs={"base_dir": spec.base_dir})
    for entry in spec.nodes.values():
        known = registry.nodes[entry.use]
        if known.kind == "operator":
            problem = problem_of(known.name, known.factory, entry.params, context.for_node(entry.id))
            if problem:
                faults.add((entry.line, entry.column), f"node {quoted(entry.id)}: {problem}")
    return faults.listed()


def problem_of(name: str, factory: Callable[..., Any], *arguments: Any) -> str:
    """Why a factory, whose last argument is a context, makes no operator; '' where it does."""
    try:
        operate: Any = factory(*arguments)
        if not callable(operate):
            return f"{place_of(factory)}{name} returns {_shown(operate)}; {WANTED}"
        output = operate(never())
        if not isinstance(output, Observable):
            return f"{place_of(factory)}{name} makes {_shown(output)} of its source; {WANTED}"
        if not isinstance(output, Stage):
            return ""
        return _machine_problem(name, factory, cast("Stage[Any]", output).make)
    except FlowError as error:
        return str(error).removeprefix(f"{arguments[-1].node_id}: ")
    except Exception as error:
        code: Any = getattr(inspect.unwrap(factory), "__code__", None)
        where = "" if code is None else where_raised(error, code.co_filename)
        return f"{name} can't be made: {where}{type(error).__name__}: {error}"


def _machine_problem(name: str, factory: Callable[..., Any], make: Any) -> str:
    base: Any = Machine
    machine: Any = make() if callable(make) else None
    if not isinstance(machine, base):
        return f"{place_of(factory)}{name} is to give `stage` a function that makes a Machine, as a lambda is"
    kind: Any = machine.__class__
    where = f"{place_of(kind)}{kind.__name__}"
    if kind.add is base.add:
        return f"{where} has no method `add`, which takes each element"
    for verb in (kind.add, kind.finish, kind.close):
        if inspect.iscoroutinefunction(verb):
            return f"{place_of(verb)}{kind.__name__}.{verb.__name__} is async; it is to be a plain method"
    if not hasattr(machine, "context"):
        return f"{where}.__init__ does not call super().__init__(context)"
    return ""


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"an object of type {type(value).__name__}"
