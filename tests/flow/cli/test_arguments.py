"""What the command line takes, and what it says to what it does not."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

import pytest

from flow.cli.arguments import duration_s, speed


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0), ("0.25s", 0.25)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-1s", "0s", "1d", "1 s", "1e3s", "infs", "nans", "٣s", "9" * 400 + "h"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="no duration"):
        duration_s(text)


@pytest.mark.parametrize(("text", "factor"), [("max", None), ("1", 1.0), ("0.5", 0.5), ("1e3", 1000.0)])
def test_speeds(text: str, factor: float | None) -> None:
    assert speed(text) == factor


@pytest.mark.parametrize("text", ["", "MAX", "0", "-1", "nan", "inf", "fast"])
def test_what_is_no_speed(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="no speed"):
        speed(text)


COMMANDS = ["run", "lint", "validate", "graph", "list", "describe", "schema", "test", "new", "sim"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(flow_command: Callable[..., Any], command: str) -> None:
    done = flow_command(command, "--help")
    assert done.code == 0
    assert done.err == ""
    text, _, example = done.out.partition("\nexample:\n")
    assert text.startswith("usage: flow ")
    assert example.startswith("  flow ")


def test_help_names_every_command(flow_command: Callable[..., Any]) -> None:
    done = flow_command("--help")
    assert done.code == 0
    assert all(f"    {command} " in done.out for command in COMMANDS if command != "validate")


def test_version(flow_command: Callable[..., Any]) -> None:
    done = flow_command("--version")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("flow 0.")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "required: GRAPH"),
        (["run", "g.yaml", "--duration", "3"], "'3' is no duration; write 500ms, 30s, 2m or 1h"),
        (["run", "g.yaml", "--replay", "binance"], "write it as PROVIDER=FILE"),
        (["run", "g.yaml", "--replay", "=x"], "write it as PROVIDER=FILE"),
        (["run", "g.yaml", "--max-frames", "0"], "'0' is no count"),
        (["run", "g.yaml", "--max-frames", "many"], "'many' is no count"),
        (["run", "g.yaml", "--speed", "max"], "--speed is the pace of a recording: it needs --replay"),
        (["run", "g.yaml", "--speed", "1"], "--speed is the pace of a recording: it needs --replay"),
        (["run", "g.yaml", "--speed", "0", "--replay", "binance=x"], "'0' is no speed"),
        (["run", "g.yaml", "--sim", "--replay", "binance=x"], "--sim and --replay exclude each other"),
        (["run", "--sim", "g.yaml"], "required: GRAPH"),
        (["run", "g.yaml", "--sim", "h.yaml"], "name the graph first"),
        (["run", "g.yaml", "--log-level", "loud"], "invalid choice: 'loud'"),
        (["run", "g.yaml", "--dur", "3s"], "unrecognized arguments"),
        (["list", "things"], "invalid choice: 'things'"),
        (["sim", "--port", "70000"], "'70000' is no port"),
        (["lint"], "required: GRAPH"),
        (["new", "consumer", "mine"], "invalid choice: 'consumer'"),
        (["new", "operator"], "required: NAME"),
    ],
)
def test_misuse_is_exit_2_and_says_what_would_do(
    flow_command: Callable[..., Any], args: list[str], said: str
) -> None:
    done = flow_command(*args)
    assert done.code == 2
    assert done.out == ""
    assert said in done.err
    assert "usage: flow" in done.err
