from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow.context import Context
from flow.errors import ProviderError, Retryable, Terminal
from nodes.providers.http_transport import HttpTransport
from nodes.providers.provider import Endpoints, Provider, ProviderUnreachable
from nodes.providers.symbols import SymbolInfo
from nodes.providers.transport import EndOfRecording

BTC = SymbolInfo(canonical="BTC-USDT", wire="BTCUSDT", base="BTC", quote="USDT")


class Somewhere(Provider):
    """A provider whose exchange answers by script."""

    def __init__(self, context: Context, answers: list[Any] | None = None) -> None:
        super().__init__(context, "somewhere", Endpoints(ws="wss://ws.somewhere", rest="https://somewhere"))
        self.answers = answers or []
        self.asked = 0

    async def load_symbols(self) -> list[SymbolInfo]:
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def depth_snapshot(self, symbol: str, limit: int = 5000) -> bytes:
        return b""


def test_symbols_are_loaded_once_for_all_who_wait(virtually, make_context) -> None:
    async def main() -> None:
        provider = Somewhere(make_context(), [[BTC]])
        await asyncio.gather(provider.ready(), provider.ready())
        await provider.ready()
        assert provider.asked == 1
        assert provider.symbols.wire("BTC-USDT") == "BTCUSDT"

    virtually(main())


def test_an_exchange_out_of_reach_is_reported_at_once_and_tried_for_ever(
    virtually, make_context, journal
) -> None:
    async def main() -> None:
        failures: list[Any] = [Retryable("no route to host")] * 30 + [Terminal("HTTP 451: blocked")]
        provider = Somewhere(make_context(), [*failures, [BTC]])
        ready = asyncio.create_task(provider.ready())
        await journal.until(lambda: bool(journal.all), 0)
        assert asyncio.get_running_loop().time() == 0.0
        await ready
        reports = journal.of(ProviderUnreachable)
        assert len(reports) == 31
        assert (reports[0].provider, reports[0].url) == ("somewhere", "https://somewhere")
        assert reports[0].detail == "no route to host"
        assert "--sim" in reports[0].advice
        assert "--replay somewhere=FILE" in reports[0].advice
        assert all(0 <= report.retry_in_s <= 30 for report in reports)

    virtually(main())


def test_the_exchange_is_not_asked_before_it_allows(virtually, make_context) -> None:
    async def main() -> None:
        provider = Somewhere(make_context(), [Retryable("banned", 120.0), [BTC]])
        await provider.ready()
        assert asyncio.get_running_loop().time() == 120.0

    virtually(main())


@pytest.mark.parametrize("error", [EndOfRecording("over"), Terminal("not recorded")])
def test_a_recording_is_asked_once(virtually, make_context, recorded, error: ProviderError) -> None:
    async def main() -> None:
        context = make_context(transports={"somewhere": lambda context: recorded})
        provider = Somewhere(context, [error])
        with pytest.raises(type(error)):
            await provider.ready()
        assert provider.asked == 1

    virtually(main())


def test_the_endpoints_are_the_exchanges_own_unless_the_run_says_otherwise(make_context) -> None:
    assert Somewhere(make_context()).endpoints == Endpoints("wss://ws.somewhere", "https://somewhere")
    chosen = {"somewhere": {"ws": "ws://127.0.0.1:1/", "rest": "http://127.0.0.1:1"}}
    provider = Somewhere(make_context(endpoints=chosen))
    assert provider.endpoints == Endpoints("ws://127.0.0.1:1", "http://127.0.0.1:1")
    others = Somewhere(make_context(endpoints={"elsewhere": chosen["somewhere"]}))
    assert others.endpoints.rest == "https://somewhere"


def test_the_transport_is_the_network_unless_the_run_says_otherwise(make_context, scripted) -> None:
    assert isinstance(Somewhere(make_context()).transport, HttpTransport)
    handed: list[Context] = []

    def factory(context: Context) -> Any:
        handed.append(context)
        return scripted

    provider = Somewhere(make_context(transports={"somewhere": factory}))
    assert provider.transport is provider.transport is scripted
    assert len(handed) == 1


async def test_the_last_node_closes_the_transport(make_context, scripted) -> None:
    provider = Somewhere(make_context(transports={"somewhere": lambda context: scripted}))
    await provider.close()
    assert scripted.closes == 0
    assert provider.transport is scripted
    provider.attach()
    provider.attach()
    await provider.detach()
    assert scripted.closes == 0
    await provider.detach()
    assert scripted.closes == 1


def test_listeners_are_told_of_connections_and_their_symbols(make_context) -> None:
    provider, told = Somewhere(make_context()), []
    provider.on_connected.append(lambda connection, symbols: told.append(("up", connection, symbols)))
    provider.on_disconnected.append(lambda connection, symbols: told.append(("down", connection, symbols)))
    first, second = provider.new_connection(), provider.new_connection()
    provider.connected(first, {"BTC-USDT"})
    provider.disconnected(first, frozenset())
    assert told == [("up", first, {"BTC-USDT"}), ("down", first, frozenset())]
    assert (first.provider, first.connection_id, second.connection_id) == ("somewhere", 1, 2)


def test_the_seed_decides_the_jitter(make_context) -> None:
    draws = [Somewhere(make_context(seed=seed)).rng.random() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
