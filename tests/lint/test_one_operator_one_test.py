"""One operator, one file, one test; and the tests of operators know no time but the virtual one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ALSO_PASSING_TIME = {"sleep", "wait_for", "timeout", "perf_counter", "monotonic", "time", "time_ns"}


def names_in(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}


def real_time(tree: ast.AST) -> Iterator[str]:
    """Calls of `asyncio.x` and `time.x` that take or tell real time; a sleep of 0 only gives way."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="asyncio"), attr="sleep"), args=[ast.Constant(value=0)]
            ):
                continue
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio" | "time"), attr=str(name))):
                if name in ALSO_PASSING_TIME:
                    yield f"{name} in line {node.lineno}"


def test_every_operator_has_a_test_of_its_name(project_root: Path) -> None:
    operators = names_in(project_root / "operators")
    tests = names_in(project_root / "tests" / "operators")
    assert len(operators) >= 7
    assert sorted(f"test_{name}" for name in operators if f"test_{name}" not in tests) == []


def test_the_tests_of_operators_pass_no_real_time(project_root: Path) -> None:
    found = [
        f"{path.name}: {use}"
        for path in sorted((project_root / "tests" / "operators").glob("*.py"))
        for use in real_time(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_real_time_is_seen() -> None:
    assert list(real_time(ast.parse("asyncio.sleep(0.1)\ntime.sleep(1)\nasyncio.sleep(0)"))) == [
        "sleep in line 1",
        "sleep in line 2",
    ]
