"""The parameters of the embedded exchange, and their short form `k=v,k.k=v` for a command line."""

import difflib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

__all__ = ["FaultParams", "LimitParams", "SimParams", "parse_sim_params"]

Rate = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
Millis = Annotated[int, Meta(ge=1, le=86_400_000)]
Seconds = Annotated[float, Meta(gt=0)]
Symbol = Annotated[str, Meta(pattern="^[A-Z0-9]{1,12}-[A-Z0-9]{1,12}$")]
SymbolCount = Annotated[int, Meta(ge=1, le=500)]
SymbolList = Annotated[list[Symbol], Meta(min_length=1, max_length=500)]


class FaultParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Probabilities of faults: the first six per frame sent, the last three per REST request.

    `gap` concerns depth frames only; `stall_ms` is how long, in market time, a stalled stream is silent.
    """

    gap: Rate = 0.0
    duplicate: Rate = 0.0
    reorder: Rate = 0.0
    disconnect: Rate = 0.0
    malformed: Rate = 0.0
    stall: Rate = 0.0
    http_429: Rate = 0.0
    http_5xx: Rate = 0.0
    stale_snapshot: Rate = 0.0
    stall_ms: Millis = 2000
    retry_after_s: Count = 1


class LimitParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client is allowed. After `refusals_before_ban` times 429 in a minute comes 418, for `ban_s`."""

    weight_per_min: Count = 6000
    messages_per_s: Count = 5
    streams_per_connection: Count = 1024
    connects_per_5_min: Count = 300
    refusals_before_ban: Count = 20
    ban_s: Count = 120
    send_buffer_bytes: Annotated[int, Meta(ge=4096)] = 8 * 1024 * 1024


class SimParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of the embedded exchange.

    symbols: how many of the built-in list, or canonical names (BASE-QUOTE).
    rate: frames per second of market time that a subscriber of trade, depth@100ms and bookTicker of every
        symbol receives; the market is driven so that this holds exactly on average.
    speed: market time per wall time. seed: of the market and of the faults.
    depth_ms: the period of `@depth@100ms`; `@depth` has ten times that. kline_ms: half of it for `1s`.
    book_levels: price levels a side that the order flow keeps about. snapshot_levels: most in a snapshot.
    lifetime_s: after which a connection is closed. truth: keep the engine's book states for `/sim/truth`,
        the last `truth_states` of them per symbol.
    """

    symbols: SymbolCount | SymbolList = 3
    rate: Annotated[float, Meta(gt=0, le=1_000_000)] = 200.0
    speed: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    seed: int = 1
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    depth_ms: Millis = 100
    kline_ms: Annotated[int, Meta(ge=2, le=60_000)] = 2000
    ticker_ms: Millis = 1000
    snapshot_levels: Annotated[int, Meta(ge=1, le=5000)] = 5000
    book_levels: Annotated[int, Meta(ge=5, le=5000)] = 100
    ping_interval_s: Seconds = 20.0
    pong_timeout_s: Seconds = 60.0
    lifetime_s: Seconds = 86_400.0
    tick_ms: Annotated[float, Meta(ge=0.1, le=100)] = 2.0
    truth: bool = False
    truth_states: Annotated[int, Meta(ge=1, le=100_000)] = 256
    faults: FaultParams = FaultParams()
    limits: LimitParams = LimitParams()


def parse_sim_params(text: str) -> SimParams:
    """Parse `symbols=50,rate=1000,faults.gap=0.01`; a list is written `symbols=[BTC-USDT,ETH-USDT]`.

    Raises ValueError naming the offending key and, where it looks like a slip, the nearest one that exists.
    """
    tree: dict[str, Any] = {}
    for part in _split(text):
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ValueError(f"{part!r} is not of the form key=value")
        _insert(tree, key.strip(), value.strip())
    try:
        return msgspec.convert(tree, SimParams, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        where = path.removesuffix("`")
        raise ValueError(f"{where}: {reason}" if where else reason) from None


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no brackets; empty parts are left out."""
    parts, depth, part = [], 0, ""
    for char in text:
        depth += (char == "[") - (char == "]")
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    if depth:
        raise ValueError(f"unbalanced brackets in {text!r}")
    parts.append(part)
    return [part.strip() for part in parts if part.strip()]


def _insert(tree: dict[str, Any], key: str, value: str) -> None:
    known = _keys()
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise ValueError(f"unknown parameter {key!r}: {hint}")
    group, _, name = key.rpartition(".")
    branch = tree.setdefault(group, {}) if group else tree
    if name in branch:
        raise ValueError(f"parameter {key!r} is given twice")
    branch[name] = _value(value) if name == "symbols" else value


def _value(text: str) -> int | list[str]:
    if text.startswith("[") and text.endswith("]"):
        return [name.strip() for name in text[1:-1].split(",") if name.strip()]
    return int(text) if text.isdigit() else [text]


def _keys() -> list[str]:
    plain = [name for name in SimParams.__struct_fields__ if name not in ("faults", "limits")]
    faults = [f"faults.{name}" for name in FaultParams.__struct_fields__]
    return [*plain, *faults, *(f"limits.{name}" for name in LimitParams.__struct_fields__)]
