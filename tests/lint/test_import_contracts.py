"""import-linter, with the project's contracts, passes the code as it is and refuses each wrong direction."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LINT = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
SKELETON = (
    "flow/cli.py",
    "flow/errors.py",
    "flow/pool.py",
    "flow/runtime/run.py",
    "flow/runtime/control.py",
    "flow/testing/fakes.py",
    "operators/dedupe.py",
    "operators/route.py",
    "nodes/exchange/market.py",
    "nodes/providers/socket.py",
    "nodes/providers/binance/wire.py",
    "nodes/providers/kraken/wire.py",
)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", LINT, "--config", str(folder / "pyproject.toml"), "--no-cache"]
    environment = {"PYTHONPATH": str(folder), "PATH": "", "PYTHONUTF8": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def skeleton(tmp_path: Path, project_root: Path) -> Path:
    """A house of empty modules under the project's own contracts."""
    shutil.copy(project_root / "pyproject.toml", tmp_path)
    for name in SKELETON:
        module = tmp_path / name
        module.parent.mkdir(parents=True, exist_ok=True)
        module.touch()
        for folder in module.relative_to(tmp_path).parents[:-1]:
            (tmp_path / folder / "__init__.py").touch()
    return tmp_path


def test_the_project_keeps_every_contract(project_root: Path) -> None:
    done = lint_imports(project_root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("nodes/exchange/market.py", "import aiohttp, operators.route, flow.pool"),
        ("nodes/providers/binance/wire.py", "import nodes.providers.socket"),
        ("flow/runtime/control.py", "import aiohttp"),
        ("flow/cli.py", "import flow.runtime.run, flow.errors"),
        ("operators/route.py", "import flow.pool"),
    ],
)
def test_a_downward_import_passes(module: str, statement: str, skeleton: Path) -> None:
    (skeleton / module).write_text(statement + "\n")
    done = lint_imports(skeleton)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("flow/cli.py", "import operators.route", "nodes > operators > flow"),
        ("flow/runtime/run.py", "from nodes.exchange import market", "nodes > operators > flow"),
        ("operators/route.py", "import nodes.exchange.market", "nodes > operators > flow"),
        ("flow/errors.py", "import flow.pool", "the layers of flow"),
        ("flow/pool.py", "import flow.runtime.run", "the layers of flow"),
        ("flow/runtime/run.py", "import flow.testing.fakes", "the layers of flow"),
        ("operators/dedupe.py", "from operators.route import x", "operators never import each other"),
        (
            "nodes/providers/binance/wire.py",
            "import nodes.providers.kraken.wire",
            "providers never import each other",
        ),
        ("nodes/providers/socket.py", "import nodes.providers.kraken", "providers never import each other"),
        ("nodes/exchange/market.py", "import nodes.providers.socket", "the embedded exchange"),
        ("nodes/providers/socket.py", "import nodes.exchange.market", "the embedded exchange"),
        ("operators/dedupe.py", "import aiohttp", "only nodes and flow.runtime import aiohttp"),
        ("flow/pool.py", "from aiohttp import web", "only nodes and flow.runtime import aiohttp"),
    ],
)
def test_a_wrong_import_is_refused(module: str, statement: str, contract: str, skeleton: Path) -> None:
    (skeleton / module).write_text(statement + "\n")
    done = lint_imports(skeleton)
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(line.startswith(contract) and " BROKEN" in line for line in done.stdout.splitlines()), (
        done.stdout
    )


def test_a_module_without_a_layer_is_refused(skeleton: Path) -> None:
    (skeleton / "flow" / "stray.py").touch()
    done = lint_imports(skeleton)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "stray" in done.stdout
