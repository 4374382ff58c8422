"""Reading a graph's file, with the limits that hold before anything is parsed."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from flow.graph.tree import Faults

__all__ = ["MAX_BYTES", "read_text"]

MAX_BYTES: Final = 1024 * 1024


def read_text(path: Path, faults: Faults) -> str | None:
    """The file's text, or None with a fault. More than 1 MiB is refused unread."""
    try:
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            return _refused(faults, "this is a directory, not a graph file")
        if not stat.S_ISREG(facts.st_mode):
            return _refused(faults, "this is not a regular file")
        if facts.st_size > MAX_BYTES:
            return _refused(faults, f"{facts.st_size} bytes; a graph file has at most {MAX_BYTES} (1 MiB)")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return _refused(faults, "there is no such file")
    except (OSError, ValueError) as error:
        return _refused(faults, f"this file can't be read: {getattr(error, 'strerror', None) or error}")
    return _decoded(content, faults)


def _refused(faults: Faults, message: str) -> None:
    faults.add((0, 0), message)


def _decoded(content: bytes, faults: Faults) -> str | None:
    if len(content) > MAX_BYTES:
        return _refused(faults, f"more than {MAX_BYTES} bytes (1 MiB)")
    if b"\0" in content:
        return _refused(faults, "this is a binary file, not YAML")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        start = before.rfind(b"\n") + 1
        column = len(before[start:].decode("utf-8-sig", "replace")) + 1
        faults.add((before.count(b"\n") + 1, column), f"byte 0x{content[error.start]:02x} is not valid UTF-8")
        return None
