"""A small registry of its own, and short ways to read graphs with it."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import pytest
from msgspec import Meta
from reactivex import operators as ops

from flow.component import Consumer, Source, Transform
from flow.context import Context
from flow.graph import GraphSpec, load
from flow.graph.load import lint
from flow.registry import Operator, Registry, spec_of
from flow.telemetry.dead_letters import DeadLetter

T = TypeVar("T")


class Raw:
    """Bytes of some kind."""


class Event:
    """Something that happened."""


class Trade(Event):
    """One kind of event."""


class NoneParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to set."""


class SocketParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to connect."""

    symbols: list[Annotated[str, Meta(min_length=3)]] = []
    channels: tuple[Literal["trade", "book", "kline"], ...] = ("trade",)


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    low: Annotated[int, Meta(ge=0)] = 0
    high: int = 10

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


class BufferParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait."""

    lateness_ms: Annotated[int, Meta(ge=0, le=60_000, description="how long a gap may stay open")] = 150
    capacity: Annotated[int, Meta(ge=1)] = 200
    ratio: float = 0.5
    is_strict: bool = False
    side: Side = Side.BUY
    label: str | None = None
    limits: Limits = Limits()
    weights: dict[str, int] = {}


class FileParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: Annotated[str, Meta(min_length=1, description="where to write")]
    folder: Path = Path()


def ingest(params: NoneParams, context: Context) -> Operator[Raw, Event]:
    return ops.map(lambda _: Event())


def order_buffer(params: BufferParams, context: Context) -> Operator[Event, Event]:
    """Puts events in order.

    It waits for what is late.
    """
    return ops.as_observable()


def same(params: NoneParams, context: Context) -> Operator[T, T]:
    return ops.as_observable()


def books(params: NoneParams, context: Context) -> Transform[Event, Event]: ...


def merge(params: NoneParams, context: Context) -> Operator[Event, Trade]:
    return ops.map(lambda _: Trade())


def trades_only(params: NoneParams, context: Context) -> Operator[Event, Trade]:
    return ops.map(lambda _: Trade())


def socket(params: SocketParams, context: Context) -> Source[Raw]: ...


def gateway(params: NoneParams, context: Context) -> Source[Event]: ...


def console(params: NoneParams, context: Context) -> Consumer[Any]: ...


def trade_sink(params: NoneParams, context: Context) -> Consumer[Trade]: ...


def jsonl(params: FileParams, context: Context) -> Consumer[Event | DeadLetter]: ...


@pytest.fixture
def registry() -> Registry:
    """socket ingest order-buffer same books trades-only fan-out-clone watch coalesce sample gateway ..."""
    specs = [
        spec_of("socket", socket),
        spec_of("gateway", gateway, carries_critical=True),
        spec_of("ingest", ingest, pooled=True),
        spec_of("order-buffer", order_buffer, pooled=True),
        spec_of("same", same),
        spec_of("books", books, pooled=True),
        spec_of("trades-only", trades_only, pooled=True),
        spec_of("fan-out-clone", order_buffer, pooled=True, shares=True),
        spec_of("watch", merge, pooled=True, watches=True, loss="anything"),
        spec_of("coalesce", order_buffer, loss="market"),
        spec_of("sample", order_buffer, loss="anything"),
        spec_of("console", console),
        spec_of("trade-sink", trade_sink),
        spec_of("jsonl", jsonl),
    ]
    return Registry({spec.name: spec for spec in specs})


Loader = Callable[..., GraphSpec]
Linter = Callable[..., list[str]]


@pytest.fixture
def read(registry: Registry) -> Loader:
    """`load` of a text, with an empty environment."""

    def read(text: str, sets: Sequence[str] = (), environ: dict[str, str] | None = None) -> GraphSpec:
        return load("g.yaml", text=text, sets=sets, environ=environ or {}, registry=registry)

    return read


@pytest.fixture
def faults(registry: Registry) -> Linter:
    """The faults of a text as `line:column: message`."""

    def faults(text: str, sets: Sequence[str] = (), environ: dict[str, str] | None = None) -> list[str]:
        found = lint("g.yaml", text=text, sets=sets, environ=environ or {}, registry=registry)
        assert all(fault.file == "g.yaml" for fault in found)
        return [str(fault).removeprefix("g.yaml:") for fault in found]

    return faults


@pytest.fixture
def nodes() -> Callable[..., str]:
    """A whole graph around one `node:` line of order-buffer params, or around whole `nodes` lines."""

    def nodes(*lines: str, head: str = "") -> str:
        body = "".join(f"  {line}\n" for line in lines)
        return f"version: 1\n{head}nodes:\n{body}"

    return nodes
