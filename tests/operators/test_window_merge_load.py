"""window-merge under load, and against a plain model of its rules: no partial window is ever emitted and no
fragment is unaccounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow.clock import NS_PER_MS

Rig = Callable[..., Any]
PROVIDERS = ("binance", "coinbase", "kraken")
SYMBOLS = [f"S{number}-USDT" for number in range(50)]
SILENT = SYMBOLS[:5]
"""Of which the last provider says nothing."""


class Model:
    """The rules, with no thought of cost: every fragment, and what became of it."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.open: dict[str, dict[str, Any]] = {}
        self.closed_at: dict[str, float] = {}
        self.emitted: list[tuple[str, list[tuple[str, int]]]] = []
        self.fates: Counter[str] = Counter()

    def pass_time(self, now_ms: float) -> None:
        for symbol, window in sorted(self.open.items(), key=lambda item: item[1]["opened"]):
            closes = window["opened"] + self.params["window_ms"]
            if closes <= now_ms:
                self.close(symbol, closes)

    def push(self, symbol: str, provider: str, number: int, received_ms: float, now_ms: float) -> None:
        if provider not in self.params["providers"]:
            self.fates["unexpected_provider"] += 1
            return
        if received_ms < self.closed_at.get(symbol, float("-inf")):
            self.fates["late"] += 1
            return
        window = self.open.setdefault(symbol, {"opened": now_ms, "count": 0, "kept": []})
        window["count"] += 1
        former = [one for one in window["kept"] if one[0] == provider]
        if former and self.params["keep"] == "latest":
            window["kept"].remove(former[0])
            self.fates["coalesced"] += 1
        window["kept"].append((provider, number))
        if window["count"] == self.params["most_events"]:
            self.close(symbol, received_ms)

    def close(self, symbol: str, late_before_ms: float) -> None:
        kept = self.open.pop(symbol)["kept"]
        self.closed_at[symbol] = late_before_ms
        if len({provider for provider, _ in kept}) < self.params["needs"]:
            self.fates["suppressed_partial"] += len(kept)
            return
        self.fates["merged"] += len(kept)
        places = self.params["providers"]
        self.emitted.append((symbol, sorted(kept, key=lambda one: places.index(one[0]))))

    def finish(self) -> None:
        for symbol in [*self.open]:
            self.close(symbol, 0)


steps = st.tuples(
    st.integers(0, 60), st.sampled_from("abcx"), st.sampled_from(SYMBOLS[:2]), st.integers(0, 90)
)
shapes = st.fixed_dictionaries(
    {
        "needs": st.integers(2, 3),
        "window_ms": st.integers(20, 200),
        "most_events": st.integers(3, 6),
        "keep": st.sampled_from(["latest", "all"]),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=60), shapes)
def test_it_does_what_the_rules_say(
    merge_rig: Rig, timeline: list[tuple[int, str, str, int]], shape: dict[str, Any]
) -> None:
    params = {**shape, "providers": ["a", "b", "c"]}
    rig, model, now_ms = merge_rig(merges=[["*", "BestQuote"]], **params), Model(params), 0
    for number, (gap_ms, provider, symbol, lag_ms) in enumerate(timeline):
        now_ms += gap_ms
        rig.until(now_ms)
        model.pass_time(now_ms)
        rig.push(provider, number, received_ms=now_ms - lag_ms, symbol=symbol)
        model.push(symbol, provider, number, now_ms - lag_ms, now_ms)
        rig.check()
    rig.source.on_completed()
    model.finish()
    by_symbol = {symbol: [kept for other, kept in model.emitted if other == symbol] for symbol in SYMBOLS[:2]}
    held = list(zip(rig.merged, rig.held, strict=True))
    assert {
        symbol: [kept for event, kept in held if event.symbol == symbol] for symbol in by_symbol
    } == by_symbol
    fates = Counter({**rig.dropped, "merged": rig.machine.taken, "coalesced": rig.machine.coalesced})
    assert +fates == +model.fates
    assert rig.counts()["merge.late_dropped"] == rig.dropped.get("late", 0)
    for event in rig.merged:
        names = {one.provider for one in event.payload.fragments}
        assert len(names) >= params["needs"]
        assert event.payload.completeness == pytest.approx(len(names) / 3)
        assert names.isdisjoint(event.payload.missing)
    if timeline:
        rig.check_over()


