"""A graph as plain data: what a YAML file says, once it has been read, filled in and converted.

Everything here can be built without a file, pickled, and sent elsewhere; nothing here does anything. `line`
and `column` count from 1 and are 0 where there is no file.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

from flow.pool import DEFAULT_CAPACITY, PoolSettings

__all__ = [
    "IDENTIFIER",
    "POOLED_TYPES",
    "GraphMode",
    "GraphSpec",
    "InputSpec",
    "MailboxSpec",
    "NoParams",
    "NodeEntry",
    "PoolEntry",
    "Port",
    "WhenFull",
]

IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
"""snake_case: what node ids and the graph's own parameters are called."""

POOLED_TYPES: Final = (
    "WsFrame",
    "ProviderRaw",
    "CanonicalEvent",
    "MergedEvent",
    "OrderRequest",
    "ExecReport",
)

Port = Literal["out", "dead_letters"]
WhenFull = Literal["latest_by_key", "drop_oldest", "drop_newest", "block"]
GraphMode = Literal["live", "replay"]


class NoParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For nodes that take no parameters."""


class MailboxSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The queue in front of a node: the asynchronous boundary. `block` pauses the sources: replay only."""

    capacity: Annotated[int, Meta(ge=1, le=1_000_000, description="elements that may wait")] = 1024
    when_full: Annotated[WhenFull, Meta(description="what gives way when it is full")] = "latest_by_key"


class PoolEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What YAML says of one type's pool; `off` makes every `get` a fresh object."""

    capacity: Annotated[int, Meta(ge=1, le=10_000_000, description="objects of this type at most")] = (
        DEFAULT_CAPACITY
    )
    off: Annotated[bool, Meta(description="do not pool this type")] = False


class InputSpec(Struct, frozen=True):
    """An edge: the port that is read. Without a mailbox the graph decides what stands between."""

    source: str
    port: Port = "out"
    mailbox: MailboxSpec | None = None
    line: int = 0
    column: int = 0

    @property
    def reference(self) -> str:
        """As YAML writes it: `bus` or `events.dead_letters`."""
        return self.source if self.port == "out" else f"{self.source}.{self.port}"


class NodeEntry(Struct, frozen=True):
    """A vertex: what stands behind it, what it reads, its converted parameters."""

    id: str
    use: str
    inputs: list[InputSpec] = field(default_factory=list[InputSpec])
    params: Any = field(default_factory=NoParams)
    line: int = 0
    column: int = 0


class GraphSpec(Struct):
    """A whole graph. Paths in it are relative to `base_dir`; `params` are as they stood after `--set`.

    `mode: replay` says that the graph is for replay and simulation only, where `block` is allowed.
    """

    name: str
    nodes: dict[str, NodeEntry]
    path: Path | None = None
    base_dir: Path = field(default_factory=Path)
    mode: GraphMode = "live"
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    plugins: list[str] = field(default_factory=list[str])
    pools: dict[str, PoolSettings] = field(default_factory=dict[str, PoolSettings])

    @property
    def file(self) -> str:
        """What a fault's place names: the path, or the graph's name in angle brackets."""
        return f"<{self.name}>" if self.path is None else str(self.path)
