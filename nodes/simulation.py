"""What stands behind `--sim`: the embedded exchange in this process, or one that runs elsewhere.

--sim                              an exchange of its own, with its defaults
--sim symbols=50,rate=1000,seed=7  the same with parameters: `flow describe` and nodes.exchange.SimParams
--sim url=http://127.0.0.1:8080    the one that `flow sim` serves in another process
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flow.context import Context
from flow.errors import ConfigurationError, FlowError
from flow.registry import service
from flow.runtime.options import Backend

if TYPE_CHECKING:
    from nodes.exchange import Exchange, SimParams

__all__ = ["RemoteSimulation", "Simulation", "sim"]

PROVIDERS: Final = ("binance",)
"""Whose wire the embedded exchange speaks."""
LABEL: Final = "X-Flow-Simulated"
ANSWER_WITHIN_S: Final = 5.0


@service("sim")
def sim(context: Context) -> Backend:
    """The exchange that `context.refs["sim"]` describes. Raises `ConfigurationError` for bad keys."""
    text = str(context.refs.get("sim") or "").strip()
    key, _, url = text.partition("=")
    if key.strip() == "url":
        return RemoteSimulation(url.strip(), context)
    return Simulation(_params(text, context.refs.get("seed")), context)


def _params(text: str, seed: int | None) -> SimParams:
    from msgspec.structs import replace

    from nodes.exchange import parse_sim_params

    try:
        params = parse_sim_params(text)
        names_seed = any(part.strip().startswith("seed=") for part in text.split(","))
        return params if seed is None or names_seed else replace(params, seed=seed)
    except ValueError as error:
        raise ConfigurationError(f"--sim: {error}") from error


class Simulation(Backend):
    """An exchange of its own, which lives as long as the run."""

    kind = "sim"

    def __init__(self, params: SimParams, context: Context) -> None:
        self.params = params
        self.context = context
        self.exchange: Exchange | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises `ConfigurationError` for parameters that don't fit, `FlowError` for a taken port."""
        from nodes.exchange import Exchange

        try:
            self.exchange = Exchange(self.params)
        except ValueError as error:
            raise ConfigurationError(f"--sim: {error}") from error
        try:
            await self.exchange.start()
        except OSError as error:
            where = f"{self.params.host}:{self.params.port}"
            raise FlowError(f"the simulated exchange can't listen on {where}: {error.strerror}") from error
        self._serving = asyncio.create_task(self.exchange.run_forever(), name="simulated exchange")
        _point_providers(self.context, self.exchange.ws_url, self.exchange.rest_url)

    async def wait(self) -> None:
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def stop(self) -> None:
        if self._serving is None or self.exchange is None:
            return
        await self.exchange.stop()
        await asyncio.wait([self._serving])


class RemoteSimulation(Backend):
    """An exchange that another process serves. It must say of itself that its data are simulated."""

    kind = "sim"

    def __init__(self, url: str, context: Context) -> None:
        self.url = url.rstrip("/")
        self.context = context
        parts = _parts(self.url)
        self.ws_url = f"{'wss' if parts[0] == 'https' else 'ws'}://{parts[1]}"

    async def start(self) -> None:
        """Raises `FlowError` where nothing answers, or what answers is no simulation."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/sim/status") as reply,
            ):
                label = reply.headers.get(LABEL)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = str(error) or type(error).__name__
            raise FlowError(
                f"no simulated exchange answers at {self.url} (start one: flow sim): {said}"
            ) from error
        if label is None:
            raise FlowError(f"what answers at {self.url} is no simulated exchange: no {LABEL} in its reply")
        _point_providers(self.context, self.ws_url, self.url)


def _parts(url: str) -> tuple[str, str]:
    """Scheme and address. Raises `ConfigurationError`."""
    try:
        parts = urlsplit(url)
        is_plain = not (parts.path or parts.query or parts.fragment or parts.username)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and is_plain:
            return parts.scheme, parts.netloc
    except ValueError:
        pass
    raise ConfigurationError(
        f"--sim: url={url} is no address; write it as url=http://127.0.0.1:8080, and no other parameter"
    )


def _point_providers(context: Context, ws_url: str, rest_url: str) -> None:
    """Give every provider that is simulated its address; any other must not reach the real exchange."""
    endpoints = Simulated({name: {"ws": ws_url, "rest": rest_url} for name in PROVIDERS})
    context.refs["endpoints"] = endpoints


class Simulated(dict[str, dict[str, str]]):
    """Endpoints by provider. One that is not simulated raises, so that nothing real is mixed in."""

    def get(self, name: str, default: object = None, /) -> dict[str, str]:
        if name not in self:
            raise FlowError(f"{name} is not simulated; --sim serves {', '.join(self)}")
        return self[name]
