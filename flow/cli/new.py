"""`flow new operator NAME`: an operator and its test, which pass as made.

The example passes an event when its stream has passed none for a while. It is written as an operator named
`spaced`; other names are put in.
"""

from __future__ import annotations

import ast
import keyword
import re
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["new"]

USAGE: Final = 2
MOST_LETTERS: Final = 30
NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", re.ASCII)

OPERATOR: Final = '''"""Keeps the events of a stream apart.

    events  --a-b-------c-|
    passed  --a---------c-|

An event passes when its stream has passed none for `least_ms`; others are dropped as `too_soon`. Completes
and fails with its source. Holds nothing.
"""

from datetime import datetime, timedelta
from typing import Annotated

from flow import CanonicalEvent, Context, Operator, Stream, operator
from flow.stage import Machine, stage
from msgspec import Meta, Struct


class SpacedParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    least_ms: Annotated[float, Meta(gt=0, description="time between two events of a stream")] = 50.0


@operator("spaced", loss="anything")
def spaced(
    params: SpacedParams,
    context: Context,
) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Passes an event when its stream has passed none for `least_ms`."""
    return stage(lambda: Spaced(params, context))


class Spaced(Machine[CanonicalEvent, CanonicalEvent]):
    def __init__(self, params: SpacedParams, context: Context) -> None:
        super().__init__(context)
        self.least = timedelta(milliseconds=params.least_ms)
        self.passed_at: dict[Stream, datetime] = {}

    def add(self, element: CanonicalEvent) -> None:
        now, last = self.scheduler.now, self.passed_at.get(element.stream)
        if last is not None and now - last < self.least:
            self.drop(element, "too_soon")
            return
        self.passed_at[element.stream] = now
        self.passed += 1
        self.emit(element)
'''

TEST: Final = '''"""Events of a stream are kept apart, and every one is accounted for."""

from flow.testing import (
    Bench,
    Recorder,
    check_operator,
    make_event,
    make_stream,
    values,
)
from reactivex import from_marbles
from reactivex.testing import TestScheduler

from spaced import spaced


def test_marbles() -> None:
    scheduler, recorder = TestScheduler(), Recorder()
    source = from_marbles(
        "a--b-c|",
        timespan=0.01,
        lookup={"a": make_event(1), "b": make_event(2), "c": make_event(3)},
    )
    source.pipe(spaced(least_ms=50)).subscribe(recorder, scheduler=scheduler)
    scheduler.advance_by(0.045)
    assert values(recorder) == [1]
    scheduler.advance_by(0.1)
    assert values(recorder) == [1, 3]
    assert recorder.is_completed


def test_streams_do_not_mix() -> None:
    bench = Bench(lambda context: spaced(least_ms=50, context=context))
    bench.push(1)
    bench.push(2, stream=make_stream(symbol="ETH-USDT"))
    assert bench.left == [1, 2]


def test_every_event_is_accounted_for() -> None:
    bench = Bench(lambda context: spaced(least_ms=50, context=context))
    bench.push(1, 2)
    bench.scheduler.advance_by(0.05)
    bench.push(3)
    assert (bench.left, bench.machine.dropped) == ([1, 3], {"too_soon": 1})
    bench.check_over()


def test_it_does_what_every_operator_must() -> None:
    check_operator(spaced)
'''

NEXT: Final = """made {operator} and {test}; next:
1. test it
     python -m pytest {test}
2. name it in a graph
     plugins: [{plugin}]
     nodes:
       apart: {{use: {kebab}, inputs: [bus], params: {{least_ms: 50}}}}
3. check the graph
     flow lint my_graph.yaml
"""

OURS: Final = """\
To make it part of the project, move them to operators/{snake}.py and tests/operators/test_{snake}.py,
which imports it from operators.{snake}, name it in operators/__init__.py, and run make fmt.
"""


def new(args: Namespace) -> int:
    """Write both files and say what comes next; 2 where that can't be."""
    folder, snake = Path(args.folder), args.name.replace("-", "_")
    operator, test = folder / f"{snake}.py", folder / f"test_{snake}.py"
    problem = _name_problem(args.name) or _place_problem(folder, operator, test)
    if problem:
        print(f"flow new: {problem}", file=sys.stderr)
        return USAGE
    for path, text in ((operator, OPERATOR), (test, TEST)):
        with path.open("x", encoding="utf-8") as file:
            file.write(_named(text, snake))
    plugin = operator.as_posix() if operator.is_absolute() else f"./{operator.as_posix()}"
    print(NEXT.format(operator=operator, test=test, plugin=plugin, kebab=_kebab(snake)), end="")
    if _project() in (folder.resolve(), *folder.resolve().parents):
        print(OURS.format(snake=snake), end="")
    return 0


def _named(text: str, snake: str) -> str:
    """A template under another name."""
    text = text.replace('"spaced"', f'"{_kebab(snake)}"').replace("Spaced", _camel(snake))
    return text.replace("spaced", snake)


def _kebab(snake: str) -> str:
    return snake.replace("_", "-")


def _camel(snake: str) -> str:
    return "".join(part.capitalize() for part in snake.split("_"))


def _name_problem(name: str) -> str:
    """Why an operator can't have this name, '' where it can."""
    from flow.cli.inspect import registered

    if not NAME.fullmatch(name) or len(name) > MOST_LETTERS:
        wanted = f"small letters, digits and - between them, {MOST_LETTERS} at most"
        return f"{name!r} is no name for an operator; write it like best-quote: {wanted}"
    snake = name.replace("-", "_")
    taken = registered().nodes.get(_kebab(snake))
    if taken is not None:
        return f"the name {taken.name!r} is taken by {taken.origin}; see `flow describe {taken.name}`"
    if keyword.iskeyword(snake) or keyword.issoftkeyword(snake):
        return f"{snake!r} is a word of Python's own; choose another name"
    if snake in sys.stdlib_module_names or find_spec(snake) is not None:
        return f"a file {snake}.py would hide the module {snake}; choose another name"
    if snake == "conftest":
        return "pytest takes a file conftest.py for settings; choose another name"
    if {snake, _camel(snake)} & _used(OPERATOR, TEST):
        return f"{name!r} is a name that an operator or its test uses; choose another name"
    return ""


def _used(*texts: str) -> set[str]:
    """The names in the templates, but for the example's own."""
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    names |= {node.name for node in nodes if isinstance(node, ast.alias)}
    return names - {"spaced", "Spaced"}


def _place_problem(folder: Path, *files: Path) -> str:
    """Why the files can't be written, '' where they can."""
    if not folder.is_dir():
        return f"there is no folder {folder}"
    there = [str(file) for file in files if file.exists() or file.is_symlink()]
    return f"{there[0]} is there already; nothing was written" if there else ""


def _project() -> Path:
    """The folder that `flow` lies in, where an operator of its own would be."""
    return Path(__file__).resolve().parent.parent.parent