def quotes(rig: Any, seconds: int) -> None:
    """3,000 a second: each provider quotes each symbol every 50 ms. Every 97th was held up for 1.5 s, and the
    last provider knows nothing of some symbols. Windows open as each symbol's first quote comes."""
    number = 0
    for tick in range(seconds * 1000):
        rig.until(tick)
        for lane in range(3):
            number += 1
            symbol = SYMBOLS[(tick * 3 + lane) % 50]
            provider = PROVIDERS[(tick * 3 + lane) // 50 % 3]
            if symbol in SILENT and provider == PROVIDERS[2]:
                provider = PROVIDERS[0]
            lag_ms = 1500 if number % 97 == 0 else 0
            rig.push(provider, number, received_ms=tick - lag_ms, symbol=symbol)


def test_three_providers_of_fifty_symbols_at_three_thousand_a_second(merge_rig: Rig) -> None:
    """Window by window: no incomplete one leaves, and no late fragment goes unreported."""
    rig = merge_rig(merges=[["*", "BestQuote"]], providers=PROVIDERS, window_ms=1000)
    quotes(rig, seconds=4)
    rig.source.on_completed()
    assert rig.pushed == 12_000
    assert {event.symbol for event in rig.merged} == {*SYMBOLS} - {*SILENT}
    assert Counter(len(event.payload.fragments) for event in rig.merged) == {3: len(rig.merged)}
    assert all(event.payload.completeness == 1 for event in rig.merged)
    spans = {event.payload.window_close - event.payload.window_open for event in rig.merged[:-45]}
    assert spans == {1000 * NS_PER_MS}
    late = rig.dropped["late"]
    assert 80 <= late <= 12_000 // 97
    assert rig.counts()["merge.late_dropped"] == late
    assert rig.counts()["merge.suppressed_partial"] == 5 * 4
    assert {*rig.dropped} == {"late", "suppressed_partial"}
    by_symbol = Counter(event.symbol for event in rig.merged)
    assert set(by_symbol.values()) == {4}
    for symbol in by_symbol:
        numbers = [event.sequence for event in rig.merged if event.symbol == symbol]
        assert numbers == [1, 2, 3, 4]
    rig.check_over()


def test_the_same_load_closed_by_count(merge_rig: Rig) -> None:
    rig = merge_rig(
        merges=[["*", "BestQuote"]],
        providers=PROVIDERS,
        needs=2,
        window_ms=3_600_000,
        most_events=6,
        keep="all",
    )
    quotes(rig, seconds=2)
    assert {len(event.payload.fragments) for event in rig.merged} == {6}
    missing = {event.symbol: event.payload.missing for event in rig.merged}
    assert {symbol for symbol, names in missing.items() if names} == {*SILENT}
    assert rig.counts()["merge.late_dropped"] == rig.dropped.get("late", 0) > 0
    assert rig.machine.taken == 6 * len(rig.merged) > 5_000
    rig.source.on_completed()
    rig.check_over()


@pytest.mark.parametrize("windows", [1, 1500])
def test_however_many_windows_are_open_one_timer_is_set_and_one_object_taken(
    merge_rig: Rig, windows: int
) -> None:
    rig = merge_rig(merges=[["*", "BestQuote"]], providers=PROVIDERS, pool=1)
    for number in range(windows):
        for provider in PROVIDERS:
            rig.push(provider, number, symbol=f"S{number}-USDT")
    assert len(rig.machine.open) == windows
    queue = rig.scheduler._queue
    assert len(queue.items) == 1
    later: list[float] = []
    rig.machine.after = lambda seconds, action: later.append(seconds)
    rig.until(10_000)
    assert len(rig.merged) == windows
    assert later == []
    rig.source.on_completed()
    rig.check_over()
