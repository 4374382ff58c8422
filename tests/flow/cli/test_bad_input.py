"""What bad input gets: exit 78, and one line per fault with its place; never a traceback."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEAD = """version: 1
name: bad
params: {symbols: [BTC-USDT]}
nodes:
  socket: {use: binance.stream, params: {symbols: "${symbols}"}}
  frames: {use: ingest, inputs: [socket]}
  events: {use: decode, inputs: [frames], params: {codec: binance}}
  bus: {use: fan-out-clone, inputs: [events]}
"""
TAIL = "  sink: {use: console, inputs: [bus]}\n"
GOOD = HEAD + TAIL

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)

CASES: dict[str, tuple[str, int, str]] = {
    "unknown key": (HEAD + "  sink: {use: console, input: [bus]}\n", 9, "did you mean 'inputs'"),
    "unknown top key": (GOOD + "nodez: {}\n", 10, "did you mean 'nodes'"),
    "unknown operator": (GOOD.replace("fan-out-clone", "fan-out"), 8, "did you mean 'fan-out-clone'"),
    "unknown port": (HEAD + "  sink: {use: console, inputs: [bus.outt]}\n", 9, "'outt', did you mean 'out'"),
    "unknown source": (HEAD + "  sink: {use: console, inputs: [buss]}\n", 9, "did you mean 'bus'"),
    "unknown param": (GOOD.replace("{codec: binance}", "{codek: binance}"), 7, "did you mean 'codec'"),
    "wrong type": (GOOD.replace("{codec: binance}", "{codec: [1]}"), 7, "codec"),
    "wrong port type": (HEAD + "  sink: {use: console, inputs: [frames]}\n", 9, "WsFrame"),
    "cycle": (GOOD.replace("inputs: [frames]", "inputs: [bus]"), 7, "cycle"),
    "missing variable": (GOOD.replace("${symbols}", "${SYMBOLS_OF_MINE}"), 5, "SYMBOLS_OF_MINE"),
    "required variable": (
        GOOD.replace("${symbols}", "${NOT_SET_X:?name the symbols}"),
        5,
        "name the symbols",
    ),
    "wrong unit": (
        HEAD + "  o: {use: order-buffer, inputs: [events], params: {lateness_s: 1}}\n" + TAIL,
        9,
        "did you mean lateness_ms (milliseconds)",
    ),
    "out of range": (
        HEAD + "  o: {use: order-buffer, inputs: [events], params: {lateness_ms: -1}}\n" + TAIL,
        9,
        "lateness_ms",
    ),
    "bad symbol": (GOOD.replace("BTC-USDT", "BTCUSDT"), 3, "symbols"),
    "syntax error": (GOOD.replace("inputs: [socket]}", "inputs: [socket}"), 6, "expected"),
    "alias bomb": (BOMB + GOOD, 5, "alias"),
    "nesting bomb": ("nodes: " + "[" * 20_000 + "\n", 1, "nest"),
    "duplicate key": (GOOD + "name: again\n", 10, "name"),
    "duplicate node": (GOOD + "  bus: {use: ingest, inputs: [socket]}\n", 10, "bus"),
    "empty": ("", 0, "empty"),
    "only comments": ("# nothing\n", 0, "empty"),
    "a list": ("- 1\n", 1, "mapping"),
    "wrong version": (GOOD.replace("version: 1", "version: 7"), 1, "version"),
    "missing plugin": (GOOD + "plugins: [./nowhere.py]\n", 10, "nowhere.py"),
    "unpooled fan": (
        HEAD + "  a: {use: dedupe, inputs: [events]}\n" + TAIL,
        9,
        "fan-out-clone",
    ),
}


def assert_faults(done: Any, path: Path) -> list[re.Match[str]]:
    """Every line of standard error is `path:line:column: message`."""
    assert done.code == 78
    assert done.out == ""
    found = [re.fullmatch(rf"{re.escape(str(path))}:(\d+):(\d+): (.+)", line) for line in done.lines]
    assert found
    assert all(found), done.err
    return [match for match in found if match]


@pytest.mark.parametrize("command", ["run", "lint"])
@pytest.mark.parametrize("case", CASES)
def test_a_bad_file(flow_command: Callable[..., Any], tmp_path: Path, case: str, command: str) -> None:
    text, line, said = CASES[case]
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    faults = assert_faults(flow_command(command, path), path)
    assert any(said in fault[3] for fault in faults), [fault[0] for fault in faults]
    if line:
        assert line in {int(fault[1]) for fault in faults}


def test_the_file_that_the_cases_spoil_is_good(flow_command: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    done = flow_command("lint", path)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{path}: ok\n"


def test_every_fault_is_told_at_once(flow_command: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(HEAD.replace("ingest", "injest").replace("codec:", "codek:") + "  x: {uze: console}\n")
    lines = {int(fault[1]) for fault in assert_faults(flow_command("run", path), path)}
    assert {6, 7, 9} <= lines


@pytest.mark.parametrize(
    "content", [b"\x00\x01\x02\xff" * 100, b"\xff\xfe\x00n", b"name: \x07\n", b"a: \xc3\x28\n"]
)
def test_a_binary_file(flow_command: Callable[..., Any], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(content)
    assert_faults(flow_command("run", path), path)


def test_a_file_over_1_mib_is_not_read(flow_command: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text(GOOD + "#" * (1 << 20))
    (fault,) = assert_faults(flow_command("run", path), path)
    assert "1 MiB" in fault[3]


def test_a_folder_and_no_file(flow_command: Callable[..., Any], tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.yaml"):
        (fault,) = assert_faults(flow_command("run", path), path)
        assert fault[1] == "0"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(flow_command: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text(GOOD)
    path.chmod(0)
    assert_faults(flow_command("run", path), path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("symbolz=[A-B]", "did you mean 'symbols'"),
        ("nodes.buss.use=console", "did you mean 'bus'"),
        ("nodes.events.params.codek=x", "codek"),
        ("symbols", "write it as path=value"),
        ("symbols=[", "symbols=["),
    ],
)
def test_a_bad_set(flow_command: Callable[..., Any], tmp_path: Path, given: str, said: str) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    faults = assert_faults(flow_command("run", path, "--set", given), path)
    assert any(said in fault[3] for fault in faults)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sim", "seedd=1"], "--sim: unknown parameter 'seedd': did you mean 'seed'?"),
        (["--sim", "symbols=0"], "--sim: symbols:"),
        (["--sim", "rate"], "--sim: 'rate' is not of the form key=value"),
        (["--sim", "url=nonsense"], "--sim: url=nonsense is no address"),
        (["--sim", "url=http://127.0.0.1:1,seed=3"], "no other parameter"),
        (["--replay", "binance=nothing.raw"], "--replay binance=nothing.raw: there is no such file"),
        (["--replay", "binance=."], "--replay binance=.: is no file"),
        (["--sim", "--summary", "no/such/folder/s.json"], "the folder is not there"),
        (["--sim", "--summary", "."], "is a folder"),
    ],
)
def test_a_bad_value_of_an_option(
    flow_command: Callable[..., Any], tmp_path: Path, options: list[str], said: str
) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    done = flow_command("run", path, *options)
    assert done.code == 78
    assert said in done.lines[-1]
    assert done.out == ""


@pytest.mark.parametrize("content", [b"", b"what is this\n", b"\x1f\x8bnot gzip"])
def test_a_bad_recording(flow_command: Callable[..., Any], tmp_path: Path, content: bytes) -> None:
    path, recording = tmp_path / "good.yaml", tmp_path / "bad.raw"
    path.write_text(GOOD)
    recording.write_bytes(content)
    done = flow_command("run", path, "--replay", f"binance={recording}", "--speed", "max")
    assert done.code == 78
    assert done.lines[-1].startswith(f"flow: --replay: {recording}")


def test_a_recording_of_another_provider_never_lets_live_data_in(
    flow_command: Callable[..., Any], tmp_path: Path, binance_capture: Callable[..., Path]
) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    done = flow_command("run", path, "--replay", f"binanze={binance_capture(b'{}')}", "--speed", "max")
    assert done.code == 78
    assert "nothing recorded is given for binance: --replay binance=FILE" in done.lines[-1]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("class Other: ...\n", "has no 'Mine'"),
        ("def Mine(:\n", "SyntaxError"),
        ("import no_such_package\nclass Mine: ...\n", "no_such_package"),
        ("class Mine:\n    def on_trad(self, event): ...\n", "did you mean on_trade?"),
        ("class Mine:\n    def __init__(self):\n        raise OSError('no disk')\n", "no disk"),
    ],
)
def test_user_code_that_can_not_be_used(
    flow_command: Callable[..., Any], tmp_path: Path, code: str, said: str
) -> None:
    (tmp_path / "mine.py").write_text(code)
    path = tmp_path / "bad.yaml"
    path.write_text(HEAD + '  mine: {use: python, inputs: [bus], params: {object: "./mine.py:Mine"}}\n')
    done = flow_command("run", path, "--sim")
    assert done.code == 78
    assert re.match(rf"{re.escape(str(path))}:9:\d+: mine: .*mine\.py", done.lines[-1])
    assert said in done.lines[-1]
