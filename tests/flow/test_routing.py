"""The routing table: who receives what, and when its version rises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import ConfigurationError
from flow.events import CRITICAL, EventType, Sequence, Stream
from flow.routing import EVERY, MergeTable, RoutingTable
from flow.testing import make_stream

BTC = make_stream(symbol="BTC-USDT")
ETH = make_stream(symbol="ETH-USDT", provider="kraken")


def test_a_consumer_without_an_entry_receives_everything() -> None:
    table = RoutingTable()
    assert table.audience(BTC, ["a", "b"]) == ["a", "b"]
    assert table.version == 1


@pytest.mark.parametrize(
    ("symbol", "provider", "receives"),
    [
        ("BTC-USDT", "binance", [BTC]),
        ("BTC-USDT", EVERY, [BTC]),
        (EVERY, "kraken", [ETH]),
        (EVERY, EVERY, [BTC, ETH]),
        ("BTC-USDT", "kraken", []),
    ],
)
def test_an_entry_lets_through_what_it_names(symbol: str, provider: str, receives: list[Stream]) -> None:
    table = RoutingTable()
    table.subscribe("a", symbol, provider)
    assert [stream for stream in (BTC, ETH) if table.receives("a", stream)] == receives
    assert table.receives("other", BTC)


def test_entries_add_up_and_are_taken_back_one_by_one() -> None:
    table = RoutingTable()
    table.subscribe("a", "BTC-USDT")
    table.subscribe("a", "ETH-USDT")
    assert table.receives("a", BTC)
    assert table.receives("a", ETH)
    table.unsubscribe("a", "BTC-USDT")
    assert not table.receives("a", BTC)
    assert table.receives("a", ETH)
    table.unsubscribe("a", "ETH-USDT")
    assert table.audience(ETH, ["a"]) == []


def test_critical_events_reach_everybody() -> None:
    table = RoutingTable()
    table.subscribe("a", "SOL-USDT")
    for event_type in CRITICAL:
        stream = Stream("binance", "BTC-USDT", event_type, "orders", Sequence.NONE)
        assert table.receives("a", stream)
    assert not table.receives("a", make_stream(event_type=EventType.TRADE))


def test_each_change_raises_the_version_and_is_told() -> None:
    table = RoutingTable()
    told: list[int] = []
    table.listeners.append(lambda: told.append(table.version))
    assert table.subscribe("a", "BTC-USDT") == 2
    assert table.subscribe("a", "BTC-USDT") == 2
    assert table.subscribe("a", "ETH-USDT", "kraken") == 3
    assert table.unsubscribe("a", "BTC-USDT") == 4
    assert table.unsubscribe("a", "BTC-USDT") == 4
    assert told == [2, 3, 4]


def test_taking_back_what_a_consumer_never_had_changes_nothing() -> None:
    table = RoutingTable()
    assert table.unsubscribe("a", "BTC-USDT") == 1
    assert table.receives("a", BTC)


def test_taking_everything_back_leaves_nothing() -> None:
    table = RoutingTable()
    assert table.unsubscribe("a") == 2
    assert not table.receives("a", BTC)
    assert table.unsubscribe("a") == 2


def test_asking_for_everything_that_one_has_keeps_the_version() -> None:
    table = RoutingTable()
    assert table.subscribe("a") == 1
    assert table.subscribe("a", "BTC-USDT") == 2
    table.unsubscribe("a")
    assert table.receives("a", BTC)
    assert not table.receives("a", ETH)


KEYS = st.tuples(
    st.sampled_from(["BTC-USDT", "ETH-USDT", EVERY]), st.sampled_from(["binance", "kraken", EVERY])
)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), KEYS), max_size=30))
def test_an_unchanged_version_means_unchanged_audiences(
    steps: list[tuple[bool, str, tuple[str, str]]],
) -> None:
    table = RoutingTable()
    streams = [
        make_stream(symbol=s, provider=p) for s in ("BTC-USDT", "ETH-USDT") for p in ("binance", "kraken")
    ]

    def audiences() -> list[list[str]]:
        return [table.audience(stream, "ab") for stream in streams]

    for is_subscribe, consumer, (symbol, provider) in steps:
        before, version = audiences(), table.version
        change = table.subscribe if is_subscribe else table.unsubscribe
        assert change(consumer, symbol, provider) == table.version
        assert table.version in (version, version + 1)
        assert table.version > version or audiences() == before


# --- what is merged ---

QUOTES = EventType.BEST_QUOTE


def test_nothing_is_merged_unless_told() -> None:
    assert not MergeTable().merges("BTC-USDT", QUOTES)


def test_a_key_is_one_type_of_one_symbol_or_of_all() -> None:
    table = MergeTable()
    table.subscribe("BTC-USDT", QUOTES)
    assert table.merges("BTC-USDT", QUOTES)
    assert not table.merges("ETH-USDT", QUOTES)
    assert not table.merges("BTC-USDT", EventType.TRADE)
    table.subscribe(EVERY, EventType.TRADE)
    assert table.merges("ETH-USDT", EventType.TRADE)
    table.unsubscribe("ETH-USDT", EventType.TRADE)
    assert table.merges("ETH-USDT", EventType.TRADE)
    table.unsubscribe(EVERY, EventType.TRADE)
    assert not table.merges("ETH-USDT", EventType.TRADE)
    assert table.keys == {("BTC-USDT", QUOTES)}


def test_only_changes_of_the_merges_are_told_and_to_all_also_where_one_leaves() -> None:
    table, told = MergeTable(), []

    def leave() -> None:
        told.append("leaver")
        table.listeners.remove(leave)

    table.listeners += [leave, lambda: told.append("stayer")]
    table.unsubscribe("BTC-USDT", QUOTES)
    assert told == []
    table.subscribe("BTC-USDT", QUOTES)
    table.subscribe("BTC-USDT", QUOTES)
    assert told == ["leaver", "stayer"]
    table.unsubscribe("BTC-USDT", QUOTES)
    table.unsubscribe("BTC-USDT", QUOTES)
    assert told == ["leaver", "stayer", "stayer"]


@pytest.mark.parametrize("kind", [*CRITICAL, EventType.MERGED, EventType.GAP])
def test_what_is_never_merged_can_not_be_asked_for(kind: EventType) -> None:
    table = MergeTable()
    with pytest.raises(ConfigurationError, match=f"{kind} is never merged"):
        table.subscribe(EVERY, kind)
    assert table.keys == set()
