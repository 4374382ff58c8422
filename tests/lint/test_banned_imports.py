"""ruff, with the project's configuration, refuses what the project does not use, and says what to use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def ruff(source: str, filename: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Checks source as if it stood at filename, for banned imports only."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--select",
        "TID",
        "--output-format",
        "concise",
    ]
    return subprocess.run(
        [*command, "--stdin-filename", filename, "-"],
        input=source,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


PARSERS = ("json", "orjson", "ujson", "simplejson")
CLIENTS = ("websockets", "websocket", "picows")


@pytest.mark.parametrize(
    ("module", "advice"),
    [*((name, "use msgspec.json") for name in PARSERS), *((name, "use aiohttp") for name in CLIENTS)],
)
@pytest.mark.parametrize("form", ["import {0}", "import {0} as x", "from {0} import x", "import {0}.x"])
def test_a_banned_import_is_refused(module: str, advice: str, form: str, project_root: Path) -> None:
    done = ruff(form.format(module) + "\n", "flow/x.py", project_root)
    assert done.returncode == 1, done.stderr
    assert "flow/x.py:1:" in done.stdout
    assert f"TID251 `{module}` is banned: {advice}" in done.stdout


@pytest.mark.parametrize("filename", ["operators/x.py", "nodes/sinks/x.py", "profiling/x.py", "tests/x.py"])
def test_it_is_refused_in_every_folder(filename: str, project_root: Path) -> None:
    done = ruff("import json\nimport websockets\n", filename, project_root)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("TID251") == 2


@pytest.mark.parametrize("call", ["import time\n\ntime.time_ns()\n", "from time import time\n"])
def test_only_the_clock_reads_wall_time(call: str, project_root: Path) -> None:
    refused = ruff(call, "nodes/x.py", project_root)
    assert refused.returncode == 1, refused.stderr
    assert "flow.clock" in refused.stdout
    assert ruff(call, "flow/clock.py", project_root).returncode == 0


def test_a_relative_import_is_refused(project_root: Path) -> None:
    done = ruff("from .pool import Pool\n", "flow/x.py", project_root)
    assert done.returncode == 1, done.stderr
    assert "TID252" in done.stdout


@pytest.mark.parametrize(
    ("source", "filename"),
    [
        ("import json\nimport websockets\n", "profiling/peers/x.py"),
        ("import msgspec.json\nfrom aiohttp import ClientSession\n", "nodes/x.py"),
    ],
)
def test_what_is_not_banned_passes(source: str, filename: str, project_root: Path) -> None:
    done = ruff(source, filename, project_root)
    assert done.returncode == 0, done.stdout
