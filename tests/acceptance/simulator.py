"""`flow sim` in a process of its own, and what its `/sim` endpoints tell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

__all__ = ["Control", "SimProcess", "TrueState"]

PROJECT = Path(__file__).resolve().parents[2]
ENDS_WITHIN_S = 20.0


class TrueState(msgspec.Struct, frozen=True, gc=False):
    """A whole book of the matching engine's."""

    u: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _States(msgspec.Struct):
    states: list[TrueState]


class SimProcess:
    """Serves from `__enter__` on; leaving interrupts it and expects exit 0, unless it was killed."""

    def __init__(self, params: str, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flow.cli", "sim", params, "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        assert self.process.stdout is not None
        rows = [self.process.stdout.readline().split() for _ in range(2)]
        if not all(rows):
            raise RuntimeError(f"flow sim did not start: {self.process.communicate()[1]}")
        self.url = {kind: url for _, kind, url in rows}["rest"]
        self.port = int(self.url.rpartition(":")[2])
        self.said = ""

    def kill(self) -> None:
        """End it without a word to anybody."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        was_killed = self.process.returncode is not None
        try:
            if not was_killed:
                self.process.send_signal(signal.SIGINT)
                _, self.said = self.process.communicate(timeout=ENDS_WITHIN_S)
        finally:
            self.process.kill()
            self.process.communicate()
        if error is None and not was_killed:
            assert self.process.returncode == 0, self.said
            assert "Traceback" not in self.said


class Control:
    """The `/sim` endpoints of a running exchange."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._states = msgspec.json.Decoder(_States)

    async def symbols(self) -> list[str]:
        return (await self.status())["symbols"]

    async def status(self) -> dict[str, Any]:
        return msgspec.json.decode(await self._get("/sim/status", {}))

    async def faults(self) -> dict[str, int]:
        """How many faults it has made, by kind."""
        return msgspec.json.decode(await self._get("/sim/faults", {}))["counts"]

    async def truth(self, symbol: str, after: int) -> list[TrueState]:
        query = {"symbol": symbol, "after": str(after)}
        return self._states.decode(await self._get("/sim/truth", query)).states

    async def force(self, kind: str, symbol: str | None = None) -> None:
        """Have the next frame or request that can suffer such a fault suffer it."""
        await self._post("/sim/fault", {"kind": kind, "symbol": symbol})

    async def announce_shutdown(self) -> None:
        await self._post("/sim/shutdown_notice", {"close_after_s": 60})

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        async with self._session.post(self._url + path, data=msgspec.json.encode(body)) as reply:
            assert reply.status == 200, await reply.text()

    async def _get(self, path: str, query: dict[str, str]) -> bytes:
        async with self._session.get(self._url + path, params=query) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.read()
