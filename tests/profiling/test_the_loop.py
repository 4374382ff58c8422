"""THE LOOP counts what was sent, notices what is missing, and its books equal a naive one."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiling import frames as mixer
from profiling.the_loop import BOOK_UPDATE, BookUpdate, DecodeOnly, Loop, candidates

STREAM = "aaabbb@depth@100ms"
NaiveBook = dict[str, dict[Decimal, tuple[str, str]]]


@pytest.fixture(scope="module")
def recording() -> Path:
    try:
        return mixer.recording_folder()
    except mixer.RecordingError as absent:
        pytest.skip(str(absent))


def depth(first: int, last: int, bids: list[list[str]], asks: list[list[str]]) -> bytes:
    data = {"e": "depthUpdate", "E": first, "s": "AAABBB", "U": first, "u": last, "b": bids, "a": asks}
    return msgspec.json.encode({"stream": STREAM, "data": data})


def snapshot(last: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, bytes]:
    return {"AAABBB": msgspec.json.encode({"lastUpdateId": last, "bids": bids, "asks": asks})}


def set_levels(book: NaiveBook, bids: list[list[str]], asks: list[list[str]]) -> None:
    for side, levels in (("bids", bids), ("asks", asks)):
        for price, quantity in levels:
            book[side].pop(Decimal(price), None)
            if Decimal(quantity):
                book[side][Decimal(price)] = (price, quantity)


def begin(reply: bytes) -> tuple[int, NaiveBook]:
    data = msgspec.json.decode(reply)
    book: NaiveBook = {"bids": {}, "asks": {}}
    set_levels(book, data["bids"], data["asks"])
    return data["lastUpdateId"], book


@pytest.mark.parametrize("fold", [1, 3])
def test_books_equal_a_naive_book_after_every_update(recording: Path, fold: int) -> None:
    frames, replies = mixer.mix(recording, 3000, fold=fold), mixer.snapshots(recording)
    loop = Loop(mixer.streams(frames), replies)
    naive = {symbol: begin(reply)[1] for symbol, reply in replies.items()}
    compared = 0
    for frame in frames:
        assert loop.run([frame]) == 1
        data: dict[str, Any] = msgspec.json.decode(frame)["data"]
        if data.get("e") != "depthUpdate":
            continue
        expected, book = naive[data["s"]], loop.books[data["s"]]
        set_levels(expected, data["b"], data["a"])
        bid, ask = max(expected["bids"]), min(expected["asks"])
        assert bid < ask
        assert book.bids.best() == expected["bids"][bid]
        assert book.asks.best() == expected["asks"][ask]
        assert book.sequence == data["u"]
        compared += 1
    assert compared == 1500
    for symbol, expected in naive.items():
        book = loop.books[symbol]
        assert book.resyncs == 0
        for ladder, side in ((book.bids, expected["bids"]), (book.asks, expected["asks"])):
            best_last = sorted(side, reverse=ladder.sign < 0)
            assert [ladder.texts[key] for key in ladder.keys] == [side[price][0] for price in best_last]
            assert ladder.quantities == dict(side.values())


@pytest.mark.parametrize("with_books", [False, True])
def test_every_consumer_gets_every_event(recording: Path, with_books: bool) -> None:
    frames = mixer.mix(recording, 4000)
    loop = Loop(mixer.streams(frames), mixer.snapshots(recording) if with_books else None)
    assert loop.run(frames) == 4000
    counts = {"BookUpdate": 2000, "BestQuote": 1000, "Trade": 800, "KlineSummary": 200}
    assert [consumer.counts for consumer in loop.consumers] == [counts] * 3
    assert (loop.gaps, loop.duplicates, loop.untrusted) == (0, 0, 0)
    assert loop.latest.keys() == set(mixer.streams(frames))
    assert DecodeOnly(mixer.streams(frames)).run(frames) == 4000


def test_what_the_harness_takes_handles_every_frame_each_time(recording: Path) -> None:
    frames = mixer.mix(recording, 400)
    for run in candidates(frames, mixer.snapshots(recording)).values():
        assert [run(), run()] == [400, 400]


def test_a_run_begins_anew_after_clear(recording: Path) -> None:
    frames = mixer.mix(recording, 400)
    loop = Loop(mixer.streams(frames), mixer.snapshots(recording))
    assert loop.run(frames) == 400
    assert loop.run(frames) == 0
    assert loop.duplicates == 400
    loop.clear()
    assert loop.run(frames) == 400
    assert loop.duplicates == 0


def test_gaps_and_duplicates_of_a_stream_are_seen() -> None:
    loop = Loop([STREAM])
    frames = [depth(5, 6, [], []), depth(7, 9, [], []), depth(8, 9, [], []), depth(11, 12, [], [])]
    assert loop.run(frames) == 3
    assert (loop.gaps, loop.duplicates) == (1, 1)
    assert loop.latest[STREAM].seq_last == 12


def test_the_event_carries_what_the_frame_said() -> None:
    loop = Loop([STREAM])
    loop.run([depth(5, 6, [["10.10", "1.50"]], [])])
    event = loop.latest[STREAM]
    key = (event.provider, event.symbol, event.type, event.channel)
    assert key == ("binance", "AAABBB", BOOK_UPDATE, "depth@100ms")
    assert (event.seq_first, event.seq_last, event.exchange_ts) == (5, 6, 5_000_000)
    assert event.ingest_ts > 0
    assert isinstance(event.payload, BookUpdate)
    assert (event.payload.bids, event.payload.asks) == ([("10.10", "1.50")], [])


def test_a_book_drops_what_its_snapshot_holds_and_ignores_unknown_deletes() -> None:
    loop = Loop([STREAM], snapshot(10, [["9.0", "1"]], [["11.0", "1"], ["12.0", "0.5"]]))
    frames = [
        depth(8, 9, [["9.0", "7"]], []),
        depth(10, 11, [["8.0", "0.00"]], [["11.0", "0.00"]]),
        depth(12, 12, [["9.5", "0.25"]], []),
    ]
    assert loop.run(frames) == 2
    book = loop.books["AAABBB"]
    assert (book.bids.best(), book.asks.best()) == (("9.5", "0.25"), ("12.0", "0.5"))
    assert (book.sequence, book.resyncs, loop.untrusted) == (12, 0, 1)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(depth(13, 13, [], []), id="gap"),
        pytest.param(depth(12, 12, [["11.0", "1"]], []), id="crossed"),
    ],
)
def test_a_faulty_book_is_not_delivered_and_begins_anew(fault: bytes) -> None:
    loop = Loop([STREAM], snapshot(10, [["9.0", "1"]], [["11.0", "1"]]))
    assert loop.run([depth(11, 11, [], []), fault]) == 1
    assert loop.books["AAABBB"].resyncs == 1
    assert loop.untrusted == 1
    assert loop.run([depth(14, 14, [], [])]) == 0  # the only snapshot is too old by now


def test_a_side_may_be_empty() -> None:
    loop = Loop([STREAM], snapshot(10, [["9.0", "1"]], [["11.0", "1"]]))
    assert loop.run([depth(11, 11, [["9.0", "0"]], [])]) == 1
    assert loop.books["AAABBB"].bids.best() is None


def test_frames_of_other_streams_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        Loop(["other@depth@100ms"]).run([depth(1, 1, [], [])])
    with pytest.raises(KeyError):
        Loop([STREAM], {"OTHER": b"{}"})
