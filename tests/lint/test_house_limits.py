"""Limits that no linter checks: length of files and functions, names, leftovers, direction of imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 60
VAGUE_NAMES = {"utils", "helpers", "common", "manager", "base", "misc"}
LEFTOVER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
PACKAGES = ("flow", "operators", "nodes")
UPWARD = {"flow": {"operators", "nodes"}, "operators": {"nodes"}, "nodes": set[str]()}
OUTSIDE = {"tests", "profiling"}


def long_functions(tree: ast.AST, limit: int = FUNCTION_LINES) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > limit:
                yield node.name, length


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Top-level names that a module imports, by statement or by import_module("...")."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name.partition(".")[0], node.lineno) for alias in names)
            case ast.ImportFrom(module=str(module)):
                yield module.partition(".")[0], node.lineno
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module.partition(".")[0], node.lineno


def unfinished(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield node.lineno


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def package_of(path: Path, root: Path) -> str:
    return path.relative_to(root).parts[0]


def test_no_file_is_longer_than_the_limit(python_files: list[Path], project_root: Path) -> None:
    lengths = {
        place(path, project_root): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files
    }
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_function_is_longer_than_the_limit(python_files: list[Path], project_root: Path) -> None:
    found = [
        f"{place(path, project_root)}: {name} has {length} lines"
        for path in python_files
        for name, length in long_functions(parsed(path))
    ]
    assert found == []


def test_no_file_has_a_vague_name(tracked_files: list[Path], project_root: Path) -> None:
    names = [path.relative_to(project_root) for path in tracked_files if path.suffix == ".py"]
    assert [
        str(name) for name in names if VAGUE_NAMES & {part.removesuffix(".py") for part in name.parts}
    ] == []


def test_nothing_is_left_for_later(tracked_files: list[Path], project_root: Path) -> None:
    texts = [path for path in tracked_files if path.suffix in {".py", ".md", ".yaml", ".toml"}]
    found = [
        f"{place(path, project_root)}:{number}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if LEFTOVER.search(line)
    ]
    found += [
        f"{place(path, project_root)}:{line}"
        for path in texts
        if path.suffix == ".py" and package_of(path, project_root) in PACKAGES
        for line in unfinished(parsed(path))
    ]
    assert found == []


def test_no_import_runs_upward(python_files: list[Path], project_root: Path) -> None:
    found = [
        f"{place(path, project_root)}:{line}: imports {name}"
        for path in python_files
        if (package := package_of(path, project_root)) in PACKAGES
        for name, line in imported(parsed(path))
        if name in UPWARD[package] | OUTSIDE
    ]
    assert found == []


def test_tests_have_no_package_markers(tracked_files: list[Path], project_root: Path) -> None:
    markers = [place(path, project_root) for path in tracked_files if path.name == "__init__.py"]
    assert [name for name in markers if name.startswith("tests/")] == []


def test_the_longest_function_is_measured_with_its_last_line() -> None:
    tree = ast.parse("async def f():\n" + "    x = 1\n" * 3)
    assert list(long_functions(tree, limit=3)) == [("f", 4)]
    assert list(long_functions(tree, limit=4)) == []


def test_imports_are_seen_wherever_they_stand() -> None:
    inside = "    from operators.route import x\n    import_module('nodes.buses')\n"
    source = f"import nodes.sinks as s\ndef f():\n{inside}"
    assert sorted(imported(ast.parse(source))) == [("nodes", 1), ("nodes", 4), ("operators", 3)]
