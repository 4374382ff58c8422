"""What stands behind --sim: an exchange of its own or one elsewhere, and never anything real beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from flow.context import Context
from flow.errors import ConfigurationError, FlowError, GraphError
from nodes.providers.binance.provider import BinanceProvider
from nodes.simulation import RemoteSimulation, Simulation, sim


def context(text: str, seed: int | None = None) -> Context:
    return Context("sim", mode="simulated", refs={"sim": text, "seed": seed})


async def test_it_serves_the_wire_and_points_the_provider_at_it() -> None:
    surroundings = context("symbols=2,rate=100")
    backend = sim(surroundings)
    await backend.start()
    try:
        provider = BinanceProvider(surroundings)
        assert provider.endpoints.ws.startswith("ws://127.0.0.1:")
        assert provider.endpoints.rest.startswith("http://127.0.0.1:")
        assert [info.canonical for info in await provider.load_symbols()] == ["BTC-USDT", "ETH-USDT"]
        await provider.close()
    finally:
        await backend.stop()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(provider.endpoints.rest)


async def test_a_provider_that_is_not_simulated_is_refused() -> None:
    surroundings = context("")
    backend = sim(surroundings)
    await backend.start()
    try:
        with pytest.raises(FlowError, match="kraken is not simulated; --sim serves binance"):
            surroundings.refs["endpoints"].get("kraken", {})
    finally:
        await backend.stop()


@pytest.mark.parametrize(
    ("text", "seed", "wanted"), [("", None, 1), ("", 7, 7), ("seed=3", 7, 3), ("rate=9, seed=4", 7, 4)]
)
def test_the_text_decides_the_seed_before_the_run_does(text: str, seed: int | None, wanted: int) -> None:
    backend = sim(context(text, seed))
    assert isinstance(backend, Simulation)
    assert backend.params.seed == wanted


@pytest.mark.parametrize(
    "text", ["nonsense", "seedd=1", "rate=-1", "symbols=[a]", "rate=1,rate=2", "symbols=[A"]
)
def test_bad_parameters_are_bad_configuration(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^--sim: ") as caught:
        sim(context(text))
    assert not isinstance(caught.value, GraphError)


async def test_parameters_that_do_not_fit_together_too() -> None:
    backend = sim(context("host=256.256.256.256"))
    with pytest.raises(FlowError, match="can't listen on 256"):
        await backend.start()
    await backend.stop()


async def test_what_breaks_the_market_is_raised_to_whoever_waits() -> None:
    backend = sim(context("symbols=1,tick_ms=1"))
    assert isinstance(backend, Simulation)
    await backend.start()
    assert backend.exchange is not None

    def broken(until_ms: int) -> None:
        raise RuntimeError("the market broke")

    backend.exchange.market.advance = broken  # type: ignore[method-assign]
    try:
        with pytest.raises(RuntimeError, match="the market broke"):
            await backend.wait()
    finally:
        await backend.stop()


@pytest.fixture
async def plain_server() -> AsyncIterator[str]:
    """Something that is no simulation."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="{}")

    app = web.Application()
    app.router.add_get("/sim/status", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_one_that_runs_elsewhere() -> None:
    serving = context("symbols=1")
    backend = sim(serving)
    await backend.start()
    url = serving.refs["endpoints"]["binance"]["rest"]
    surroundings = context(f"url={url}/")
    remote = sim(surroundings)
    assert isinstance(remote, RemoteSimulation)
    try:
        await remote.start()
        assert surroundings.refs["endpoints"] == serving.refs["endpoints"]
    finally:
        await remote.stop()
        await backend.stop()


async def test_what_does_not_say_that_it_is_simulated_is_refused(plain_server: str) -> None:
    surroundings = context(f"url={plain_server}")
    with pytest.raises(FlowError, match="is no simulated exchange: no X-Flow-Simulated"):
        await sim(surroundings).start()
    assert "endpoints" not in surroundings.refs


async def test_where_nothing_answers_it_says_how_to_start_one() -> None:
    with pytest.raises(FlowError, match=r"no simulated exchange answers at .* \(start one: flow sim\)"):
        await sim(context("url=http://127.0.0.1:9")).start()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:80",
        "ftp://a:1",
        "http://",
        "http://a:99999",
        "http://a:0",
        "http://a/b",
        "http://a:1,x=1",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no address; write it as url="):
        sim(context(f"url={url}"))


def test_secure_addresses_stay_secure() -> None:
    backend = sim(context("url=https://sim.test:8443"))
    assert isinstance(backend, RemoteSimulation)
    assert (backend.ws_url, backend.url) == ("wss://sim.test:8443", "https://sim.test:8443")
