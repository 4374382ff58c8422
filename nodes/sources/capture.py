"""Recordings in the capture format: one record a line, times in unix seconds with up to nine decimals.

    <url> <-> <ts>             opened a connection
    <url> <- <ts>: <payload>   was sent by the client
    <ts>: <payload>            was received on the connection opened last
    <url> -> <ts>: <body>      is an HTTP reply
    <word>: <text>             is a note

A file may be gzip or zstandard, told by its first bytes. It is streamed: memory holds a block of it and the
line in hand. Blank lines are skipped. A payload is any bytes without a newline.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

import msgspec
import zstandard
from msgspec import Struct

from flow.clock import NS_PER_S
from flow.errors import FlowError

__all__ = [
    "CaptureError",
    "CaptureWriter",
    "Frames",
    "HttpReply",
    "Note",
    "Open",
    "Received",
    "Record",
    "Sent",
    "read_records",
    "read_replies",
    "read_runs",
]

BLOCK_BYTES: Final = 256 * 1024
COMPRESSED_BYTES: Final = 32 * 1024
MOST_LINE_BYTES: Final = 256 * 1024 * 1024
SHOWN_BYTES: Final = 60
GZIP: Final = b"\x1f\x8b"
ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"


class CaptureError(FlowError):
    """A recording that can't be read. `line` counts from 1; 0 means the whole file."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        self.path, self.line = path, line
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")


class Open(Struct, frozen=True, gc=False):
    """A connection was opened. `ts_ns` here and below: ns since the epoch."""

    url: str
    ts_ns: int


class Sent(Struct, frozen=True, gc=False):
    """The client sent a message."""

    url: str
    ts_ns: int
    payload: bytes


class Received(Struct, frozen=True, gc=False):
    """A message arrived on the connection opened last."""

    ts_ns: int
    payload: bytes


class HttpReply(Struct, frozen=True, gc=False):
    """An HTTP request was answered."""

    url: str
    ts_ns: int
    body: bytes


class Note(Struct, frozen=True, gc=False):
    """Something that whoever recorded it wrote down."""

    name: str
    text: bytes


class Frames(Struct, gc=False):
    """Messages received one after another: `times_ns[i]` is when `payloads[i]` arrived. Never empty."""

    times_ns: list[int]
    payloads: list[bytes]


Record = Open | Sent | Received | HttpReply | Note


def read_records(path: Path) -> Iterator[Record]:
    """Every record of a recording in order. Raises `CaptureError`."""
    for run in read_runs(path):
        if isinstance(run, Frames):
            yield from map(Received, run.times_ns, run.payloads)
        else:
            yield run


def read_runs(path: Path) -> Iterator[Frames | Open | Sent | HttpReply | Note]:
    """As `read_records`, with consecutive received messages in lists: the fast way. Raises `CaptureError`."""
    line = 1
    try:
        for lines in _whole_lines(path):
            parts = _FRAME.split(lines)
            heads: list[Any] = parts[1::2]
            yield from _runs(path, line, heads, parts[2::2])
            line += len(heads)
    except (OSError, zlib.error, zstandard.ZstdError, _Damaged) as error:
        _unreadable(path, line, error)


def read_replies(path: Path) -> Iterator[HttpReply]:
    """The HTTP replies of a recording, without reading what lies between them. Raises `CaptureError`."""
    try:
        for lines in _whole_lines(path):
            at = lines.find(_ARROW)
            while at >= 0:
                start = lines.rfind(b"\n", 0, at) + 1
                end = lines.find(b"\n", at)
                end = len(lines) if end < 0 else end
                if lines[start] not in _DIGITS and (found := _LINE.fullmatch(lines, start, end)):
                    if found["arrow"] == b"->":
                        yield HttpReply(_url(found), _ns(found["ts"]), found["payload"])
                    at = end
                at = lines.find(_ARROW, at + 1)
    except (OSError, zlib.error, zstandard.ZstdError, _Damaged) as error:
        for _ in read_runs(path):  # finds the line that it is about
            pass
        _unreadable(path, 0, error)


class Sink(Protocol):
    """What a capture is written to: a binary file, also one that compresses."""

    def write(self, data: bytes, /) -> object: ...


class CaptureWriter:
    """Writes records to a binary file, one line each. Line breaks within a payload become spaces."""

    def __init__(self, out: Sink) -> None:
        self._write = out.write

    def opened(self, url: str, ts_ns: int) -> None:
        self._write(f"{url} <-> {_seconds(ts_ns)}\n".encode())

    def sent(self, url: str, ts_ns: int, payload: bytes) -> None:
        self._write(b"%b <- %b: %b\n" % (url.encode(), _seconds(ts_ns).encode(), _one_line(payload)))

    def received(self, ts_ns: int, payload: bytes) -> None:
        self._write(b"%b: %b\n" % (_seconds(ts_ns).encode(), _one_line(payload)))

    def replied(self, url: str, ts_ns: int, body: bytes) -> None:
        self._write(b"%b -> %b: %b\n" % (url.encode(), _seconds(ts_ns).encode(), _one_line(body)))

    def noted(self, name: str, text: bytes) -> None:
        """`name` is a word: letters, digits, underscores, hyphens, the first a letter."""
        if not re.fullmatch(r"[A-Za-z][\w-]*", name, re.ASCII):
            raise ValueError(f"a note's name is a word, not {name!r}")
        self._write(b"%b: %b\n" % (name.encode(), _one_line(text)))

    def record(self, record: Record) -> None:
        """Write any record."""
        match record:
            case Open(url, ts_ns):
                self.opened(url, ts_ns)
            case Sent(url, ts_ns, payload):
                self.sent(url, ts_ns, payload)
            case Received(ts_ns, payload):
                self.received(ts_ns, payload)
            case HttpReply(url, ts_ns, body):
                self.replied(url, ts_ns, body)
            case Note(name, text):
                self.noted(name, text)


