"""Elements as plain data, equal for equal elements of different runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from msgspec import Struct
from msgspec.structs import asdict

from flow.events.canonical import FIELDS, CanonicalEvent
from flow.events.frames import WsFrame
from flow.events.payloads import TradeData

__all__ = ["describe"]

PAYLOADS: Final = TradeData.__module__
"""Where types live whose values can be compared as they are."""
ATOMS: Final = (bool, int, float, str, bytes, type(None))


class PlainEvent(tuple[Any, ...]):
    """The fields of an event."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self[0]} #{self[2]}"


def describe(element: Any) -> Any:
    """An element as plain data, equal for equal elements of different runs."""
    if isinstance(element, CanonicalEvent):
        try:
            return PlainEvent(_plain(getattr(element, name)) for name in FIELDS)
        except ValueError as error:
            return f"an event that can't be read: {error}"
    return _plain(element)


def _plain(value: Any) -> Any:
    match value:
        case _ if isinstance(value, ATOMS) or type(value).__module__ == PAYLOADS:
            return value
        case CanonicalEvent():
            return describe(value)
        case list() | tuple():
            return [_plain(one) for one in cast("list[Any]", value)]
        case dict():
            return {str(key): _plain(one) for key, one in cast("dict[Any, Any]", value).items()}
        case WsFrame():
            return ("WsFrame", repr(value.connection), value.payload, value.received_at)
        case Struct():
            row: Callable[[], Any] = getattr(value, "row", lambda: asdict(value))
            return _plain(row())
        case _ if type(value).__repr__ is object.__repr__:
            return type(value).__name__
        case _:
            return repr(value)
