"""The frame mixer: recorded Binance frames, cycled to any number with rewritten, increasing ids.

Which frames: half depth diffs, a quarter best quotes (bookTicker), a fifth trades (the recording has
aggTrade) and a twentieth klines, in an order that `seed` shuffles. Within a kind the recorded frames are
taken in recorded order, round and round, so that symbols appear in recorded proportion.

What is rewritten, while everything else keeps the recorded bytes:

- depth: `U`/`u` go on without a gap (`U` = previous `u` + 1), with the recorded number of updates in each
  event. The first event of a symbol starts at the `lastUpdateId` of its recorded REST snapshot and reaches
  beyond it, so that the snapshot bridges. Recorded events that the snapshot already holds are left out.
  At the end of a round a book is not the snapshot's any more, and the first diff on top of it would cross
  it; hence the first event of every later round also carries the levels that take the book back.
- bookTicker: `u` rises by one, in a range of its own (it claims no equality with a depth event's book).
- aggTrade: `a` rises by one, `f`/`l` go on without a gap.
- kline: minutes follow the clock of the mix; a stream's first kline after a minute's end closes the minute.
- `E` and `T`: frame i of the mix happens i / `events_per_s` after the start of the recording.

`fold` joins that many consecutive depth events of a symbol into one, as a slower stream of the exchange
would. As recorded an event has 2.4 levels; 200,000 frames, seed 7, have with the levels that take books back:

    fold 1 (as recorded)   200 bytes a frame   2.8 levels a depth frame
    fold 2                 235 bytes           5.1
    fold 3                 268 bytes           7.2

Taking symbols evenly instead would give fewer levels still (1.9: the quiet symbols have the small events).

Run as `python -m profiling.frames --out mix.raw` it writes a mix in the capture format of the recordings.
"""

import argparse
import os
import random
from collections import Counter
from collections.abc import Generator, Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec

__all__ = [
    "SHARES",
    "MixFigures",
    "RecordingError",
    "describe",
    "mix",
    "recording_folder",
    "snapshots",
    "streams",
    "write_capture",
]

SHARES = {"depth": 0.50, "bookTicker": 0.25, "aggTrade": 0.20, "kline": 0.05}
"""Share of each kind of frame in a mix."""

_QUOTE_ID_OFFSET = 500_000_000
_MINUTE_MS = 60_000

Message = dict[str, Any]
Levels = dict[str, dict[str, str]]
Source = Generator[Message, int, None]
"""Primed once with next(); then turns a time in ms, sent to it, into the next message of its kind."""


class RecordingError(Exception):
    """The recording is absent, or lacks what a mix is made of."""


class MixFigures(msgspec.Struct, frozen=True):
    """What a mix consists of: counts a kind and a stream, bytes a frame, levels a depth frame."""

    frames: int
    mean_bytes: float
    levels_a_depth_frame: float
    most_levels: int
    share: dict[str, float]
    kind_mean_bytes: dict[str, float]
    streams: dict[str, int]


class _Recorded(msgspec.Struct):
    """The recording, parsed: messages by kind, REST replies by symbol."""

    started_us: int
    by_kind: dict[str, list[Message]]
    snapshot_bytes: dict[str, bytes]
    snapshot_urls: dict[str, str]


def recording_folder() -> Path:
    """The Binance recording, found through the environment; RecordingError where it is not."""
    root = os.environ.get("FLOW_RECORDINGS")
    if not root:
        raise RecordingError("FLOW_RECORDINGS is not set: point it at the folder of the recordings")
    folder = Path(root) / "binance"
    if not (folder / "stream.raw").is_file():
        raise RecordingError(f"FLOW_RECORDINGS holds no binance/stream.raw: {folder}")
    return folder


