from __future__ import annotations

import msgspec
import pytest

from flow.errors import Terminal
from nodes.providers.binance.rest import BinanceRules, depth_weight, read_exchange_info
from nodes.providers.transport import Reply

BODY = msgspec.json.encode(
    {
        "timezone": "UTC",
        "serverTime": 1,
        "rateLimits": [
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        ],
        "symbols": [
            {
                "symbol": "BTCUSDT",
                "status": "TRADING",
                "baseAsset": "BTC",
                "quoteAsset": "USDT",
                "filters": [
                    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "tickSize": "0.01000000"},
                    {"filterType": "LOT_SIZE", "stepSize": "0.00001000"},
                    {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.00000000"},
                ],
            },
            {"symbol": "OLDBNB", "status": "BREAK", "baseAsset": "OLD", "quoteAsset": "BNB"},
        ],
    }
)


def test_symbols_get_canonical_names_and_steps() -> None:
    btc, old = read_exchange_info(BODY).infos()
    assert (btc.canonical, btc.wire, btc.is_trading) == ("BTC-USDT", "BTCUSDT", True)
    assert (btc.tick, btc.quantity_step) == ("0.01000000", "0.00001000")
    assert (btc.price_precision, btc.quantity_precision) == (2, 5)
    assert (old.canonical, old.status, old.is_trading, old.tick) == ("OLD-BNB", "BREAK", False, "")


def test_what_is_allowed_is_read_from_the_limits() -> None:
    info = read_exchange_info(BODY)
    assert info.weight_per_minute() == 6000
    assert info.requests_per_s() == pytest.approx(203.3, abs=0.1)
    silent = read_exchange_info(b'{"symbols":[]}')
    assert silent.weight_per_minute() is silent.requests_per_s() is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"symbols":[{"symbol":1}]}', b'{"symbols":"\xff"}']
)
def test_a_body_that_is_no_exchange_info_is_terminal(body: bytes) -> None:
    with pytest.raises(Terminal, match="not the reply expected"):
        read_exchange_info(body)


@pytest.mark.parametrize(
    ("limit", "weight"),
    [(1, 5), (100, 5), (101, 25), (500, 25), (501, 50), (1000, 50), (1001, 250), (5000, 250)],
)
def test_snapshots_cost_by_their_depth(limit: int, weight: int) -> None:
    assert depth_weight(limit) == weight


@pytest.mark.parametrize(
    ("headers", "weight"),
    [
        ({"X-MBX-USED-WEIGHT-1M": "55", "X-MBX-USED-WEIGHT": "1"}, 55.0),
        ({"x-mbx-used-weight": "7"}, 7.0),
        ({"X-MBX-USED-WEIGHT-1M": "many"}, None),
        ({}, None),
    ],
)
def test_the_weight_used_is_read_from_the_header(headers: dict[str, str], weight: float | None) -> None:
    assert BinanceRules().used_weight(Reply(200, headers, b"")) == weight


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"code":-1121,"msg":"Invalid symbol."}', "HTTP 400, code -1121: Invalid symbol."),
        (b"<html>blocked</html>", "HTTP 400: <html>blocked</html>"),
        (b"\xff", "HTTP 400: \ufffd"),
        (b"", "HTTP 400"),
    ],
)
def test_errors_carry_the_code_and_message_of_the_exchange(body: bytes, text: str) -> None:
    assert BinanceRules().error_of(Reply(400, {}, body)) == text


def test_the_recorded_exchange_info_is_read_whole(recordings) -> None:
    text = (recordings / "binance" / "exchange-info.raw").read_bytes().splitlines()[0]
    body = text[text.index(b": {") + 2 :]
    info = read_exchange_info(body)
    names = {symbol.canonical: symbol for symbol in info.infos()}
    assert info.weight_per_minute() == 1200
    assert len(names) == len(info.symbols) > 1000
    assert {"NKN-USDT", "BLZ-ETH", "LRC-BTC", "RUNE-EUR"} <= names.keys()
    assert names["NKN-USDT"].wire == "NKNUSDT"
    assert names["NKN-USDT"].tick == "0.00010000"
