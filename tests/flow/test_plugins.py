"""Plugins from files, folders, packages and entry points; and what is wrong with the others."""

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flow import plugins
from flow.graph import lint, load
from flow.plugins import PluginFault, load_installed, load_plugins, misplaced
from flow.registry import registry

OPERATOR = '''\
"""Adds a name."""
from typing import TypeVar

import msgspec

from flow.component import Consumer
from flow.context import Context
from flow.registry import node, operator, Operator

T = TypeVar("T")


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    size: int = 1


@operator("{name}")
def mine(params: Params, context: Context) -> Operator[T, T]:
    return lambda source: source
'''
Writer = Callable[..., Path]


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registered names, modules and the paths are afterwards what they were."""
    tables = (registry.nodes, registry.codecs, registry.services)
    kept = [dict(table) for table in tables]
    modules = set(sys.modules)
    monkeypatch.setattr(plugins, "_modules", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for table, earlier in zip(tables, kept, strict=True):
        table.clear()
        table.update(earlier)  # type: ignore[arg-type]
    for module in set(sys.modules) - modules:
        if module.startswith(("flow_plugin_", "plugged")):
            del sys.modules[module]
    importlib.invalidate_caches()


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    def write(path: str, text: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        importlib.invalidate_caches()
        return file

    return write


def test_a_file_beside_the_graph(tmp_path: Path, write: Writer) -> None:
    write("my_ops.py", OPERATOR.format(name="mine-a"))
    assert load_plugins(["./my_ops.py"], tmp_path) == []
    spec = registry.nodes["mine-a"]
    assert spec.factory.__module__.startswith("flow_plugin_my_ops_")


def test_a_file_is_imported_once(tmp_path: Path, write: Writer) -> None:
    write("count.py", "import sys\nsys.counted = getattr(sys, 'counted', 0) + 1\n")
    write("folder/there.txt", "")
    assert load_plugins(["./count.py", "count.py", "./folder/../count.py"], tmp_path) == []
    assert load_plugins([str(tmp_path / "count.py")], tmp_path / "folder") == []
    assert sys.counted == 1  # type: ignore[attr-defined]
    del sys.counted  # type: ignore[attr-defined]


def test_two_files_of_one_name(tmp_path: Path, write: Writer) -> None:
    write("a/ops.py", OPERATOR.format(name="from-a"))
    write("b/ops.py", OPERATOR.format(name="from-b"))
    assert load_plugins(["./a/ops.py", "./b/ops.py"], tmp_path) == []
    assert {"from-a", "from-b"} <= set(registry.nodes)


def test_a_folder_is_a_package_of_its_own(tmp_path: Path, write: Writer) -> None:
    write("kit/__init__.py", "from . import inner\n")
    write("kit/inner.py", OPERATOR.format(name="inner-one"))
    assert load_plugins(["./kit"], tmp_path) == []
    assert "inner-one" in registry.nodes
    write("plain/x.py", "")
    [fault] = load_plugins(["./plain"], tmp_path)
    assert fault.message.startswith("the folder has no __init__.py: ")


def test_an_installed_package(tmp_path: Path, write: Writer) -> None:
    write("plugged_in/__init__.py", OPERATOR.format(name="packaged"))
    sys.path.insert(0, str(tmp_path))
    assert load_plugins(["plugged_in"], Path()) == []
    assert "packaged" in registry.nodes


# --- what goes wrong ---


def test_what_is_not_there(tmp_path: Path, write: Writer) -> None:
    write("my_ops.py", "")
    found = load_plugins(["./absent.py", "plugged_absent", "my_ops", "no name", "a\0.py"], tmp_path)
    assert [fault.plugin for fault in found] == [
        "./absent.py",
        "plugged_absent",
        "my_ops",
        "no name",
        "a\0.py",
    ]
    assert [fault.message.replace(str(tmp_path), "DIR") for fault in found][:4] == [
        "the file is not there: DIR/absent.py",
        "there is no package 'plugged_absent'",
        "there is no package 'my_ops'; the file beside the graph is ./my_ops.py",
        "neither a package's name nor a path; a path begins with ./",
    ]
    assert "can't be read" in found[4].message
    assert all((fault.file, fault.line) == ("", 0) for fault in found)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("x = 1\nimport absent_altogether\n", 2, "ModuleNotFoundError: No module named 'absent_altogether'"),
        ("x = 1\n\ny = (\n", 3, "SyntaxError: '(' was never closed"),
        ("def f():\n    raise ValueError('a\\nb')\nf()\n", 2, "ValueError: a"),
        ("raise SystemExit(3)\n", 1, "SystemExit: 3"),
        ("import os\nos.path.join(None)\n", 2, "TypeError: "),
        ("raise KeyError\n", 1, "KeyError"),
    ],
)
def test_an_import_that_fails(tmp_path: Path, write: Writer, text: str, line: int, message: str) -> None:
    file = write("bad.py", text)
    [fault] = load_plugins(["./bad.py"], tmp_path)
    assert (fault.file, fault.line) == (str(file), line)
    assert fault.message.startswith(message)
    assert "\n" not in str(fault)
    assert str(fault) == f"{file}:{line}: plugin './bad.py': {fault.message}"


def test_an_import_that_fails_leaves_nothing_and_may_be_tried_again(tmp_path: Path, write: Writer) -> None:
    write("half.py", OPERATOR.format(name="half-done") + "raise ValueError('no')\n")
    modules = set(sys.modules)
    assert len(load_plugins(["./half.py"], tmp_path)) == 1
    assert "half-done" not in registry.nodes
    assert not [name for name in set(sys.modules) - modules if name.startswith("flow_plugin")]
    write("half.py", OPERATOR.format(name="half-done"))
    assert load_plugins(["./half.py"], tmp_path) == []
    assert "half-done" in registry.nodes


def test_a_package_that_fails_names_its_own_line(tmp_path: Path, write: Writer) -> None:
    write("plugged_bad/__init__.py", "from plugged_bad import worse\n")
    file = write("plugged_bad/worse.py", "\n\n1 / 0\n")
    sys.path.insert(0, str(tmp_path))
    assert load_plugins(["plugged_bad"], Path()) == [
        PluginFault("plugged_bad", "ZeroDivisionError: division by zero", str(file), 3)
    ]
    assert "plugged_bad" not in sys.modules


def test_a_taken_name_names_both(tmp_path: Path, write: Writer) -> None:
    first = write("one.py", OPERATOR.format(name="wanted"))
    second = write("two.py", OPERATOR.format(name="wanted"))
    [fault] = load_plugins(["./one.py", "./two.py"], tmp_path)
    assert fault.message == f"the name 'wanted' is taken by {first}:mine; ./two.py:mine wants it too"
    assert (fault.file, fault.line) == (str(second), 17)


@pytest.mark.parametrize("imports_first", [True, False])
def test_a_plugin_may_also_be_imported_by_its_name(
    tmp_path: Path, write: Writer, imports_first: bool
) -> None:
    stem = f"plugged_{'first' if imports_first else 'later'}"
    write(f"{stem}.py", OPERATOR.format(name=stem))
    sys.path.insert(0, str(tmp_path))
    if imports_first:
        importlib.import_module(stem)
    assert load_plugins([f"./{stem}.py"], tmp_path) == []
    importlib.import_module(stem)
    assert registry.nodes[stem].kind == "operator"


def test_a_taken_codec_names_both(tmp_path: Path, write: Writer) -> None:
    text = "from flow.registry import codec\n@codec('wire')\ndef {name}(context): return None\n"
    write("one.py", text.format(name="a"))
    write("two.py", text.format(name="b"))
    [fault] = load_plugins(["./one.py", "./two.py"], tmp_path)
    assert "the codec name 'wire' is taken by" in fault.message


# --- entry points ---


class Point:
    def __init__(self, value: str) -> None:
        self.value = value


def test_entry_points_are_imported(tmp_path: Path, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    write("plugged_point/__init__.py", OPERATOR.format(name="from-point"))
    sys.path.insert(0, str(tmp_path))

    def points(*, group: str) -> list[Point]:
        assert group == "flow.plugins"
        return [Point("plugged_point"), Point("plugged_point"), Point("plugged_gone")]

    monkeypatch.setattr(plugins, "entry_points", points)
    assert [str(fault) for fault in load_installed()] == [
        "plugin 'plugged_gone': there is no package 'plugged_gone'"
    ]
    assert "from-point" in registry.nodes


def test_the_projects_own_packages_come_through_the_same_door() -> None:
    values = {point.value for point in importlib.metadata.entry_points(group="flow.plugins")}
    assert {"operators", "nodes"} <= values
    assert misplaced() is None


def test_a_stranger_of_the_same_name_is_found(tmp_path: Path, write: Writer) -> None:
    write("plugged_stranger/__init__.py", "")
    write("plugged_namespace/inner.txt", "")
    sys.path.insert(0, str(tmp_path))
    for package in ("plugged_stranger", "plugged_namespace"):
        fault = misplaced([package])
        assert fault is not None
        assert fault.message.startswith(
            f"another package named '{package}' in {tmp_path} hides the one beside flow in "
        )
    fault = misplaced(["plugged_nowhere"])
    assert fault is not None
    assert fault.message.startswith("the package 'plugged_nowhere' is missing beside flow in ")


# --- in a graph ---

GRAPH = """\
version: 1
plugins: [{plugin}]
nodes:
  a: {{use: plug-source}}
  b: {{use: plug-op, inputs: [a], params: {{size: 3}}}}
  c: {{use: plug-sink, inputs: [b]}}
