"""How types, bounds and names are written in messages and in the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

import msgspec

from flow.graph.tree import Faults, quoted

__all__ = ["UNITS", "choices", "spelled", "unknown_key", "without_none"]

UNITS: Final[Mapping[str, str]] = {
    "ns": "nanoseconds",
    "us": "microseconds",
    "ms": "milliseconds",
    "s": "seconds",
    "min": "minutes",
    "h": "hours",
    "bytes": "bytes",
    "kb": "kilobytes",
    "kib": "kibibytes",
    "mb": "megabytes",
    "mib": "mebibytes",
    "pct": "per cent",
    "percent": "per cent",
    "bps": "basis points",
    "hz": "hertz",
    "per_s": "per second",
}


def without_none(declared: Any) -> Any:
    """The type without `Annotated`, and without `| None` where one other is left."""
    while get_origin(declared) is Annotated:
        declared = get_args(declared)[0]
    if get_origin(declared) in (Union, UnionType):
        others = [arg for arg in get_args(declared) if arg is not NoneType]
        if len(others) == 1:
            return without_none(others[0])
    return declared


def choices(declared: Any) -> list[Any]:
    """The values of a `Literal` or an enumeration; [] for every other type."""
    declared = without_none(declared)
    if get_origin(declared) is Literal:
        return list(get_args(declared))
    members = cast(Mapping[str, Any] | None, getattr(declared, "__members__", None))
    return [member.value for member in members.values()] if members else []


def unknown_key(name: str, known: Sequence[str], faults: Faults, *, prefix: str = "") -> str:
    """`unknown key 'latness_ms', did you mean 'lateness_ms'?`, with the unit where only that differs."""
    shown = f"unknown key {quoted(prefix + name)}"
    stem = _stem(name)
    for other in known:
        if _stem(other) == stem:
            unit = _unit(other)
            return f"{shown}, did you mean {other}{f' ({UNITS[unit]})' if unit else ''}?"
    guess = faults.guess(name, known)
    if guess or not known or len(known) > 12:
        return shown + guess
    return f"{shown}; known are {', '.join(sorted(known))}"


def _unit(name: str) -> str:
    return next((unit for unit in sorted(UNITS, key=len, reverse=True) if name.endswith(f"_{unit}")), "")


def _stem(name: str) -> str:
    unit = _unit(name)
    return name[: -len(unit) - 1] if unit else name


def spelled(declared: Any) -> str:
    """A type as documentation writes it, with its bounds: `int >= 1`, `list[str]`, `a | b`."""
    if get_origin(declared) is Annotated:
        inner, *notes = get_args(declared)
        return spelled(inner) + "".join(_bounds(note) for note in notes if isinstance(note, msgspec.Meta))
    origin, args = get_origin(declared), get_args(declared)
    if origin in (Union, UnionType):
        return " | ".join(spelled(arg) for arg in args)
    if origin is Literal:
        return " | ".join(str(arg) for arg in args)
    if declared is NoneType or declared is None:
        return "null"
    if declared is Any:
        return "anything"
    if origin is not None:
        return f"{getattr(origin, '__name__', origin)}[{', '.join(map(spelled, args))}]"
    if declared is ...:
        return "..."
    members = choices(declared)
    return " | ".join(map(str, members)) if members else getattr(declared, "__name__", str(declared))


def _bounds(meta: msgspec.Meta) -> str:
    signs = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"), ("multiple_of", "multiple of"))
    lengths = (("min_length", "at least"), ("max_length", "at most"))
    parts = [f"{sign} {value}" for name, sign in signs if (value := getattr(meta, name)) is not None]
    parts += [f"{word} {value} long" for name, word in lengths if (value := getattr(meta, name)) is not None]
    parts += [f"like {meta.pattern}"] if meta.pattern else []
    return f" {', '.join(parts)}" if parts else ""
