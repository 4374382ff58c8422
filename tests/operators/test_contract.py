"""The contract, held to by every registered operator.

A new operator that takes canonical events and has defaults is covered at once. One that needs parameters, or
that is to be checked with several sets of them, gets an entry in PARAMS; one that takes something else gets
one in SAMPLES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.events.frames import Arrival, Connection, WsFrame
from flow.plugins import load_installed
from flow.pool import Pools
from flow.registry import NodeSpec, registry
from flow.testing import check_operator
from flow.testing.contract.samples import takes_events
from nodes.providers.binance.codec import BinanceCodec

PARAMS: dict[str, list[dict[str, Any]]] = {
    "coalesce": [{}, {"capacity": 2}],
    "decode": [{"codec": "contract"}],
    "dedupe": [{"window": 2}],
    "order-buffer": [{}, {"capacity": 2, "lateness_ms": 60}],
    "route": [{"table": {"": [["BTC-USDT", "binance"]]}}],
    "rx.buffer-with-count": [{"count": 3}, {"count": 2, "skip": 3}],
    "rx.buffer-with-time": [{"span_ms": 200, "most": 3}],
    "rx.debounce": [{"due_ms": 100}],
    "rx.distinct-until-changed": [{"function": f"{__name__}:parity", "per": "stream"}],
    "rx.filter": [{"function": f"{__name__}:parity"}],
    "rx.map": [{"function": f"{__name__}:parity"}],
    "rx.pairwise": [{}, {"per": "symbol"}],
    "rx.sample": [{"every_ms": 100}],
    "rx.scan": [{"function": f"{__name__}:added", "seed": 0}],
    "throttle": [
        {},
        {"rate_per_s": 5, "burst": 2, "capacity": 3},
        {"bandwidth_per_s": 10, "total_per_s": 10},
    ],
    "window-merge": [
        {},
        {"merges": [["*", "BestQuote"]], "providers": ["binance", "kraken"]},
        {
            "merges": [["*", "Trade"], ["BTC-USDT", "BestQuote"]],
            "providers": ["binance", "coinbase", "kraken"],
            "needs": 2,
            "window_ms": 1000,
            "most_events": 3,
            "keep": "all",
        },
    ],
}
BY_DESIGN: dict[str, Sequence[str]] = {"throttle-2": ["re-subscription"]}
"""Rules that do not hold: subscriptions of one consumer's throttle share its bandwidth."""
EXAMPLES = 12
CONNECTION = Connection("binance", 1, lambda payload: b'"id":1' in payload)


def parity(event: CanonicalEvent) -> int:
    return event.sequence % 2


def added(total: int, event: CanonicalEvent) -> int:
    return total + event.sequence


def quote(number: int, symbol: str = "BTCUSDT") -> bytes:
    data = f'{{"u":{number},"s":"{symbol}","b":"1.0","B":"2.0","a":"3.0","A":"4.0"}}'
    return f'{{"stream":"{symbol.lower()}@bookTicker","data":{data}}}'.encode()


def trade(number: int) -> bytes:
    data = (
        f'{{"e":"trade","E":1700000000000,"s":"BTCUSDT","t":{number},"p":"1.5","q":"2.0",'
        '"T":1700000000000,"m":true,"M":true}'
    )
    return f'{{"stream":"btcusdt@trade","data":{data}}}'.encode()


PAYLOADS = (
    *(quote(1), trade(1), quote(2), trade(2), trade(3), quote(3)),
    *(b'{"result":null,"id":1}', b'{"result":null,"id":2}', b"{", b"\xff", b"[]", b"\x20" * 2000),
    *(quote(4, "XYZUSDT"), trade(1).replace(b'"1.5"', b"1.5")),
)


def frames(pools: Pools) -> Sequence[WsFrame]:
    """What decode takes: market data, answers, and what it has to refuse."""
    shelf = pools.of("WsFrame", WsFrame).shelf(CONNECTION)
    made: list[WsFrame] = []
    for number, payload in enumerate(PAYLOADS):
        frame = shelf.get()
        frame.payload, frame.received_at = payload, number
        made.append(frame)
    return made


def arrivals(pools: Pools) -> Sequence[Arrival]:
    """What ingest takes."""
    other = Connection("kraken", 2)
    return [(CONNECTION if at % 3 else other, b"%d" % at, at % 4) for at in range(12)]


SAMPLES: dict[str, Callable[[Pools], Sequence[Any]]] = {"decode": frames, "ingest": arrivals}


@pytest.fixture(autouse=True)
def codec() -> Iterator[None]:
    """Binance's, for one symbol."""

    def make(_: Context, levels: Any) -> BinanceCodec:
        return BinanceCodec({"BTCUSDT": "BTC-USDT"}.get, levels)

    registry.codecs["contract"] = make
    yield
    del registry.codecs["contract"]


def cases() -> Iterator[Any]:
    assert load_installed() == []
    for spec in registry.operators():
        for number, params in enumerate(PARAMS.get(spec.name, [{}])):
            case = f"{spec.name}-{number}" if number else spec.name
            yield pytest.param(spec, params, BY_DESIGN.get(case, ()), id=case)


@pytest.mark.parametrize(("spec", "params", "skip"), list(cases()))
def test_every_registered_operator_keeps_the_contract(
    spec: NodeSpec, params: dict[str, Any], skip: Sequence[str]
) -> None:
    samples = SAMPLES.get(spec.name)
    if samples is None and not takes_events(spec.input):
        pytest.fail(
            f"{spec.name} takes {spec.input}: add what it takes to SAMPLES, a function (pools) -> list"
        )
    try:
        msgspec.convert(params, spec.params)
    except msgspec.ValidationError as error:
        pytest.fail(f"{spec.name} can't be made of {params}: {error}; add what it needs to PARAMS")
    check_operator(spec, samples, params=params, skip=skip, examples=EXAMPLES)


def test_no_entry_is_left_of_an_operator_that_is_gone() -> None:
    names = {spec.name for spec in registry.operators()}
    assert {*PARAMS, *SAMPLES} - names == set()


def test_what_the_tables_do_not_know_says_what_to_add() -> None:
    check = test_every_registered_operator_keeps_the_contract
    with pytest.raises(
        pytest.fail.Exception, match=r"new takes .*Connection.*: add what it takes to SAMPLES"
    ):
        check(replace(registry.nodes["ingest"], name="new"), {}, ())
    with pytest.raises(
        pytest.fail.Exception, match=r"new can.t be made of {}: .*; add what it needs to PARAMS"
    ):
        check(replace(registry.nodes["rx.map"], name="new"), {}, ())
