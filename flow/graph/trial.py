"""Makes each operator of a graph once, to see that it can be made: what `flow lint` adds to `check`.

Operators only, which have no life of their own: nothing is started, and what was made is let go.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from typing import Any, Final

from reactivex import Observable, never

from flow.context import Context
from flow.errors import Fault, FlowError
from flow.graph.spec import GraphSpec, NodeEntry
from flow.graph.tree import Faults, quoted
from flow.named import place_of
from flow.registry import NodeSpec, Registry
from flow.stage import Stage

__all__ = ["trial"]

WANTED: Final = "it is to return an operator, such as `stage(lambda: ...)`"


def trial(spec: GraphSpec, registry: Registry) -> list[Fault]:
    """What factories and machines raise, and what is no operator, each at its node's place."""
    faults = Faults(spec.file)
    context = Context(mode=spec.mode, refs={"base_dir": spec.base_dir})
    for entry in spec.nodes.values():
        known = registry.nodes[entry.use]
        if known.kind == "operator":
            problem = _problem(entry, known, context.for_node(entry.id))
            if problem:
                faults.add((entry.line, entry.column), f"node {quoted(entry.id)}: {problem}")
    return faults.listed()


def _problem(entry: NodeEntry, known: NodeSpec, context: Context) -> str:
    try:
        operate: Any = known.factory(entry.params, context)
        if not callable(operate):
            return f"{place_of(known.factory)}{known.name} returns {_shown(operate)}; {WANTED}"
        output = operate(never())
        if not isinstance(output, Observable):
            return f"{place_of(known.factory)}{known.name} makes {_shown(output)} of its source; {WANTED}"
        if isinstance(output, Stage):
            output.make()
    except FlowError as error:
        return str(error).removeprefix(f"{entry.id}: ")
    except Exception as error:
        return f"{known.name} can't be made: {_place(known.factory, error)}{type(error).__name__}: {error}"
    return ""


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def _place(factory: Callable[..., Any], error: Exception) -> str:
    """`file:line: ` of the innermost line of the factory's own file that led to an error."""
    file = inspect.getsourcefile(inspect.unwrap(factory))
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}:{lines[-1]}: " if lines else ""
