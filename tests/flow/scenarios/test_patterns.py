"""Only what is named is compared, exactly."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from flow.events.frames import Connection, WsFrame
from flow.graph.tree import Faults, Tree
from flow.graph.yaml_source import parse
from flow.scenarios.patterns import MISSING, Pattern, looked_up, row_of, written
from flow.testing import make_event

ROW = {
    "symbol": "BTC-USDT",
    "sequence": 7,
    "merge_id": None,
    "payload": {"price": "1.50", "bids": [["1.0", "2"], ["0.5", "1"]], "is_closed": False},
}


def tree(text: str) -> Tree:
    found = parse(text, Faults("x"))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("{sequence: 7}", True),
        ("{sequence: 7.0}", True),
        ("{sequence: '7'}", False),
        ("{sequence: true}", False),
        ("{sequence: 7, symbol: BTC-USDT}", True),
        ("{sequence: 7, symbol: ETH-USDT}", False),
        ("{price: 1.50}", True),
        ("{price: 1.5}", False),
        ("{payload.price: '1.50'}", True),
        ("{payload: {price: 1.50}}", True),
        ("{payload.bids.1.0: 0.5}", True),
        ("{payload.bids.2.0: 0.5}", False),
        ("{bids: [[1.0, 2], [0.5, 1]]}", True),
        ("{bids: [[1.0, 2]]}", False),
        ("{bids: 1}", False),
        ("{symbol: [B]}", False),
        ("{is_closed: false}", True),
        ("{is_closed: 0}", False),
        ("{merge_id: null}", True),
        ("{nothing: null}", False),
        ("{symbol.x: 1}", False),
        ("5", False),
    ],
)
def test_a_pattern(text: str, fits: bool) -> None:
    assert Pattern(tree(text)).fits(ROW) is fits


def test_a_scalar_fits_a_scalar() -> None:
    assert Pattern(tree("1")).fits(1)
    assert not Pattern(tree("1")).fits(True)
    assert not Pattern(tree("1")).fits(2)
    assert Pattern(tree("true")).fits(True)


def test_fields_of_what_has_none() -> None:
    assert looked_up("text", "x") is MISSING
    assert looked_up([1, 2], "5") is MISSING
    assert looked_up([1, 2], "1") == 2


class Point(Struct):
    x: int


class Broken:
    def row(self) -> Any:
        raise ValueError("no row")


def test_rows_of_all_kinds_of_elements() -> None:
    frame = WsFrame(Connection("binance", 1))
    frame.payload = b"a\xff"
    assert row_of(make_event(3))["sequence"] == 3
    assert row_of(frame) == {"provider": "binance", "payload": "a\\xff"}
    assert row_of((frame.connection, b"x", 0)) == {"provider": "binance", "payload": "x"}
    assert row_of((1, 2, 3)) == (1, 2, 3)
    assert row_of(Point(1)) == {"x": 1}
    assert row_of(5) == 5
    assert row_of(Broken()) == {"unreadable": "ValueError: no row"}


def test_values_are_written_on_one_line_and_not_too_long() -> None:
    assert written({"a": [1, "x"]}) == '{"a":[1,"x"]}'
    assert written("a\nb") == "a\\nb"
    assert written(MISSING) == "(missing)"
    assert written("x" * 100) == "x" * 57 + "..."
    assert str(Pattern(tree("{a: 1}"))) == '{"a":1}'
