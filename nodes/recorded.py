"""What stands behind `--replay PROVIDER=FILE`: recordings in place of the network, a player per provider."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow.context import Context
from flow.errors import ConfigurationError, FlowError
from flow.registry import service
from flow.runtime.options import Backend

if TYPE_CHECKING:
    from nodes.sources.replay import ReplayTransport

__all__ = ["Recorded", "replay"]


@service("replay")
def replay(context: Context) -> Backend:
    """The recordings that `context.refs["replay"]` names. Raises `ConfigurationError` for a bad one."""
    return Recorded(context)


class Recorded(Backend):
    """`players` by provider; `start_ns` is the earliest record of all."""

    kind = "replay"

    def __init__(self, context: Context) -> None:
        from nodes.sources.capture import CaptureError

        named: list[tuple[str, Path]] = context.refs.get("replay") or []
        paths: dict[str, list[Path]] = {}
        for provider, path in named:
            paths.setdefault(provider, []).append(path)
        try:
            self.players = {provider: _player(context, files) for provider, files in paths.items()}
        except (CaptureError, OSError) as error:
            raise ConfigurationError(f"--replay: {error}") from error
        self.start_ns = min((player.start_ns for player in self.players.values()), default=0)
        self.context = context

    async def start(self) -> None:
        factories: dict[str, Callable[[Context], ReplayTransport]] = {
            provider: lambda _, player=player: player for provider, player in self.players.items()
        }
        self.context.refs["transports"] = Transports(factories)

    async def stop(self) -> None:
        for player in self.players.values():
            await player.close()

    def summary(self) -> dict[str, Any]:
        """What was played, by provider."""
        return {provider: player.summary() for provider, player in sorted(self.players.items())}


def _player(context: Context, paths: list[Path]) -> ReplayTransport:
    from nodes.sources.replay import ReplayTransport

    refs = context.refs

    def gate() -> Any:
        opening = context.services.get("gate")
        return None if opening is None else opening()

    return ReplayTransport(paths, speed=refs.get("speed"), max_frames=refs.get("max_frames"), gate=gate)


class Transports(dict[str, Callable[[Context], Any]]):
    """Transports by provider. One without a recording raises: a replay never mixes in live data."""

    def get(self, name: str, default: object = None, /) -> Callable[[Context], Any]:
        if name not in self:
            raise FlowError(f"nothing recorded is given for {name}: --replay {name}=FILE")
        return self[name]
