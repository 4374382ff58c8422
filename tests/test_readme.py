"""The README shows nothing that was not run: its files are written, its commands run, its tables compared.

A comment before a fenced block says what becomes of it: `file: NAME` is written, `script: NAME` written and
run, `run` goes to a shell, `parse` only through the command line's parser, `drawn: GRAPH` is what
`flow graph` draws.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from argparse import _SubParsersAction
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

import flow
from flow import cli
from flow.cli.arguments import make_parser
from flow.graph.draw import line
from flow.graph.spec import WhenFull
from flow.registry import registry
from nodes.exchange.params import parse_sim_params
from nodes.sinks.python import HANDLERS, LIFE

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"(?:^<!-- (\w+)(?:: (\S+))? -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WAYS = {"python": {"file", "script"}, "yaml": {"file"}, "sh": {"run", "parse", "make"}, "mermaid": {"drawn"}}


@dataclass(frozen=True)
class Block:
    """A fenced block: what its comment says of it, its language and its text."""

    way: str
    name: str
    language: str
    text: str

    def __str__(self) -> str:
        return self.name or self.text.split("\n", 1)[0].split("#")[0].strip()

    @property
    def commands(self) -> list[list[str]]:
        """The lines of a shell block, split, without comments and redirections."""
        split = [shlex.split(line, comments=True) for line in self.text.replace("\\\n", "").splitlines()]
        return [words[: words.index(">")] if ">" in words else words for words in split if words]


def _block(match: re.Match[str]) -> Block:
    way, name, language, text = match.groups(default="")
    is_make = language == "sh" and text.startswith("make ")
    return Block("make" if is_make else way, name, language, text)


BLOCKS = [_block(match) for match in FENCED.finditer(README)]
EXECUTED = [block for block in BLOCKS if block.way in ("run", "script")]
SHELL = [command for block in BLOCKS if block.language == "sh" for command in block.commands]
FLOW = [command[1:] for command in SHELL if command[0] == "flow"]
Outcomes = dict[Block, subprocess.CompletedProcess[str]]


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project's graphs and the README's files."""
    folder = tmp_path_factory.mktemp("workshop")
    shutil.copytree(ROOT / "graphs", folder / "graphs")
    for block in BLOCKS:
        if block.way in ("file", "script"):
            (folder / block.name).write_text(block.text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def outcomes(workshop: Path) -> Outcomes:
    """What came of all that is run, in the README's order."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done: Outcomes = {}
    for block in EXECUTED:
        command = ["sh", "-e", "-c", block.text] if block.way == "run" else [sys.executable, block.name]
        done[block] = subprocess.run(
            command, cwd=workshop, env=environ, capture_output=True, text=True, timeout=120, check=False
        )
    return done


def test_every_block_is_dealt_with() -> None:
    assert len(BLOCKS) == README.count("\n```") / 2
    assert [block for block in BLOCKS if block.way not in WAYS.get(block.language, set())] == []


@pytest.mark.parametrize("block", EXECUTED, ids=str)
def test_what_it_shows_runs(outcomes: Outcomes, block: Block) -> None:
    done = outcomes[block]
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prices.py", r"(?s)^simulated \{.*'binance/Trade': \d+\}\n(BTC-USDT \d+\.\d+\n)+1\d\d\n$"),
        ("less.py", r"^bus -> few \{.*'dropped': \{'too_soon': \d+\}\}$"),
        ("flow lint graphs/*.yaml", r"(?s)graphs/binance.yaml: ok.*flowchart LR.*dedupe .*lateness_ms"),
        ("flow test my_flow_test.yaml", r"^my_flow_test.yaml: 2 passed\n2 passed in 1 file$"),
        ("python -m pytest -q test_my_ops.py", r"(?s)3 passed.*my_graph.yaml: ok"),
    ],
)
def test_what_is_printed(outcomes: Outcomes, name: str, expected: str) -> None:
    [done] = [done for block, done in outcomes.items() if str(block) == name]
    assert re.search(expected, done.stdout), done.stdout


def test_the_shown_strategy_counted(outcomes: Outcomes) -> None:
    assert any(
        re.search(r"spread \d+ quotes had a spread of 50 or more", run.stderr) for run in outcomes.values()
    )


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "mermaid"], ids=str)
def test_the_picture_is_that_of_the_graph(block: Block) -> None:
    spec = flow.load(ROOT / block.name)
    assert block.text == flow.mermaid(spec, registry)
    assert f"\n    {line(spec, registry).replace(' | refused', '')}\n" in README


@pytest.mark.parametrize("command", FLOW, ids=" ".join)
def test_the_command_line_takes_it(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    args = make_parser().parse_args(command)
    told = args.params if args.command == "sim" else getattr(args, "sim", None)
    if told and not told.startswith("url="):
        parse_sim_params(told)
    if args.command == "run" and args.graph.startswith("graphs/"):
        monkeypatch.chdir(ROOT)
        assert flow.lint(args.graph, sets=args.sets) == []


def test_every_command_is_shown() -> None:
    [commands] = [action for action in make_parser()._actions if isinstance(action, _SubParsersAction)]
    assert {command[0] for command in FLOW} | {"validate"} == set(commands.choices)


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    codes = {cli.OK, cli.FAILURE, cli.USAGE, cli.BAD_CONFIGURATION, cli.INTERRUPTED}
    assert {int(code) for code, _ in rows("The command line")} == codes


def test_the_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`?\bmake (\w+)(?=`|  |$)", README, re.MULTILINE))
    assert {"run", "test", "setup"} <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_the_summary_table_names_every_field(summary: dict[str, Any]) -> None:
    told: dict[str, set[str]] = {"": set()}
    parent = ""
    for cell, _ in rows("The summary"):
        names = re.findall(r"`(\w+)`", cell)
        if cell.startswith("…"):
            told[parent] |= set(names)
        else:
            parent = names[-1]
            told[""] |= set(names)
            told[parent] = set()
    assert told.pop("") == set(summary)
    for field, names in told.items():
        assert names == nested(summary[field] if field != "nodes" else {}), field


def nested(value: Any) -> set[str]:
    """The keys of the first object in a field of the summary; none where it holds plain figures."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    first = next(iter(held), None)
    return set(first) if isinstance(first, dict) else set()


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    """Of the main graph, with a book and a pool in it."""
    graph = flow.load(ROOT / "graphs/binance.yaml", sets=["symbols=[BTC-USDT]", 'nodes.console.use="null"'])
    return flow.run(graph, sim="rate=500", max_frames=100)


def test_policies_and_handlers_are_all_named() -> None:
    assert [name for name in get_args(WhenFull) if f"`{name}`" not in section("Graphs in YAML")] == []
    assert [name for name in (*HANDLERS, *LIFE, "on_event") if name not in section("Write a strategy")] == []


def test_the_map_is_that_of_the_repository() -> None:
    folders = [re.findall(r"`([\w/]+/)`", cell)[0] for cell, *_ in rows("The map")]
    on_disk = {f"{path.parent.name}/" for path in ROOT.glob("*/*") if path.suffix in (".py", ".yaml")}
    assert set(folders) == on_disk


def test_contributing_draws_the_layers_that_are_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["id"] == "framework"]
    drawn = " > ".join(re.sub(r"[()]", "", layer) for layer in layers)
    assert f"`{drawn}`" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_paths_and_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    paths = re.findall(r"`((?:flow|operators|nodes|graphs|profiling|tests)/[\w./]*)`", README)
    assert len(links) > 0
    assert len(paths) > 10
    assert [path for path in (*links, *paths) if not (ROOT / path).exists()] == []


def test_what_is_said_to_be_missing_is_missing(flow_command: Callable[..., Any]) -> None:
    listed = flow_command("list").out
    missing = section("What is not there yet")
    assert "binance" in listed
    for name in ("window-merge", "throttle", "Coinbase", "Kraken"):
        assert (name in missing) != (name.lower() in listed), name
