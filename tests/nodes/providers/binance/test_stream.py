from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from flow.component import Source
from flow.errors import PoolTimeout, Terminal
from flow.events.frames import Arrival
from flow.registry import registry
from flow.telemetry.occurrences import (
    BackpressureTriggered,
    ElementRefused,
    ProviderConnected,
    ProviderDisconnected,
    StreamStale,
)
from nodes.exchange import Exchange, SimParams
from nodes.exchange.faults import FaultKind
from nodes.providers.binance.link import RequestRefused
from nodes.providers.binance.stream import BinanceStream, BinanceStreamParams, binance_stream, stream_name
from nodes.providers.provider import ProviderUnreachable
from nodes.providers.transport import Reply

FAST = {"first_delay_s": 0.01, "longest_delay_s": 0.05, "overlap_s": 0.1}
LISTED = [
    {"symbol": f"{base}USDT", "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT"}
    for base in ("BTC", "ETH", "SOL")
]


class Running:
    """A source that runs against a server, with a collector in the place of the graph."""

    def __init__(self, context: Any, collector: Any, **params: Any) -> None:
        chosen = {"symbols": ["BTC-USDT"], **FAST, **params}
        self.source = BinanceStream(msgspec.convert(chosen, BinanceStreamParams), context)
        self.source.emit = collector
        self.collector = collector
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Running:
        await self.source.start()
        self.task = asyncio.create_task(self.source.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.source.pause()
        if self.task is not None:
            await asyncio.wait([self.task])
        await self.source.stop()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once it holds; raises where the source ended before."""
        assert self.task is not None
        waiting = asyncio.create_task(self.collector.until(condition))
        await asyncio.wait([waiting, self.task], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            self.task.result()
            pytest.fail("the source ended")

    def streams(self) -> Counter[str]:
        return Counter(msgspec.json.decode(payload)["stream"] for _, payload in self.collector.frames)


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    params = SimParams(symbols=["BTC-USDT", "ETH-USDT", "SOL-USDT"], rate=2000, ticker_ms=50, kline_ms=50)
    async with Exchange(params) as made:
        yield made


@pytest.fixture
def against(make_context, collector) -> Callable[..., Running]:
    def make(server: Any, **params: Any) -> Running:
        endpoints = {"binance": {"ws": server.ws_url, "rest": server.rest_url}}
        return Running(make_context(endpoints=endpoints), collector, **params)

    return make


@pytest.fixture
def listed(server) -> Any:
    """The scripted server, which lists three symbols."""
    server.reply("/api/v3/exchangeInfo", {"symbols": LISTED})
    return server


def test_it_is_registered_as_a_source_of_arrivals(make_context) -> None:
    spec = registry.nodes["binance.stream"]
    assert (spec.kind, spec.params, spec.output) == ("source", BinanceStreamParams, Arrival)
    assert isinstance(binance_stream(BinanceStreamParams(symbols=[]), make_context()), Source)


async def test_every_channel_of_every_symbol_arrives_from_a_real_exchange(exchange, against) -> None:
    channels = ["trade", "agg_trade", "book", "best_quote", "ticker", "kline_1m"]
    symbols = ["BTC-USDT", "ETH-USDT"]
    async with against(exchange, symbols=symbols, channels=channels) as running:
        await running.until(lambda: len(running.streams()) == 12)
        summary = running.source.summary()
        assert (summary["connections"], summary["opened"], summary["subscriptions"]) == (1, 1, 12)
        assert summary["requests_sent"] == 1
    assert running.collector.unknown == []
    assert running.source.summary()["connections"] == 0
    wanted = {stream_name(symbol.replace("-", ""), channel) for symbol in symbols for channel in channels}
    assert set(running.streams()) == wanted


async def test_streams_are_spread_over_connections_by_symbol(exchange, against) -> None:
    symbols = ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
    async with against(exchange, symbols=symbols, max_streams_per_connection=4) as running:
        await running.until(lambda: len(running.streams()) == 9)
        placed = [sorted({name.partition("@")[0] for name in c.names}) for c in running.source.carriers]
        assert placed == [["btcusdt"], ["ethusdt"], ["solusdt"]]


async def test_a_symbol_with_more_streams_than_a_connection_takes_is_split(exchange, against) -> None:
    async with against(exchange, max_streams_per_connection=2) as running:
        await running.until(lambda: len(running.streams()) == 3)
        await running.source.subscribe(["BTC-USDT"])
        assert [len(carrier.names) for carrier in running.source.carriers] == [2, 1]


async def test_subscriptions_change_while_it_runs(exchange, against) -> None:
    async with against(exchange, channels=["trade"]) as running:
        await running.until(lambda: len(running.collector.frames) > 0)
        await running.source.subscribe(["ETH-USDT"], ["best_quote"])
        await running.source.subscribe(["ETH-USDT"], ["best_quote"])
        await running.until(lambda: running.streams()["ethusdt@bookTicker"] > 0)
        await running.source.unsubscribe(["BTC-USDT"])
        await running.source.unsubscribe(["BTC-USDT"])
        running.collector.frames.clear()
        await running.until(lambda: len(running.collector.frames) > 50)
        assert set(running.streams()) == {"ethusdt@bookTicker"}
        assert running.source.summary()["subscriptions"] == 1
        assert running.source.summary()["requests_sent"] == 3
        await running.source.unsubscribe(["ETH-USDT"], ["trade"])
        assert running.source.summary()["subscriptions"] == 1
        await running.source.unsubscribe(["ETH-USDT"], ["best_quote"])
        assert running.source.summary()["subscriptions"] == 0
        assert not running.source.carriers
        await running.source.subscribe(["SOL-USDT"])
        await running.until(lambda: running.streams()["solusdt@trade"] > 0)


async def test_symbols_that_the_exchange_lacks_are_named_and_disturb_nobody(
    exchange, against, journal
) -> None:
    async with against(exchange, symbols=["BTC-USDX", "ETH-USDT"]) as running:
        await running.until(lambda: len(running.streams()) == 3)
        [refused] = journal.of(ElementRefused)
        assert refused.reason == "unknown_symbol"
        assert "BTC-USDX; did you mean BTC-USDT?" in refused.detail
        with pytest.raises(Terminal, match="does not know XX-YY"):
            await running.source.subscribe(["XX-YY", "SOL-USDT"], ["trade"])
        await running.until(lambda: running.streams()["solusdt@trade"] > 0)


async def test_without_any_known_symbol_the_run_fails(exchange, against) -> None:
    async with against(exchange, symbols=["XX-YY", "ZZ-AA"]) as running:
        with pytest.raises(Terminal, match="none of the symbols XX-YY, ZZ-AA"):
            await running.task


async def test_disconnects_by_the_exchange_are_repaired(exchange, against, journal) -> None:
    async with against(exchange, symbols=["BTC-USDT", "ETH-USDT"]) as running:
        for times in (1, 2, 3):
            await running.until(lambda: len(running.streams()) == 6)
            exchange.faults.force(FaultKind.DISCONNECT)
            await running.until(lambda times=times: len(journal.of(ProviderConnected)) > times)
            running.collector.frames.clear()
        await running.until(lambda: len(running.streams()) == 6)
        assert running.source.summary()["reconnects"] == {"network_error": 3}
        assert [report.retry_in_s <= 0.05 for report in journal.of(ProviderDisconnected)] == [True] * 3


async def test_a_connection_is_renewed_before_its_lifetime_ends_and_no_trade_is_lost(
    against, journal
) -> None:
    params = SimParams(symbols=["BTC-USDT"], rate=1000, lifetime_s=0.8)
    async with Exchange(params) as exchange, against(exchange, channels=["trade"], lifetime_s=0.4) as running:
        await running.until(lambda: running.source.stats.reconnects["lifetime"] >= 3)
    ids = [msgspec.json.decode(payload)["data"]["t"] for _, payload in running.collector.frames]
    assert sorted(set(ids)) == list(range(min(ids), max(ids) + 1))
    assert len(ids) > len(set(ids))
    assert running.source.summary()["reconnects"] == {"lifetime": running.source.stats.reconnects["lifetime"]}
    assert {report.reason for report in journal.of(ProviderDisconnected)} == {"lifetime"}


async def test_a_notice_of_shutdown_is_acted_upon_at_once(listed, against, journal) -> None:
    async with against(listed, channels=["trade"]) as running:
        await running.until(lambda: len(listed.requests) == 1)
        await listed.sockets[0].send_str('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')
        await running.until(lambda: len(listed.requests) == 2)
        await listed.publish("btcusdt@trade", {"t": 1})
        await running.until(lambda: running.source.stats.reconnects["server_shutdown"] == 1)
        await listed.publish("btcusdt@trade", {"t": 2})
        await running.until(lambda: running.collector.frames[-1][1].endswith(b'{"t":2}}'))
        assert [of for of, _ in running.collector.frames] in ([1, 2, 2], [2, 1, 2])
        [report] = journal.of(ProviderDisconnected)
        assert (report.connection_id, report.reason) == (1, "server_shutdown")


async def test_requests_name_as_many_streams_as_a_batch_has(listed, against) -> None:
    async with against(listed, channels=["trade", "agg_trade", "book"], batch=2) as running:
        await running.until(lambda: len(listed.requests) == 2)
    assert listed.requests == [
        {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@aggTrade"], "id": 1},
        {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 2},
    ]


async def test_an_error_reply_is_reported_and_the_others_are_carried(listed, against, journal) -> None:
    def answer(request: dict[str, Any]) -> bytes:
        if "btcusdt@trade" in request["params"]:
            return msgspec.json.encode({"code": 2, "msg": "Invalid request: bad", "id": request["id"]})
        return listed.sockets and msgspec.json.encode({"result": None, "id": request["id"]})

    listed.answer = answer
    async with against(listed, channels=["trade", "ticker"]) as running:
        await running.until(lambda: any("btcusdt@ticker" in names for names in listed.streams.values()))
        [first, *_] = journal.of(RequestRefused)
        assert (first.code, first.message, first.streams) == ("2", "Invalid request: bad", 2)


async def test_a_silent_stream_is_subscribed_anew(listed, against, journal) -> None:
    counts = Counter({"btcusdt@trade": 1, "btcusdt@ticker": 1})

    def activity() -> Counter[str]:
        counts["btcusdt@ticker"] += 1
        return counts

    async with against(listed, channels=["trade", "ticker"], stale_after_s=0.05) as running:
        running.source.provider.activity = activity
        await running.until(lambda: len(listed.requests) >= 3)
        asked = [(request["method"], request["params"]) for request in listed.requests[:3]]
        assert asked[1:] == [("UNSUBSCRIBE", ["btcusdt@trade"]), ("SUBSCRIBE", ["btcusdt@trade"])]
        report = journal.of(StreamStale)[0]
        assert (report.provider, report.stream) == ("binance", "btcusdt@trade")
        assert report.silent_s >= 0.05
        assert len(listed.sockets) == 1


async def test_a_connection_on_which_all_is_silent_is_replaced(listed, against, journal) -> None:
    async with against(listed, channels=["trade", "ticker"], stale_after_s=0.05) as running:
        running.source.provider.activity = dict
        await running.until(lambda: running.source.stats.reconnects["stale"] >= 1)
        assert {report.stream for report in journal.of(StreamStale)} == {"btcusdt@trade", "btcusdt@ticker"}
        assert {request["method"] for request in listed.requests} == {"SUBSCRIBE"}


async def test_pings_do_not_make_a_stream_fresh(listed, against, journal) -> None:
    async with against(listed, channels=["trade"], stale_after_s=0.05) as running:
        running.source.provider.activity = dict
        while not journal.of(StreamStale):
            for socket in listed.sockets:
                await socket.ping(b"1")
            await asyncio.sleep(0)
        assert {report.stream for report in journal.of(StreamStale)} == {"btcusdt@trade"}


async def test_what_meets_a_dry_pool_is_offered_again(listed, against, collector, journal) -> None:
    refused: list[bytes] = []

    def sometimes_dry(arrival: Arrival) -> None:
        if arrival[1].startswith(b'{"stream"') and arrival[1] not in refused:
            refused.append(arrival[1])
            raise PoolTimeout("WsFrame", 1)
        collector(arrival)

    async with against(listed, channels=["trade"]) as running:
        running.source.emit = sometimes_dry
        await running.until(lambda: len(listed.requests) == 1)
        for number in range(5):
            await listed.publish("btcusdt@trade", {"t": number})
        await running.until(lambda: len(collector.frames) == 5)
        assert len(refused) == 5
        assert len(journal.of(BackpressureTriggered)) == 5
        summary = running.source.summary()
        assert (summary["backpressure_waits"], summary["dropped"]) == (5, {})


async def test_an_exchange_out_of_reach_is_reported_and_the_run_goes_on(against, journal, server) -> None:
    class Nowhere:
        ws_url, rest_url = "ws://127.0.0.1:1", "http://127.0.0.1:1"

    async with against(Nowhere()) as running:
        await running.until(lambda: len(journal.of(ProviderUnreachable)) >= 2)
        assert "--sim" in journal.of(ProviderUnreachable)[0].advice
        assert running.task is not None
        assert not running.task.done()


async def test_what_the_graph_raises_ends_the_run_as_it_is(exchange, against) -> None:
    class Bug(RuntimeError):
        pass

    def broken(arrival: Arrival) -> None:
        raise Bug("of ours")

    running = against(exchange)
    running.source.emit = broken
    async with running:
        with pytest.raises(Bug, match="of ours"):
            await running.task


async def test_pausing_lets_nothing_through_any_more(exchange, against) -> None:
    async with against(exchange) as running:
        await running.until(lambda: len(running.collector.frames) > 10)
        running.source.pause()
        seen = len(running.collector.frames)
        await running.task
        assert len(running.collector.frames) == seen
        await running.source.run()
        assert len(running.collector.frames) == seen


async def test_pausing_from_within_the_graph_holds_back_what_has_arrived(listed, against, collector) -> None:
    running = against(listed, channels=["trade"])

    def take(arrival: Arrival) -> None:
        collector(arrival)
        if len(collector.frames) == 3:
            running.source.pause()

    running.source.emit = take
    async with running:
        await running.until(lambda: len(listed.requests) == 1)
        payload = b'{"stream":"btcusdt@trade","data":{"t":1}}'
        listed.transports[0].write((b"\x81" + bytes([len(payload)]) + payload) * 50)
        await running.task
    assert len(collector.frames) == 3


async def test_a_cancellation_counts_in_a_pause_too(exchange, against) -> None:
    async with against(exchange) as running:
        await running.until(lambda: len(running.collector.frames) > 0)
        running.source.pause()
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.task


async def test_cancelling_the_run_is_not_taken_for_a_pause(exchange, against) -> None:
    async with against(exchange) as running:
        await running.until(lambda: len(running.collector.frames) > 0)
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.task
        assert running.source.summary()["connections"] == 0


async def test_stopping_what_never_ran_does_nothing(make_context) -> None:
    source = BinanceStream(BinanceStreamParams(symbols=["BTC-USDT"]), make_context())
    source.pause()
    await source.stop()
    await source.stop()
    assert (source.emitted, source.summary()["opened"], len(asyncio.all_tasks())) == (0, 0, 1)


def test_without_symbols_it_runs_until_it_is_paused(virtually, make_context, scripted, collector) -> None:
    async def main() -> None:
        scripted.replies.append(Reply(200, {}, b'{"symbols":[]}'))
        context = make_context(transports={"binance": lambda context: scripted})
        async with Running(context, collector, symbols=[]) as running:
            await asyncio.sleep(3600)
            assert not running.task.done()
            assert scripted.wires == []

    virtually(main())


def test_a_recording_runs_to_its_end_and_is_neither_renewed_nor_judged_stale(
    virtually, make_context, recorded, make_wire, collector, journal
) -> None:
    async def main() -> None:
        recorded.replies.append(Reply(200, {}, msgspec.json.encode({"symbols": LISTED})))
        wire = make_wire()
        wire.answer = lambda request: None
        recorded.connects.append(wire)
        context = make_context(transports={"binance": lambda context: recorded})
        symbols = ["BTC-USDT", "ETH-USDT"]
        async with Running(context, collector, symbols=symbols, max_streams_per_connection=3) as running:
            running.source.provider.activity = dict
            await recorded.until(lambda: bool(recorded.wires), 0.01)
            await asyncio.sleep(200_000)
            wire.incoming.put_nowait(b'{"stream":"btcusdt@trade","data":1}')
            wire.end("end_of_recording")
            await running.task
        assert len(collector.frames) == 1
        assert journal.of(StreamStale) == journal.of(RequestRefused) == []
        assert recorded.closes == 1

    virtually(main())