def mix(
    recording: Path, count: int = 200_000, seed: int = 7, *, fold: int = 1, events_per_s: int = 1000
) -> list[bytes]:
    """`count` frames made of the recording in a folder, the same frames for the same arguments.

    RecordingError where stream.raw or http.raw is absent or lacks something.
    """
    if count < 0 or fold < 1 or events_per_s < 1:
        raise ValueError(
            f"count >= 0, fold >= 1 and events_per_s >= 1 are wanted: {count}, {fold}, {events_per_s}"
        )
    recorded = _read(recording)
    started_ms = -(-recorded.started_us // 1000)
    sources = {
        "depth": _depths(recorded, fold),
        "bookTicker": _quotes(recorded.by_kind["bookTicker"]),
        "aggTrade": _trades(recorded.by_kind["aggTrade"]),
        "kline": _klines(recorded.by_kind["kline"]),
    }
    for source in sources.values():
        next(source)
    encode = msgspec.json.encode
    return [
        encode(sources[kind].send(started_ms + i * 1000 // events_per_s))
        for i, kind in enumerate(_order(count, seed))
    ]


def snapshots(recording: Path) -> dict[str, bytes]:
    """REST depth snapshots by exchange symbol, which bridge to the first depth event of any mix."""
    return _read(recording).snapshot_bytes


def streams(frames: Iterable[bytes]) -> list[str]:
    """Names of the streams in a mix, in order of appearance."""
    return list(dict.fromkeys(_stream(frame) for frame in frames))


def describe(frames: list[bytes]) -> MixFigures:
    """The actual figures of a mix."""
    sizes: dict[str, list[int]] = {}
    names: Counter[str] = Counter()
    levels: list[int] = []
    for frame in frames:
        name = _stream(frame)
        names[name] += 1
        sizes.setdefault(_kind(name), []).append(len(frame))
        if _kind(name) == "depth":
            data = msgspec.json.decode(frame)["data"]
            levels.append(len(data["b"]) + len(data["a"]))
    total = len(frames) or 1
    return MixFigures(
        frames=len(frames),
        mean_bytes=round(sum(map(sum, sizes.values())) / total, 1),
        levels_a_depth_frame=round(sum(levels) / (len(levels) or 1), 2),
        most_levels=max(levels, default=0),
        share={kind: round(len(sizes[kind]) / total, 4) for kind in sorted(sizes)},
        kind_mean_bytes={kind: round(sum(sizes[kind]) / len(sizes[kind]), 1) for kind in sorted(sizes)},
        streams=dict(sorted(names.items())),
    )


def write_capture(path: Path, recording: Path, frames: list[bytes], *, events_per_s: int = 1000) -> None:
    """Writes a mix as a capture: exchangeInfo of its symbols, its frames at the given pace, depth snapshots.

    A snapshot follows the first depth frame of its symbol. Give the `events_per_s` that the mix was made
    with, at most 100,000, so that the time a frame is received goes with the times inside it.
    """
    if not 1 <= events_per_s <= 100_000:
        raise ValueError(f"events_per_s must lie between 1 and 100000: {events_per_s}")
    recorded = _read(recording)
    names = streams(frames)
    symbols = {_symbol(name) for name in names}
    started_us = -(-recorded.started_us // 1000) * 1000
    with path.open("wb") as out:
        out.write(_exchange_info(recording, symbols, started_us - 2))
        url = "wss://stream.binance.com:9443/stream?streams=" + "/".join(names)
        out.write(f"{url} <-> {_seconds(started_us - 1)}\n".encode())
        for i, frame in enumerate(frames):
            received_us = started_us + i * 1_000_000 // events_per_s
            out.write(b"%s: %s\n" % (_seconds(received_us).encode(), frame))
            name = _stream(frame)
            if _kind(name) == "depth" and (symbol := _symbol(name)) in symbols:
                symbols.remove(symbol)
                reply_us = received_us + 500_000 // events_per_s
                head = f"{recorded.snapshot_urls[symbol]} -> {_seconds(reply_us)}: "
                out.write(head.encode() + recorded.snapshot_bytes[symbol] + b"\n")


def _order(count: int, seed: int) -> list[str]:
    kinds = [kind for kind, share in SHARES.items() for _ in range(int(count * share))]
    kinds += ["depth"] * (count - len(kinds))
    random.Random(seed).shuffle(kinds)
    return kinds


def _read(recording: Path) -> _Recorded:
    stream, http = recording / "stream.raw", recording / "http.raw"
    for file in (stream, http):
        if not file.is_file():
            raise RecordingError(f"the recording lacks {file.name}: {recording}")
    recorded = _Recorded(0, {kind: [] for kind in SHARES}, {}, {})
    for line in stream.read_bytes().splitlines():
        head, is_frame, body = line.partition(b": ")
        if is_frame and body.startswith(b'{"stream"'):
            message = msgspec.json.decode(body)
            if (kind := _kind(message["stream"])) in recorded.by_kind:
                recorded.by_kind[kind].append(message)
        elif b" <-> " in head:
            recorded.started_us = int(float(head.rpartition(b" ")[2]) * 1_000_000)
    for line in http.read_bytes().splitlines():
        url, is_reply, rest = line.partition(b" -> ")
        if is_reply:
            symbol = url.partition(b"symbol=")[2].partition(b"&")[0].decode()
            recorded.snapshot_bytes[symbol] = rest.partition(b": ")[2]
            recorded.snapshot_urls[symbol] = url.decode()
    lacking = [kind for kind, messages in recorded.by_kind.items() if not messages]
    if lacking:
        raise RecordingError(f"the recording lacks frames of {', '.join(lacking)}: {stream}")
    return recorded


def _exchange_info(recording: Path, symbols: set[str], at_us: int) -> bytes:
    file = recording / "exchange-info.raw"
    if not file.is_file():
        raise RecordingError(f"the recording lacks {file.name}: {recording}")
    for line in file.read_bytes().splitlines():
        url, is_reply, rest = line.partition(b" -> ")
        if is_reply:
            info = msgspec.json.decode(rest.partition(b": ")[2])
            info["symbols"] = [entry for entry in info["symbols"] if entry["symbol"] in symbols]
            return b"%s -> %s: %s\n" % (url, _seconds(at_us).encode(), msgspec.json.encode(info))
    raise RecordingError(f"no reply in {file}")


def _depths(recorded: _Recorded, fold: int) -> Source:
    rounds = _depth_rounds(recorded, fold)
    last: dict[str, int] = {}
    now_ms = yield {}
    while True:
        later = bool(last)
        for first, again in rounds:
            message = again if later else first
            data = message["data"]
            symbol, width = data["s"], data["u"] - data["U"] + 1
            start = last[symbol] + 1 if symbol in last else data["U"]
            last[symbol] = start + width - 1
            now_ms = yield _with(message, E=now_ms, U=start, u=last[symbol])


def _depth_rounds(recorded: _Recorded, fold: int) -> list[tuple[Message, Message]]:
    """The depth events of a round in order, each as in the first round and as in the later ones."""
    groups: dict[str, list[Message]] = {}
    for message in recorded.by_kind["depth"]:
        groups.setdefault(message["data"]["s"], []).append(message)
    placed: dict[int, tuple[Message, Message]] = {}
    for symbol, messages in groups.items():
        if symbol not in recorded.snapshot_bytes:
            raise RecordingError(f"the recording lacks the depth snapshot of {symbol}")
        snapshot = msgspec.json.decode(recorded.snapshot_bytes[symbol])
        held = snapshot["lastUpdateId"]
        fresh = [message for message in messages if message["data"]["u"] > held]
        folded = [_folded(fresh[i : i + fold]) for i in range(0, len(fresh), fold)]
        if not folded:
            raise RecordingError(f"no depth event of {symbol} is later than its snapshot")
        again = _returning(folded, snapshot)
        folded[0]["data"]["U"] = held
        for i, message in enumerate(folded):
            last_of_fold = fresh[min((i + 1) * fold, len(fresh)) - 1]
            placed[id(last_of_fold)] = (message, message if i else again)
    return [placed[id(message)] for message in recorded.by_kind["depth"] if id(message) in placed]


def _folded(messages: list[Message]) -> Message:
    first, last = messages[0]["data"], messages[-1]["data"]
    levels: Levels = {"b": {}, "a": {}}
    for message in messages:
        _apply(levels, message["data"])
    return _with(messages[-1], U=first["U"], u=last["u"], **_sorted(levels))


def _returning(messages: list[Message], snapshot: Message) -> Message:
    """The first event of a later round: from the book at a round's end to the one after its first event."""
    begin: Levels = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
    end = {side: dict(levels) for side, levels in begin.items()}
    _apply(begin, messages[0]["data"])
    touched: Levels = {"b": {}, "a": {}}
    for message in messages:
        _apply(touched, message["data"])
        _apply(end, message["data"])
    own = messages[0]["data"]
    back: Levels = {"b": dict(own["b"]), "a": dict(own["a"])}
    for side in ("b", "a"):
        for price in touched[side]:
            wanted, had = _quantity(begin, side, price), _quantity(end, side, price)
            if float(wanted) != float(had):
                back[side][price] = wanted
    return _with(messages[0], **_sorted(back))


def _quantity(levels: Levels, side: str, price: str) -> str:
    return levels[side].get(price, "0.00000000")


def _apply(levels: Levels, data: Message) -> None:
    for side in ("b", "a"):
        levels[side].update(data[side])


def _sorted(levels: Levels) -> dict[str, list[list[str]]]:
    return {
        side: [[price, levels[side][price]] for price in sorted(levels[side], key=float, reverse=side == "b")]
        for side in ("b", "a")
    }


def _quotes(messages: list[Message]) -> Source:
    last: dict[str, int] = {}
    yield {}
    for message in cycle(messages):
        data = message["data"]
        before = last.setdefault(data["s"], data["u"] + _QUOTE_ID_OFFSET)
        last[data["s"]] = before + 1
        yield _with(message, u=before + 1)


def _trades(messages: list[Message]) -> Source:
    last: dict[str, tuple[int, int]] = {}
    now_ms = yield {}
    for message in cycle(messages):
        data = message["data"]
        trade, fill = last.get(data["s"], (data["a"] - 1, data["f"] - 1))
        last[data["s"]] = (trade + 1, fill + 1 + data["l"] - data["f"])
        now_ms = yield _with(message, E=now_ms, a=trade + 1, f=fill + 1, l=last[data["s"]][1], T=now_ms)


def _klines(messages: list[Message]) -> Source:
    minutes: dict[str, int] = {}
    fills: dict[str, int] = {}
    now_ms = yield {}
    for message in cycle(messages):
        data, bar = message["data"], message["data"]["k"]
        symbol, minute_ms = data["s"], now_ms - now_ms % _MINUTE_MS
        opened_ms = minutes.get(symbol, minute_ms)
        minutes[symbol] = minute_ms
        first = fills.get(symbol, bar["f"])
        is_closed = opened_ms < minute_ms
        if is_closed:
            fills[symbol] = first + bar["n"]
        times = {"t": opened_ms, "T": opened_ms + _MINUTE_MS - 1}
        bar = {**bar, **times, "f": first, "L": first + bar["n"] - 1, "x": is_closed}
        now_ms = yield _with(message, E=now_ms, k=bar)


def _with(message: Message, **changed: Any) -> Message:
    return {"stream": message["stream"], "data": {**message["data"], **changed}}


def _stream(frame: bytes) -> str:
    return frame[11 : frame.index(b'"', 11)].decode()


def _kind(stream: str) -> str:
    return stream.split("@")[1].partition("_")[0]


def _symbol(stream: str) -> str:
    return stream.partition("@")[0].upper()


def _seconds(us: int) -> str:
    return f"{us // 1_000_000}.{us % 1_000_000:06d}"


def main() -> None:
    """Writes a mix as a capture and prints its figures as JSON."""
    parser = argparse.ArgumentParser(prog="profiling.frames", description=main.__doc__)
    parser.add_argument(
        "--out", type=Path, help="the capture to write; without it only the figures are printed"
    )
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--fold", type=int, default=1, help="consecutive depth events joined into one")
    parser.add_argument("--events-per-s", type=int, default=1000)
    args = parser.parse_args()
    recording = recording_folder()
    frames = mix(recording, args.count, args.seed, fold=args.fold, events_per_s=args.events_per_s)
    if args.out:
        write_capture(args.out, recording, frames, events_per_s=args.events_per_s)
    print(msgspec.json.format(msgspec.json.encode(describe(frames))).decode())


if __name__ == "__main__":
    main()
