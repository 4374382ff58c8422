"""Debug mode of the pools: what was put back is poisoned, and says so whatever is done with it.

`poison` gives an object a class of its own, with the same layout: reading, writing, cloning, comparing,
encoding or iterating it raises `UsedAfterPut`, and a second put `DoublePut`. Both name the object's kind and
key, the place at work, and the places where the object was got and put. Only `repr`, `type` and `isinstance`
go on working, as reports need them. What bypasses the class (`object.__getattribute__`) bypasses the poison.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, cast

from flow.errors import DoublePut, OwnershipBug, UsedAfterPut

__all__ = ["Found", "Place", "is_poisoned", "poison", "refuse_second_put"]

Found = Callable[[OwnershipBug], None]
"""Is told of a bug as it is raised: whoever catches that can't hide it."""

HERE: Final = Path(__file__).parent
OWN_FILES: Final = (__file__, str(HERE / "pool.py"), str(HERE / "events"))
"""Code that gets, puts and clones for others: the place is its caller's."""
MACHINE_FILE: Final = str(HERE / "stage.py")
MACHINE_VERBS: Final = frozenset({"drop", "refuse"})
"""By these a machine puts: the place is its caller's too."""
OPERATIONS: Final = {
    "written": ("__setattr__", "__delattr__"),
    "cloned": ("__copy__", "__deepcopy__", "__replace__"),
    "compared": ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__"),
    "encoded": ("__reduce__", "__reduce_ex__", "__getstate__", "__str__", "__format__", "__bytes__"),
    "iterated": ("__iter__", "__contains__", "__getitem__", "__dir__"),
}
OPEN: Final = frozenset({"__class__", "put"})
"""`__class__` is for `isinstance`; `put` is the second put."""


class Place:
    """Where in the code something happened, and in which node, where the code there has a `context`."""

    __slots__ = ("code", "line", "node_id")

    def __init__(self, code: CodeType, line: int, node_id: str) -> None:
        self.code = code
        self.line = line
        self.node_id = node_id

    @classmethod
    def here(cls) -> Place:
        """The innermost code that is neither a pool's nor a pooled type's own."""
        frame: FrameType = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        code = frame.f_code
        while frame.f_back is not None and (_is_own(code.co_filename) or _is_verb(code)):
            frame = frame.f_back
            code = frame.f_code
        return cls(code, frame.f_lineno, _node_of(frame))

    def __str__(self) -> str:
        file = "/".join(Path(self.code.co_filename).parts[-2:])
        node = f", node {self.node_id}" if self.node_id else ""
        return f"{file}:{self.line} ({self.code.co_name}{node})"


@cache
def _is_own(file: str) -> bool:
    return file.startswith(OWN_FILES)


def _is_verb(code: CodeType) -> bool:
    return code.co_name in MACHINE_VERBS and code.co_filename == MACHINE_FILE


def _node_of(frame: FrameType) -> str:
    """The id in the context of the `self` that is at work in a frame, looked up without running its code."""
    owner = frame.f_locals.get("self")
    state: dict[str, Any] = {} if is_poisoned(owner) else getattr(owner, "__dict__", {})
    node_id = getattr(state.get("context"), "node_id", "")
    return node_id if isinstance(node_id, str) else ""


class Record:
    """What a poisoned object keeps, in the slot of its `home`."""

    __slots__ = ("found", "got", "key", "kind", "put")

    def __init__(self, kind: str, key: Any, got: Place, put: Place, found: Found) -> None:
        self.kind = kind
        self.key = key
        self.got = got
        self.put = put
        self.found = found

    def __str__(self) -> str:
        return f"{self.kind} of {self.key!r}"


class Poisoned:
    """What every poisoned class has before the methods of its kind."""

    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        if name in OPEN:
            return object.__getattribute__(self, name)
        # Who reads `home` is about to put: what comes of that is told.
        raise _used(self, f"`{name}` read", is_told=name != "home")

    def __repr__(self) -> str:
        record = _record(self)
        return f"<{record}, put at {record.put}>"

    def put(self) -> None:
        record = _record(self)
        places = f"put at {Place.here()}, and put before at {record.put}; got at {record.got}"
        bug = DoublePut(f"{record}: {places}")
        record.found(bug)
        raise bug


def _record(item: object) -> Record:
    return object.__getattribute__(item, "home")


def _used(item: object, operation: str, *, is_told: bool = True) -> UsedAfterPut:
    record = _record(item)
    places = f"at {Place.here()} after its put at {record.put}; got at {record.got}"
    bug = UsedAfterPut(f"{record}: {operation} {places}")
    if is_told:
        record.found(bug)
    return bug


def _raising(operation: str) -> Callable[..., Any]:
    def touch(self: object, *_: Any) -> Any:
        raise _used(self, operation)

    return touch


for _operation, _names in OPERATIONS.items():
    for _name in _names:
        setattr(Poisoned, _name, _raising(_operation))


@cache
def _poisoned_class(kind: type[Any]) -> type[Any]:
    bases: tuple[type[Any], ...] = (Poisoned, kind)
    return type(f"Poisoned{kind.__name__}", bases, {"__slots__": ()})


def is_poisoned(item: object) -> bool:
    """Whether an object was put in debug mode."""
    return issubclass(type(item), Poisoned)


def poison(item: Any, kind: str, key: Any, got: Place, found: Found) -> None:
    """From now on touching `item`, which has a slot `home`, raises a bug, of which `found` is told before."""
    object.__setattr__(item, "home", Record(kind, key, got, Place.here(), found))
    item.__class__ = _poisoned_class(cast(type[Any], type(item)))


def refuse_second_put(item: Any) -> None:
    """Raises `DoublePut` where `item` is poisoned."""
    if is_poisoned(item):
        item.put()
