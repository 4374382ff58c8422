"""window-merge: changes of what is merged, dry pools, the ways it ends, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flow.clock import NS_PER_MS
from flow.context import Context
from flow.errors import ConfigurationError, DoublePut
from flow.events import EventType
from flow.routing import merge_table
from flow.telemetry.occurrences import PoolTimedOut
from flow.testing import Recorder, assert_nothing_out
from operators.window_merge import WindowMerge, WindowMergeParams

Rig = Callable[..., Any]
QUOTES = EventType.BEST_QUOTE


# --- what is merged changes ---


def test_what_is_merged_changes_at_run_time(merge_rig: Rig) -> None:
    rig = merge_rig(merges=[])
    rig.push("a", 1)
    rig.table.subscribe("BTC-USDT", QUOTES)
    rig.push("a", 2)
    rig.push("b", 2)
    rig.until(10_000)
    rig.push("a", 3)
    rig.table.unsubscribe("BTC-USDT", QUOTES)
    assert rig.dropped == {"not_merged": 1, "unsubscribed": 1}
    rig.push("b", 3)
    rig.until(30_000)
    assert rig.held == [[("a", 2), ("b", 2)]]
    assert rig.dropped == {"not_merged": 2, "unsubscribed": 1}
    rig.table.subscribe("*", QUOTES)
    rig.push("a", 4)
    rig.push("b", 4)
    rig.until(50_000)
    assert rig.merged[1].merge_id == "BTC-USDT/BestQuote/2"
    assert rig.merged[1].stream is rig.merged[0].stream
    rig.check_over()


def test_windows_that_another_key_still_wants_stay_open(merge_rig: Rig) -> None:
    rig = merge_rig(merges=[["*", "BestQuote"], ["BTC-USDT", "BestQuote"]], keep="all")
    for symbol in ("BTC-USDT", "ETH-USDT"):
        rig.push("a", 1, symbol=symbol)
        rig.push("a", 2, symbol=symbol)
    rig.table.unsubscribe("*", QUOTES)
    assert rig.dropped == {"unsubscribed": 2}
    assert rig.machine.in_flight == 2
    rig.push("b", 1)
    rig.push("b", 1, symbol="ETH-USDT")
    rig.until(10_000)
    assert rig.held == [[("a", 1), ("a", 2), ("b", 1)]]
    assert rig.dropped == {"unsubscribed": 2, "not_merged": 1}


def test_a_type_that_is_never_merged_can_not_be_subscribed_to(merge_rig: Rig) -> None:
    rig = merge_rig()
    with pytest.raises(ConfigurationError, match="ExecReport is never merged"):
        rig.table.subscribe("BTC-USDT", EventType.EXEC_REPORT)
    assert rig.table.keys == {("BTC-USDT", QUOTES)}


# --- a dry pool ---


def test_where_the_pool_is_dry_the_window_is_given_up_and_the_next_is_emitted(merge_rig: Rig) -> None:
    kept: list[Any] = []
    rig = merge_rig(Recorder(kept.append, keeps=True), pool=1, window_ms=10, keep="all")
    for at in (0, 10, 20, 30):
        rig.until(at)
        if at == 30:
            kept[0].put()
        rig.push("a", at)
        rig.push("a", at)
        rig.push("b", at)
    rig.until(40)
    assert rig.occurred == [PoolTimedOut("MergedEvent")] * 2
    assert rig.dropped == {"pool_timeout": 6}
    assert [event.merge_id for event in kept[1:]] == ["BTC-USDT/BestQuote/2"]
    rig.check()


# --- ends ---


def test_completion_emits_what_is_complete_and_suppresses_the_rest(merge_rig: Rig) -> None:
    rig = merge_rig(merges=[["*", "BestQuote"]])
    rig.push("a", 1, symbol="ETH-USDT")
    rig.push("a", 1)
    rig.push("b", 1)
    rig.until(7)
    rig.source.on_completed()
    assert rig.held == [[("a", 1), ("b", 1)]]
    assert rig.merged[0].payload.window_close == rig.start_ns + 7 * NS_PER_MS
    assert rig.recorder.is_completed
    assert rig.dropped == {"suppressed_partial": 1}
    assert rig.counts() == {"merge.suppressed_partial": 1}
    rig.check_over()


@pytest.mark.parametrize("end", ["error", "dispose"])
def test_an_error_or_disposal_drops_what_is_held(merge_rig: Rig, end: str) -> None:
    rig = merge_rig(keep="all", merges=[["*", "BestQuote"]])
    for provider in ("a", "a", "b"):
        rig.push(provider, 1)
    rig.push("a", 1, symbol="ETH-USDT")
    if end == "error":
        rig.source.on_error(ValueError("gone"))
        assert str(rig.recorder.error) == "gone"
    else:
        rig.subscription.dispose()
        rig.subscription.dispose()
    assert rig.dropped == {"disposed": 4}
    assert (rig.merged, rig.occurred) == ([], [])
    assert rig.table.listeners == []
    rig.check_over()
    rig.table.subscribe("*", QUOTES)
    rig.machine.add_many([rig.event("a", 2), rig.event("b", 2), rig.event("a", 3, kind=EventType.TRADE)])
    assert rig.machine.in_flight == 0
    assert rig.dropped == {"disposed": 7}
    assert_nothing_out(rig.pools)


def test_disposed_in_the_middle_of_a_run_nothing_is_kept(merge_rig: Rig) -> None:
    """Whoever hears of an occurrence may end it; a window that closed before is given back."""
    rig = merge_rig(most_events=2, merges=[["*", "BestQuote"]])
    rig.context.telemetry.listeners.append(lambda *_: rig.subscription.dispose())
    run = [rig.event(*about) for about in (("a", 1), ("b", 1), ("a", 2), ("x", 1), ("a", 3), ("b", 3))]
    rig.machine.add_many(run)
    assert rig.dropped == {"unexpected_provider": 1, "disposed": 3}
    assert (rig.merged, rig.machine.in_flight, rig.machine.open) == ([], 0, {})
    assert rig.scheduler_is_idle
    assert_nothing_out(rig.pools)


def test_disposed_while_others_are_told_of_a_change_it_stays_idle(merge_rig: Rig) -> None:
    rig = merge_rig()
    rig.table.listeners.insert(0, rig.subscription.dispose)
    rig.table.subscribe("*", QUOTES)
    rig.machine.add_many([rig.event("a", 1), rig.event("a", 2, kind=EventType.TRADE)])
    assert rig.dropped == {"disposed": 2}


def test_disposed_while_several_windows_close_nothing_more_comes(merge_rig: Rig) -> None:
    def leave(event: Any) -> None:
        rig.subscription.dispose()

    rig = merge_rig(Recorder(leave), merges=[["*", "BestQuote"]])
    for symbol in ("BTC-USDT", "ETH-USDT"):
        rig.push("a", 1, symbol=symbol)
        rig.push("b", 1, symbol=symbol)
    rig.until(20_000)
    assert [event.symbol for event in rig.merged] == ["BTC-USDT"]
    assert_nothing_out(rig.pools)
    rig.check()


def test_an_observer_may_push_on(merge_rig: Rig) -> None:
    def push_on(event: Any) -> None:
        if event.sequence < 3:
            rig.push("a", event.sequence + 1)
            rig.push("b", event.sequence + 1)

    rig = merge_rig(Recorder(push_on), most_events=2)
    rig.push("a", 1)
    rig.push("b", 1)
    assert sorted(event.sequence for event in rig.merged) == [1, 2, 3]
    rig.source.on_completed()
    rig.check_over()


def test_what_an_observer_pushes_at_the_end_is_not_lost_silently(merge_rig: Rig) -> None:
    def push_on(event: Any) -> None:
        if event.symbol == "BTC-USDT":
            rig.pushed += 2
            rig.machine.add_many([rig.event("a", 9), rig.event("b", 9, symbol="ETH-USDT")])

    rig = merge_rig(Recorder(push_on), merges=[["*", "BestQuote"]])
    for symbol in ("BTC-USDT", "ETH-USDT"):
        rig.push("a", 1, symbol=symbol)
        rig.push("b", 1, symbol=symbol)
    rig.source.on_completed()
    assert rig.held == [[("a", 1), ("b", 1)], [("a", 1), ("b", 9)]]
    assert rig.dropped == {"disposed": 1}
    rig.check_over()


def test_a_second_subscription_begins_anew(merge_rig: Rig) -> None:
    rig = merge_rig()
    rig.push("a", 1)
    rig.subscription.dispose()
    second = Recorder()
    rig.stage.subscribe(second, scheduler=rig.scheduler)
    rig.push("a", 2)
    rig.push("b", 2)
    rig.until(10_000)
    assert [event.merge_id for event in second.elements] == ["BTC-USDT/BestQuote/1"]
    assert rig.merged == []


# --- what goes wrong ---


class Unreadable:
    """An event that can't be copied."""

    def __init__(self, event: Any) -> None:
        self.stream, self.ingest_ts = event.stream, event.ingest_ts

    def own(self) -> Any:
        raise ValueError("torn")


