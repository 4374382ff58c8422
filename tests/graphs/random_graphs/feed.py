"""What a source of a random graph emits, out of a text of hexadecimal digits: two digits are an action.

The low half of an action says what is done, the high half on which stream. A pause ends a run: what stands
between two pauses is emitted together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from flow.events.canonical import PooledEvent
from flow.events.payloads import (
    BestQuoteData,
    BookSnapshotData,
    BookUpdateData,
    KlineData,
    Payload,
    TickerData,
    TradeData,
)
from flow.events.stream import EventType, Sequence, Stream

__all__ = ["GARBAGE", "SYMBOLS", "Draft", "Pause", "Unreadable", "drafts", "frames", "streams"]

SYMBOLS: Final = ("AAA-USDT", "BBB-USDT")
PAUSES_MS: Final = {11: 1, 12: 20, 13: 170}
REPORTS: Final = (4, 5, 15)
GARBAGE: Final[tuple[Any, ...]] = (None, 42, "text", (), object)
START_MS: Final = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Pause:
    ms: int


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be: numbers `first..last` of a stream."""

    stream: Stream
    first: int
    last: int
    payload: Payload

    def write(self, event: PooledEvent, now: int) -> None:
        event.payload = self.payload
        event.first_sequence, event.sequence = self.first, self.last
        event.exchange_ts = (START_MS + self.last) * 1_000_000
        event.ingest_ts = now


class Unreadable:
    """A payload that raises on whatever is read of it, as a lazily read one may."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ValueError(f"{name} can't be read")

    def row(self) -> dict[str, Any]:
        raise ValueError("the payload can't be read")


UNREADABLE: Final = Unreadable()


def streams(provider: str) -> list[Stream]:
    """A provider's streams, one object each: all kinds of numbering and lanes, the last one critical."""
    kinds = (
        (SYMBOLS[0], EventType.TRADE, Sequence.CONTIGUOUS),
        (SYMBOLS[0], EventType.BOOK_UPDATE, Sequence.RANGE),
        (SYMBOLS[1], EventType.BEST_QUOTE, Sequence.MONOTONE),
        (SYMBOLS[1], EventType.TICKER, Sequence.NONE),
        (SYMBOLS[0], EventType.BEST_QUOTE, Sequence.MONOTONE),
        (SYMBOLS[0], EventType.BOOK_SNAPSHOT, Sequence.MONOTONE),
        (SYMBOLS[1], EventType.KLINE, Sequence.NONE),
        (SYMBOLS[0], EventType.EXEC_REPORT, Sequence.CONTIGUOUS),
    )
    return [Stream(provider, symbol, kind, kind.value, sequence) for symbol, kind, sequence in kinds]


def _payload(event_type: EventType, number: int) -> Payload:
    price = f"{100 + number % 7}.50"
    match event_type:
        case EventType.BOOK_UPDATE:
            return BookUpdateData([(price, str(number % 3))], [])
        case EventType.BOOK_SNAPSHOT:
            return BookSnapshotData([("100.00", "1")], [("120.00", "1")])
        case EventType.BEST_QUOTE:
            return BestQuoteData("100.00", "1", price, "2")
        case EventType.TICKER:
            return TickerData(price, "1", "200", "1", "10", "1000")
        case EventType.KLINE:
            is_closed = number % 3 == 0
            return KlineData("1m", 0, 60_000, "1", "2", "1", price, "3", "4", number, is_closed)
        case _:
            return TradeData(price, "1", number, "buy")


def drafts(text: str, known: list[Stream], *, reports: bool) -> Iterator[Pause | Draft | Any]:
    """Drafts of events, garbage and pauses. Reports are numbered without a fault and always readable."""
    numbers = dict.fromkeys(known, 0)
    ordinary, report_stream = known[:-1], known[-1]
    for action in bytes.fromhex(text):
        what, stream = action & 15, ordinary[(action >> 4) % len(ordinary)]
        if what in PAUSES_MS:
            yield Pause(PAUSES_MS[what])
        elif what == 10:
            yield GARBAGE[(action >> 4) % len(GARBAGE)]
        elif what in REPORTS and reports:
            numbers[report_stream] += 1
            number = numbers[report_stream]
            yield Draft(report_stream, number, number, _payload(report_stream.event_type, number))
        else:
            yield from _ordinary(what, stream, numbers)


def _ordinary(what: int, stream: Stream, numbers: dict[Stream, int]) -> Iterator[Draft]:
    """The next of a stream, one behind a gap, two in the wrong order, a repeat, or an unreadable one."""
    if what == 9 and numbers[stream]:
        yield _draft(stream, numbers[stream])
        return
    number = numbers[stream] + (3 if what in (6, 7) else 1)
    if what == 8:
        yield _draft(stream, number + 1)
        yield _draft(stream, number)
        number += 1
    elif what == 14:
        yield Draft(stream, number, number, UNREADABLE)
    else:
        yield _draft(stream, number)
    numbers[stream] = number


def _draft(stream: Stream, number: int) -> Draft:
    return Draft(stream, number, number, _payload(stream.event_type, number))


MALFORMED: Final = (
    b"{",
    b"\xff\xfe",
    b'{"stream":"zzzusdt@trade","data":{}}',
    b'{"stream":"aaausdt@what"}',
    b"[]",
)
ANSWER: Final = b'{"result":null,"id":1}'


def frames(text: str) -> Iterator[Pause | bytes | Any]:
    """The same as frames of Binance's combined streams: trades, diffs and quotes, answers, malformed ones."""
    numbers = [0, 0, 0, 0]
    for action in bytes.fromhex(text):
        what, kind = action & 15, (action >> 4) % 4
        if what in PAUSES_MS:
            yield Pause(PAUSES_MS[what])
        elif what == 10:
            yield GARBAGE[(action >> 4) % len(GARBAGE)]
        elif what == 14:
            yield MALFORMED[(action >> 4) % len(MALFORMED)]
        elif what == 15:
            yield ANSWER
        elif what == 8:
            yield _frame(kind, numbers[kind] + 2)
            yield _frame(kind, numbers[kind] + 1)
            numbers[kind] += 2
        else:
            numbers[kind] += {6: 3, 7: 3, 9: 0}.get(what, 1)
            yield _frame(kind, numbers[kind])


def _frame(kind: int, number: int) -> bytes:
    at = START_MS + number
    if kind < 2:
        symbol = ("aaausdt", "bbbusdt")[kind]
        name = f"{symbol}@trade"
        data = (
            f'{{"e":"trade","E":{at},"s":"{symbol.upper()}","t":{number},"p":"1.50","q":"2.0","T":{at},'
            f'"m":true,"M":true}}'
        )
    elif kind == 2:
        name = "aaausdt@depth@100ms"
        levels = '[["1.50","2"]]' if number % 5 else '[["1.50",2]]'  # read lazily, every fifth can't be
        data = f'{{"e":"depthUpdate","E":{at},"s":"AAAUSDT","U":{number},"u":{number},"b":{levels},"a":[]}}'
    else:
        name = "bbbusdt@bookTicker"
        data = f'{{"u":{number},"s":"BBBUSDT","b":"1.49","B":"1","a":"1.51","A":"1"}}'
    return f'{{"stream":"{name}","data":{data}}}'.encode()
