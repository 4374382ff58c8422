"""`flow test`: which files and tests it takes, what it prints, and its exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOOD = """version: 1
node: {use: dedupe}
tests:
  - {name: a repeat is dropped, input: 1-1-2|, output: 1---2|}
  - {name: what is new passes, input: 1-2|, output: 1-2|}
"""
FAILING = GOOD.replace("1---2|", "1-1-2|")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of tests, good ones, in folders."""
    monkeypatch.chdir(tmp_path)
    for name in ("b_flow_test.yaml", "a/c_flow_test.yaml", ".hidden/d_flow_test.yaml", "other.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(GOOD)
    return tmp_path


def test_a_folder_is_all_that_is_in_it(folder: Path, flow_command: Callable[..., Any]) -> None:
    done = flow_command("test", ".")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "a/c_flow_test.yaml: 2 passed",
        "b_flow_test.yaml: 2 passed",
        "4 passed in 2 files",
    ]


def test_a_file_is_taken_whatever_it_is_called_and_once(
    folder: Path, flow_command: Callable[..., Any]
) -> None:
    done = flow_command("test", "other.yaml", "a", "a/c_flow_test.yaml")
    assert done.out.splitlines() == [
        "other.yaml: 2 passed",
        "a/c_flow_test.yaml: 2 passed",
        "4 passed in 2 files",
    ]


def test_one_that_fails_is_exit_1_and_the_others_run(folder: Path, flow_command: Callable[..., Any]) -> None:
    (folder / "a" / "c_flow_test.yaml").write_text(FAILING)
    done = flow_command("test", ".")
    assert (done.code, done.err) == (1, "")
    assert done.out.splitlines() == [
        "FAILED a/c_flow_test.yaml:4: a repeat is dropped",
        "  output (line 4): other elements than expected",
        "    expected  1-1-2|",
        "    got       1---2|",
        "                ^ 20 ms",
        "a/c_flow_test.yaml: 1 passed, 1 failed",
        "b_flow_test.yaml: 2 passed",
        "3 passed, 1 failed in 2 files",
    ]


def test_only_those_with_a_name(folder: Path, flow_command: Callable[..., Any]) -> None:
    (folder / "a" / "c_flow_test.yaml").write_text(FAILING)
    done = flow_command("test", ".", "-k", "What IS new")
    assert (done.code, done.out.splitlines()[-1]) == (0, "2 passed in 2 files")
    assert flow_command("test", ".", "-k", "repeat").code == 1


def test_they_can_be_listed(folder: Path, flow_command: Callable[..., Any]) -> None:
    (folder / "b_flow_test.yaml").write_text(FAILING)
    done = flow_command("test", "b_flow_test.yaml", "--list")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "b_flow_test.yaml:4: a repeat is dropped",
        "b_flow_test.yaml:5: what is new passes",
    ]
    assert flow_command("test", ".", "--list", "-k", "new").out.splitlines() == [
        "a/c_flow_test.yaml:5: what is new passes",
        "b_flow_test.yaml:5: what is new passes",
    ]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["nope"], "there is no nope"),
        ([".hidden/empty"], "no *_flow_test.yaml in .hidden/empty"),
        ([".", "-k", "nope"], "no test has 'nope' in its name"),
    ],
)
def test_no_tests_are_an_error(
    folder: Path, flow_command: Callable[..., Any], args: list[str], why: str
) -> None:
    (folder / ".hidden" / "empty").mkdir()
    done = flow_command("test", *args)
    assert (done.code, done.out, done.err) == (2, "", f"flow test: no tests found: {why}\n")


def test_a_path_is_wanted(flow_command: Callable[..., Any]) -> None:
    done = flow_command("test")
    assert done.code == 2
    assert "required: PATH" in done.err


def test_where_a_file_is_wrong_nothing_runs(folder: Path, flow_command: Callable[..., Any]) -> None:
    (folder / "a" / "c_flow_test.yaml").write_text(GOOD.replace("output", "outptu"))
    (folder / "b_flow_test.yaml").write_text("- nonsense")
    done = flow_command("test", ".")
    assert (done.code, done.out) == (78, "")
    assert done.lines == [
        "a/c_flow_test.yaml:4:48: test: unknown key 'outptu', did you mean 'output'?",
        "a/c_flow_test.yaml:5:45: test: unknown key 'outptu', did you mean 'output'?",
        "b_flow_test.yaml:1:1: this is a list; a file of tests begins with `version: 1`",
    ]


def test_lint_reads_files_of_tests_too(folder: Path, flow_command: Callable[..., Any]) -> None:
    (folder / "a" / "c_flow_test.yaml").write_text(GOOD.replace("dedupe", "dedup"))
    done = flow_command("lint", "b_flow_test.yaml", "a/c_flow_test.yaml")
    assert (done.code, done.out) == (78, "b_flow_test.yaml: ok\n")
    assert done.lines == [
        "a/c_flow_test.yaml:2:13: node 'node': unknown operator or component 'dedup', did you mean 'dedupe'?"
    ]
