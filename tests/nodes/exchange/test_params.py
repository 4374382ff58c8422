from __future__ import annotations

import re

import pytest

from nodes.exchange import FaultParams, SimParams, parse_sim_params
from nodes.exchange.instruments import ONE, built_in_names, instruments


def test_the_short_form_sets_what_it_names() -> None:
    params = parse_sim_params("symbols=50, rate=1000,seed=7,faults.gap=0.01,limits.ban_s=5,truth=true")
    assert (params.symbols, params.rate, params.seed, params.truth) == (50, 1000.0, 7, True)
    assert params.faults == FaultParams(gap=0.01)
    assert params.limits.ban_s == 5


def test_nothing_given_is_the_default() -> None:
    assert parse_sim_params("") == SimParams()


def test_symbols_can_be_named() -> None:
    assert parse_sim_params("symbols=[NKN-USDT,BLZ-ETH],rate=5").symbols == ["NKN-USDT", "BLZ-ETH"]
    assert parse_sim_params("symbols=NKN-USDT").symbols == ["NKN-USDT"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symbls=3", "unknown parameter 'symbls': did you mean 'symbols'"),
        ("faults.gab=0.1", "did you mean 'faults.gap'"),
        ("zzz=3", "known are symbols, rate"),
        ("faults=1", "unknown parameter 'faults'"),
        ("faults.gap=2", "faults.gap: Expected `float` <= 1.0"),
        ("rate=nan", "rate"),
        ("rate=0", "rate: Expected `float` > 0"),
        ("rate=fast", "rate: Expected `float`"),
        ("symbols=0", "symbols: Expected `int` >= 1"),
        ("symbols=501", "symbols: Expected `int` <= 500"),
        ("symbols=btc-usdt", "symbols"),
        ("seed", "not of the form key=value"),
        ("seed=", "not of the form key=value"),
        ("seed=1,seed=2", "given twice"),
        ("symbols=[BTC-USDT", "unbalanced brackets"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_sim_params(text)


def test_the_built_in_symbols_are_500_at_least_and_start_with_the_best_known() -> None:
    names = built_in_names()
    assert len(names) == len(set(names)) >= 500
    assert names[:3] == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
    wire = {name.replace("-", "") for name in names[:500]}
    assert len(wire) == 500


def test_every_instrument_has_exact_decimals() -> None:
    for each in instruments(500):
        assert each.tick * each.lot >= ONE, f"{each.name}: quote values would be cut"
        assert each.first_price >= 200
        assert each.quantity(each.usual_lots) > "0.00000000"


def test_decimals_are_exact() -> None:
    (nkn,) = instruments(["NKN-USDT"])
    assert nkn.price(3521) == "0.35210000"
    assert nkn.quantity(672) == "672.00000000"
    assert nkn.value(3521 * 672) == "236.61120000"


@pytest.mark.parametrize("symbols", [["BTC"], ["btc-usdt"], ["BTC-USDT", "BTC-USDT"], 0, 10_000])
def test_symbols_that_cannot_be_are_refused(symbols: int | list[str]) -> None:
    with pytest.raises(ValueError, match=r"BASE-QUOTE|twice|built-in"):
        instruments(symbols)