# --- lines into records --------------------------------------------------------------------------------

_FRAME: Final = re.compile(rb"\n(?:([0-9]{10}\.[0-9]{1,9}): )?")
"""The start of a line, and the time where it is one of a received message as most are."""
_LINE: Final = re.compile(
    rb"(?:(?P<url>\S+) (?P<arrow><->|<-|->) )?(?P<ts>[0-9]{1,12}(?:\.[0-9]{1,9})?)(?:: (?P<payload>.*))?",
    re.DOTALL,
)
_NOTE: Final = re.compile(rb"([A-Za-z][\w-]*):(?: (.*))?", re.DOTALL)
_ARROW: Final = b" -> "
_DIGITS: Final = b"0123456789"
_decode_times: Final[Callable[[bytes], list[int]]] = msgspec.json.Decoder(list[int]).decode
_SCALES: Final = tuple(10 ** max(0, 20 - length) for length in range(21))
"""By the length of a time with ten digits before the point: from its digits to ns."""


def _runs(
    path: Path, line: int, heads: list[Any], payloads: list[bytes]
) -> Iterator[Frames | Open | Sent | HttpReply | Note]:
    start, count = 0, len(heads)
    while start < count:
        try:
            end = heads.index(None, start)
        except ValueError:
            end = count
        if end > start:
            yield Frames(_times_ns(heads[start:end]), payloads[start:end])
        if end < count and payloads[end].strip():
            yield _record(path, line + end, payloads[end])
        start = end + 1


def _times_ns(heads: list[bytes]) -> list[int]:
    lengths = set(map(len, heads))
    if len(lengths) == 1:
        padding = b"0" * (20 - lengths.pop())
        return _decode_times(b"[%b%b]" % ((padding + b",").join(heads).replace(b".", b""), padding))
    digits = _decode_times(b"[%b]" % b",".join(heads).replace(b".", b""))
    scales = _SCALES
    return [number * scales[len(head)] for number, head in zip(digits, heads, strict=True)]


def _record(path: Path, line: int, text: bytes) -> Frames | Open | Sent | HttpReply | Note:
    found = _LINE.fullmatch(text)
    if found:
        arrow, payload, ts_ns = found["arrow"], found["payload"], _ns(found["ts"])
        if arrow == b"<->" and (payload is None or not payload.strip()):
            return Open(_url(found), ts_ns)
        if payload is not None and arrow is None:
            return Frames([ts_ns], [payload])
        if payload is not None and arrow == b"<-":
            return Sent(_url(found), ts_ns, payload)
        if payload is not None and arrow == b"->":
            return HttpReply(_url(found), ts_ns, payload)
    note = _NOTE.fullmatch(text)
    if note:
        return Note(note[1].decode(), note[2] or b"")
    shown = text[:SHOWN_BYTES].decode("utf-8", "backslashreplace") + (
        "..." if len(text) > SHOWN_BYTES else ""
    )
    raise CaptureError(path, line, f"not a record of the capture format: {shown!r}")


def _ns(text: bytes) -> int:
    seconds, _, decimals = text.partition(b".")
    return int(seconds) * NS_PER_S + int(decimals.ljust(9, b"0"))


def _url(found: re.Match[bytes]) -> str:
    return found["url"].decode("utf-8", "backslashreplace")


def _seconds(ts_ns: int) -> str:
    return f"{ts_ns // NS_PER_S}.{ts_ns % NS_PER_S:09d}"


def _one_line(payload: bytes) -> bytes:
    return payload.replace(b"\n", b" ") if b"\n" in payload else payload


# --- files into lines -----------------------------------------------------------------------------------


class _Damaged(Exception):
    pass


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Blocks of whole lines, each line with the newline before it."""
    rest = b"\n"
    for block in _blocks(path):
        cut = block.rfind(b"\n")
        if cut < 0:
            rest += block
            if len(rest) > MOST_LINE_BYTES:
                raise _Damaged(f"a line is longer than {MOST_LINE_BYTES} bytes")
            continue
        yield rest + block[:cut]
        rest = block[cut:]
    if len(rest) > 1:
        yield rest


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        magic = file.peek(4)[:4]
        if magic.startswith(GZIP):
            yield from _inflated(
                iter(lambda: file.read(COMPRESSED_BYTES), b""), lambda: zlib.decompressobj(31)
            )
        elif magic.startswith(ZSTANDARD):
            make = zstandard.ZstdDecompressor().decompressobj
            yield from _inflated(iter(lambda: file.read(COMPRESSED_BYTES), b""), make)
        else:
            yield from iter(lambda: file.read(BLOCK_BYTES), b"")


def _inflated(blocks: Iterable[bytes], make: Callable[[], _Inflater]) -> Iterator[bytes]:
    """What is in compressed blocks: one or more whole streams, one after another."""
    inflater: _Inflater | None = None
    for block in blocks:
        while block:
            inflater = inflater or make()
            data = inflater.decompress(block)
            if data:
                yield data
            if not inflater.eof:
                break
            block = inflater.unused_data
            inflater = None
    if inflater is not None:
        raise _Damaged("the compressed file is truncated")


def _unreadable(path: Path, line: int, error: Exception) -> NoReturn:
    if isinstance(error, OSError):
        raise CaptureError(path, 0, f"can't be read: {error.strerror or error}") from error
    message = str(error) if isinstance(error, _Damaged) else f"the compressed file is damaged ({error})"
    raise CaptureError(path, line, message) from error
