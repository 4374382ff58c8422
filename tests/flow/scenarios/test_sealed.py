"""A test's loop has no way out, and a test without recordings no exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow.context import Context
from flow.errors import ConfigurationError
from flow.registry import Registry
from flow.scenarios.sealed import START_NS, Recorded, SealedLoop, written_files

WAYS_OUT: dict[str, Callable[[asyncio.AbstractEventLoop], Any]] = {
    "a connection": lambda loop: asyncio.open_connection("127.0.0.1", 9),
    "a server": lambda loop: asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0),
    "a name": lambda loop: loop.getaddrinfo("localhost", 80),
    "datagrams": lambda loop: loop.create_datagram_endpoint(asyncio.DatagramProtocol),
    "a shell": lambda loop: asyncio.create_subprocess_shell("true"),
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_every_way_out_is_shut(way: str) -> None:
    async def go() -> None:
        await WAYS_OUT[way](asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=SealedLoop) as runner, pytest.raises(ConfigurationError, match="has no"):
        runner.run(go())


def test_time_passes_at_once() -> None:
    async def go() -> int:
        await asyncio.sleep(86_400)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SealedLoop)
        return loop.now_ns - START_NS

    with asyncio.Runner(loop_factory=SealedLoop) as runner:
        assert runner.run(go()) == 86_400_000_000_000


@pytest.mark.parametrize("call", ["connect", "get"])
async def test_an_exchange_that_nothing_was_recorded_of_is_silent(call: str) -> None:
    context = Context()
    backend = Recorded(context, Registry(), is_recorded=False)
    await backend.start()
    transport = context.refs["transports"].get("kraken")(context)
    with pytest.raises(ConfigurationError, match=r"kraken .* nothing recorded of it: give `recordings"):
        await getattr(transport, call)("https://kraken.test")
    await transport.close()
    await backend.stop()
    assert transport.is_recording


def test_recordings_need_somebody_who_plays_them() -> None:
    with pytest.raises(ConfigurationError, match="nothing is registered that could play recordings"):
        Recorded(Context(), Registry(), is_recorded=True)


def test_texts_are_written_and_files_are_taken(tmp_path: Path) -> None:
    files = written_files({"a": ["x: 1\n", Path("y.raw"), "z: 2"], "b": [Path("c.raw")]}, tmp_path)
    assert files == [("a", tmp_path / "a.raw"), ("a", Path("y.raw")), ("b", Path("c.raw"))]
    assert (tmp_path / "a.raw").read_text() == "x: 1\nz: 2\n"
