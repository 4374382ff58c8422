"""The mixer, on the recordings and on a tiny recording made here."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiling import frames as mixer

SNAPSHOT = {"lastUpdateId": 101, "bids": [["10.0", "1.0"], ["9.0", "2.0"]], "asks": [["11.0", "1.0"]]}
DEPTHS = [
    {"U": 100, "u": 101, "b": [["9.0", "2.0"]], "a": []},
    {"U": 102, "u": 104, "b": [["10.0", "0.00000000"]], "a": [["10.0", "4.0"]]},
    {"U": 105, "u": 105, "b": [], "a": [["9.5", "1.0"], ["10.0", "5.0"]]},
    {"U": 106, "u": 107, "b": [["9.2", "7.0"]], "a": []},
]


def frame(stream: str, data: dict[str, Any]) -> bytes:
    return b"1633998512.5: " + msgspec.json.encode({"stream": stream, "data": data})


def depth_data(levels: dict[str, Any]) -> dict[str, Any]:
    ids = {"e": "depthUpdate", "E": 1633998512068, "s": "AAABBB", "U": levels["U"], "u": levels["u"]}
    return {**ids, "b": levels["b"], "a": levels["a"]}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    bar = {"t": 1633998480000, "T": 1633998539999, "i": "1m", "f": 5, "L": 6, "n": 2, "x": False}
    trade = {"e": "aggTrade", "E": 1, "s": "AAABBB", "a": 7, "p": "10.0", "q": "1", "f": 20, "l": 22, "T": 1}
    quote = {"u": 103, "s": "AAABBB", "b": "10.0", "B": "1.0", "a": "11.0", "A": "1.0"}
    lines = [b"wss://example/stream?streams=aaabbb@depth@100ms <-> 1633998511.159679"]
    lines += [frame("aaabbb@depth@100ms", depth_data(levels)) for levels in DEPTHS]
    lines.append(frame("aaabbb@bookTicker", quote))
    lines.append(frame("aaabbb@aggTrade", {**trade, "m": True, "M": True}))
    lines.append(frame("aaabbb@kline_1m", {"e": "kline", "E": 1, "s": "AAABBB", "k": bar}))
    (tmp_path / "stream.raw").write_bytes(b"\n".join(lines))
    reply = b"https://example/api/v3/depth?symbol=AAABBB&limit=1000 -> 1633998512.3: "
    (tmp_path / "http.raw").write_bytes(reply + msgspec.json.encode(SNAPSHOT) + b"\n")
    info = msgspec.json.encode({"serverTime": 1, "symbols": [{"symbol": "AAABBB"}, {"symbol": "OTHER"}]})
    (tmp_path / "exchange-info.raw").write_bytes(
        b"https://example/exchangeInfo -> 1633998511.1: " + info + b"\n"
    )
    return tmp_path


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Path:
    try:
        return mixer.recording_folder()
    except mixer.RecordingError as absent:
        pytest.skip(str(absent))


@pytest.fixture(params=["tiny", "recording"])
def source(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def by_stream(frames: list[bytes]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for message in map(msgspec.json.decode, frames):
        found.setdefault(message["stream"], []).append(message["data"])
    return found


def test_the_same_arguments_give_the_same_frames(source: Path) -> None:
    frames = mixer.mix(source, 3000)
    assert frames == mixer.mix(source, 3000, 7)
    assert frames != mixer.mix(source, 3000, 8)
    assert frames[:1000] != mixer.mix(source, 1000)  # shuffled as a whole, not in blocks


def test_the_kinds_have_their_shares(source: Path) -> None:
    figures = mixer.describe(mixer.mix(source, 4000))
    assert figures.frames == 4000
    assert figures.share == {"aggTrade": 0.2, "bookTicker": 0.25, "depth": 0.5, "kline": 0.05}
    assert sum(figures.streams.values()) == 4000


@pytest.mark.parametrize("fold", [1, 3])
def test_ids_go_on_without_a_gap(source: Path, fold: int) -> None:
    for stream, events in by_stream(mixer.mix(source, 6000, fold=fold)).items():
        for before, after in pairwise(events):
            assert after.get("E", 1) > before.get("E", 0)
            if "@depth" in stream:
                assert after["U"] == before["u"] + 1
                assert after["u"] >= after["U"]
            elif "@bookTicker" in stream:
                assert after["u"] == before["u"] + 1
            elif "@aggTrade" in stream:
                assert (after["a"], after["f"]) == (before["a"] + 1, before["l"] + 1)
                assert after["l"] >= after["f"]


def test_every_snapshot_bridges_to_the_first_event_of_its_symbol(source: Path) -> None:
    snapshots = mixer.snapshots(source)
    frames = by_stream(mixer.mix(source, 4000))
    depths = {events[0]["s"]: events[0] for stream, events in frames.items() if "@depth" in stream}
    assert depths.keys() == snapshots.keys()
    for symbol, first in depths.items():
        held = msgspec.json.decode(snapshots[symbol])["lastUpdateId"]
        assert (
            first["U"] <= held < first["u"]
        )  # strictly: no exchange client has to ask for the snapshot again


def test_klines_close_their_minutes(tiny: Path) -> None:
    bars = [event["k"] for event in by_stream(mixer.mix(tiny, 2000, events_per_s=10))["aaabbb@kline_1m"]]
    closed = [bar["t"] for bar in bars if bar["x"]]
    assert closed == sorted(set(closed))
    assert len(closed) == 3  # 200 s from second 31 of a minute on
    for bar in bars:
        assert (bar["T"], bar["L"]) == (bar["t"] + 59_999, bar["f"] + bar["n"] - 1)


def test_recorded_levels_are_cycled_and_a_later_round_takes_the_book_back(tiny: Path) -> None:
    events = by_stream(mixer.mix(tiny, 14))["aaabbb@depth@100ms"]
    levels = [(event["b"], event["a"]) for event in events]
    assert levels[:3] == [(d["b"], d["a"]) for d in DEPTHS[1:]]  # the first is in the snapshot already
    zero = "0.00000000"
    assert levels[3] == ([["10.0", zero], ["9.2", zero]], [["9.5", zero], ["10.0", "4.0"]])
    assert levels[4:6] == levels[1:3]
    assert levels[6] == levels[3]
    widths = [event["u"] - event["U"] for event in events]
    assert widths[:7] == [3, 0, 1, 2, 0, 1, 2]  # as recorded; the first reaches back to the snapshot


def test_a_fold_keeps_the_latest_of_each_level(tiny: Path) -> None:
    first = by_stream(mixer.mix(tiny, 4, fold=3))["aaabbb@depth@100ms"][0]
    assert (first["U"], first["u"]) == (101, 107)
    assert first["b"] == [["10.0", "0.00000000"], ["9.2", "7.0"]]
    assert first["a"] == [["9.5", "1.0"], ["10.0", "5.0"]]


def test_what_is_not_rewritten_keeps_its_bytes(recording: Path) -> None:
    recorded = (recording / "stream.raw").read_bytes()
    for frame_bytes in mixer.mix(recording, 60):
        data = msgspec.json.decode(frame_bytes)["data"]
        if data.get("e") == "depthUpdate":
            assert frame_bytes[frame_bytes.index(b'"b":') :] in recorded
        elif "B" in data:
            assert frame_bytes[frame_bytes.index(b'"s":') :] in recorded


def test_a_capture_holds_the_frames_and_the_replies_in_order_of_time(source: Path, tmp_path: Path) -> None:
    frames = mixer.mix(source, 500)
    target = tmp_path / "mix.raw"
    mixer.write_capture(target, source, frames)
    lines = target.read_bytes().splitlines()
    kinds = Counter[str]()
    received: list[bytes] = []
    times: list[float] = []
    for line in lines:
        head, _, body = line.partition(b": ")
        kind = "reply" if b" -> " in head else "connection" if b" <-> " in head else "frame"
        kinds[kind] += 1
        times.append(float(head.split()[-1]))
        if kind == "frame":
            received.append(body)
    depth_symbols = {event["s"] for name, e in by_stream(frames).items() if "@depth" in name for event in e}
    assert received == frames
    assert times == sorted(set(times))
    assert kinds == {"frame": 500, "connection": 1, "reply": 1 + len(depth_symbols)}
    info = msgspec.json.decode(lines[0].partition(b": ")[2])
    assert {entry["symbol"] for entry in info["symbols"]} == {
        s.split("@")[0].upper() for s in mixer.streams(frames)
    }


def test_a_snapshot_follows_the_first_depth_frame_of_its_symbol(tiny: Path, tmp_path: Path) -> None:
    target = tmp_path / "mix.raw"
    mixer.write_capture(target, tiny, mixer.mix(tiny, 50))
    lines = target.read_bytes().splitlines()
    first = next(i for i, line in enumerate(lines) if b'@depth@100ms","data"' in line)
    assert lines[first + 1].startswith(b"https://example/api/v3/depth?symbol=AAABBB&limit=1000 -> ")
    assert lines[first + 1].endswith(mixer.snapshots(tiny)["AAABBB"])


def test_an_absent_recording_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLOW_RECORDINGS", raising=False)
    with pytest.raises(mixer.RecordingError, match="FLOW_RECORDINGS is not set"):
        mixer.recording_folder()
    monkeypatch.setenv("FLOW_RECORDINGS", str(tmp_path))
    with pytest.raises(mixer.RecordingError, match="holds no binance"):
        mixer.recording_folder()
    with pytest.raises(mixer.RecordingError, match=r"lacks stream\.raw"):
        mixer.mix(tmp_path, 10)


def test_a_recording_that_lacks_a_kind_is_refused(tiny: Path) -> None:
    stream = tiny / "stream.raw"
    stream.write_bytes(b"\n".join(line for line in stream.read_bytes().splitlines() if b"@kline" not in line))
    with pytest.raises(mixer.RecordingError, match="lacks frames of kline"):
        mixer.mix(tiny, 10)
