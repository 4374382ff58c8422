"""The rules of sequence, snapshot and trust."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.events.payloads import BookLevels, BookUpdateData, Levels
from nodes.providers.book import Book
from nodes.providers.book_sync import BookState, BookSync, Reason


class Diff(NamedTuple):
    first_sequence: int
    sequence: int
    payload: BookLevels


BIDS: Levels = [("10", "1"), ("9", "1")]
ASKS: Levels = [("11", "1"), ("12", "1")]


def diff(first: int, last: int, bids: Levels = (), asks: Levels = ()) -> Diff:
    return Diff(first, last, BookUpdateData(bids, asks))


def offer(sync: BookSync, item: Diff) -> str:
    verdict = sync.on_update(item.first_sequence, item.sequence, item.payload)
    if verdict == "hold":
        sync.hold(item)
    return verdict


def live(at: int = 100, **options: object) -> BookSync:
    sync = BookSync(**options)  # type: ignore[arg-type]
    assert sync.on_snapshot(at, BIDS, ASKS) == "synced"
    return sync


@pytest.mark.parametrize(
    ("first", "last", "verdict", "dropped", "sequence", "resyncs"),
    [
        (101, 101, "applied", {}, 101, {}),
        (101, 105, "applied", {}, 105, {}),
        (99, 103, "applied", {}, 103, {}),
        (100, 101, "applied", {}, 101, {}),
        (90, 99, "dropped", {"already_in_snapshot": 1}, 100, {}),
        (100, 100, "dropped", {"already_in_snapshot": 1}, 100, {}),
        (102, 103, "hold", {}, 100, {"gap": 1}),
        (500, 500, "hold", {}, 100, {"gap": 1}),
    ],
)
def test_a_live_book_takes_what_continues_its_sequence(
    first: int, last: int, verdict: str, dropped: dict[str, int], sequence: int, resyncs: dict[str, int]
) -> None:
    sync = live()
    assert offer(sync, diff(first, last, [("10", "7")])) == verdict
    assert sync.dropped == dropped
    assert sync.sequence == sequence
    assert sync.resyncs == resyncs
    assert sync.is_live == (not resyncs)
    assert sync.book.best_bid == (None if resyncs else ("10", "7") if verdict == "applied" else ("10", "1"))


def test_a_repeat_of_what_came_after_the_snapshot_is_a_duplicate() -> None:
    sync = live()
    offer(sync, diff(101, 103))
    assert offer(sync, diff(101, 103)) == "dropped"
    assert sync.dropped == {"duplicate": 1}


@pytest.mark.parametrize("sync", [live(), BookSync()])
def test_a_range_that_ends_before_it_begins_is_refused(sync: BookSync) -> None:
    with pytest.raises(ValueError, match="end before they begin"):
        sync.on_update(101, 99, diff(1, 1).payload)


@pytest.mark.parametrize(
    ("held", "snapshot_id", "verdict", "sequence", "left"),
    [
        ([(95, 97), (98, 102), (103, 104)], 100, "synced", 104, 0),
        ([(101, 102)], 100, "synced", 102, 0),
        ([(95, 97), (98, 100)], 100, "synced", 100, 0),
        ([(95, 97)], 100, "synced", 100, 0),
        ([], 100, "synced", 100, 0),
        ([(102, 103)], 100, "too_old", 0, 1),
        ([(102, 103), (104, 110)], 100, "too_old", 0, 2),
        ([(95, 97), (103, 104)], 100, "too_old", 0, 1),
    ],
)
def test_a_snapshot_bridges_or_another_is_needed(
    held: list[tuple[int, int]], snapshot_id: int, verdict: str, sequence: int, left: int
) -> None:
    sync = BookSync()
    for first, last in held:
        assert offer(sync, diff(first, last, [("8", str(last))])) == "hold"
    assert sync.state is BookState.BUFFERING
    assert sync.on_snapshot(snapshot_id, BIDS, ASKS) == verdict
    assert sync.is_live == (verdict == "synced")
    assert sync.sequence == sequence
    assert len(sync.held) == left
    if verdict == "synced":
        assert sync.dropped["in_snapshot"] == len(held)
        applied = [last for _, last in held if last > snapshot_id]
        expected = [*BIDS, ("8", str(applied[-1]))] if applied else BIDS
        assert sync.book.bids() == expected
        assert sync.newest == (diff(*held[-1], [("8", str(applied[-1]))]) if applied else None)


def test_a_gap_among_the_held_makes_those_before_it_worthless() -> None:
    sync = BookSync()
    offer(sync, diff(1, 5))
    offer(sync, diff(6, 7))
    assert offer(sync, diff(9, 10)) == "hold"
    assert [item.sequence for item in sync.held] == [10]
    assert sync.dropped == {"gap": 2}
    assert offer(sync, diff(8, 8)) == "dropped"
    assert sync.on_snapshot(7, BIDS, ASKS) == "too_old"
    assert sync.on_snapshot(8, BIDS, ASKS) == "synced"
    assert sync.sequence == 10


def test_the_buffer_is_bounded() -> None:
    sync = BookSync(capacity=3)
    for n in range(1, 5):
        assert offer(sync, diff(n, n)) == "hold"
    assert [item.sequence for item in sync.held] == [4]
    assert sync.dropped == {"buffer_overflow": 3}
    assert sync.resyncs == {"buffer_overflow": 1}
    assert sync.on_snapshot(2, BIDS, ASKS) == "too_old"
    assert sync.on_snapshot(3, BIDS, ASKS) == "synced"


def test_a_crossed_book_is_given_up_and_its_update_dropped() -> None:
    reported: list[tuple[Reason, str]] = []
    sync = live(on_resync=lambda reason, detail: reported.append((reason, detail)))
    assert offer(sync, diff(101, 101, [("11", "1")])) == "dropped"
    assert sync.dropped == {"crossed": 1}
    assert sync.state is BookState.RESYNCING
    assert [reason for reason, _ in reported] == [Reason.CROSSED]
    assert len(sync.book) == 0


def test_a_snapshot_from_before_the_loss_is_not_gone_back_to() -> None:
    sync = live()
    offer(sync, diff(101, 105))
    sync.resync(Reason.STALE)
    assert sync.on_snapshot(104, BIDS, ASKS) == "too_old"
    assert sync.on_snapshot(105, BIDS, ASKS) == "synced"


def test_a_malformed_diff_is_never_bridged_over() -> None:
    sync = live()
    bad = diff(101, 103, [("10", "x")])
    with pytest.raises(ValueError, match="malformed"):
        offer(sync, bad)
    sync.resync(Reason.MALFORMED, lost=bad.sequence)
    offer(sync, diff(104, 104))
    assert sync.on_snapshot(102, BIDS, ASKS) == "too_old"
    assert sync.on_snapshot(103, BIDS, ASKS) == "synced"
    assert sync.sequence == 104


def test_a_malformed_diff_among_the_held_is_named_and_left_out() -> None:
    sync = BookSync()
    for item in (diff(1, 1), diff(2, 2, [("10", "-1")]), diff(3, 3)):
        offer(sync, item)
    assert sync.on_snapshot(0, BIDS, ASKS) == "unusable"
    assert sync.culprit is not None
    assert sync.culprit[0].sequence == 2
    assert sync.dropped == {"malformed": 1}
    assert [item.sequence for item in sync.held] == [3]
    assert sync.resyncs == {"malformed": 1}
    assert sync.on_snapshot(1, BIDS, ASKS) == "too_old"
    assert sync.on_snapshot(2, BIDS, ASKS) == "synced"
    assert sync.culprit is None


@pytest.mark.parametrize(
    ("bids", "asks"), [([("10", "x")], ASKS), ([("10",)], ASKS), ([("11", "1")], ASKS), ([("12", "1")], ASKS)]
)
def test_a_bad_snapshot_costs_no_held_diff(bids: Levels, asks: Levels) -> None:
    sync = BookSync()
    offer(sync, diff(101, 101))
    assert sync.on_snapshot(100, bids, asks) == "unusable"
    assert sync.resyncs == {"bad_snapshot": 1}
    assert len(sync.book) == 0
    assert sync.on_snapshot(100, BIDS, ASKS) == "synced"
    assert sync.sequence == 101


def test_held_diffs_that_cross_the_book_are_given_up() -> None:
    sync = BookSync()
    offer(sync, diff(101, 101, [("11", "1")]))
    assert sync.on_snapshot(100, BIDS, ASKS) == "unusable"
    assert sync.resyncs == {"crossed": 1}
    assert sync.dropped == {"crossed": 1}
    assert sync.on_snapshot(100, BIDS, ASKS) == "too_old"


def test_a_reconnect_does_not_lead_a_book_back_in_time() -> None:
    sync = live()
    sync.resync(Reason.RECONNECT)
    offer(sync, diff(5, 6))
    assert sync.on_snapshot(4, BIDS, ASKS) == "too_old"


def test_an_exchange_that_counts_anew_is_followed_where_nothing_else_bridges() -> None:
    sync = live()
    sync.resync(Reason.RECONNECT)
    offer(sync, diff(5, 6))
    sync.restart()
    offer(sync, diff(7, 8))
    assert sync.on_snapshot(6, BIDS, ASKS) == "synced"
    assert sync.sequence == 8


def test_a_number_that_no_snapshot_reaches_can_be_given_up() -> None:
    sync = live()
    assert offer(sync, diff(10**18, 10**18)) == "hold"
    assert sync.on_snapshot(101, BIDS, ASKS) == "too_old"
    sync.restart()
    assert sync.dropped == {"unbridgeable": 1}
    assert sync.on_snapshot(101, BIDS, ASKS) == "synced"


def test_a_live_book_needs_no_snapshot() -> None:
    sync = live()
    assert sync.on_snapshot(500, BIDS, ASKS) == "not_needed"
    assert sync.sequence == 100


def test_without_numbers_the_order_of_arrival_counts() -> None:
    sync = BookSync(is_sequenced=False)
    assert offer(sync, diff(0, 0, [("8", "1")])) == "hold"
    assert sync.on_snapshot(0, BIDS, ASKS) == "synced"
    assert sync.book.bids() == BIDS
    assert offer(sync, diff(0, 0, [("8", "1")])) == "applied"
    assert offer(sync, diff(0, 0, [("8", "2")])) == "applied"
    assert sync.book.bids() == [*BIDS, ("8", "2")]


def test_a_failed_check_costs_the_trust() -> None:
    def is_even(book: Book, update: BookLevels) -> bool:
        return len(book) % 2 == 0

    sync = live(check=is_even)
    assert offer(sync, diff(101, 101, [("8", "1"), ("7", "1")])) == "applied"
    assert offer(sync, diff(102, 102, [("6", "1")])) == "dropped"
    assert sync.resyncs == {"checksum": 1}


def refreshed(snapshot_id: int, quantity: str, more: list[Diff]) -> BookSync:
    """A book at 100, refreshed since then: 101 and 102 applied, the snapshot, then `more`."""
    sync = live()
    sync.begin_refresh()
    offer(sync, diff(101, 101, [("10", "2")]))
    offer(sync, diff(102, 102, [("10", "3")]))
    sync.on_refresh(snapshot_id, [("10", quantity), ("9", "1")], ASKS)
    for item in more:
        offer(sync, item)
    return sync


@pytest.mark.parametrize(
    ("snapshot_id", "quantity", "outcome"),
    [
        (100, "1", "equal"),
        (101, "2", "equal"),
        (102, "3.0", "equal"),
        (102, "4", "mismatch"),
        (99, "1", "too_old"),
        (102, "x", "given_up"),
        (103, "9", "equal"),
        (103, "8", "mismatch"),
        (104, "9", "equal"),
        (200, "9", None),
    ],
)
def test_a_refresh_holds_the_book_against_the_snapshot(
    snapshot_id: int, quantity: str, outcome: str | None
) -> None:
    more = [diff(103, 103, [("10", "9")]), diff(104, 104), diff(105, 105, [("9", "4")])]
    sync = refreshed(snapshot_id, quantity, more)
    assert sync.refreshes == ({outcome: 1} if outcome else {})
    assert sync.resyncs == ({"refresh_mismatch": 1} if outcome == "mismatch" else {})
    assert sync.is_live == (outcome != "mismatch")


def test_a_refresh_that_finds_less_far_off_levels_is_equal() -> None:
    sync = live()
    sync.begin_refresh()
    sync.on_refresh(100, BIDS[:1], ASKS[:1])
    assert sync.refreshes == {"equal": 1}


def test_a_resync_ends_the_refresh() -> None:
    sync = live()
    sync.begin_refresh()
    offer(sync, diff(105, 105))
    sync.on_refresh(100, [("1", "1")], ASKS)
    assert not sync.refreshes
    assert sync.resyncs == {"gap": 1}


class Exchange:
    """A book that changes one level at a time, and the diffs that say so."""

    def __init__(self, seeds: list[tuple[int, int]]) -> None:
        self.states: list[dict[Decimal, str]] = [{}]
        self.diffs: list[Diff] = []
        state: dict[Decimal, str] = {}
        for n, (price, quantity) in enumerate(seeds, 1):
            state = {p: q for p, q in state.items() if p != price} | (
                {Decimal(price): str(quantity)} if quantity else {}
            )
            self.states.append(state)
            self.diffs.append(diff(n, n, [(str(price), str(quantity))]))

    def levels(self, at: int) -> Levels:
        return [(str(p), q) for p, q in sorted(self.states[at].items(), reverse=True)]


@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 3)), min_size=1, max_size=40),
    st.data(),
)
def test_a_live_book_is_the_exchanges_whatever_is_lost_repeated_or_swapped(
    seeds: list[tuple[int, int]], data: st.DataObject
) -> None:
    exchange = Exchange(seeds)
    sync = BookSync(Counter(), capacity=5)
    wire = [item for item in exchange.diffs if not data.draw(st.booleans()) or data.draw(st.booleans())]
    wire = data.draw(st.permutations(wire)) if data.draw(st.integers(0, 5)) == 0 else wire
    offered = applied = 0
    for item in wire:
        for _ in range(data.draw(st.integers(1, 2))):
            offered += 1
            applied += offer(sync, item) == "applied"
        if not sync.is_live and data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(exchange.diffs)))
            sync.on_snapshot(at, exchange.levels(at), [])
        if sync.is_live:
            assert sync.book.bids() == exchange.levels(sync.sequence)
        else:
            assert len(sync.book) == 0
        assert offered == applied + sync.dropped.total() + len(sync.held)
