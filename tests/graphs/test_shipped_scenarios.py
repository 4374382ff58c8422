"""The tests that are shipped with the graphs: they pass, they are about every graph and every operator, and
each of the main operators is missed by them when it is taken away."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flow.context import Context
from flow.plugins import load_installed
from flow.registry import registry
from flow.scenarios import find_files, read_scenarios
from flow.stage import Machine, stage

FOLDER = Path(__file__).resolve().parents[2] / "graphs"
IN_THE_MAIN_GRAPH = ("dedupe", "order-buffer", "route")


def test_all_of_them_pass(flow_command: Callable[..., Any]) -> None:
    done = flow_command("test", FOLDER)
    assert (done.code, done.err) == (0, ""), done.out
    passed, files = re.findall(r"\d+", done.out.splitlines()[-1])
    assert int(files) == len(find_files([FOLDER])) >= 3
    assert int(passed) == len(flow_command("test", FOLDER, "--list").out.splitlines()) >= 26


def test_every_graph_has_tests() -> None:
    tested = {scenario.spec.name for file in find_files([FOLDER]) for scenario in read_scenarios(file)[0]}
    graphs = {path.stem for path in FOLDER.glob("*.yaml") if not path.name.endswith("_flow_test.yaml")}
    assert graphs <= tested


def test_every_operator_has_one() -> None:
    """Those that only take a function of the user's are tested with one, in Python."""
    assert load_installed() == []
    tested = {scenario.spec.name for scenario in read_scenarios(FOLDER / "operators_flow_test.yaml")[0]}
    own = {spec.name for spec in registry.operators() if spec.origin.startswith("operators.")}
    assert {name for name in own if not name.startswith("rx.")} <= tested


class Through(Machine[Any, Any]):
    """Passes everything."""

    def add(self, element: Any) -> None:
        self.passed += 1
        self.emit(element)


@pytest.mark.parametrize(
    ("file", "name"),
    [("binance_flow_test.yaml", name) for name in IN_THE_MAIN_GRAPH]
    + [("operators_flow_test.yaml", name) for name in (*IN_THE_MAIN_GRAPH, "coalesce", "throttle")],
)
def test_an_operator_that_does_nothing_is_noticed(
    flow_command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, file: str, name: str
) -> None:
    assert load_installed() == []

    def factory(params: Any, context: Context) -> Any:
        return stage(lambda: Through(context))

    monkeypatch.setitem(registry.nodes, name, replace(registry.nodes[name], factory=factory))
    assert flow_command("test", FOLDER / file).code == 1