def test_what_can_not_be_copied_is_refused_and_the_rest_is_merged(merge_rig: Rig) -> None:
    rig = merge_rig()
    rig.push("a", 1)
    rig.push_any(Unreadable(rig.event("b", 1)))
    rig.push_any(None)
    rig.push("b", 2)
    rig.until(10_000)
    assert rig.held == [[("a", 1), ("b", 2)]]
    torn, none = rig.letters.read()
    assert (torn.node, torn.reason, torn.detail) == ("merged", "ValueError", "torn")
    assert "Unreadable" in str(torn.original)
    assert (none.reason, none.original) == ("AttributeError", {"repr": "None"})
    assert rig.machine.dead_lettered == 2
    rig.check()


def test_without_dead_letters_it_ends_the_stream(merge_rig: Rig) -> None:
    rig = merge_rig(letters=False)
    rig.push("a", 1)
    rig.push_any(None)
    assert isinstance(rig.recorder.error, AttributeError)
    assert rig.dropped == {"disposed": 1}
    assert_nothing_out(rig.pools)


def test_a_bug_of_ownership_passes(merge_rig: Rig) -> None:
    class Bug(Unreadable):
        def own(self) -> Any:
            raise DoublePut("again")

    rig = merge_rig()
    with pytest.raises(DoublePut):
        rig.push_any(Bug(rig.event("a", 1)))
    assert len(rig.letters) == 0


