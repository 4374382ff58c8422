from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nodes.providers.binance.stream import BinanceStreamParams, stream_name


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("trade", "btcusdt@trade"),
        ("agg_trade", "btcusdt@aggTrade"),
        ("book", "btcusdt@depth@100ms"),
        ("best_quote", "btcusdt@bookTicker"),
        ("ticker", "btcusdt@ticker"),
        ("kline_1m", "btcusdt@kline_1m"),
        ("kline_1M", "btcusdt@kline_1M"),
    ],
)
def test_channels_have_the_names_of_the_exchange(channel: str, name: str) -> None:
    assert stream_name("BTCUSDT", channel) == name


@pytest.mark.parametrize(
    "fault",
    [
        {"symbols": ["BTCUSDT"]},
        {"channels": ["trades"]},
        {"channels": ["kline_2m"]},
        {"channels": []},
        {"stale_after_s": 0},
        {"max_streams_per_connection": 1025},
        {"lifetime_s": 90_000},
        {"stale_after_ms": 5},
    ],
)
def test_parameters_out_of_bounds_are_refused(fault: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"symbols": ["BTC-USDT"], **fault}, BinanceStreamParams)
