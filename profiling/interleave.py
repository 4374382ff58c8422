"""The harness: callables measured in turns, in one process, by the CPU time they take.

Whatever disturbs a machine for a while (other work, the frequency of the clock) disturbs all candidates of a
round alike, so the ratio to the first candidate is taken in each round and its median reported; the plain
figures stand beside it. The collector runs before each measurement and stays switched on during it.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

__all__ = ["Comparison", "Figures", "Spread", "interleave", "save", "show"]


class Spread(msgspec.Struct, frozen=True):
    """Five-number summary of the rounds."""

    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    maximum: float


class Figures(msgspec.Struct, frozen=True):
    """One candidate: CPU µs an event over the rounds, and its ratio to the first one in the same round."""

    name: str
    events: int
    cpu_us: Spread
    ratio: Spread
    rounds_cpu_us: list[float]


class Comparison(msgspec.Struct, frozen=True):
    """What one interleaved measurement found, with what it ran on."""

    title: str
    python: str
    rounds: int
    figures: list[Figures]

    def ratio(self, name: str) -> float:
        """Median ratio of the named candidate to the first; KeyError for an unknown name."""
        for figures in self.figures:
            if figures.name == name:
                return figures.ratio.median
        raise KeyError(name)


def interleave(
    candidates: Mapping[str, Callable[[], int]],
    rounds: int = 7,
    *,
    title: str = "",
    warm_up: int = 1,
    clock_ns: Callable[[], int] = time.process_time_ns,
) -> Comparison:
    """Runs the candidates A B C A B C ... `rounds` times, after `warm_up` rounds that do not count.

    A candidate does its whole work and returns the number of events it handled, the same in every round.
    """
    if not candidates or rounds < 1:
        raise ValueError("at least one candidate and one round are wanted")
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    events: dict[str, int] = {}
    for turn in range(-warm_up, rounds):
        for name, run in candidates.items():
            gc.collect()
            begun_ns = clock_ns()
            handled = run()
            spent_ns = clock_ns() - begun_ns
            if handled < 1 or events.setdefault(name, handled) != handled:
                raise ValueError(f"{name} handled {handled} events, {events.get(name, 0)} before")
            if turn >= 0:
                taken[name].append(spent_ns / handled / 1000)
    first = next(iter(taken.values()))
    figures = [
        Figures(name, events[name], _spread(us), _spread(_ratios(us, first)), us)
        for name, us in taken.items()
    ]
    return Comparison(title, ".".join(map(str, sys.version_info[:3])), rounds, figures)


def save(comparison: Comparison, path: Path) -> None:
    """Writes a comparison as indented JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(comparison)) + b"\n")


def show(comparison: Comparison) -> None:
    """Prints a comparison: a table where rich is installed, aligned lines where not."""
    heads = ["", "events", "CPU µs/event", "quartiles", "min to max", "ratio", "ratio quartiles"]
    rows = [_row(figures) for figures in comparison.figures]
    caption = f"CPython {comparison.python}, {comparison.rounds} interleaved rounds, medians"
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(comparison.title)
        widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
        for row in [heads, *rows]:
            print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
        print(caption)
        return
    table = Table(title=comparison.title, caption=caption)
    for head in heads:
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _row(figures: Figures) -> list[str]:
    us, ratio = figures.cpu_us, figures.ratio
    return [
        figures.name,
        f"{figures.events:,}",
        f"{us.median:.3f}",
        f"{us.lower_quartile:.3f} - {us.upper_quartile:.3f}",
        f"{us.minimum:.3f} - {us.maximum:.3f}",
        f"{ratio.median:.2f}",
        f"{ratio.lower_quartile:.2f} - {ratio.upper_quartile:.2f}",
    ]


def _ratios(values: Iterable[float], first: Iterable[float]) -> list[float]:
    return [value / reference if reference else 1.0 for value, reference in zip(values, first, strict=True)]


def _spread(values: list[float]) -> Spread:
    if len(values) == 1:
        return Spread(*values * 5)
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(min(values), lower, middle, upper, max(values))
