"""What the commands take. Nothing heavy is imported here."""

from __future__ import annotations

import math
import re
from argparse import (
    SUPPRESS,
    Action,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["duration_s", "make_parser", "speed"]

SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
MOST_DURATION_S: Final = 10 * 365 * 86_400.0


def duration_s(text: str) -> float:
    """Seconds of `30s`, `500ms`, `2m` or `1h`."""
    found = DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
    if not 0 < seconds <= MOST_DURATION_S:
        raise ArgumentTypeError(f"{text!r} is no duration; write 500ms, 30s, 2m or 1h")
    return seconds


def speed(text: str) -> float | None:
    """A multiple of the recorded pace; None for `max`."""
    if text == "max":
        return None
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise ArgumentTypeError(f"{text!r} is no speed; write a number above 0, or max")
    return factor


def _recording(text: str) -> tuple[str, Path]:
    provider, equals, file = text.partition("=")
    if not (provider and equals and file):
        raise ArgumentTypeError(f"{text!r}: write it as PROVIDER=FILE, such as binance=stream.raw")
    return provider, Path(file)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**63):
        raise ArgumentTypeError(f"{text!r} is no count; write a whole number above 0")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise ArgumentTypeError(f"{text!r} is no port; 0 to 65535, 0 for any that is free")
    return int(text)


def make_parser() -> ArgumentParser:
    """The whole command line. A namespace that it gives has `command`."""
    parser = ArgumentParser(
        prog="flow",
        description="Runs graphs of reactive operators that are declared in YAML.",
        epilog="example:\n  flow run graphs/binance.yaml --sim --duration 30s",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    lint = _add(
        commands,
        "lint",
        "check graphs: every fault of each, with file, line and column",
        "flow lint graphs/*.yaml",
        aliases=["validate"],
    )
    lint.add_argument("graphs", metavar="GRAPH", nargs="+")
    _add_set(lint)
    graph = _add(commands, "graph", "draw a graph as a mermaid flowchart", "flow graph graphs/binance.yaml")
    graph.add_argument("graph", metavar="GRAPH")
    _add_set(graph)
    _add_reference(commands)
    _add_test(commands)
    _add_new(commands)
    sim = _add(
        commands,
        "sim",
        "serve the simulated exchange until interrupted",
        "flow sim symbols=50,rate=1000,seed=7 --port 8080\n"
        "  flow run graphs/binance.yaml --sim url=http://127.0.0.1:8080     (in another terminal)",
    )
    sim.add_argument("params", metavar="K=V,...", nargs="?", default="", help="its parameters")
    sim.add_argument(
        "--port", type=_port, metavar="N", help="the port to listen on; any that is free by default"
    )
    _add_logging(sim)
    return parser


def _add(commands: Any, name: str, about: str, example: str, aliases: Sequence[str] = ()) -> ArgumentParser:
    parser: ArgumentParser = commands.add_parser(
        name,
        help=about,
        aliases=aliases,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=name)
    if name not in ("run", "sim"):
        parser.add_argument("--log-level", choices=["debug"], help=SUPPRESS)
    return parser


def _add_run(commands: Any) -> None:
    run = _add(
        commands,
        "run",
        "run a graph: live, on simulated data or on a recording",
        "flow run graphs/binance.yaml                                live\n"
        "  flow run graphs/binance.yaml --sim rate=1000 --duration 30s  on simulated data\n"
        "  flow run graphs/binance.yaml --replay binance=stream.raw --replay binance=http.raw \\\n"
        "      --replay binance=exchange-info.raw --speed max --set symbols=[BTC-USDT] --summary -\n"
        "                                                               on a recording",
    )
    run.add_argument("graph", metavar="GRAPH", help="a YAML file")
    where = run.add_argument_group("where the data come from (the exchanges, unless told)")
    where.add_argument(
        "--sim",
        nargs="?",
        const="",
        metavar="K=V,...",
        help="the embedded exchange: symbols=50,rate=1000,..., or url=http://HOST:PORT of a `flow sim`",
    )
    where.add_argument(
        "--replay",
        action="append",
        default=[],
        type=_recording,
        metavar="PROVIDER=FILE",
        help="a recording, plain or compressed; may be given more than once",
    )
    where.add_argument(
        "--speed",
        type=speed,
        default=SUPPRESS,
        metavar="N|max",
        help="of a replay: N times the recorded pace (1), or as fast as can be, the same every time",
    )
    ends = run.add_argument_group("when it ends")
    ends.add_argument(
        "--duration", type=duration_s, metavar="30s", help="500ms, 30s, 2m, 1h; recorded time at --speed max"
    )
    ends.add_argument("--max-frames", type=_count, metavar="N", help="after so many frames")
    _add_set(run)
    run.add_argument(
        "--summary", metavar="FILE|-", help="write the run's figures as JSON; - is standard output"
    )
    run.add_argument(
        "--debug-pools",
        action="store_true",
        help="find objects that are used after they were put back to their pool; several times slower",
    )
    _add_logging(run)


def _add_reference(commands: Any) -> None:
    listing = _add(
        commands,
        "list",
        "list the operators and nodes that graphs can use",
        "flow list operators\n  flow list --plugins ./my_ops.py",
    )
    listing.add_argument("kind", nargs="?", choices=["operators", "nodes"], help="both where not given")
    describe = _add(
        commands,
        "describe",
        "ports, meaning and parameters of an operator or node",
        "flow describe order-buffer\n  flow describe spaced --graph my_graph.yaml",
    )
    describe.add_argument("name", metavar="NAME")
    schema = _add(
        commands, "schema", "the JSON Schema of graph files, for editors", "flow schema > graph.schema.json"
    )
    for parser in (listing, describe, schema):
        parser.add_argument(
            "--plugins",
            action="append",
            default=[],
            metavar="PLUGIN",
            help="also what this file or package registers; may be given more than once",
        )
        parser.add_argument("--graph", metavar="GRAPH", help="also what this graph's own plugins register")


def _add_new(commands: Any) -> None:
    new = _add(
        commands,
        "new",
        "make an operator of your own and its test, to begin with",
        "flow new operator best-quote",
    )
    new.add_argument("kind", choices=["operator"])
    new.add_argument("name", metavar="NAME", help="what graphs call it, such as best-quote")
    new.add_argument("--folder", metavar="DIR", default=".", help="where the files go; here by default")


def _add_test(commands: Any) -> None:
    test = _add(
        commands,
        "test",
        "run tests of graphs and nodes, which are *_flow_test.yaml files, on virtual time",
        "flow test graphs/\n  flow test graphs/binance_flow_test.yaml -k duplicate",
    )
    test.add_argument("paths", metavar="PATH", nargs="+", help="a file, or a folder and all below it")
    test.add_argument(
        "-k", default="", metavar="TEXT", dest="only", help="only tests with this in their name"
    )
    test.add_argument("--list", action="store_true", help="name the tests and run none")


def _add_set(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        dest="sets",
        help="replace a value of the file: symbols=[BTC-USDT], nodes.ordered.params.lateness_ms=50",
    )


def _add_logging(parser: ArgumentParser) -> None:
    parser.add_argument("--log-format", choices=["text", "json"], default="text")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")


class _Version(Action):
    """Reads the version only when asked."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, *_: Any) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("flow-gateway")
        except PackageNotFoundError:
            found = "(not installed)"
        print(f"flow {found}")
        parser.exit(0)
