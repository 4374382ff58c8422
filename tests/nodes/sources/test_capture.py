"""The capture format: exact times, streamed, compressed or not; one clear error for what is broken."""

from __future__ import annotations

import gzip
import io
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import FlowError
from nodes.sources import capture
from nodes.sources.capture import (
    CaptureError,
    CaptureWriter,
    Frames,
    HttpReply,
    Note,
    Open,
    Received,
    Record,
    Sent,
    read_records,
    read_replies,
    read_runs,
)

SAMPLE = b"""\
configuration: {"a": "b: c"}
https://x.test/info?symbol=A -> 1633998511.132921: {"x":1}

wss://x.test/ws <-> 1633998511.159679
wss://x.test/ws <- 1633998511.2: {"op": "a -> b"}
1633998512.0633569: {"u": "1 -> 2"}
1633998512.5: not: json
1633998512.564785:\x20
1633998512: whole seconds
5.25: early
https://x.test/depth -> 1633998513.743208000: {"d": "5: 6"}

1633998599.123456789: \xff\x00last"""

RECORDS: list[Record] = [
    Note("configuration", b'{"a": "b: c"}'),
    HttpReply("https://x.test/info?symbol=A", 1633998511132921000, b'{"x":1}'),
    Open("wss://x.test/ws", 1633998511159679000),
    Sent("wss://x.test/ws", 1633998511200000000, b'{"op": "a -> b"}'),
    Received(1633998512063356900, b'{"u": "1 -> 2"}'),
    Received(1633998512500000000, b"not: json"),
    Received(1633998512564785000, b""),
    Received(1633998512000000000, b"whole seconds"),
    Received(5250000000, b"early"),
    HttpReply("https://x.test/depth", 1633998513743208000, b'{"d": "5: 6"}'),
    Received(1633998599123456789, b"\xff\x00last"),
]


def written(folder: Path, data: bytes) -> Path:
    path = folder / "capture.raw"
    path.write_bytes(data)
    return path


