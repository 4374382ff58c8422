"""Captures written by a test, and a user of the transport that writes down every call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flow.clock import NS_PER_S
from flow.events.frames import Arrival, Connection
from flow.runtime.virtual_time import VirtualTimeLoop, run_virtual
from nodes.sources.replay import ReplayTransport, ReplayWire

T0 = 1_700_000_000
START_NS = T0 * NS_PER_S
URL = "wss://x.test/ws"
CONNECTION = Connection("x", 1)
Call = tuple[float, str]
"""Seconds since T0, and what happened."""


def write_capture(folder: Path, *lines: str, name: str = "capture.raw") -> Path:
    """A recording; in its lines `@1.5` stands for 1.5 s after T0."""
    path = folder / name
    path.write_text("".join(f"{_timed(line)}\n" for line in lines))
    return path


def _timed(line: str) -> str:
    head, at, rest = line.partition("@")
    seconds, colon, text = rest.partition(":")
    return f"{head}{Decimal(seconds) + T0:f}{colon}{text}" if at else line


def seconds_passed() -> float:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return (loop.now_ns - START_NS) / NS_PER_S


class Script:
    """Uses a transport as a provider does and writes down every call."""

    def __init__(self, transport: ReplayTransport) -> None:
        self.transport = transport
        self.calls: list[Call] = []
        self.wire: ReplayWire | None = None

    def note(self, what: str) -> None:
        self.calls.append((seconds_passed(), what))

    def emit(self, arrival: Arrival) -> None:
        assert arrival[0].provider == "x"
        self.note(arrival[1].decode())

    async def read(self, emit: Callable[[Arrival], None] | None = None) -> str:
        wire = await self.transport.connect(URL)
        assert isinstance(wire, ReplayWire)
        self.wire = wire
        self.note("open")
        reason = await wire.read(CONNECTION, emit or self.emit)
        self.note(reason)
        return reason

    async def get(self, url: str, **params: str) -> bytes:
        reply = await self.transport.get(url, params)
        self.note(f"{reply.status} {reply.body[:80].decode()}")
        return reply.body


def play(
    transport: ReplayTransport, act: Callable[[Script], Coroutine[Any, Any, object]] = Script.read
) -> Script:
    script = Script(transport)
    run_virtual(act(script), transport.start_ns)
    return script


@pytest.fixture
def capture(tmp_path: Path) -> Callable[..., Path]:
    """capture(*lines, name=...): a recording; in its lines `@1.5` stands for 1.5 s after its start."""

    def write(*lines: str, name: str = "capture.raw") -> Path:
        return write_capture(tmp_path, *lines, name=name)

    return write


@pytest.fixture
def played() -> Callable[..., Script]:
    """played(transport, act): what `act(script)` did on virtual time; it reads one connection by default."""
    return play


@pytest.fixture
def elapsed() -> Callable[[], float]:
    """Seconds of virtual time since the start."""
    return seconds_passed
