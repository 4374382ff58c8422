"""The sources that the house rules are held against."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PACKAGES = ("flow", "operators", "nodes")
CODE = (*PACKAGES, "profiling", "tests")


def _listed_by_git(root: Path) -> list[Path] | None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return [root / name for name in found.stdout.split("\0") if name]


@pytest.fixture(scope="session")
def tracked_files(project_root: Path) -> list[Path]:
    """Every file that is or can be committed; without git, what lies in the project's own folders."""
    listed = _listed_by_git(project_root)
    if listed is None:
        folders = [project_root / name for name in (*CODE, "graphs")]
        listed = [path for folder in folders for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return sorted(path for path in listed if path.is_file())


@pytest.fixture(scope="session")
def python_files(tracked_files: list[Path]) -> list[Path]:
    found = [path for path in tracked_files if path.suffix == ".py"]
    assert len(found) > 5, "the rules would be held against nothing"
    return found
