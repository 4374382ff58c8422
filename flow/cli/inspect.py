"""The commands that look and do not run: lint, graph, list, describe, schema."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable

from flow.errors import ConfigurationError
from flow.registry import Registry

__all__ = ["COMMANDS"]

FAULTY = 78
USAGE = 2


def lint(args: Namespace) -> int:
    """One line per fault of each graph on standard error, `ok` on standard output."""
    from flow.graph import lint as faults_of
    from flow.telemetry.logs import one_line

    is_faulty = False
    for graph in args.graphs:
        faults = faults_of(graph, sets=args.sets)
        is_faulty = is_faulty or bool(faults)
        for fault in faults:
            print(one_line(str(fault)), file=sys.stderr)
        if not faults:
            print(f"{graph}: ok")
    return FAULTY if is_faulty else 0


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

    print(list_of(_registered(), args.kind), end="")
    return 0


def describe(args: Namespace) -> int:
    """What is known of one name."""
    from flow.graph import describe as describe_spec

    registry = _registered()
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

    text = msgspec.json.format(msgspec.json.encode(json_schema(_registered())), indent=2)
    print(text.decode())
    return 0


def _registered() -> Registry:
    """The registry with all installed plugins in it. Raises `ConfigurationError` where one is broken."""
    from flow.plugins import load_installed
    from flow.registry import registry

    faults = load_installed()
    if faults:
        raise ConfigurationError("; ".join(str(fault) for fault in faults))
    return registry


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "lint": lint,
    "graph": graph,
    "list": listing,
    "describe": describe,
    "schema": schema,
}
