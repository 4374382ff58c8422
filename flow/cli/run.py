"""`flow run`: one graph, from its file to its summary."""

from __future__ import annotations

import asyncio
import logging
import sys
from argparse import Namespace
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec

from flow.cli.interrupts import Interrupts
from flow.cli.report import announcement, failures, report
from flow.errors import ConfigurationError, FlowError
from flow.graph.load import load
from flow.graph.spec import GraphSpec
from flow.runtime.options import RunOptions
from flow.runtime.run import GraphRun
from flow.runtime.summary import summarise
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.telemetry import logs
from flow.telemetry.occurrences import Telemetry

__all__ = ["run"]

USAGE = 2
TO_STDOUT = "-"


def run(args: Namespace, interrupts: Interrupts) -> int:
    """Run to the end; 0, 1 where something failed or does not add up. Raises `FlowError`."""
    wrong = _misuse(args)
    if wrong:
        print(f"flow run: {wrong}\nusage: flow run --help", file=sys.stderr)
        return USAGE
    options = _options(args)
    with logs.installed(args.log_level, args.log_format) as listener:
        spec = load(args.graph, sets=args.sets)
        _check_files(options, args.summary)
        logs.say(announcement(spec.name, options), graph=spec.name, mode=options.mode)
        # Whatever the graph prints, standard output is the summary's alone.
        with redirect_stdout(sys.stderr) if args.summary == TO_STDOUT else nullcontext():
            done, summary = _to_the_end(spec, options, interrupts, listener)
        return _finish(args.summary, done, summary)


def _misuse(args: Namespace) -> str:
    """What is wrong with the options taken together; "" for nothing."""
    if args.sim is not None and args.replay:
        return "--sim and --replay exclude each other"
    if args.replay:
        return ""
    if hasattr(args, "speed"):
        return "--speed is the pace of a recording: it needs --replay"
    looks_like_graph = args.sim is not None and args.sim.endswith((".yaml", ".yml"))
    return f"--sim took {args.sim!r} for its parameters: name the graph first" if looks_like_graph else ""


def _options(args: Namespace) -> RunOptions:
    return RunOptions(
        sim=args.sim,
        replay=args.replay,
        speed=getattr(args, "speed", 1.0),
        duration_s=args.duration,
        max_frames=args.max_frames,
        debug_pools=args.debug_pools,
    )


def _check_files(options: RunOptions, summary: str | None) -> None:
    """Find out now what would be a pity to find out at the end. Raises `ConfigurationError`."""
    for provider, path in options.replay:
        if not path.is_file():
            what = "is no file" if path.exists() else "there is no such file"
            raise ConfigurationError(f"--replay {provider}={path}: {what}")
    if summary in (None, TO_STDOUT):
        return
    target = Path(summary)
    if target.is_dir() or not target.absolute().parent.is_dir():
        what = "is a folder" if target.is_dir() else "the folder is not there"
        raise ConfigurationError(f"--summary {summary}: {what}")


def _to_the_end(
    spec: GraphSpec, options: RunOptions, interrupts: Interrupts, listener: logs.OccurrenceLog
) -> tuple[GraphRun, dict[str, Any]]:
    telemetry = Telemetry()
    telemetry.listeners.append(listener)
    factory = VirtualTimeLoop if options.is_virtual else None
    with asyncio.Runner(loop_factory=factory) as runner:
        done = runner.run(_whole(spec, options, telemetry, interrupts))
    return done, summarise(done)


async def _whole(
    spec: GraphSpec, options: RunOptions, telemetry: Telemetry, interrupts: Interrupts
) -> GraphRun:
    loop = asyncio.get_running_loop()
    graph_run = GraphRun(spec, options, telemetry=telemetry)

    def stop() -> None:
        logs.say(f"flow: interrupted; draining, {options.drain_s:g} s at most (once more ends it at once)")
        graph_run.request_stop()

    def on_signal() -> None:
        loop.call_soon_threadsafe(stop)

    async with graph_run:
        interrupts.stop = on_signal
        if interrupts.count:
            stop()
        await graph_run.wait()
    return graph_run


def _finish(target: str | None, done: GraphRun, summary: dict[str, Any]) -> int:
    """Write the summary, tell a person the same in short, and judge."""
    wrong = failures(done)
    for line in report(done, summary):
        logs.say(line)
    for line in wrong:
        logs.say(f"flow: {line}", logging.ERROR)
    if target is not None:
        _write(target, msgspec.json.encode(summary, enc_hook=str) + b"\n")
    return 1 if wrong else 0


def _write(target: str, text: bytes) -> None:
    if target == TO_STDOUT:
        sys.stdout.write(text.decode())
        sys.stdout.flush()
        return
    try:
        Path(target).write_bytes(text)
    except OSError as error:
        raise FlowError(f"the summary could not be written to {target}: {error.strerror}") from error
