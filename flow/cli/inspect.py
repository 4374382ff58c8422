"""The commands that look and do not run: lint, graph, list, describe, schema."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from flow.errors import ConfigurationError, Fault, GraphError
from flow.registry import Registry

__all__ = ["COMMANDS", "registered"]

FAULTY = 78
USAGE = 2
TESTS = "_flow_test.yaml"


def lint(args: Namespace) -> int:
    """One line per fault of each graph on standard error, `ok` on standard output; of files of tests too."""
    from flow.graph import lint as faults_of
    from flow.telemetry.logs import one_line

    is_faulty = False
    for graph in args.graphs:
        faults = _faults_of_tests(graph) if graph.endswith(TESTS) else faults_of(graph, sets=args.sets)
        is_faulty = is_faulty or bool(faults)
        for fault in faults:
            print(one_line(str(fault)), file=sys.stderr)
        if not faults:
            print(f"{graph}: ok")
    return FAULTY if is_faulty else 0


def _faults_of_tests(file: str) -> list[Fault]:
    from flow.scenarios import read_scenarios

    return read_scenarios(Path(file))[1]


def graph(args: Namespace) -> int:
    """The flowchart."""
    from flow.graph import load, mermaid
    from flow.registry import registry

    spec = load(args.graph, sets=args.sets)
    print(mermaid(spec, registry), end="")
    return 0


def listing(args: Namespace) -> int:
    """Names, kinds and first lines."""
    from flow.graph import listing as list_of

    print(list_of(registered(args.plugins, args.graph), args.kind), end="")
    return 0


def describe(args: Namespace) -> int:
    """What is known of one name."""
    from flow.graph import describe as describe_spec

    registry = registered(args.plugins, args.graph)
    spec = registry.nodes.get(args.name)
    if spec is None:
        near = registry.nearest(args.name)
        hint = f"did you mean {near!r}?" if near else "`flow list` shows what there is"
        print(f"flow describe: there is no operator or node {args.name!r}; {hint}", file=sys.stderr)
        return USAGE
    print(describe_spec(spec), end="")
    return 0


def schema(args: Namespace) -> int:
    """The schema, indented."""
    import msgspec

    from flow.graph import json_schema

    text = msgspec.json.format(
        msgspec.json.encode(json_schema(registered(args.plugins, args.graph))), indent=2
    )
    print(text.decode())
    return 0


def registered(plugins: Sequence[str] = (), graph: str | None = None) -> Registry:
    """The registry with all installed plugins in it, those given, and those of a graph, whose nodes may have
    faults. Raises `ConfigurationError` where one is broken."""
    from flow.graph import lint as faults_of
    from flow.plugins import load_installed, load_plugins
    from flow.registry import registry

    broken = load_installed() or load_plugins(plugins, Path())
    if broken:
        raise ConfigurationError("; ".join(str(fault) for fault in broken))
    if graph is not None:
        faults = [fault for fault in faults_of(graph) if not fault.message.startswith("node ")]
        if faults:
            raise GraphError(faults)
    return registry


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "lint": lint,
    "graph": graph,
    "list": listing,
    "describe": describe,
    "schema": schema,
}
