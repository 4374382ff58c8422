"""The command line: `flow run | lint | graph | list | describe | schema | test | new | sim`.

Data go to standard output, diagnostics to standard error. Exit codes: 0, 1 failure, 2 usage, 78 bad
configuration, 130 interrupted twice. What a command needs is imported when it runs: `--help` is fast.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from flow.cli.arguments import make_parser
from flow.cli.interrupts import Interrupts
from flow.errors import ConfigurationError, FlowError, GraphError

__all__ = ["BAD_CONFIGURATION", "FAILURE", "INTERRUPTED", "OK", "USAGE", "main"]

OK = 0
FAILURE = 1
USAGE = 2
BAD_CONFIGURATION = 78
INTERRUPTED = 130

Command = Callable[[Namespace, Interrupts], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    with Interrupts() as interrupts:
        try:
            args = make_parser().parse_args(argv)
        except SystemExit as leaving:
            return leaving.code if isinstance(leaving.code, int) else USAGE
        if args.command in ("run", "sim"):
            return _guarded(_until_interrupted, args, interrupts)
    return INTERRUPTED if interrupts.count else _guarded(_look, args, interrupts)


def _guarded(command: Command, args: Namespace, interrupts: Interrupts) -> int:
    """What a command returns, or the code of what it raises, said in a line or a few."""
    try:
        return command(args, interrupts)
    except BrokenPipeError:
        return _without_reader()
    except KeyboardInterrupt:
        return INTERRUPTED
    except (Exception, SystemExit) as error:
        return _report(error, args)


def _until_interrupted(args: Namespace, interrupts: Interrupts) -> int:
    """The commands that the first signal asks to end: also while they are imported."""
    if args.command == "run":
        from flow.cli.run import run

        return run(args, interrupts)
    from flow.cli.sim import sim

    return sim(args, interrupts)


def _look(args: Namespace, interrupts: Interrupts) -> int:
    """The others."""
    if args.command == "test":
        from flow.cli.test import test

        return test(args)
    if args.command == "new":
        from flow.cli.new import new

        return new(args)
    from flow.cli.inspect import COMMANDS

    code = COMMANDS[args.command](args)
    sys.stdout.flush()
    return code


def _without_reader() -> int:
    """Whoever read our output has gone, which `flow list | head` does. The interpreter must not try again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    finally:
        os.close(nowhere)
    return FAILURE


def _report(error: BaseException, args: Namespace) -> int:
    """Say in a line or a few what went wrong; the traceback only where it was asked for."""
    from flow.telemetry.logs import one_line, redacted

    if getattr(args, "log_level", "") == "debug":
        import traceback

        print(redacted("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    if isinstance(error, GraphError):
        for fault in error.faults:
            print(one_line(str(fault)), file=sys.stderr)
        return BAD_CONFIGURATION
    if isinstance(error, FlowError):
        print(f"flow: {one_line(str(error))}", file=sys.stderr)
        return BAD_CONFIGURATION if isinstance(error, ConfigurationError) else FAILURE
    said = one_line(f"{type(error).__name__}: {error}")
    print(f"flow: internal error: {said}; run with --log-level debug for the traceback", file=sys.stderr)
    return FAILURE
