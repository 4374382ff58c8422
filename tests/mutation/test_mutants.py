"""The mutation tests themselves, on a module with a function that is tested well and one that is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.mutants import TESTS, MutationError, Verdict, main, report

GATE = """\
def is_open(height: int) -> bool:
    return height > 3


def is_shut(height: int) -> bool:
    return height < 3
"""
SHARP = "    assert not is_open(3)\n    assert is_open(4)\n"
BLUNT = "    assert not is_shut(100)\n    assert is_shut(-100)\n"
MAP = {"house/gate.py": ("tests/test_*.py",)}

needs_tool = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("git") is None, reason="mutmut forks, and git lists the files"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for name, text in (
        (".gitignore", "left_out/\n"),
        ("pyproject.toml", '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib"]\n'),
        ("tests/mutation/plugin.py", Path(__file__).with_name("plugin.py").read_text()),
        ("house/__init__.py", ""),
        ("house/gate.py", GATE),
        ("left_out/__init__.py", "raise ImportError\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def with_tests(project: Path, asserts: str) -> set[Path]:
    """Writes the project's test; all files of the project."""
    head = "from house.gate import is_open, is_shut\n\n\ndef test_gate():\n"
    (project / "tests" / "test_gate.py").write_text(head + asserts)
    return set(project.rglob("*"))


@needs_tool
def test_mutants_that_no_test_notices_are_shown_and_fail(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = with_tests(project, SHARP + BLUNT)
    assert main(["--workers", "1"], project, MAP) == 1
    said = capsys.readouterr()
    assert "house/gate.py: 2 of 4 mutants killed, 50.0% (0 by the time limit), 2 survived" in said.out
    assert said.out.count(" survived\n def is_shut") == 2
    assert "-    return height < 3\n+    return height <= 3\n" in said.out
    assert said.err == "house/gate.py: fewer than 90% were killed\n"
    assert set(project.rglob("*")) == files, "the project itself is left alone"


@needs_tool
def test_tests_that_fail_without_a_mutant_are_an_error(project: Path) -> None:
    with_tests(project, "    assert is_open(3)\n")
    with pytest.raises(MutationError, match="assert is_open"):
        main(["house/gate.py"], project, MAP)


@pytest.mark.parametrize(("survived", "is_enough"), [(1, True), (2, False)])
def test_nine_of_ten_are_enough(survived: int, is_enough: bool) -> None:
    outcomes = {f"mutant {n}": "survived" if n < survived else "killed" for n in range(10)}
    assert report(Verdict("a.py", outcomes, ["-1\n+2"] * survived, 1.0)) is is_enough


def test_a_module_that_is_not_listed_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["flow/errors.py"])
    assert caught.value.code == 2
    assert "flow/errors.py: not one of" in capsys.readouterr().err


def test_what_no_test_reaches_is_not_killed() -> None:
    verdict = Verdict("a.py", {"one": "killed", "two": "timeout", "three": "no tests"}, ["-1\n+2"], 61.4)
    assert str(verdict) == "a.py: 2 of 3 mutants killed, 66.7% (1 by the time limit), 1 survived; 61 s"


@pytest.mark.parametrize("module", TESTS)
def test_the_modules_and_their_tests_are_there(module: str, project_root: Path) -> None:
    assert (project_root / module).is_file()
    for pattern in TESTS[module]:
        assert list(project_root.glob(pattern)), pattern
