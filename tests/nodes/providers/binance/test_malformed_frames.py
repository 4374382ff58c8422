"""Malformed traffic through the real decoder: each frame has one outcome, and the next good one decodes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.decode import Reading

MIB = 1024 * 1024
AT = 1_672_515_782_136
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT",'
    b'"t":%d,"p":"1.5","q":"2","T":7,"m":true,"M":true}}'
)
GOOD = TRADE % (AT, 1)

NESTED = b"[" * 100_000 + b"]" * 100_000
MALFORMED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "malformed_json"),
    "no json": (b"hello", "malformed_json"),
    "binary": (bytes(range(256)), "malformed_json"),
    "truncated": (GOOD[:-3], "malformed_json"),
    "cut in a string": (GOOD[:20], "malformed_json"),
    "trailing garbage": (GOOD + b"}", "malformed_json"),
    "two frames in one": (GOOD + GOOD, "malformed_json"),
    "NaN": (GOOD.replace(b'"T":7', b'"T":NaN'), "malformed_json"),
    "Infinity": (GOOD.replace(b'"T":7', b'"T":-Infinity'), "malformed_json"),
    "half a surrogate pair": (GOOD.replace(b"1.5", rb"\ud800"), "malformed_json"),
    "nesting without end": (b"[" * 1_000_000, "wrong_type"),
    "nesting in the data": (b'{"stream":"btcusdt@trade","data":%b}' % NESTED, "malformed_json"),
    "nesting beside the data": (b'{"a":%b,"stream":"btcusdt@trade"}' % NESTED, "malformed_json"),
    "nesting in the payload": (GOOD.replace(b'"M":true', b'"M":' + NESTED), "malformed_json"),
    "invalid UTF-8 in a price": (GOOD.replace(b"1.5", b"\xff\xfe"), "invalid_utf8"),
    "invalid UTF-8 in the name": (GOOD.replace(b"btcusdt", b"btc\xc3"), "invalid_utf8"),
    "an array": (b"[1,2]", "wrong_type"),
    "a number": (b"17", "wrong_type"),
    "null": (b"null", "wrong_type"),
    "a name that is none": (GOOD.replace(b'"btcusdt@trade"', b"5"), "wrong_type"),
    "no data": (b'{"stream":"btcusdt@trade"}', "wrong_type"),
    "data null": (b'{"stream":"btcusdt@trade","data":null}', "wrong_type"),
    "data an array": (b'{"stream":"btcusdt@trade","data":[]}', "wrong_type"),
    "a field missing": (GOOD.replace(b'"t":1,', b""), "wrong_type"),
    "a price as a number": (GOOD.replace(b'"1.5"', b"1.5"), "wrong_type"),
    "an id as a string": (GOOD.replace(b'"t":1', b'"t":"1"'), "wrong_type"),
    "an id below zero": (GOOD.replace(b'"t":1', b'"t":-1'), "wrong_type"),
    "an id beyond 63 bits": (TRADE % (AT, 2**63), "wrong_type"),
    "an id beyond 64 bits": (TRADE % (AT, 2**64), "wrong_type"),
    "an id of 5000 digits": (TRADE % (AT, 10**4000), "wrong_type"),
    "a time in exponents": (GOOD.replace(b'"T":7', b'"T":1e400'), "wrong_type"),
    "a time beyond 64 bits of ns": (TRADE % (2**62, 1), "wrong_type"),
    "another kind of data": (GOOD.replace(b'"e":"trade"', b'"e":"aggTrade"'), "unknown_kind"),
    "a kind that is no string": (GOOD.replace(b'"e":"trade"', b'"e":7'), "unknown_kind"),
    "an endless kind": (GOOD.replace(b'"e":"trade"', b'"e":"%b"' % (b"x" * MIB)), "unknown_kind"),
    "an unknown channel": (GOOD.replace(b"@trade", b"@avgPrice"), "unknown_kind"),
    "a channel with more to it": (GOOD.replace(b"@trade", b"@trade@100ms"), "unknown_kind"),
    "an unknown interval": (GOOD.replace(b"@trade", b"@kline_7m"), "unknown_kind"),
    "no channel": (GOOD.replace(b"@trade", b""), "unknown_kind"),
    "all markets": (GOOD.replace(b"btcusdt@trade", b"!miniTicker@arr"), "unknown_kind"),
    "an empty name": (GOOD.replace(b"btcusdt@trade", b""), "unknown_kind"),
    "an empty object": (b"{}", "unknown_kind"),
    "data without a stream": (b'{"data":{"e":"trade"}}', "unknown_kind"),
    "an event that is not combined": (GOOD[33:-1], "unknown_kind"),
    "the parser's own inside": (b'{"stream":"no stream","never":1}', "unknown_kind"),
    "an unknown symbol": (GOOD.replace(b"btcusdt", b"nosuch"), "unknown_symbol"),
    "no symbol": (GOOD.replace(b"btcusdt", b""), "unknown_symbol"),
    "a symbol in upper case": (GOOD.replace(b"btcusdt", b"BTCUSDT"), "unknown_symbol"),
    "a symbol without end": (GOOD.replace(b"btcusdt", b"x" * 100_000), "oversized"),
    "nine MiB": (GOOD.replace(b"1.5", b"1" * 9 * MIB), "oversized"),
    "nine MiB of nothing": (b" " * 9 * MIB, "oversized"),
}


@pytest.mark.parametrize("is_known", [False, True], ids=["before the stream is known", "after"])
@pytest.mark.parametrize(("payload", "reason"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_traffic_is_dead_lettered_and_the_next_frame_decodes(
    new_desk: Any, payload: bytes, reason: str, is_known: bool
) -> None:
    desk = new_desk()
    if is_known:
        desk.feed(GOOD)
    known = set(desk.codec.routes)
    assert desk.feed(payload) == []
    [letter] = desk.letters.read()
    assert (letter.node, letter.reason, letter.at, letter.provider) == ("events", reason, 77, "binance")
    assert (letter.original, letter.original_bytes) == (payload[:4096], len(payload))
    assert 0 < len(letter.detail) < 400
    assert set(desk.codec.routes) == known, "nothing is learnt from what is refused"
    assert len(desk.feed(GOOD, TRADE % (AT, 2))) == 2
    assert desk.decoder.dead_lettered == 1
    assert desk.control == []


def test_what_is_wrong_with_a_field_is_said_with_its_place(new_desk: Any) -> None:
    desk = new_desk()
    desk.feed(GOOD, GOOD.replace(b'"t":1', b'"t":"1"'))
    [letter] = desk.letters.read()
    assert letter.detail == "Expected `int`, got `str` - at `$.data.t`"


WORDS = [
    b'"stream"',
    b'"data"',
    b'"btcusdt@trade"',
    b'"e"',
    b'"trade"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"1",
]
ANYTHING = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(WORDS), max_size=20).map(b"".join),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["stream", "data", "e", "k", "id"]), inner)
        ),
    ).map(lambda value: repr(value).replace("'", '"').encode()),
    st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=3)).map(
        lambda at: GOOD[: at[0]] + at[1] + GOOD[at[0] + len(at[1]) :]
    ),
    st.sampled_from(["trade", "kline_1m", "depth@100ms", "bookTicker"]).flatmap(
        lambda channel: st.dictionaries(
            st.sampled_from(list("eEtTpqmUubaBAk")), st.integers() | st.text(max_size=3) | st.booleans()
        ).map(lambda data: repr({"stream": f"btcusdt@{channel}", "data": data}).replace("'", '"').encode())
    ),
)


@given(payloads=st.lists(ANYTHING, max_size=8), levels=st.sampled_from(["eager", "lazy"]))
def test_no_bytes_raise_and_each_frame_has_one_outcome(
    new_desk: Any, payloads: list[bytes], levels: Reading
) -> None:
    desk = new_desk(levels)
    events = desk.feed(*payloads)
    assert len(events) + len(desk.letters) + desk.decoder.control == len(payloads)
    known = {"malformed_json", "invalid_utf8", "wrong_type", "unknown_kind", "unknown_symbol", "oversized"}
    assert set(desk.letters.by_reason()) <= known
    assert len(desk.feed(GOOD)) == 1
