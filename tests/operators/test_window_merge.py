"""window-merge: what a window holds, when it opens and closes, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from flow.clock import NS_PER_MS
from flow.events import EventType, MergedEvent, OwnedEvent, Sequence
from flow.registry import registry
from flow.telemetry.occurrences import MergeSuppressedPartial, MergeUnexpectedDropped
from flow.testing import Recorder, make_event
from operators.window_merge import WindowMergeParams, window_merge

Rig = Callable[..., Any]


def test_the_latest_of_each_provider_is_merged_when_the_window_closes(merge_rig: Rig) -> None:
    rig = merge_rig()
    rig.push("a", 1)
    rig.until(4_000)
    rig.push("a", 2)
    rig.push("b", 7)
    rig.until(9_999)
    assert rig.merged == []
    rig.until(10_000)
    assert rig.held == [[("a", 2), ("b", 7)]]
    assert (rig.machine.taken, rig.machine.coalesced, rig.machine.in_flight) == (2, 1, 0)
    assert (rig.dropped, rig.occurred) == ({}, [])
    rig.check_over()


def test_all_fragments_are_kept_where_told(merge_rig: Rig) -> None:
    rig = merge_rig(keep="all")
    for provider, number in (("b", 7), ("a", 1), ("b", 8), ("a", 2)):
        rig.push(provider, number)
    assert rig.machine.in_flight == 4
    rig.until(10_000)
    assert rig.held == [[("a", 1), ("a", 2), ("b", 7), ("b", 8)]]
    assert (rig.machine.taken, rig.machine.coalesced) == (4, 0)
    rig.check_over()


def test_what_a_merged_event_says(merge_rig: Rig) -> None:
    rig = merge_rig(providers=["b", "c", "a"], needs=2, window_ms=100)
    rig.routing.subscribe("someone", "ETH-USDT")
    rig.until(30)
    rig.push("a", 5, received_ms=28)
    rig.until(70)
    rig.push("b", 3)
    rig.until(130)
    [event] = rig.merged
    start = rig.start_ns
    assert (event.provider, event.symbol, event.channel) == ("merged", "BTC-USDT", "BestQuote")
    assert (event.event_type, event.stream.sequence) == (EventType.MERGED, Sequence.MONOTONE)
    assert (event.sequence, event.first_sequence, event.merge_id) == (1, 1, "BTC-USDT/BestQuote/1")
    assert event.event_id == "merged:BTC-USDT:MergedEvent:BestQuote:1"
    assert event.ingest_ts == start + 130 * NS_PER_MS
    assert event.exchange_ts == make_event(5).exchange_ts
    assert event.trace_id == 1003
    assert event.routing_version == rig.routing.version == 2
    payload = event.payload
    assert (payload.event_type, payload.missing) == (EventType.BEST_QUOTE, ("c",))
    assert (payload.window_open, payload.window_close) == (start + 30 * NS_PER_MS, start + 130 * NS_PER_MS)
    assert payload.completeness == pytest.approx(2 / 3)
    assert [(one.provider, one.sequence) for one in payload.fragments] == [("b", 3), ("a", 5)]
    assert payload.fragment("a") is payload.fragments[1]
    assert payload.fragment("c") is None


def test_fragments_are_owned_copies_that_bear_the_merge_id(merge_rig: Rig) -> None:
    rig = merge_rig()
    first = rig.event("a", 1)
    payload = first.payload
    rig.push_any(first)
    assert first.home is None
    assert first.payload is None
    rig.push("b", 1)
    rig.until(10_000)
    fragments = rig.merged[0].payload.fragments
    assert [type(fragment) for fragment in fragments] == [OwnedEvent, OwnedEvent]
    assert [fragment.merge_id for fragment in fragments] == ["BTC-USDT/BestQuote/1"] * 2
    assert fragments[0].payload is payload


def test_merged_events_come_from_their_pool_by_stream(merge_rig: Rig) -> None:
    kept: list[Any] = []
    rig = merge_rig(Recorder(kept.append, keeps=True), window_ms=10)
    for at in (0, 10):
        rig.until(at)
        rig.push("a", 1)
        rig.push("b", 1)
    rig.until(20)
    assert [type(event) for event in kept] == [MergedEvent, MergedEvent]
    assert kept[0].stream is kept[1].stream
    assert [event.merge_id for event in kept] == ["BTC-USDT/BestQuote/1", "BTC-USDT/BestQuote/2"]
    assert rig.pools.by_kind["MergedEvent"].out == 2
    for event in kept:
        event.put()
    rig.source.on_completed()
    rig.check_over()


def test_pairs_of_symbol_and_type_have_windows_of_their_own(merge_rig: Rig) -> None:
    rig = merge_rig(merges=[["*", "BestQuote"], ["BTC-USDT", "Trade"]])
    trade = EventType.TRADE
    for provider in ("a", "b"):
        rig.push(provider, 1)
        rig.push(provider, 2, symbol="ETH-USDT")
        rig.push(provider, 3, kind=trade)
        rig.push(provider, 4, symbol="ETH-USDT", kind=trade)
    rig.until(10_000)
    assert [(event.symbol, event.channel, event.sequence) for event in rig.merged] == [
        ("BTC-USDT", "BestQuote", 1),
        ("ETH-USDT", "BestQuote", 1),
        ("BTC-USDT", "Trade", 1),
    ]
    assert rig.held == [[("a", n), ("b", n)] for n in (1, 2, 3)]
    assert rig.dropped == {"not_merged": 2}
    rig.check_over()


def test_channels_of_a_type_share_a_window(merge_rig: Rig) -> None:
    rig = merge_rig(keep="all")
    rig.push("a", 1)
    other = rig.event("a", 2)
    rig.streams.clear()
    rig.push_any(other)
    rig.push("a", 3)
    rig.push("b", 4)
    rig.until(10_000)
    assert rig.held == [[("a", 1), ("a", 2), ("a", 3), ("b", 4)]]


# --- when a window closes ---


def test_a_window_opens_with_its_first_fragment_and_not_before(merge_rig: Rig) -> None:
    rig = merge_rig(window_ms=100)
    for at in (0, 150):
        rig.until(at)
        rig.push("a", at)
        rig.push("b", at)
        rig.until(at + 99)
        assert rig.held == [[("a", 0), ("b", 0)]] * (at > 0)
        rig.until(at + 100)
    assert [event.payload.window_open - rig.start_ns for event in rig.merged] == [0, 150 * NS_PER_MS]
    assert rig.scheduler.clock == pytest.approx(0.25)
    rig.check_over()


@pytest.mark.parametrize(("received_ms", "windows"), [(99.999999, 1), (100, 2), (101, 2)])
def test_what_is_received_at_the_close_belongs_to_the_next_window(
    merge_rig: Rig, received_ms: float, windows: int
) -> None:
    """Whether its timer has run or not."""
    rig = merge_rig(window_ms=100)
    rig.push("a", 1)
    rig.push("b", 1)
    rig.until(99)
    rig.push("a", 2, received_ms=received_ms)
    assert len(rig.merged) == windows - 1
    rig.push("b", 2, received_ms=received_ms)
    rig.until(250)
    expected = [[("a", 2), ("b", 2)]] if windows == 1 else [[("a", 1), ("b", 1)], [("a", 2), ("b", 2)]]
    assert rig.held == expected
    assert rig.merged[0].payload.window_close == rig.start_ns + 100 * NS_PER_MS
    rig.check_over()


def test_at_the_end_of_the_window_its_timer_comes_first(merge_rig: Rig) -> None:
    rig = merge_rig(window_ms=100)
    rig.push("a", 1)
    rig.push("b", 1)
    rig.until(100)
    rig.push("a", 2)
    rig.push("b", 2)
    rig.until(200)
    assert rig.held == [[("a", 1), ("b", 1)], [("a", 2), ("b", 2)]]
    assert rig.dropped == {}


def test_enough_events_close_a_window_at_once(merge_rig: Rig) -> None:
    """The last of them is in it, and the next opens another; those that were replaced count too."""
    rig = merge_rig(most_events=4)
    for number in (1, 2, 3):
        rig.push("a", number)
    assert rig.merged == []
    rig.until(20)
    rig.push("b", 4)
    assert rig.held == [[("a", 3), ("b", 4)]]
    assert rig.merged[0].payload.window_close == rig.merged[0].ingest_ts == rig.start_ns + 20 * NS_PER_MS
    rig.push("b", 5)
    assert (rig.machine.in_flight, rig.machine.coalesced, rig.machine.taken) == (1, 2, 2)
    rig.push("a", 6)
    rig.until(10_019)
    assert len(rig.merged) == 1
    rig.until(10_020)
    assert rig.held[1:] == [[("a", 6), ("b", 5)]]
    rig.check_over()


def test_of_events_that_came_together_those_after_the_close_are_not_late(merge_rig: Rig) -> None:
    rig = merge_rig(most_events=2)
    rig.until(5)
    for provider, number in (("a", 1), ("b", 1), ("a", 2), ("b", 2)):
        rig.push(provider, number, received_ms=4.5)
    assert rig.held == [[("a", 1), ("b", 1)], [("a", 2), ("b", 2)]]
    rig.push("a", 3, received_ms=4.4)
    assert rig.dropped == {"late": 1}


def test_two_events_suffice_for_two_providers(merge_rig: Rig) -> None:
    rig = merge_rig(most_events=2)
    rig.push("a", 1)
    assert rig.merged == []
    rig.push("b", 1)
    assert rig.held == [[("a", 1), ("b", 1)]]


def test_windows_close_in_the_order_of_opening_with_one_timer(merge_rig: Rig) -> None:
    rig = merge_rig(merges=[["*", "BestQuote"]])
    for number in range(50):
        rig.until(number)
        for provider in ("a", "b"):
            rig.push(provider, number, symbol=f"S{number}-USDT")
        queue = rig.scheduler._queue
        assert sum(not item.is_cancelled() for item, _ in queue.items) == 1
    for number in range(50):
        rig.until(10_000 + number)
        assert len(rig.merged) == number + 1
    assert [event.symbol for event in rig.merged] == [f"S{number}-USDT" for number in range(50)]
    rig.check_over()


def test_a_timer_whose_window_has_closed_by_count_closes_no_other(merge_rig: Rig) -> None:
    rig = merge_rig(most_events=2)
    rig.push("a", 1)
    rig.push("b", 1)
    rig.until(6_000)
    rig.push("a", 2)
    rig.until(15_999)
    assert len(rig.merged) == 1
    assert rig.machine.in_flight == 1
    rig.until(16_000)
    assert rig.dropped == {"suppressed_partial": 1}
    rig.check_over()


# --- which are emitted ---


def test_a_partial_window_is_never_emitted_and_its_missing_are_told(merge_rig: Rig) -> None:
    rig = merge_rig(providers=["a", "b", "c", "d"], needs=3, keep="all")
    rig.push("c", 1)
    rig.push("a", 1)
    rig.push("a", 2)
    rig.until(10_000)
    assert rig.merged == []
    assert rig.dropped == {"suppressed_partial": 3}
    assert rig.occurred == [MergeSuppressedPartial("BTC-USDT", "BestQuote", "b,d", 3)]
    for provider in ("d", "b", "a"):
        rig.push(provider, 5)
    rig.until(20_000)
    assert rig.held == [[("a", 5), ("b", 5), ("d", 5)]]
    assert rig.merged[0].payload.missing == ("c",)
    assert rig.merged[0].merge_id == "BTC-USDT/BestQuote/1"
    assert len(rig.occurred) == 1
    rig.check_over()


def test_all_providers_are_needed_where_nothing_else_is_said(merge_rig: Rig) -> None:
    rig = merge_rig(providers=["a", "b", "c"])
    rig.push("a", 1)
    rig.push("b", 1)
    rig.until(10_000)
    assert rig.dropped == {"suppressed_partial": 2}
    for provider in ("a", "b", "c"):
        rig.push(provider, 2)
    rig.until(20_000)
    assert [event.payload.completeness for event in rig.merged] == [1.0]
    assert rig.merged[0].payload.missing == ()


def test_a_provider_that_is_not_expected_is_told_once(merge_rig: Rig) -> None:
    rig = merge_rig()
    for provider in ("x", "x", "y", "x", "a", "b"):
        rig.push(provider, 1)
    rig.until(10_000)
    assert rig.held == [[("a", 1), ("b", 1)]]
    assert rig.dropped == {"unexpected_provider": 4}
    assert rig.occurred == [MergeUnexpectedDropped("x"), MergeUnexpectedDropped("y")]
    rig.check_over()


@pytest.mark.parametrize("kind", [EventType.EXEC_REPORT, EventType.CONTROL_ACK, EventType.MERGED])
def test_critical_and_merged_events_are_not_merged(merge_rig: Rig, kind: EventType) -> None:
    rig = merge_rig(merges=[["*", "BestQuote"]])
    rig.table.keys.add(("*", kind))
    rig.push("a", 1, kind=kind)
    assert rig.dropped == {"not_merged": 1}
    assert rig.machine.in_flight == 0


def test_idle_it_drops_nothing_but_copies_that_nobody_wants(merge_rig: Rig) -> None:
    rig = merge_rig(merges=[], providers=[])
    rig.push("a", 1)
    rig.push("b", 1)
    rig.until(20_000)
    assert (rig.merged, rig.dropped, rig.occurred) == ([], {"not_merged": 2}, [])
    rig.source.on_completed()
    rig.check_over()


# --- parameters ---


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"merges": [["BTC-USDT", "ExecReport"]], "providers": ["a", "b"]}, "ExecReport is never merged"),
        ({"merges": [["BTC-USDT", "MergedEvent"]], "providers": ["a", "b"]}, "MergedEvent is never merged"),
        ({"merges": [["BTC-USDT", "Gap"]], "providers": ["a", "b"]}, "Gap is never merged"),
        ({"merges": [["BTC-USDT", "Trade"]]}, "a merge is of two at least, 0 named"),
        ({"providers": ["a"]}, "a merge is of two at least, 1 named"),
        ({"providers": ["a", "b", "a"]}, "^providers: one is named twice$"),
        ({"providers": ["a", "b"], "needs": 3}, "3 providers are needed, 2 named"),
        ({"needs": 2}, "2 providers are needed, 0 named"),
        ({"providers": ["a", "b"], "needs": 1}, ">= 2"),
        ({"providers": ["a", "b", "c"], "most_events": 2}, "2 events are never of 3 providers"),
        ({"most_events": 1}, ">= 2"),
        ({"window_ms": 0}, ">= 1"),
        ({"keep": "first"}, "Invalid enum value 'first'"),
    ],
)
def test_parameters_that_can_not_be(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=fault):
        window_merge(**fields)


def test_parameters_that_can_just_be() -> None:
    window_merge(providers=["a", "b"], needs=2, most_events=2, merges=[["*", "KlineSummary"]])
    window_merge(providers=["a", "b", "c"], needs=3, most_events=3)
    window_merge(providers=["a", "b", "c"], needs=2, most_events=2)
    params = WindowMergeParams()
    assert (params.window_ms, params.most_events, params.keep, params.needs) == (10_000, 1000, "latest", None)


def test_how_it_is_registered() -> None:
    spec = registry.nodes["window-merge"]
    assert (spec.pooled, spec.watches, spec.shares, spec.loss) == (True, True, False, "anything")
    assert spec.makes_pooled
