"""Dead letters: bounded, critical ones last to go, and able to describe whatever comes."""

from __future__ import annotations

import logging
import re
from typing import Any

import msgspec
import pytest

from flow.context import Context
from flow.errors import UsedAfterPut
from flow.events import Connection, EventType, PooledEvent, ProviderRaw, WsFrame
from flow.events.payloads import BookUpdateData
from flow.telemetry.dead_letters import MAX_LEVELS, MAX_ORIGINAL_BYTES, DeadLetter, DeadLetters
from flow.testing import EventFactory, assert_nothing_out, make_event, make_stream


def letter(element: Any, node: str = "node", reason: str = "reason") -> DeadLetter:
    return DeadLetter.of(node, reason, element, "detail", 5)


def critical(n: int) -> Any:
    return make_event(n, make_stream(event_type=EventType.EXEC_REPORT))


def frame(payload: Any) -> WsFrame:
    made = WsFrame(Connection("binance", 1))
    made.payload = payload
    return made


def test_a_frame_is_kept_as_its_bytes_cut_at_the_bound() -> None:
    kept = letter(frame(b"x" * 5000))
    assert kept.original == b"x" * MAX_ORIGINAL_BYTES
    assert (kept.original_bytes, kept.provider, kept.is_critical) == (5000, "binance", False)
    assert (kept.node, kept.reason, kept.detail, kept.at) == ("node", "reason", "detail", 5)


@pytest.mark.parametrize("payload", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_bytes_of_any_kind_are_copied(payload: Any) -> None:
    assert (letter(payload).original, letter(frame(payload)).original) == (b"abc", b"abc")


def test_text_where_bytes_belong_is_kept_too() -> None:
    assert letter(frame("grün")).original == "grün".encode()


def test_an_event_is_kept_as_its_row() -> None:
    event = make_event(7)
    kept = letter(event)
    assert (kept.original, kept.provider, kept.is_critical) == (event.row(), "binance", False)
    assert letter(critical(1)).is_critical


def test_a_pooled_event_may_go_back_afterwards() -> None:
    make = EventFactory()
    event = make(7)
    kept = letter(event)
    make.pools.by_kind["CanonicalEvent"].shelf(make.stream).put(event)
    assert isinstance(kept.original, dict)
    assert (kept.original["sequence"], kept.original["payload"]["trade_id"]) == (7, 7)
    assert_nothing_out(make.pools)


def test_a_long_book_is_cut_and_says_so() -> None:
    levels = [(str(n), "1") for n in range(1000)]
    kept = letter(make_event(1, payload=BookUpdateData(levels, levels[:3]))).original
    assert isinstance(kept, dict)
    assert len(kept["payload"]["bids"]) == MAX_LEVELS
    assert kept["payload"]["bids_cut_from"] == 1000
    assert len(kept["payload"]["asks"]) == 3
    assert "asks_cut_from" not in kept["payload"]


class Lazy:
    def row(self) -> dict[str, Any]:
        raise ValueError("malformed levels")


class Poisoned:
    def row(self) -> dict[str, Any]:
        raise UsedAfterPut("put in test")

    def __repr__(self) -> str:
        raise UsedAfterPut("put in test")


class Mute:
    def __repr__(self) -> str:
        raise ValueError("no words")


def test_what_can_not_be_read_is_named() -> None:
    assert letter(make_event(7, payload=Lazy())).original == {
        "event_id": "binance:BTC-USDT:Trade:trade:7",
        "unreadable": "malformed levels",
    }


def test_nothing_is_too_broken_to_be_described() -> None:
    halfway = PooledEvent(make_stream())
    del halfway.stream
    raw = ProviderRaw(make_stream())
    raw.payload = {"p": "1"}
    for element in (None, 7, "x" * 9000, halfway, Mute(), object(), frame(None), raw):
        kept = letter(element)
        assert len(msgspec.json.encode(kept)) < 3 * MAX_ORIGINAL_BYTES
    assert letter(raw).original == {"repr": "{'p': '1'}"}
    assert letter(Mute()).original == {"type": "Mute", "unreadable": "ValueError: no words"}


def test_ownership_bugs_pass() -> None:
    for element in (Poisoned(), make_event(1, payload=Poisoned())):
        with pytest.raises(UsedAfterPut):
            letter(element)


def test_the_oldest_ordinary_letter_goes_first_and_critical_ones_last() -> None:
    letters = DeadLetters(capacity=3)
    for n in (1, 2):
        letters.add(letter(make_event(n)))
    for n in (3, 4):
        letters.add(letter(critical(n)))
    assert sequences(letters) == [2, 3, 4]
    letters.add(letter(critical(5)))
    assert sequences(letters) == [3, 4, 5]
    letters.add(letter(make_event(6)))
    assert sequences(letters) == [3, 4, 5]
    letters.add(letter(critical(7)))
    assert sequences(letters) == [4, 5, 7]
    assert (len(letters), letters.evicted) == (3, 4)


def sequences(letters: DeadLetters) -> list[int]:
    return [kept.original["sequence"] for kept in letters.read() if isinstance(kept.original, dict)]


def test_counts_cover_what_was_evicted() -> None:
    letters = DeadLetters(capacity=1)
    for node, reason in (("a", "x"), ("a", "y"), ("b", "x"), ("b", "x")):
        letters.add(letter(1, node, reason))
    assert len(letters) == 1
    assert letters.by_reason() == {"x": 3, "y": 1}
    assert letters.of_node("b") == {"x": 2}


def test_readers_get_the_letters_of_their_node(caplog: pytest.LogCaptureFixture) -> None:
    def break_down(kept: DeadLetter) -> None:
        raise ValueError("out of paper")

    letters = DeadLetters()
    read: list[DeadLetter] = []
    letters.listeners["a"] = [break_down, read.append]
    with caplog.at_level(logging.ERROR):
        letters.add(letter(1, "a"))
    letters.add(letter(2, "b"))
    assert [kept.original for kept in read] == [{"repr": "1"}]
    assert "out of paper" in caplog.text


def test_a_readers_ownership_bug_passes() -> None:
    def misuse(kept: DeadLetter) -> None:
        raise UsedAfterPut("put in test")

    letters = DeadLetters()
    letters.listeners["a"] = [misuse]
    with pytest.raises(UsedAfterPut):
        letters.add(letter(1, "a"))


def test_a_context_refuses_with_its_own_name_and_clock() -> None:
    letters = DeadLetters()
    Context("decode", dead_letters=letters, clock=lambda: 42).refuse(b"?", "malformed_json", "at byte 0")
    assert letters.read() == [DeadLetter("decode", "malformed_json", "at byte 0", 42, b"?", 1)]


def test_the_first_of_a_kind_is_logged_with_the_line_that_raised(caplog: pytest.LogCaptureFixture) -> None:
    letters = DeadLetters()
    with caplog.at_level(logging.INFO, "flow.telemetry.dead_letters"):
        for n in range(3):
            try:
                raise ValueError("no good")
            except ValueError as error:
                letters.add(DeadLetter.of("mine", "ValueError", n, str(error), 5))
        letters.add(letter(1, "mine", "late"))
    first, second = caplog.messages
    assert re.fullmatch(
        r"first dead letter of mine: ValueError: no good at .*test_dead_letters.py:\d+", first
    )
    assert second == "first dead letter of mine: late: detail"
