"""Mutation tests: one change at a time in a module, and do its tests notice?

`make mutants` takes all modules of `TESTS`, `make mutants ARGS=operators/order_buffer.py` one of them;
`--workers N` tries that many mutants at a time. mutmut makes and tries them, on a copy of the project in a
temporary folder. It leaves out decorated functions (properties, factories), annotations and whatever stands
outside of functions.

Printed for each module: how many mutants were killed, how many of these by the time limit, and the change of
each one that survived. Exit code 1 where fewer than `LEAST_KILLED` were killed, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LEAST_KILLED = 0.9
ROOT = Path(__file__).resolve().parents[2]
TESTS: Mapping[str, tuple[str, ...]] = {
    "operators/order_buffer.py": ("tests/operators/test_order_buffer*.py",),
    "operators/coalesce.py": ("tests/operators/test_coalesce.py",),
    "flow/runtime/conflation.py": ("tests/flow/runtime/test_conflation.py",),
    "flow/runtime/mailbox.py": (
        "tests/flow/runtime/test_mailbox*.py",
        "tests/flow/runtime/test_conflation.py",
        "tests/operators/test_coalesce.py",
    ),
    "flow/pool.py": ("tests/flow/test_pool.py", "tests/flow/test_poison.py"),
    "operators/window_merge.py": ("tests/operators/test_window_merge*.py",),
    "operators/throttle.py": ("tests/operators/test_throttle*.py",),
}
"""The tests of each module, as patterns."""
KILLED = {"killed", "timeout", "segfault"}
RESULT = re.compile(r"^ +(\S+): (.+)$", re.MULTILINE)
SETTINGS = """\
[mutmut]
source_paths=
    {packages}
only_mutate={module}
pytest_add_cli_args=
    -p
    no:cacheprovider
    -p
    tests.mutation.plugin
    --hypothesis-profile=mutants
pytest_add_cli_args_test_selection=
    {tests}
process_isolation=forkserver
timeout_multiplier=5.0
use_git_change_detection=false
track_dependencies=false
"""
"""Workers are forked from a process that ran no test; a mutant is killed by the time limit where its tests
take 5 s and 5 times as long as they should."""


class MutationError(Exception):
    """The mutants could not be made or tried."""


@dataclass(frozen=True)
class Verdict:
    """What became of the mutants of a module; `survivors` are the changes of those that no test noticed."""

    module: str
    outcomes: Mapping[str, str]
    survivors: Sequence[str]
    duration_s: float

    @property
    def share(self) -> float:
        """How many were killed, 0 to 1."""
        return 1 - len(self.survivors) / len(self.outcomes)

    def __str__(self) -> str:
        count, killed = len(self.outcomes), len(self.outcomes) - len(self.survivors)
        by_time = sum(outcome == "timeout" for outcome in self.outcomes.values())
        return (
            f"{self.module}: {killed} of {count} mutants killed, {self.share:.1%} ({by_time} by the time "
            f"limit), {len(self.survivors)} survived; {self.duration_s:.0f} s"
        )


def copy_project(root: Path, target: Path) -> None:
    """The files that git knows or would take, as they are now."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)


def call(folder: Path, module: str, *arguments: str) -> str:
    """What a Python module printed. Raises `MutationError` with it where it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise MutationError(f"{module} {' '.join(arguments)} failed:\n{done.stdout}")
    return done.stdout


def changed_lines(diff: str) -> str:
    return "\n".join(line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@")))


def try_module(folder: Path, module: str, patterns: Iterable[str], workers: int) -> Verdict:
    """Make all mutants of one module of a copied project and try each. Raises `MutationError`."""
    started = time.monotonic()
    tests = sorted(str(path.relative_to(folder)) for pattern in patterns for path in folder.glob(pattern))
    packages = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    settings = SETTINGS.format(packages="\n    ".join(packages), module=module, tests="\n    ".join(tests))
    (folder / "setup.cfg").write_text(settings, encoding="utf-8")
    shutil.rmtree(folder / "mutants", ignore_errors=True)
    call(folder, "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests)
    said = call(folder, "mutmut", "run", "--max-children", str(workers))
    outcomes = dict(RESULT.findall(call(folder, "mutmut", "results", "--all", "true")))
    if not outcomes or "not checked" in outcomes.values():
        raise MutationError(f"{module}: not every mutant was tried:\n{said}")
    survived = [name for name, outcome in outcomes.items() if outcome not in KILLED]
    survivors = [changed_lines(call(folder, "mutmut", "show", name)) for name in survived]
    return Verdict(module, outcomes, survivors, time.monotonic() - started)


def report(verdict: Verdict) -> bool:
    """Print what became of a module's mutants; whether enough of them were killed."""
    print(verdict, *verdict.survivors, sep="\n\n", end="\n\n", flush=True)
    if verdict.share < LEAST_KILLED:
        print(f"{verdict.module}: fewer than {LEAST_KILLED:.0%} were killed", file=sys.stderr)
    return verdict.share >= LEAST_KILLED


def main(
    argv: Sequence[str] | None = None, root: Path = ROOT, tests: Mapping[str, tuple[str, ...]] = TESTS
) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="make mutants", description="Do the tests notice changes?")
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(tests)}; all where none is named")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="mutants tried at a time")
    wanted = parser.parse_args(argv)
    if unknown := set(wanted.modules) - set(tests):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(tests)}")
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy_project(root, Path(folder))
        enough = [
            report(try_module(Path(folder), module, tests[module], wanted.workers))
            for module in wanted.modules or tests
        ]
    return 0 if all(enough) else 1


if __name__ == "__main__":
    sys.exit(main())
