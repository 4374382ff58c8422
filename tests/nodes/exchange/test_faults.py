from __future__ import annotations

import pytest

from nodes.exchange import FaultKind, FaultParams
from nodes.exchange.faults import FRAME_KINDS, REQUEST_KINDS, Faults


def drawn(faults: Faults, count: int) -> list[FaultKind | None]:
    return [faults.on_frame("BTC-USDT", is_depth=True) for _ in range(count)]


def test_no_rates_no_faults() -> None:
    faults = Faults(FaultParams(), 1)
    assert not faults.is_on_frames
    assert set(drawn(faults, 100)) == {None}


def test_equal_seeds_draw_equal_faults() -> None:
    params = FaultParams(gap=0.1, duplicate=0.1, reorder=0.1, disconnect=0.1, malformed=0.1, stall=0.1)
    first, again, other = (drawn(Faults(params, seed), 300) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert set(first) == {None, *FRAME_KINDS}


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_rates_are_probabilities(rate: float) -> None:
    found = drawn(Faults(FaultParams(duplicate=rate), 3), 20_000).count(FaultKind.DUPLICATE)
    assert abs(found / 20_000 - rate) < 0.01


def test_only_depth_frames_are_left_out_and_only_snapshots_are_stale() -> None:
    faults = Faults(FaultParams(gap=1.0, stale_snapshot=1.0), 1)
    assert faults.on_frame("BTC-USDT", is_depth=False) is None
    assert faults.on_frame("BTC-USDT", is_depth=True) is FaultKind.GAP
    assert faults.on_request(None, is_depth=False) is None
    assert faults.on_request("BTC-USDT", is_depth=True) is FaultKind.STALE_SNAPSHOT


@pytest.mark.parametrize("kind", [*FRAME_KINDS, *REQUEST_KINDS])
def test_a_forced_fault_hits_once_and_only_its_symbol(kind: FaultKind) -> None:
    faults = Faults(FaultParams(), 1)
    faults.force(kind, "ETH-USDT")
    decide = faults.on_frame if kind in FRAME_KINDS else faults.on_request
    assert decide("BTC-USDT", is_depth=True) is None
    assert faults.forced == 1
    assert decide("ETH-USDT", is_depth=True) is kind
    assert decide("ETH-USDT", is_depth=True) is None
    assert (faults.forced, faults.is_on_frames) == (0, False)


def test_rates_above_one_together_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 1"):
        Faults(FaultParams(gap=0.6, stall=0.6), 1)
