"""What arrives broken on the wire becomes a dead letter with its reason and bytes, and the graph goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

GRAPH = Path(__file__).resolve().parents[2] / "graphs" / "binance.yaml"

BROKEN: dict[str, tuple[bytes, str]] = {
    "malformed json": (b'{"stream":"aaausdt@trade","data":{', "malformed_json"),
    "no json": (b"hello", "malformed_json"),
    "invalid utf-8": (b'{"stream":"aaausdt@trade\xff\xfe","data":{}}', "invalid_utf8"),
    "unknown kind": (b'{"stream":"aaausdt@teapot","data":{"e":"teapot"}}', "unknown_kind"),
    "neither answer nor data": (b'{"hello":"world"}', "unknown_kind"),
    "unknown symbol": (b'{"stream":"zzzusdt@trade","data":{"e":"trade"}}', "unknown_symbol"),
    "wrong type": (
        b'{"stream":"aaausdt@trade","data":{"e":"trade","E":"soon","s":"AAAUSDT","t":[],"p":1,"q":{},"T":0,"m":0}}',
        "wrong_type",
    ),
    "absurd size": (b'{"stream":"aaausdt@trade","data":"' + b"x" * (9 << 20) + b'"}', "oversized"),
    "deeply nested": (b'{"stream":"aaausdt@trade","data":' + b"[" * 100_000, "malformed_json"),
}
KEPT = 4096


@pytest.fixture
def replayed(
    flow_command: Callable[..., Any],
    binance_capture: Callable[..., Path],
    trade_frame: Callable[..., bytes],
    tmp_path: Path,
) -> Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Plays frames between two good trades; the summary, and the dead letters as rows."""

    def call(*frames: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        recording = binance_capture(trade_frame(1), *frames, trade_frame(2))
        target = tmp_path / "refused.jsonl"
        letters = ("--set", "nodes.refused.use=jsonl", "--set", f"nodes.refused.params.path={target}")
        given = ("--replay", f"binance={recording}", "--speed", "max", "--set", "symbols=[AAA-USDT]")
        done = flow_command("run", GRAPH, *given, *letters, "--summary", "-")
        assert done.code == 0, done.err
        assert "every edge balances" in done.err
        rows = [msgspec.json.decode(line) for line in target.read_bytes().splitlines()]
        return msgspec.json.decode(done.out), rows

    return call


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_frame(replayed: Callable[..., Any], case: str) -> None:
    frame, reason = BROKEN[case]
    summary, (letter,) = replayed(frame)
    assert summary["dead_letters"] == {reason: 1}
    assert summary["consumers"]["archive"]["by_type"] == {"Trade": 2}
    assert summary["frames"] == 3
    assert all(figures["out"] == 0 for figures in summary["pools"].values())
    assert (letter["node"], letter["reason"], letter["provider"]) == ("events", reason, "binance")
    assert letter["original_bytes"] == len(frame)
    assert len(letter["original"]) <= 2 * KEPT
    if letter["original_encoding"] == "utf-8":
        assert letter["original"].encode() == frame[:KEPT]


def test_all_of_them_at_once(replayed: Callable[..., Any]) -> None:
    summary, letters = replayed(*(frame for frame, _ in BROKEN.values()))
    reasons = [reason for _, reason in BROKEN.values()]
    assert summary["dead_letters"] == {reason: reasons.count(reason) for reason in sorted(set(reasons))}
    assert [letter["reason"] for letter in letters] == reasons
    assert summary["consumers"]["archive"]["delivered"] == 2


def test_a_book_with_absurd_levels_is_resynced_alone(replayed: Callable[..., Any]) -> None:
    """A level that is no number spoils the book it is for, and nothing else."""
    depth = (
        b'{"stream":"aaausdt@depth@100ms","data":{"e":"depthUpdate","E":1700000000000,"s":"AAAUSDT",'
        b'"U":1,"u":2,"b":[["nonsense","1"]],"a":[]}}'
    )
    summary, _ = replayed(depth)
    assert summary["consumers"]["archive"]["by_type"] == {"Trade": 2}
    assert summary["books"]["binance/AAA-USDT"]["state"] != "live"
