from __future__ import annotations

import pytest

from nodes.providers.symbols import SymbolInfo, Symbols, precision_of

BTC = SymbolInfo(
    canonical="BTC-USDT",
    wire="BTCUSDT",
    base="BTC",
    quote="USDT",
    status="TRADING",
    tick="0.01000000",
    quantity_step="0.00001000",
)
ETH = SymbolInfo(
    canonical="ETH-BTC", wire="ETHBTC", base="ETH", quote="BTC", status="BREAK", is_trading=False
)


def test_names_translate_both_ways() -> None:
    symbols = Symbols()
    symbols.load([BTC, ETH])
    assert symbols.canonical("BTCUSDT") == symbols.canonical("btcusdt") == "BTC-USDT"
    assert symbols.wire("ETH-BTC") == "ETHBTC"
    assert symbols.info("BTC-USDT") is BTC
    assert list(symbols) == ["BTC-USDT", "ETH-BTC"]
    assert len(symbols) == 2
    assert "ETH-BTC" in symbols


def test_unknown_names_give_none() -> None:
    symbols = Symbols()
    assert symbols.canonical("BTCUSDT") is None
    assert symbols.wire("BTC-USDT") is None
    assert symbols.info("BTC-USDT") is None


def test_loading_replaces_what_was_there() -> None:
    symbols = Symbols()
    symbols.load([BTC])
    symbols.load([ETH])
    assert symbols.canonical("BTCUSDT") is None
    assert "BTC-USDT" not in symbols


@pytest.mark.parametrize(
    ("step", "decimals"),
    [("0.01000000", 2), ("1.00000000", 0), ("1", 0), ("", 0), ("0.00000001", 8), ("10", 0)],
)
def test_the_precision_is_what_the_step_can_tell_apart(step: str, decimals: int) -> None:
    assert precision_of(step) == decimals


def test_precisions_come_from_the_steps() -> None:
    assert (BTC.price_precision, BTC.quantity_precision) == (2, 5)
    assert (ETH.price_precision, ETH.quantity_precision) == (0, 0)
