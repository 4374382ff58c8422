"""The wheel holds the three packages and nothing else; set-up says in one line what it lacks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

PIN = re.compile(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!+]+(; .+)?")
BUILD = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("flow", "operators", "nodes", "graphs", "tests", "profiling"):
        if (project_root / name).is_dir():
            shutil.copytree(project_root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (project_root / name).is_file():
            shutil.copy(project_root / name, source)
    command = [sys.executable, "-c", BUILD, str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    [built] = target.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_the_three_packages_and_nothing_else(
    wheel: zipfile.ZipFile, project_root: Path
) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    on_disk = {
        path.relative_to(project_root).as_posix()
        for package in ("flow", "operators", "nodes")
        for path in (project_root / package).rglob("*.py")
    }
    assert {name for name in held if name.endswith(".py")} == on_disk
    assert {name.split("/")[0] for name in held} == {"flow", "operators", "nodes"}


def test_the_wheel_is_private_and_licensed(wheel: zipfile.ZipFile) -> None:
    [metadata] = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    text = wheel.read(metadata).decode()
    assert "Classifier: Private :: Do Not Upload" in text
    assert "License-Expression: MIT" in text
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_the_project_comes_through_its_own_plugin_door() -> None:
    assert {entry.value for entry in entry_points(group="flow.plugins")} >= {"operators", "nodes"}


def test_every_dependency_is_pinned(project_root: Path) -> None:
    lines = (project_root / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not PIN.fullmatch(line)] == []
    project = tomllib.loads((project_root / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["dev"]]
    names = {re.split(r"[=<>!;\[ ]", line, maxsplit=1)[0].lower() for line in pins}
    assert {re.split(r"[=<>!;\[ ]", line, maxsplit=1)[0].lower() for line in wanted} <= names
    assert all("==" in requirement for requirement in project["build-system"]["requires"])


def setup_with(python: str, venv: Path, root: Path) -> subprocess.CompletedProcess[str]:
    """Runs `make setup` as from a shell, also where the tests themselves run under make."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    command = ["make", "--no-print-directory", "setup", f"PYTHON={python}", f"VENV={venv}"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("exit 127", "setup: python3 (3.11 or later) is missing; tried: {0}"),
        (
            'case "$*" in *pip*) exit 1;; esac',
            "setup: pip is missing for {0} (3.11 or later, with pip, is all that is needed)",
        ),
    ],
)
def test_set_up_says_in_one_line_what_is_missing(
    answers: str, said: str, project_root: Path, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{answers}\n")
    python.chmod(0o755)
    done = setup_with(str(python), tmp_path / "venv", project_root)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert lines == [said.format(python)]
    assert not (tmp_path / "venv").exists()
