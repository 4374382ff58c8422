"""Finds the files of tests: a file as it is named, and of a folder every `*_flow_test.yaml` in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

__all__ = ["SUFFIX", "find_files"]

SUFFIX: Final = "_flow_test.yaml"


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Each file once, in order; a folder's by name, hidden folders left out. Raises `FileNotFoundError`."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(path)
        found.update(dict.fromkeys(_in_folder(path) if path.is_dir() else [path]))
    return list(found)


def _in_folder(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path