"""
WHOLE = (
    OPERATOR.format(name="plug-op")
    + """

from flow.component import Source

@node("plug-source")
def plug_source(params: Params, context: Context) -> Source[int]: ...

@node("plug-sink")
def plug_sink(params: Params, context: Context) -> Consumer[int]: ...
"""
)


def test_a_graph_imports_its_plugins_before_its_params(tmp_path: Path, write: Writer) -> None:
    write("graphs/ops/mine.py", WHOLE)
    graph = write("graphs/g.yaml", GRAPH.format(plugin="./ops/mine.py"))
    spec = load(graph)
    assert spec.plugins == ["./ops/mine.py"]
    assert spec.nodes["b"].params.size == 3


def test_a_plugin_that_fails_is_one_of_the_faults(tmp_path: Path, write: Writer) -> None:
    bad = write("bad.py", "\n1 / 0\n")
    graph = write(
        "g.yaml", GRAPH.format(plugin="./bad.py, ./gone.py") + "  D: {use: plug-sink, inputs: [b]}\n"
    )
    found = [str(fault) for fault in lint(graph)]
    assert f"{bad}:2:1: plugin './bad.py': ZeroDivisionError: division by zero" in found
    assert f"{graph}:2:21: plugin './gone.py': the file is not there: {tmp_path / 'gone.py'}" in found
    assert any(fault.startswith(f"{graph}:7:3: node 'D': an id is written in snake_case") for fault in found)


def test_a_plugins_own_pooled_types_can_be_sized(tmp_path: Path, write: Writer) -> None:
    text = (
        OPERATOR.format(name="boxer")
        .replace("[T, T]", "[int, Box]")
        .replace('"boxer"', '"boxer", pooled=True')
    )
    write("boxes.py", text.replace("class Params", "class Box: ...\n\n\nclass Params"))
    head = "version: 1\nplugins: [./boxes.py]\npools: {Box: {capacity: 3}, Bix: {}}\nnodes: {}\n"
    found = [fault.message for fault in lint(write("g.yaml", head))]
    assert found[1:] == ["pools: there is no pooled type 'Bix', did you mean 'Box'?"]
