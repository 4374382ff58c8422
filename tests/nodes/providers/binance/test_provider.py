from __future__ import annotations

import msgspec
import pytest

from flow.errors import Terminal
from flow.registry import registry
from nodes.exchange import Exchange, SimParams
from nodes.exchange.params import LimitParams
from nodes.providers.binance.provider import PUBLIC, BinanceProvider


def endpoints(exchange: Exchange) -> dict[str, dict[str, str]]:
    return {"binance": {"ws": exchange.ws_url, "rest": exchange.rest_url}}


async def test_the_provider_of_a_graph_is_one_and_speaks_to_the_exchange(make_context) -> None:
    params = SimParams(symbols=["BTC-USDT", "ETH-BTC"], limits=LimitParams(weight_per_min=1000))
    async with Exchange(params) as exchange:
        context = make_context(endpoints=endpoints(exchange))
        provider = context.service("binance", registry.services["binance"])
        assert isinstance(provider, BinanceProvider)
        assert context.for_node("books").service("binance", registry.services["binance"]) is provider
        await provider.ready()
        assert sorted(provider.symbols) == ["BTC-USDT", "ETH-BTC"]
        info = provider.symbols.info("BTC-USDT")
        assert info is not None
        assert (info.wire, info.status, info.price_precision) == ("BTCUSDT", "TRADING", 2)
        assert provider.rest.window.limit == 900
        snapshot = msgspec.json.decode(await provider.depth_snapshot("ETH-BTC", 5))
        assert snapshot["lastUpdateId"] > 0
        assert len(snapshot["bids"]) == len(snapshot["asks"]) == 5
        assert provider.rest.window.used == 25
        assert provider.summary() == {"symbols": 2, "requests": {"ok": 2}}
        await provider.close()


async def test_a_symbol_that_the_exchange_lacks_is_not_asked_for(make_context) -> None:
    async with Exchange(SimParams(symbols=["BTC-USDT"])) as exchange:
        provider = BinanceProvider(make_context(endpoints=endpoints(exchange)))
        await provider.ready()
        with pytest.raises(Terminal, match="no symbol 'XX-YY'"):
            await provider.depth_snapshot("XX-YY")
        assert provider.rest.outcomes == {"ok": 1}
        await provider.close()


async def test_more_levels_than_there_can_be_are_cut_to_the_most(make_context, server) -> None:
    chosen = {"binance": {"ws": server.ws_url, "rest": server.rest_url}}
    provider = BinanceProvider(make_context(endpoints=chosen))
    listed = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}
    server.reply("/api/v3/exchangeInfo", {"symbols": [listed]})
    server.reply("/api/v3/depth", b"{}")
    server.reply("/api/v3/depth", b"{}")
    await provider.ready()
    await provider.depth_snapshot("BTC-USDT", 9999)
    await provider.depth_snapshot("BTC-USDT", 0)
    asked = [call.query["limit"] for call in server.calls if call.path == "/api/v3/depth"]
    assert asked == ["5000", "1"]
    assert provider.rest.window.used == 20 + 250 + 5
    await provider.close()


def test_without_endpoints_it_is_the_exchange_itself(make_context) -> None:
    assert BinanceProvider(make_context()).endpoints == PUBLIC
    assert PUBLIC.ws.startswith("wss://")
    assert PUBLIC.rest.startswith("https://")