@pytest.fixture(params=[1, 7, 64 * 1024])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks so small that every line is cut somewhere."""
    monkeypatch.setattr(capture, "BLOCK_BYTES", request.param)
    monkeypatch.setattr(capture, "COMPRESSED_BYTES", request.param)
    return request.param


PACKERS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip members": lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:]),
    "zstandard": zstandard.compress,
    "zstandard frames": lambda data: zstandard.compress(data[:99]) + zstandard.compress(data[99:]),
}


@pytest.mark.parametrize("packed", PACKERS)
def test_every_kind_of_record_however_the_file_is_packed(tmp_path: Path, block_bytes: int, packed: str):
    path = written(tmp_path, PACKERS[packed](SAMPLE))
    assert list(read_records(path)) == RECORDS
    assert list(read_replies(path)) == [RECORDS[1], RECORDS[9]]


def test_consecutive_frames_come_in_lists(tmp_path: Path):
    path = written(tmp_path, b"wss://a <-> 1000000000.0\n" + b"1000000000.25: a\n1000000000.5: b\n" * 3)
    opening, frames = read_runs(path)
    assert opening == Open("wss://a", 10**18)
    assert frames == Frames([10**18 + 250_000_000, 10**18 + 500_000_000] * 3, [b"a", b"b"] * 3)


@given(
    seconds=st.integers(0, 10**11),
    decimals=st.text("0123456789", max_size=9),
    others=st.lists(st.text("0123456789", min_size=1, max_size=9), max_size=3),
)
def test_times_are_exact_to_the_ns(tmp_path_factory, seconds: int, decimals: str, others: list[str]):
    texts = [
        f"{seconds}.{decimals}" if decimals else str(seconds),
        *(f"1633998512.{rest}" for rest in others),
    ]
    path = written(tmp_path_factory.mktemp("times"), "".join(f"{text}: x\n" for text in texts).encode())
    found = [record.ts_ns for record in read_records(path) if isinstance(record, Received)]
    assert found == [int(Decimal(text) * 10**9) for text in texts]


_URLS = st.from_regex(r"\Awss://[a-z]{1,5}(\?[a-z@/=]{1,9})?\Z")
_TIMES = st.integers(0, 10**19 - 1)
_PAYLOADS = st.binary(max_size=40).map(lambda data: data.replace(b"\n", b""))
_RECORDS = st.one_of(
    st.builds(Open, _URLS, _TIMES),
    st.builds(Sent, _URLS, _TIMES, _PAYLOADS),
    st.builds(Received, _TIMES, _PAYLOADS),
    st.builds(HttpReply, _URLS, _TIMES, _PAYLOADS),
    st.builds(Note, st.from_regex(r"\A[A-Za-z][a-z_0-9-]{0,9}\Z"), _PAYLOADS),
)


@given(records=st.lists(_RECORDS, max_size=12))
def test_what_is_written_is_read_again(tmp_path_factory, records: list[Record]):
    out = io.BytesIO()
    writer = CaptureWriter(out)
    for record in records:
        writer.record(record)
    path = written(tmp_path_factory.mktemp("written"), out.getvalue())
    assert list(read_records(path)) == records
    assert list(read_replies(path)) == [record for record in records if isinstance(record, HttpReply)]


def test_a_writer_keeps_records_on_one_line(tmp_path: Path):
    out = io.BytesIO()
    writer = CaptureWriter(out)
    writer.replied("https://a", 1_500_000_000, b'{\n "a": 1\n}')
    with pytest.raises(ValueError, match="a word"):
        writer.noted("two words", b"")
    assert out.getvalue() == b'https://a -> 1.500000000: {  "a": 1 }\n'


@pytest.mark.parametrize(
    "line",
    [
        b"12:34 no record at all",
        b"1633998512.06.33: {}",
        b"1633998512.0633569 {}",
        b"1633998512.0123456789: ten decimals",
        b"wss://a <-> yesterday",
        b"wss://a <-> 1633998512.5: {}",
        b"https://a -> 1633998512.5",
        b"https://a -> : {}",
        b"\x7fELF\x02\x01\x01" + b"\x00" * 200,
        "１６３３９９８５１２.５: other digits".encode(),
    ],
)
def test_a_line_of_no_known_kind_is_named(tmp_path: Path, block_bytes: int, line: bytes):
    path = written(tmp_path, b"1633998512.5: {}\n\n" + line + b"\n1633998512.5: {}\n")
    with pytest.raises(FlowError) as caught:
        list(read_records(path))
    assert str(caught.value).startswith(f"{path}:3: not a record of the capture format: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400


@pytest.mark.parametrize("read", [read_records, read_replies])
@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
@pytest.mark.parametrize(
    "harm", ["cut in the middle", "cut before the end", "overwritten", "a tail of rubbish"]
)
def test_a_broken_compressed_file_gives_one_clear_error(tmp_path: Path, pack, read, harm: str):
    whole = pack(b"".join(b"%d.5: {%d}\n" % (1633998512 + i, i * i) for i in range(20_000)))
    broken = {
        "cut in the middle": whole[: len(whole) // 2],
        "cut before the end": whole[:-2],
        "overwritten": whole[: len(whole) // 2] + b"\xff" * 64 + whole[len(whole) // 2 + 64 :],
        "a tail of rubbish": whole + b"rubbish",
    }[harm]
    path = written(tmp_path, broken)
    expected = r"the compressed file is (truncated|damaged)"
    if harm == "overwritten":  # a wrong line may come to light before the wrong checksum does
        expected += "|not a record of the capture format"
    with pytest.raises(CaptureError, match=expected) as caught:
        list(read(path))
    assert caught.value.path == path
    assert caught.value.line >= 1


def test_a_missing_file_and_a_folder_give_one_clear_error(tmp_path: Path):
    for path in (tmp_path / "absent.raw", tmp_path):
        for read in (read_records, read_replies):
            with pytest.raises(CaptureError, match=r"can't be read: (No such file|Is a directory)"):
                list(read(path))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(capture, "MOST_LINE_BYTES", 100_000)
    path = written(tmp_path, b"1633998512.5: {}\n" + b"x" * 300_000)
    with pytest.raises(CaptureError, match=r":2: a line is longer than 100000 bytes"):
        list(read_records(path))


def test_a_file_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(capture, "BLOCK_BYTES", 1000)
    path = written(tmp_path, b"1633998512.5: {}\n" * 100_000)
    runs = read_runs(path)
    first = next(runs)
    assert isinstance(first, Frames)
    assert len(first.payloads) < 100
    with path.open("r+b") as file:
        file.truncate(2000)
    assert sum(len(run.payloads) for run in runs if isinstance(run, Frames)) < 3000


@pytest.mark.parametrize("packed", PACKERS)
def test_the_recordings(recordings: Path, tmp_path: Path, packed: str):
    folder = recordings / "binance"
    found = {
        name: list(read_records(written(tmp_path, PACKERS[packed]((folder / name).read_bytes()))))
        for name in ("stream.raw", "http.raw", "exchange-info.raw")
    }
    kinds = {name: [type(record) for record in records] for name, records in found.items()}
    assert kinds["stream.raw"] == [Open] + [Received] * 265
    assert kinds["http.raw"] == [HttpReply] * 4
    assert kinds["exchange-info.raw"] == [HttpReply, Note]
    first = found["stream.raw"][1]
    assert isinstance(first, Received)
    assert first.ts_ns == 1633998512063356900
    assert first.payload.startswith(b'{"stream":"nknusdt@depth@100ms"')
    assert first.payload.endswith(b'"a":[]}}')
