"""`flow test`: runs the tests in `*_flow_test.yaml` files, and shows what came where they fail."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from flow.errors import Fault
from flow.scenarios import SUFFIX, Scenario, check, find_files, read_scenarios
from flow.telemetry.logs import one_line

__all__ = ["test"]

FAILURE = 1
USAGE = 2
FAULTY = 78


def test(args: Namespace) -> int:
    """0 where all pass, 1 where one fails, 2 where there are none, 78 where a file is wrong: nothing runs."""
    try:
        files = find_files([Path(path) for path in args.paths])
    except FileNotFoundError as error:
        return _none(f"there is no {error.args[0]}")
    if not files:
        return _none(f"no *{SUFFIX} in {', '.join(args.paths)}")
    read = {file: read_scenarios(file) for file in files}
    faults = [fault for _, found in read.values() for fault in found]
    if faults:
        return _faulty(faults)
    wanted = args.only.lower()
    chosen = {
        file: [one for one in scenarios if wanted in one.name.lower()]
        for file, (scenarios, _) in read.items()
    }
    chosen = {file: scenarios for file, scenarios in chosen.items() if scenarios}
    if not chosen:
        return _none(f"no test has {args.only!r} in its name")
    if args.list:
        for scenarios in chosen.values():
            for one in scenarios:
                print(f"{one.file}:{one.line}: {one.name}")
        return 0
    return _run(chosen)


def _none(why: str) -> int:
    print(f"flow test: no tests found: {why}", file=sys.stderr)
    return USAGE


def _faulty(faults: list[Fault]) -> int:
    for fault in dict.fromkeys(faults):
        print(one_line(str(fault)), file=sys.stderr)
    return FAULTY


def _run(chosen: dict[Path, list[Scenario]]) -> int:
    passed = failed = 0
    for file, scenarios in chosen.items():
        wrong = sum(_fails(one) for one in scenarios)
        passed, failed = passed + len(scenarios) - wrong, failed + wrong
        print(f"{file}: {_said(len(scenarios) - wrong, wrong)}", flush=True)
    print(f"{_said(passed, failed)} in {len(chosen)} {'file' if len(chosen) == 1 else 'files'}")
    return FAILURE if failed else 0


def _said(passed: int, failed: int) -> str:
    return f"{passed} passed, {failed} failed" if failed else f"{passed} passed"


def _fails(scenario: Scenario) -> bool:
    problems = check(scenario)
    if problems:
        print(f"FAILED {scenario.file}:{scenario.line}: {scenario.name}")
    for headline, *lines in problems:
        print(f"  {headline}")
        for line in lines:
            print(f"    {line}".rstrip())
    return bool(problems)
