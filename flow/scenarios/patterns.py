"""What came, as plain rows, and what a test says of it: only what is named is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from flow.events.frames import WsFrame
from flow.graph.tree import Tree

__all__ = ["MISSING", "Pattern", "looked_up", "row_of", "written"]

MISSING: Final = object()
MOST_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Pattern:
    """A mapping fits a row that has its keys with its values; anything else fits what equals it."""

    tree: Tree

    def fits(self, row: Any) -> bool:
        return _fits(self.tree, row)

    @property
    def fields(self) -> dict[str, Tree]:
        return self.tree.entries

    def __str__(self) -> str:
        return written(self.tree.plain())


def _fits(tree: Tree, got: Any) -> bool:
    if tree.is_mapping:
        return all(_fits(child, looked_up(got, name)) for name, child in tree.entries.items())
    if tree.is_list:
        if not isinstance(got, Sequence) or isinstance(got, (str, bytes)):
            return False
        items = cast(Sequence[Any], got)
        return len(items) == len(tree.items) and all(map(_fits, tree.items, items))
    if isinstance(got, str):
        return got == tree.value or (bool(tree.text) and got == tree.text)
    return type(got) is not bool and got == tree.value if type(tree.value) is not bool else got is tree.value


def looked_up(row: Any, name: str) -> Any:
    """A field by its name, `payload.price` or, for short, `price`; MISSING where there is none."""
    if isinstance(row, Mapping):
        fields = cast(Mapping[str, Any], row)
        if name in fields:
            return fields[name]
        payload = fields.get("payload")
        if isinstance(payload, Mapping) and name in payload:
            return cast(Mapping[str, Any], payload)[name]
        head, dot, rest = name.partition(".")
        return looked_up(fields[head], rest) if dot and head in fields else MISSING
    if isinstance(row, Sequence) and not isinstance(row, (str, bytes)):
        items = cast(Sequence[Any], row)
        head, dot, rest = name.partition(".")
        if head.isdigit() and int(head) < len(items):
            return looked_up(items[int(head)], rest) if dot else items[int(head)]
    return MISSING


def row_of(element: Any) -> Any:
    """An element as plain data. What can't be read is said in its place."""
    try:
        if isinstance(element, WsFrame):
            return {"provider": element.provider, "payload": _text(element.payload)}
        if isinstance(element, tuple) and len(cast(tuple[Any, ...], element)) == 3:
            connection, payload, _ = cast(tuple[Any, Any, Any], element)
            if isinstance(payload, bytes):
                return {"provider": getattr(connection, "provider", ""), "payload": _text(payload)}
        row: Any = getattr(cast(Any, element), "row", None)
        return row() if callable(row) else msgspec.to_builtins(element, enc_hook=repr)
    except Exception as error:  # lazily read payloads and a plugin's types may raise anything
        return {"unreadable": f"{type(error).__name__}: {error}"}


def _text(payload: bytes) -> str:
    return payload.decode("utf-8", "backslashreplace")


def written(value: Any, most: int = MOST_SHOWN) -> str:
    """A value on one line, cut where it is long."""
    if value is MISSING:
        return "(missing)"
    text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=repr).decode()
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= most else f"{text[: most - 3]}..."
