"""window-merge with few and with many windows open: what grows with their number, beside what has to.

Three providers' best quotes of 1 to 1,500 symbols, one symbol after another: every symbol has a window. More
streams make colder caches for the source and the sink too; what those cost is taken off.
"""

from collections.abc import Callable
from typing import Final

from flow.context import Context
from flow.events.stream import EventType, Sequence, Stream
from operators.window_merge import WindowMergeParams, window_merge
from profiling.operator_rig import Elements, Operate, Slots, Table

__all__ = ["MERGES", "merging"]

WINDOWS: Final = (1, 10, 100, 500, 1500)
PROVIDERS: Final = ("one", "two", "three")


def merging(most_events: int) -> Operate:
    """window-merge of all best quotes; a window closes with its `most_events`th."""
    merges = (("*", EventType.BEST_QUOTE),)
    return lambda context: window_merge(
        WindowMergeParams(merges=merges, providers=PROVIDERS, most_events=most_events), context
    )


def _quotes_of(symbols: int) -> Callable[[Context], Elements]:
    """Best quotes of three providers, one symbol after another."""

    def source(context: Context) -> Elements:
        kind = EventType.BEST_QUOTE
        return Slots(
            context,
            [
                Stream(provider, f"A{symbol}-USDT", kind, kind.value, Sequence.MONOTONE)
                for symbol in range(symbols)
                for provider in PROVIDERS
            ],
        )

    source.__name__ = f"{symbols} symbols"
    return source


MERGES: Final[Table] = {
    **{f"{count:,} open": (_quotes_of(count), merging(1_000_000)) for count in WINDOWS},
    **{f"{count:,}, closed with 30 events": (_quotes_of(count), merging(30)) for count in WINDOWS},
}
