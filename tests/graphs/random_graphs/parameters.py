"""What the nodes of a random graph may be told: one strategy a component, by its registered name."""

from __future__ import annotations

import functools
from typing import Any, Final

from hypothesis import strategies as st

from flow.registry import NodeSpec
from tests.graphs.random_graphs.feed import SYMBOLS
from tests.graphs.random_graphs.plan import Change, has_defaults

__all__ = ["FEEDS", "MAILBOXES", "POOLS", "STYLES", "changes", "parameters_of"]

Params = st.SearchStrategy[dict[str, Any]]

FEEDS: Final = st.one_of(st.binary(min_size=1, max_size=8), st.binary(min_size=24, max_size=64))
"""An action a byte."""
MAILBOXES: Final = st.sampled_from((1, 2, 3, 8, 1024))
PROVIDERS: Final = ("p1", "p2", "p3", "binance")


def _one_of(**fields: tuple[Any, ...]) -> Params:
    return st.fixed_dictionaries({name: st.sampled_from(values) for name, values in fields.items()})


FAULTS: Final[dict[str, tuple[Any, ...]]] = {"raises_every": (0, 0, 1, 2, 5), "reads": (False, False, True)}
HOLDS: Final[dict[str, tuple[Any, ...]]] = {**FAULTS, "timer_raises": (False, False, True)}

STYLES: Final[Params] = st.one_of(
    _one_of(style=("sync",), raises_every=(0, 0, 1, 3), reads=(False, True)),
    _one_of(style=("batch",), raises_every=(0, 0, 7), reads=(False, True)),
    _one_of(
        style=("async",),
        delay_ms=(0, 1, 30, 400),
        raises_every=(0, 0, 3),
        cancels_every=(0, 0, 2),
        hangs_at=(0, 0, 1, 4),
    ),
)

SETTINGS: Final = st.one_of(
    _one_of(capacity=(1, 2, 3, 8)), _one_of(capacity=(1, 8, 64)), st.just({"off": True})
)
POOLS: Final[Params] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"CanonicalEvent": SETTINGS}),
    st.fixed_dictionaries({"CanonicalEvent": SETTINGS, "MergedEvent": SETTINGS}),
    st.fixed_dictionaries({"CanonicalEvent": SETTINGS, "WsFrame": SETTINGS, "ProviderRaw": SETTINGS}),
)

FUNCTIONS: Final = "tests.graphs.random_graphs.functions"
PAIRS: Final = st.tuples(st.sampled_from((*SYMBOLS, "*")), st.sampled_from((*PROVIDERS, "*"))).map(list)

KNOWN: Final[dict[str, Params]] = {
    "coalesce": _one_of(
        types=(("Ticker", "BestQuote", "KlineSummary"), ("BestQuote",), ()), capacity=(1, 2, 8, 1024)
    ),
    "dedupe": _one_of(window=(1, 2, 64)),
    "order-buffer": _one_of(lateness_ms=(0, 20, 150, 150), flush_ms=(1, 50), capacity=(1, 5, 200)),
    "route": st.fixed_dictionaries(
        {
            "table": st.dictionaries(
                st.sampled_from([f"consumer_{number}" for number in (1, 1, 1, 2, 3, 4, 5)]),
                st.lists(PAIRS, max_size=1),
                max_size=2,
            )
        }
    ),
    "rx.buffer-with-count": _one_of(count=(1, 3)),
    "rx.buffer-with-time": _one_of(span_ms=(1, 50), most=(2, 100)),
    "rx.debounce": _one_of(due_ms=(1, 30)),
    "rx.filter": _one_of(function=(f"{FUNCTIONS}:is_odd", f"{FUNCTIONS}:some")),
    "rx.map": _one_of(function=(f"{FUNCTIONS}:same", f"{FUNCTIONS}:some")),
    "rx.sample": _one_of(every_ms=(10, 60)),
    "rx.scan": _one_of(function=(f"{FUNCTIONS}:latest",)),
    "throttle": st.one_of(
        _one_of(rate_per_s=(5, 1000), burst=(1, 3), capacity=(1, 4, 1024)),
        _one_of(bandwidth_per_s=(20, 100), total_per_s=(1000,), capacity=(1, 1024)),
        st.just({}),
    ),
    "trial.careful": _one_of(**FAULTS),
    "trial.careless": _one_of(**FAULTS),
    "trial.keeping": _one_of(**HOLDS, hold_ms=(1, 10, 200)),
    "trial.stock-map": _one_of(raises_every=(0, 1, 2, 5)),
    "trial.step": _one_of(**HOLDS, hold_ms=(0, 0, 10, 200)),
    "trial.step-of-owned": _one_of(**HOLDS, hold_ms=(0, 0, 10, 200)),
    "window-merge": _one_of(
        merges=([["*", "BestQuote"], ["AAA-USDT", "Trade"]], [["AAA-USDT", "BookUpdate"]]),
        providers=(["p1", "p2"], ["p1", "p2", "p3"]),
        needs=(2,),
        window_ms=(1, 20, 500),
        most_events=(2, 5, 1000),
        keep=("latest", "all"),
    ),
}


@functools.cache
def parameters_of(spec: NodeSpec) -> Params | None:
    """What a node may be told; None for one that nothing is known of and that has no defaults."""
    known = KNOWN.get(spec.name)
    if known is None and has_defaults(spec.name):
        return st.just({})
    return known


@functools.cache
def changes(consumers: int) -> st.SearchStrategy[tuple[Change, ...]]:
    """Changes of the routing while the graph runs."""
    one = st.builds(
        Change,
        at_ms=st.sampled_from((0, 1, 21, 60, 200)),
        consumer=st.sampled_from(["consumer_1", *(f"consumer_{n + 1}" for n in range(consumers))]),
        is_on=st.sampled_from((False, False, True)),
        symbol=st.sampled_from(("*", "*", "*", *SYMBOLS)),
        provider=st.sampled_from((*["*"] * 6, *PROVIDERS)),
    )
    return st.lists(one, max_size=2).map(tuple)
