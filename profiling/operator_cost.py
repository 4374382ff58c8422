"""What each operator costs an event: alone, fused, and in runs.

"alone": a stock Subject, the operator, a stock observer, one event at a time, as in a bare `.pipe(...)`.
"fused": between two stages, one event at a time. "in runs": the same in runs of 64, as a busy graph has them.
What the same source and sink cost without the operator is measured in the same turns and taken off, round by
round: what is left is the operator's own work.
"""

import statistics
from collections.abc import Callable
from typing import Any, Final

import msgspec
from reactivex import Observable
from reactivex import operators as ops

from flow.context import Context
from flow.stage import stage
from nodes.providers.binance.codec import BinanceCodec
from operators.coalesce import Passer
from operators.decode import Decoder
from operators.dedupe import dedupe
from operators.fan_out_clone import fan_out_clone
from operators.ingest import ingest
from operators.order_buffer import order_buffer
from operators.route import route
from operators.rx import rx_map
from operators.throttle import ThrottleParams, throttle
from operators.window_merge import window_merge
from profiling.interleave import Comparison, interleave
from profiling.merges import MERGES, merging
from profiling.operator_rig import Arrivals, Elements, Frames, Rig, Slots, Table

__all__ = [
    "MERGES",
    "OPERATORS",
    "Cost",
    "added_costs",
    "compared",
    "merge_costs",
    "operator_costs",
    "show_costs",
]

WAYS: Final = {"alone": 0, "fused": 1, "in runs": 64}
"""The longest run of each way; 0 for stock neighbours."""


def _decode(context: Context) -> Callable[[Observable[Any]], Observable[Any]]:
    codec: Any = BinanceCodec({"BTCUSDT": "BTC-USDT"}.get)
    return stage(lambda: Decoder(codec, context))


def _coalesce(context: Context) -> Callable[[Observable[Any]], Observable[Any]]:
    """What coalesce is in a graph, whose mailbox has conflated already."""
    return stage(lambda: Passer(context))


def same(element: Any) -> Any:
    return element


LIMITS: Final = ThrottleParams(rate_per_s=1_000, burst=1_000_000, bandwidth_per_s=1e9)
"""The time of the rig stands still: these never run out."""

OPERATORS: Final[Table] = {
    "ingest": (Arrivals, lambda context: ingest(context=context)),
    "decode (a trade)": (Frames, _decode),
    "order-buffer": (Slots, lambda context: order_buffer(context=context)),
    "dedupe": (Slots, lambda context: dedupe(context=context)),
    "route": (Slots, lambda context: route(context=context)),
    "window-merge, idle": (Slots, lambda context: window_merge(context=context)),
    "window-merge, all": (Slots, merging(1_000_000)),
    "fan-out-clone": (Slots, lambda context: fan_out_clone(context=context)),
    "coalesce, behind a mailbox": (Slots, _coalesce),
    "throttle, idle": (Slots, lambda context: throttle(context=context)),
    "throttle, limits not met": (Slots, lambda context: throttle(LIMITS, context)),
    "rx.map": (Slots, lambda context: rx_map(function="profiling.operator_cost:same", context=context)),
    "ops.map, for comparison": (Slots, lambda context: ops.map(same)),
}


class Cost(msgspec.Struct, frozen=True):
    """What an operator adds to an event, µs of CPU: median and quartiles over the rounds."""

    operator: str
    way: str
    median_us: float
    lower_us: float
    upper_us: float


def operator_costs(rounds: int) -> tuple[list[Comparison], list[Cost]]:
    """Every operator in turns with its source and sink alone; one comparison for each way to wire it."""
    comparisons = [compared(OPERATORS, way, longest_run, rounds) for way, longest_run in WAYS.items()]
    return comparisons, [cost for comparison in comparisons for cost in added_costs(OPERATORS, comparison)]


def merge_costs(rounds: int) -> tuple[Comparison, list[Cost]]:
    """window-merge with 1 to 1,500 windows open, and with windows that close all the time; in runs."""
    comparison = compared(MERGES, "in runs", WAYS["in runs"], rounds)
    return comparison, added_costs(MERGES, comparison)


def _bare(source: Callable[[Context], Elements]) -> str:
    return f"no operator, {source.__name__.lower()}"


def compared(table: Table, way: str, longest_run: int, rounds: int) -> Comparison:
    """The operators of a table in turns, with each of their sources alone."""
    sources = dict.fromkeys(source for source, _ in table.values())
    runs = {_bare(source): Rig(source, None, longest_run).run for source in sources}
    runs |= {name: Rig(source, operate, longest_run).run for name, (source, operate) in table.items()}
    return interleave(runs, rounds, title=way)


def added_costs(table: Table, comparison: Comparison) -> list[Cost]:
    """What each operator of a table adds to its source."""
    rounds = {figures.name: figures.rounds_cpu_us for figures in comparison.figures}
    costs: list[Cost] = []
    for name, (source, _) in table.items():
        added = [ours - bare for ours, bare in zip(rounds[name], rounds[_bare(source)], strict=True)]
        lower, median, upper = statistics.quantiles(added, n=4, method="inclusive")
        costs.append(Cost(name, comparison.title, median, lower, upper))
    return costs


def show_costs(costs: list[Cost]) -> None:
    """A row for each operator, a column for each way."""
    by_place = {(cost.operator, cost.way): cost for cost in costs}
    ways = list(dict.fromkeys(cost.way for cost in costs))
    print(f"{'µs an event, median (quartiles)':<34}" + "".join(f"{way:>24}" for way in ways))
    for name in dict.fromkeys(cost.operator for cost in costs):
        cells = [by_place[(name, way)] for way in ways]
        said = [f"{cell.median_us:.2f} ({cell.lower_us:.2f} - {cell.upper_us:.2f})" for cell in cells]
        print(f"{name:<34}" + "".join(f"{text:>24}" for text in said))
