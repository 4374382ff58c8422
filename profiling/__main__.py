"""`python -m profiling [NAME...]`, which is what `make bench ARGS=...` calls.

graph      the graph at top speed, in turns with THE LOOP and THE BOOK LOOP, with and without books
features   what each feature costs when it alone is switched off
operators  what each operator costs an event: alone, fused, in runs
merges     what window-merge costs an event with 1 to 1,500 windows open
load       a graph on the simulated exchange of another process, for minutes: latency, memory, collector
quick      graph and features on a fifth of the frames and in 3 rounds: to see that they work, not to quote

Without a name: graph, features, operators and merges.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiling.features import features
from profiling.frames import RecordingError
from profiling.graph_cost import graph_cost, start_up_ms, verdicts
from profiling.interleave import save, show
from profiling.load import LoadParams, measure, report
from profiling.operator_cost import merge_costs, operator_costs, show_costs
from profiling.workload import Workload

NAMES = ("graph", "features", "operators", "merges", "load", "quick")
QUICK_COUNT, QUICK_ROUNDS = 40_000, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 where the load misses what it is held against, 2 for wrong usage."""
    args = _parser().parse_args(argv)
    names = list(dict.fromkeys(args.names)) or ["graph", "features", "operators", "merges"]
    if "quick" in names:
        names = [*(name for name in names if name != "quick"), "graph", "features"]
        args.count, args.rounds, args.fold = QUICK_COUNT, QUICK_ROUNDS, args.fold or [1]
    try:
        if "graph" in names:
            _graph(args)
        if "features" in names:
            _features(args)
        if "operators" in names:
            _operators(args)
        if "merges" in names:
            _merges(args)
    except RecordingError as absent:
        print(f"profiling: {absent}", file=sys.stderr)
        return 2
    return _load(args) if "load" in names else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m profiling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=200_000, help="frames of the mix")
    parser.add_argument("--seed", type=int, default=7, help="of the mix, and of the simulated market")
    parser.add_argument("--fold", type=int, action="append", help="depth events joined into one: 1 and 2")
    parser.add_argument("--out", type=Path, help="a folder for the figures as JSON")
    load = parser.add_argument_group("load")
    load.add_argument("--minutes", type=float, default=5.0)
    load.add_argument("--rate", type=float, default=1000.0, help="frames a second")
    load.add_argument("--symbols", type=int, default=150)
    load.add_argument("--freeze", action="store_true", help="gc.freeze() once all books are there")
    return parser


def _graph(args: argparse.Namespace) -> None:
    for fold in args.fold or [1, 2]:
        with Workload(args.count, args.seed, fold) as work:
            comparison = graph_cost(work, args.rounds)
            show(comparison)
            print("\n".join(verdicts(comparison)))
            start_ms = start_up_ms(work)
            share_us = start_ms * 1000 / args.count
            print(f"start-up, in every figure of the graph: {start_ms:.0f} ms, {share_us:.3f} µs a frame\n")
            if args.out:
                save(comparison, _folder(args.out) / f"graph-fold-{fold}.json")


def _features(args: argparse.Namespace) -> None:
    for fold in (args.fold or [1])[:1]:
        with Workload(args.count, args.seed, fold) as work:
            comparison = features(work, args.rounds)
            show(comparison)
            if args.out:
                save(comparison, _folder(args.out) / f"features-fold-{fold}.json")


def _operators(args: argparse.Namespace) -> None:
    comparisons, costs = operator_costs(args.rounds)
    show_costs(costs)
    if args.out:
        for comparison in comparisons:
            save(comparison, _folder(args.out) / f"operators-{comparison.title.replace(' ', '-')}.json")


def _merges(args: argparse.Namespace) -> None:
    comparison, costs = merge_costs(args.rounds)
    show_costs(costs)
    if args.out:
        save(comparison, _folder(args.out) / "merges.json")


def _load(args: argparse.Namespace) -> int:
    params = LoadParams(
        symbols=args.symbols,
        rate=args.rate,
        duration_s=args.minutes * 60,
        seed=args.seed,
        is_frozen=args.freeze,
    )
    figures = measure(params)
    print(report(figures))
    if args.out:
        file = _folder(args.out) / f"load-{args.rate:g}.json"
        file.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
    return 0 if not figures.misses() or params.rate > 1000 else 1


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    raise SystemExit(main())
