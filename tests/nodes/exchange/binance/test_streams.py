"""The streams as a client sees them: exact fields, books that join, and data that agree with each other."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from nodes.exchange import Exchange, SimParams
from nodes.exchange.binance.streams import Streams
from nodes.exchange.market import Market
from nodes.exchange.wire import payload_of

FAST = SimParams(symbols=1, rate=300, speed=20, seed=11, truth=True, truth_states=100_000, book_levels=30)

FIELDS = {
    "trade": "e E s t p q T m M",
    "aggTrade": "e E s a p q f l T m M",
    "depth@100ms": "e E s U u b a",
    "depth": "e E s U u b a",
    "bookTicker": "u s b B a A",
    "ticker": "e E s p P w x c Q b B a A o h l v q O C F L n",
    "miniTicker": "e E s c o h l v q",
    "kline_1m": "e E s k",
    "depth5": "lastUpdateId bids asks",
    "depth20@100ms": "lastUpdateId bids asks",
}
TYPES = {
    "trade": "trade",
    "aggTrade": "aggTrade",
    "depth": "depthUpdate",
    "depth@100ms": "depthUpdate",
    "ticker": "24hrTicker",
    "miniTicker": "24hrMiniTicker",
    "kline_1m": "kline",
}
WHOLE = {"E", "t", "T", "a", "f", "l", "U", "u", "O", "C", "F", "L", "n", "lastUpdateId"}


def path(*kinds: str) -> str:
    return "/stream?streams=" + "/".join(f"btcusdt@{kind}" for kind in kinds)


async def events(ws: Any, count: int) -> list[tuple[str, dict[str, Any]]]:
    """The next events, each with the kind of its stream."""
    found = []
    for _ in range(count):
        wrapped = msgspec.json.decode(await ws.receive_str())
        found.append((wrapped["stream"].removeprefix("btcusdt@"), wrapped["data"]))
    return found


@pytest.mark.parametrize("kind", FIELDS)
async def test_fields_stand_as_documented(serve: Any, kind: str) -> None:
    async with serve(FAST) as client:
        ws = await client.connect(path(kind))
        (_, event), *_ = await events(ws, 1)
        assert list(event) == FIELDS[kind].split()
        assert event.get("e") == TYPES.get(kind)
        if "s" in event:
            assert event["s"] == "BTCUSDT"
        for name, value in event.items():
            if name in ("e", "s", "k") or isinstance(value, bool):
                continue
            if isinstance(value, list):
                assert all(decimals(price) and decimals(quantity) for price, quantity in value)
            elif isinstance(value, int):
                assert name in WHOLE
            else:
                assert decimals(value) or name == "P"


def decimals(text: str) -> bool:
    return isinstance(text, str) and len(text.partition(".")[2]) == 8 and Decimal(text).is_finite()


async def test_a_kline_has_its_fields(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect(path("kline_1d@+08:00"))
        (_, event), *_ = await events(ws, 1)
        kline = event["k"]
        assert " ".join(kline) == "t T s i f L o c h l v n x q V Q B"
        assert (kline["s"], kline["i"], kline["x"], kline["B"]) == ("BTCUSDT", "1d", False, "0")
        assert kline["T"] - kline["t"] == 86_399_999
        assert kline["t"] % 86_400_000 == 16 * 3_600_000


@pytest.mark.parametrize("kind", ["depth@100ms", "depth"])
async def test_a_snapshot_and_the_events_after_it_are_the_engines_book(
    serve: Any, level_book: Any, kind: str
) -> None:
    async with serve(FAST) as client:
        ws = await client.connect(path(kind))
        first = (await events(ws, 3))[0][1]
        _, _, snapshot = await client.get("/api/v3/depth?symbol=BTCUSDT&limit=5000")
        assert snapshot["lastUpdateId"] >= first["U"]
        book, last = level_book(snapshot["bids"], snapshot["asks"]), snapshot["lastUpdateId"]
        checked, bridged, previous = [], False, None
        while len(checked) < 40:
            ((_, event),) = await events(ws, 1)
            assert previous is None or event["U"] == previous + 1
            previous = event["u"]
            if event["u"] <= last:
                continue
            assert event["U"] <= last + 1 if not bridged else event["U"] == last + 1
            bridged, last = True, event["u"]
            book.apply(event)
            checked.append((last, book.levels()))
        _, _, truth = await client.get(f"/sim/truth?symbol=BTC-USDT&after={snapshot['lastUpdateId']}")
        states = {state["u"]: (state["bids"], state["asks"]) for state in truth["states"]}
        for update_id, levels in checked:
            assert levels == states[update_id]


async def test_the_best_quote_is_the_top_of_the_book_with_its_update_id(serve: Any) -> None:
    async with serve(
        SimParams(symbols=1, rate=300, speed=20, seed=4, truth=True, truth_states=100_000, depth_ms=5)
    ) as client:
        ws = await client.connect(path("bookTicker"))
        quotes = {event["u"]: event for _, event in await events(ws, 1500)}
        _, _, truth = await client.get("/sim/truth?symbol=BTC-USDT")
        compared = 0
        for state in truth["states"]:
            quote = quotes.get(state["u"])
            if quote is not None:
                assert [quote["b"], quote["B"]] == state["bids"][0]
                assert [quote["a"], quote["A"]] == state["asks"][0]
                compared += 1
        assert compared > 300


async def test_klines_and_tickers_agree_with_the_trades(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect(path("trade", "kline_1s", "ticker", "miniTicker"))
        seen = await events(ws, 3000)
        trades = {event["t"]: event for kind, event in seen if kind == "trade"}
        assert list(trades) == list(range(min(trades), max(trades) + 1))
        klines = [event["k"] for kind, event in seen if kind == "kline_1s" and event["k"]["x"]]
        whole = [kline for kline in klines if kline["f"] >= min(trades)]
        assert len(whole) >= 10
        for kline in whole:
            inside = [trades[number] for number in range(kline["f"], kline["L"] + 1)]
            assert all(kline["t"] <= trade["T"] <= kline["T"] for trade in inside)
            prices = [Decimal(trade["p"]) for trade in inside]
            assert [Decimal(kline[name]) for name in "ohlc"] == [
                prices[0],
                max(prices),
                min(prices),
                prices[-1],
            ]
            assert kline["n"] == len(inside)
            assert Decimal(kline["v"]) == sum(Decimal(trade["q"]) for trade in inside)
            assert Decimal(kline["q"]) == sum(Decimal(trade["q"]) * Decimal(trade["p"]) for trade in inside)
            taken = [trade for trade in inside if not trade["m"]]
            assert Decimal(kline["V"]) == sum(Decimal(trade["q"]) for trade in taken)
        tickers = [event for kind, event in seen if kind == "ticker" and event["F"]]
        first, last = tickers[0], tickers[-1]
        between = [trades[number] for number in range(max(first["L"] + 1, min(trades)), last["L"] + 1)]
        if first["L"] + 1 >= min(trades):
            assert Decimal(last["v"]) - Decimal(first["v"]) == sum(Decimal(trade["q"]) for trade in between)
        assert last["n"] == last["L"] - last["F"] + 1
        assert last["c"] == between[-1]["p"]
        assert Decimal(last["p"]) == Decimal(last["c"]) - Decimal(last["o"])
        minis = {event["E"]: event for kind, event in seen if kind == "miniTicker"}
        for ticker in tickers:
            mini = minis.get(ticker["E"])
            assert mini is None or all(mini[name] == ticker[name] for name in "cohlvq")


async def test_aggregates_cover_every_trade_once(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect(path("trade", "aggTrade"))
        seen = await events(ws, 1500)
        trades = {event["t"]: event for kind, event in seen if kind == "trade"}
        aggregates = [event for kind, event in seen if kind == "aggTrade"]
        merged = 0
        for earlier, later in pairwise(aggregates):
            assert (later["a"], later["f"]) == (earlier["a"] + 1, earlier["l"] + 1)
        for each in aggregates:
            parts = [trades[number] for number in range(each["f"], each["l"] + 1) if number in trades]
            if len(parts) < each["l"] - each["f"] + 1:
                continue
            assert {(part["p"], part["m"], part["T"]) for part in parts} == {
                (each["p"], each["m"], each["T"])
            }
            assert Decimal(each["q"]) == sum(Decimal(part["q"]) for part in parts)
            merged += len(parts) > 1
        assert merged > 5


async def test_partial_books_are_the_top_of_the_engines_book(serve: Any) -> None:
    async with serve(FAST) as client:
        ws = await client.connect(path("depth5@100ms", "depth10@100ms"))
        seen = await events(ws, 40)
        _, _, truth = await client.get("/sim/truth?symbol=BTC-USDT")
        states = {state["u"]: state for state in truth["states"]}
        for kind, event in seen:
            levels = int(kind.removeprefix("depth").partition("@")[0])
            state = states[event["lastUpdateId"]]
            assert event["bids"] == state["bids"][:levels]
            assert event["asks"] == state["asks"][:levels]


class Inbox:
    """A subscriber without a socket."""

    def __init__(self, form: int) -> None:
        self.form = form
        self.frames: list[bytes] = []

    def send(self, channel: Any, framed: bytes) -> None:
        self.frames.append(framed)


def test_an_event_is_encoded_once_for_all_who_want_the_same_form() -> None:
    market = Market(SimParams(symbols=1, rate=100), 1_700_000_000_000)
    streams = Streams(market)
    market.listeners.append(streams)
    inboxes = [Inbox(form) for form in (0, 1, 2, 3, 0, 1, 2, 3)]
    for inbox in inboxes:
        streams.add("btcusdt@trade", inbox)
    market.advance(market.start_ms + 2000)
    for first, second in zip(inboxes[:4], inboxes[4:], strict=True):
        assert len(first.frames) > 20
        assert all(one is other for one, other in zip(first.frames, second.frames, strict=True))
    for raw, wrapped in ((0, 1), (2, 3)):
        for one, other in zip(inboxes[raw].frames, inboxes[wrapped].frames, strict=True):
            assert payload_of(other) == b'{"stream":"btcusdt@trade","data":' + payload_of(one) + b"}"
    for inbox in inboxes:
        streams.remove("btcusdt@trade", inbox)
    count = len(inboxes[0].frames)
    market.advance(market.now_ms + 2000)
    assert len(inboxes[0].frames) == count


async def test_names_that_look_alike_on_the_wire_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        Exchange(SimParams(symbols=["AB-CDE", "ABC-DE"]))
