"""Put in and taken out in any order: what a mailbox promises, and an account that balances."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.context import Context
from flow.events.payloads import BookSnapshotData, BookUpdateData, GapData, KlineData
from flow.events.stream import EventType, Lane, Stream
from flow.graph.spec import MailboxSpec
from flow.runtime.mailbox import Mailbox
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import make_event, make_stream
from flow.testing.mailboxes import CountingMailbox

POLICIES = ("latest_by_key", "drop_oldest", "drop_newest", "block")
TYPES = [kind for kind in EventType if kind not in (EventType.GAP, EventType.MERGED)]
CHANNELS = {EventType.BOOK_SNAPSHOT: "depth", EventType.BOOK_UPDATE: "depth"}
STREAMS = {
    (kind, symbol): make_stream(event_type=kind, symbol=symbol, channel=CHANNELS.get(kind, kind.value))
    for kind in TYPES
    for symbol in ("BTC-USDT", "ETH-USDT")
}


def kline(*, is_closed: bool = False) -> KlineData:
    return KlineData("1m", 0, 60, "1", "1", "1", "1", "1", "1", 1, is_closed)


def payload_of(kind: EventType, number: int) -> Any:
    if kind is EventType.KLINE:
        return kline(is_closed=number % 5 == 0)
    if kind is EventType.BOOK_UPDATE:
        return BookUpdateData([(str(number % 7), str(number))], [])
    if kind is EventType.BOOK_SNAPSHOT:
        return BookSnapshotData([(str(number % 7), "1")], [])
    return None


def event(kind: EventType, number: int, symbol: str = "BTC-USDT", **more: Any) -> Any:
    more.setdefault("payload", payload_of(kind, number))
    return make_event(number, STREAMS[kind, symbol], **more)


def box(capacity: int = 4, when_full: Any = "latest_by_key", **more: Any) -> CountingMailbox:
    context = more.pop("context", None) or Context("bus", clock=lambda: 77)
    return CountingMailbox("consumer", MailboxSpec(capacity=capacity, when_full=when_full), context, **more)


def balance(mailbox: CountingMailbox, taken: int) -> None:
    assert mailbox.offered == taken + mailbox.coalesced + mailbox.dropped.total() + mailbox.in_flight


steps = st.lists(
    st.one_of(st.just("take"), st.tuples(st.sampled_from(TYPES), st.sampled_from(["BTC-USDT", "ETH-USDT"]))),
    max_size=120,
)


def play(mailbox: CountingMailbox, script: list[Any]) -> tuple[list[Any], list[Any]]:
    """Put and take as the script says, checking the account at every step; gives what was put and taken."""
    put: list[Any] = []
    taken: list[Any] = []
    for number, step in enumerate([*script, "take"], 1):
        if step == "take":
            taken += mailbox.take_now()
        else:
            put.append(event(step[0], number, step[1]))
            mailbox.put(put[-1])
        balance(mailbox, len(taken))
        assert mailbox.in_flight >= 0
    assert mailbox.in_flight == 0
    return put, taken


@given(script=steps, capacity=st.integers(1, 12), when_full=st.sampled_from(POLICIES))
def test_the_account_balances_at_every_step(script: list[Any], capacity: int, when_full: str) -> None:
    mailbox = box(capacity=capacity, when_full=when_full)
    put, taken = play(mailbox, script)
    markers = [one for one in taken if one.event_type is EventType.GAP]
    assert len(markers) == mailbox.markers
    assert len(put) == len(taken) - len(markers) + mailbox.coalesced + mailbox.dropped.total()
    assert sum(marker.payload.missed for marker in markers) == mailbox.dropped.total()


@given(script=steps, capacity=st.integers(1, 6), when_full=st.sampled_from(POLICIES))
def test_critical_events_are_never_dropped_and_keep_their_order(
    script: list[Any], capacity: int, when_full: str
) -> None:
    put, taken = play(box(capacity=capacity, when_full=when_full), script)
    assert critical_of(taken) == critical_of(put)


def critical_of(elements: list[Any]) -> list[int]:
    kinds = (EventType.EXEC_REPORT, EventType.CONTROL_ACK, EventType.CONTROL_RESULT)
    return [one.sequence for one in elements if one.event_type in kinds]


@given(script=steps, capacity=st.integers(1, 6), when_full=st.sampled_from(POLICIES))
def test_every_stream_stays_in_order_and_its_gaps_are_told(
    script: list[Any], capacity: int, when_full: str
) -> None:
    put, taken = play(box(capacity=capacity, when_full=when_full), script)
    by_stream: dict[Stream, list[int]] = {}
    for one in taken:
        if one.event_type is not EventType.GAP:
            by_stream.setdefault(one.stream, []).append(one.sequence)
    assert all(got == sorted(set(got)) for got in by_stream.values())
    trades = [one.sequence for one in put if one.event_type is EventType.TRADE]
    kept = [one.sequence for one in taken if one.event_type is EventType.TRADE]
    missed = [one.payload for one in taken if one.event_type is EventType.GAP and one.channel == "Trade"]
    assert len(trades) - len(kept) == sum(gap.missed for gap in missed)
    for lost in set(trades) - set(kept):
        assert any(gap.first_sequence <= lost <= gap.last_sequence for gap in missed)


@given(script=steps, capacity=st.integers(1, 6))
def test_the_last_of_every_foldable_stream_arrives(script: list[Any], capacity: int) -> None:
    put, taken = play(box(capacity=capacity), script)
    foldable = {EventType.TICKER, EventType.BEST_QUOTE}
    last_put = {one.stream: one.sequence for one in put if one.event_type in foldable}
    last_taken = {one.stream: one.sequence for one in taken if one.event_type in foldable}
    assert last_taken == last_put


@given(script=steps, capacity=st.integers(1, 12))
def test_block_loses_and_changes_nothing(script: list[Any], capacity: int) -> None:
    put, taken = play(box(capacity=capacity, when_full="block"), script)
    assert taken == put


@given(script=steps)
def test_what_fits_is_not_touched(script: list[Any]) -> None:
    put, taken = play(box(capacity=200), script)
    assert taken == put


@given(script=steps, capacity=st.integers(1, 12), when_full=st.sampled_from(POLICIES))
def test_a_run_is_put_as_one_after_another(script: list[Any], capacity: int, when_full: Any) -> None:
    spec = MailboxSpec(capacity=capacity, when_full=when_full)
    in_runs, one_by_one = (Mailbox("consumer", spec, Context("bus", clock=lambda: 77)) for _ in range(2))
    run: list[Any] = []
    for number, step in enumerate([*script, "take", "take"], 1):
        if step != "take":
            run.append(event(step[0], number, step[1]))
            continue
        first, rest = run[: len(run) // 3], run[len(run) // 3 :]
        in_runs.put_many(first)
        in_runs.put_many(rest)
        for one in run:
            one_by_one.put(one)
        run = []
        assert rows(in_runs.take_now()) == rows(one_by_one.take_now())
    assert (in_runs.coalesced, in_runs.dropped) == (one_by_one.coalesced, one_by_one.dropped)


def rows(batch: list[Any]) -> list[Any]:
    return [one.row() for one in batch]


def test_what_went_through_the_lanes_is_counted_by_stream() -> None:
    mailbox = box(capacity=2)
    mailbox.put("of no stream")
    for number in (1, 2, 3):
        mailbox.put(event(EventType.TICKER, number))
    assert mailbox.sorted_in == {STREAMS[EventType.TICKER, "BTC-USDT"]: 3}


def test_what_is_dropped_is_in_the_dead_letters() -> None:
    letters = DeadLetters()
    mailbox = box(1, "drop_oldest", context=Context("bus", dead_letters=letters))
    for number in (7, 8):
        mailbox.put(event(EventType.TRADE, number))
    (letter,) = letters.read()
    assert (letter.reason, letter.detail) == ("mailbox_full", "mailbox of consumer")
    assert isinstance(letter.original, dict)
    assert letter.original["sequence"] == 7


def test_the_markers_of_all_batches_are_counted_and_without_folding_no_coalescing_is_told() -> None:
    mailbox = box(1, "drop_oldest")
    for number in (1, 2):
        mailbox.put(event(EventType.TRADE, 2 * number))
        mailbox.put(event(EventType.TRADE, 2 * number + 1))
        assert len(mailbox.take_now()) == 2
        assert mailbox.markers == number
    assert mailbox.context.telemetry.count("coalescing.applied") == 0


@pytest.mark.parametrize(("waiting", "is_told"), [(3, False), (4, True)])
def test_the_bound_of_critical_events_is_told_of_beyond_it(waiting: int, is_told: bool) -> None:
    mailbox = box(1)
    mailbox.critical_bound = 3
    for number in range(waiting):
        mailbox.put(event(EventType.EXEC_REPORT, number))
    told = mailbox.context.telemetry.counts
    assert told[("bus", "backpressure.triggered", "consumer", "critical_bound")] == is_told


def test_the_types_here_cover_every_lane() -> None:
    assert {stream.lane for stream in STREAMS.values()} == set(Lane)


async def test_also_where_all_was_given_up_the_gap_is_told_at_once() -> None:
    mailbox, unreadable = box(capacity=1), object()
    for number in (1, 2):
        mailbox.put(event(EventType.BOOK_UPDATE, number, payload=unreadable))
    mailbox.complete()
    (marker,) = await mailbox.take()
    assert marker.payload == GapData(2, 1, 2, "unreadable")
    assert await mailbox.take() == []
    balance(mailbox, 1)
