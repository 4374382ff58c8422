"""Payload views: exact strings, numeric conveniences beside them, and a row with every field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flow.events import payloads
from flow.events.payloads import (
    BestQuoteData,
    BookSnapshotData,
    BookUpdateData,
    GapData,
    KlineData,
    TickerData,
    TradeData,
)

BIDS, ASKS = (("100.10", "1.500"), ("100.00", "0")), (("100.20", "2"),)
SAMPLES: list[Any] = [
    TradeData("0.00000001", "123.4500", "t-1", "sell", 5),
    BestQuoteData("99.5", "1", "100.5", "2"),
    TickerData("3.0", "2", "4", "1", "10", "30"),
    KlineData("1m", 1, 2, "1", "4", "0.5", "3.50", "10", "30", 7, True),
    BookUpdateData(BIDS, ASKS),
    BookSnapshotData(BIDS, ASKS),
    GapData(3, 5, 7, "mailbox_full"),
]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_row_has_every_field_and_keeps_the_exchanges_digits(sample: Any) -> None:
    row = sample.row()
    fields = msgspec.structs.asdict(sample)
    assert set(row) == set(fields)
    assert row == msgspec.to_builtins(fields, builtin_types=()) or row == {
        name: [list(level) for level in levels] for name, levels in fields.items()
    }
    assert msgspec.json.decode(msgspec.json.encode(row)) == row


@pytest.mark.parametrize("sample", SAMPLES[:6], ids=lambda sample: type(sample).__name__)
def test_plain_structs_have_the_fields_that_their_view_names(sample: Any) -> None:
    view = next(kind for kind in type(sample).__mro__ if kind.__name__ == type(sample).__name__[:-4])
    named = {name for kind in view.__mro__ for name in getattr(kind, "__annotations__", {})}
    assert named == set(sample.__struct_fields__)


def test_numeric_access_is_beside_the_strings() -> None:
    trade, quote, ticker, kline = SAMPLES[:4]
    assert (trade.price_float, trade.quantity_float) == (1e-8, 123.45)
    assert quote.mid_float == 100.0
    assert ticker.last_float == 3.0
    assert kline.close_float == 3.5


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_payloads_can_not_be_changed(sample: Any) -> None:
    with pytest.raises(AttributeError):
        setattr(sample, sample.__struct_fields__[0], None)


def test_everything_public_is_listed() -> None:
    defined = {
        name
        for name, kind in vars(payloads).items()
        if isinstance(kind, type) and kind.__module__ == payloads.__name__ and name != "BookLevels"
    }
    assert defined <= set(payloads.__all__)
