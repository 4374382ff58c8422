"""No test reaches the world: a loop without a network, and exchanges that only say what was recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from flow.clock import NS_PER_S
from flow.context import Context
from flow.errors import ConfigurationError
from flow.registry import Registry
from flow.runtime.options import Backend
from flow.runtime.virtual_time import VirtualTimeLoop
from flow.scenarios.spec import Recordings

__all__ = ["START_NS", "Recorded", "SealedLoop", "written_files"]

START_NS: Final = 1_700_000_000 * NS_PER_S
"""When a test without recordings begins, ns since the epoch."""


def _refuse(what: str) -> Callable[..., Any]:
    def refuse(self: object, *args: Any, **kwargs: Any) -> NoReturn:
        raise ConfigurationError(
            f"a test runs on virtual time and has no {what}; let `inputs` stand in for it"
        )

    return refuse


class SealedLoop(VirtualTimeLoop):
    """Virtual time from `START_NS`. Opening a connection or starting a process raises."""

    def __init__(self) -> None:
        super().__init__(START_NS)

    create_connection = _refuse("network")
    create_datagram_endpoint = _refuse("network")
    create_server = _refuse("network")
    create_unix_connection = _refuse("network")
    create_unix_server = _refuse("network")
    getaddrinfo = _refuse("network")
    sock_connect = _refuse("network")
    subprocess_exec = _refuse("other process")
    subprocess_shell = _refuse("other process")


class _Silent:
    """In place of the transport of a provider that nothing was recorded of."""

    is_recording = True

    def __init__(self, provider: str) -> None:
        self.provider = provider

    async def connect(self, url: str) -> NoReturn:
        self._refuse("connect")

    async def get(self, url: str, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("answer")

    async def close(self) -> None:
        return

    def _refuse(self, what: str) -> NoReturn:
        asked = "asked for a connection" if what == "connect" else "was asked something"
        raise ConfigurationError(
            f"{self.provider} {asked}, and the test has nothing recorded of it: give "
            f"`recordings: {{{self.provider}: ...}}`, or let `inputs` stand in for its nodes"
        )


class _Silence(dict[str, Any]):
    """Transports by provider, all of them silent."""

    def get(self, name: str, default: object = None, /) -> Callable[[Context], Any]:
        return lambda _: _Silent(name)


class Recorded(Backend):
    """What a test has recorded, played by what is registered for replays; silence where that is nothing."""

    kind = "replay"

    def __init__(self, context: Context, registry: Registry, *, is_recorded: bool) -> None:
        self.context = context
        self.player: Backend | None = None
        if is_recorded:
            make = registry.services.get("replay")
            if make is None:
                raise ConfigurationError("nothing is registered that could play recordings")
            self.player = make(context)
        self.start_ns = START_NS if self.player is None else self.player.start_ns

    async def start(self) -> None:
        if self.player is None:
            self.context.refs["transports"] = _Silence()
        else:
            await self.player.start()

    async def wait(self) -> None:
        await (super().wait() if self.player is None else self.player.wait())

    async def stop(self) -> None:
        if self.player is not None:
            await self.player.stop()


def written_files(recordings: Recordings, folder: Path) -> list[tuple[str, Path]]:
    """(provider, file) of each recording; texts are written into the folder."""
    found: list[tuple[str, Path]] = []
    for provider, pieces in recordings.items():
        lines = "\n".join(piece.rstrip("\n") for piece in pieces if isinstance(piece, str))
        if lines:
            path = folder / f"{provider}.raw"
            path.write_text(f"{lines}\n", encoding="utf-8")
            found.append((provider, path))
        found += [(provider, piece) for piece in pieces if isinstance(piece, Path)]
    return found
