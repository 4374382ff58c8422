"""`flow sim`: the simulated exchange as a process of its own."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from contextlib import suppress
from typing import Any

from flow.cli.interrupts import Interrupts
from flow.context import Context
from flow.errors import ConfigurationError
from flow.plugins import load_installed
from flow.registry import registry
from flow.runtime.options import Backend
from flow.telemetry import logs

__all__ = ["sim"]


def sim(args: Namespace, interrupts: Interrupts) -> int:
    """Serve until interrupted. Raises `FlowError` for bad parameters or a taken port."""
    with logs.installed(args.log_level, args.log_format):
        text = ",".join(part for part in (args.params, _port_param(args.port)) if part)
        if text.strip().startswith("url="):
            raise ConfigurationError("url= is for `flow run --sim`; `flow sim` serves an exchange of its own")
        asyncio.run(_serve(text, interrupts))
    return 0


def _port_param(port: int | None) -> str:
    return "" if port is None else f"port={port}"


async def _serve(text: str, interrupts: Interrupts) -> None:
    context = Context("sim", mode="simulated", refs={"sim": text})
    backend = _backend(context)
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    interrupts.stop = lambda: loop.call_soon_threadsafe(asked.set)
    if interrupts.count:
        return
    try:
        await backend.start()
        _tell(context.refs["endpoints"])
        await _until(asked, backend)
    finally:
        await backend.stop()


def _backend(context: Context) -> Backend:
    faults = load_installed()
    make = registry.services.get("sim")
    if faults or make is None:
        raise ConfigurationError(
            "; ".join(map(str, faults)) or "nothing is registered that could be simulated"
        )
    return make(context)


def _tell(endpoints: dict[str, dict[str, str]]) -> None:
    """Addresses on standard output, the rest beside it."""
    logs.say("flow: SIMULATED DATA: what this exchange says is made up; Ctrl-C ends it")
    for provider, urls in endpoints.items():
        print(f"{provider} websocket {urls['ws']}")
        print(f"{provider} rest {urls['rest']}", flush=True)
        logs.say(f"flow: run a graph on it: flow run graphs/{provider}.yaml --sim url={urls['rest']}")


async def _until(asked: asyncio.Event, backend: Backend) -> None:
    """Return when asked to end; raise what broke the exchange."""
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(asked.wait()),
        asyncio.create_task(backend.wait()),
    ]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    for task in done:
        task.result()