def test_what_an_observer_raises_is_its_own(merge_rig: Rig) -> None:
    def sulk(event: Any) -> None:
        raise ValueError("no thanks")

    rig = merge_rig(Recorder(sulk), most_events=2)
    rig.push("a", 1)
    with pytest.raises(ValueError, match="no thanks"):
        rig.push("b", 1)
    assert len(rig.letters) == 0
    assert_nothing_out(rig.pools)


def test_windows_behind_one_whose_emission_failed_close_all_the_same(merge_rig: Rig) -> None:
    def fail_once(event: Any) -> None:
        event.put()
        emitted.append(event.stream.symbol)
        if len(emitted) == 1:
            raise ValueError("no thanks")

    emitted: list[str] = []
    rig = merge_rig(merges=[["*", "BestQuote"]])
    rig.machine.lead_to(fail_once)
    for symbol in ("BTC-USDT", "ETH-USDT", "SOL-USDT"):
        rig.push("a", 1, symbol=symbol)
        rig.push("b", 1, symbol=symbol)
    rig.until(10_001)
    assert emitted == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
    assert rig.letters.by_reason() == {"ValueError": 1}


# --- watching ---


@pytest.fixture
def watcher() -> WindowMerge:
    params = WindowMergeParams(merges=(("*", QUOTES),), providers=("a", "b"), most_events=2)
    context = Context("merged")
    context.service("merges", merge_table).subscribe("*", QUOTES)
    return WindowMerge(params, context.service("merges", merge_table), context)


def test_watching_leaves_the_run_and_its_events_as_they_are(merge_rig: Rig, watcher: WindowMerge) -> None:
    rig, emitted = merge_rig(), []
    watcher.lead_to(emitted.append)
    watcher.scheduler = rig.scheduler
    run = [rig.event("a", 1), rig.event("b", 1), rig.event("x", 1)]
    before = [(event, event.own()) for event in run]
    watcher.watch_many(run)
    assert [event for event, _ in before] == run
    for event, copy in before:
        assert event.home is not None
        assert event.merge_id is None
        assert event.row() == copy.row()
    assert [event.sequence for event in emitted] == [1]
    for event in run:
        event.put()


def test_a_stream_is_looked_up_once_and_again_when_the_table_changes(
    merge_rig: Rig, watcher: WindowMerge
) -> None:
    rig, met = merge_rig(), []
    watcher.scheduler = rig.scheduler
    watcher.table.merges = lambda *key: met.append(key) or False  # type: ignore[method-assign]
    trades = [rig.event("a", number, kind=EventType.TRADE) for number in (1, 2, 3)]
    watcher.watch_many(trades)
    watcher.watch_many(trades)
    assert met == [("BTC-USDT", EventType.TRADE)]
    assert watcher.dropped == {"not_merged": 6}
    watcher.look_up_anew()
    watcher.watch_many(trades)
    assert len(met) == 2


def test_a_run_is_looked_at_whole_before_anything_is_emitted(merge_rig: Rig) -> None:
    """So that the account is right whatever happens downstream."""
    rig = merge_rig(most_events=2, merges=[["*", "BestQuote"]])
    seen: list[int] = []
    rig.machine.emit_many = lambda events: seen.append(rig.machine.taken + rig.machine.in_flight)
    run = [rig.event(*about) for about in (("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3))]
    rig.machine.add_many(run)
    assert seen == [5]
    assert all(event.home is None for event in run)
