"""YAML as a tree that knows its places, and the list that faults are gathered in.

A `Tree` holds a scalar, a list of trees or a mapping of texts to trees. Trees are never changed, so that
aliases can share them; `size` and `depth` are those of the tree with every alias written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from flow.errors import Fault
from flow.registry import Registry

__all__ = ["MAX_DEPTH", "MAX_SIZE", "Faults", "Tree", "kind_of", "named", "quoted"]

MAX_DEPTH: Final = 40
MAX_SIZE: Final = 100_000
MAX_FAULTS: Final = 200
MAX_COMPARED: Final = 40_000
MAX_NAMED: Final = 12
MAX_QUOTED: Final = 60

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tree:
    """`text` is a scalar as it was written; `key` is where the key of a mapping's value stands.

    `other` is a second reading of the same scalar: what came from the environment is text, and also what it
    would be in YAML. `origin` says where it came from if not from this place of the file; a secret is never
    quoted.
    """

    value: Any
    place: Place = (0, 0)
    key: Place = (0, 0)
    text: str = ""
    size: int = 1
    depth: int = 1
    other: Tree | None = None
    origin: str = ""
    is_secret: bool = False

    @classmethod
    def of_list(cls, items: Sequence[Tree], place: Place = (0, 0)) -> Tree:
        return cls(list(items), place, place, "", *_extent(items))

    @classmethod
    def of_mapping(cls, items: Mapping[str, Tree], place: Place = (0, 0)) -> Tree:
        return cls(dict(items), place, place, "", *_extent(items.values()))

    @classmethod
    def of_data(cls, data: Any, level: int = 0) -> Tree:
        """Plain data without places. Raises `ValueError` where it is nested too deeply."""
        if level > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(data, Mapping):
            items = cast(Mapping[Any, Any], data)
            return cls.of_mapping({str(key): cls.of_data(value, level + 1) for key, value in items.items()})
        if isinstance(data, (list, tuple)):
            values = cast(Sequence[Any], data)
            return cls.of_list([cls.of_data(value, level + 1) for value in values])
        shown = str(data).lower() if isinstance(data, bool) else str(data)
        return cls(data, text="" if data is None else shown)

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    @property
    def entries(self) -> dict[str, Tree]:
        """The children of a mapping; {} for everything else."""
        return cast(dict[str, Tree], self.value) if self.is_mapping else {}

    @property
    def items(self) -> list[Tree]:
        """The children of a list; [] for everything else."""
        return cast(list[Tree], self.value) if self.is_list else []

    def rebuilt(self, value: dict[str, Tree] | list[Tree]) -> Tree:
        """The same place with other children."""
        children = value.values() if isinstance(value, dict) else value
        size, depth = _extent(children)
        return replace(self, value=value, size=size, depth=depth)

    def moved(self, key: Place, place: Place | None = None) -> Tree:
        return replace(self, key=key, place=self.place if place is None else place)

    def standing_at(self, other: Tree) -> Tree:
        """This tree, and all that is in it, at the place and with the origin of another."""
        tree = self
        if tree.is_mapping:
            tree = tree.rebuilt({key: child.standing_at(other) for key, child in tree.entries.items()})
        elif tree.is_list:
            tree = tree.rebuilt([child.standing_at(other) for child in tree.items])
        return replace(tree, place=other.place, key=other.key, origin=other.origin, is_secret=other.is_secret)

    def plain(self, *, other: bool = False) -> Any:
        """The values alone; with `other`, the second readings where there are any."""
        if isinstance(self.value, dict):
            return {key: child.plain(other=other) for key, child in self.entries.items()}
        if isinstance(self.value, list):
            return [child.plain(other=other) for child in self.items]
        return self.other.plain() if other and self.other is not None else self.value

    def walk(self) -> Iterator[Tree]:
        """This tree and everything below."""
        waiting: list[Tree] = [self]
        while waiting:
            tree = waiting.pop()
            yield tree
            waiting.extend(tree.entries.values())
            waiting.extend(tree.items)


def _extent(children: Iterable[Tree]) -> tuple[int, int]:
    size, depth = 1, 0
    for child in children:
        size += child.size
        depth = max(depth, child.depth)
    return size, depth + 1


def kind_of(tree: Tree) -> str:
    """What a reader would call the value: `a list`, `a mapping`, `nothing`, or the scalar itself."""
    if tree.is_mapping:
        return "a mapping"
    if tree.is_list:
        return "a list"
    return "nothing" if tree.value is None else quoted(tree)


def quoted(value: Any) -> str:
    """A value as a message shows it: escaped, and cut where it is long."""
    if isinstance(value, Tree):
        if value.is_secret:
            return "a text that is not shown"
        value = value.value
    shown = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return shown if len(shown) <= MAX_QUOTED else f"{shown[: MAX_QUOTED - 4]}...{shown[-1]}"


def named(names: Sequence[str], separator: str) -> str:
    """Names in a row; of many the first and the last, with how many are between."""
    if len(names) <= MAX_NAMED:
        return separator.join(names)
    return separator.join([*names[: MAX_NAMED - 1], f"({len(names) - MAX_NAMED} more)", names[-1]])


class Faults:
    """Every fault of one file, each once; the first 200, and how many more there are."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._found: dict[Fault, None] = {}
        self._added = self._unlisted = self._compared = 0

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def count(self) -> int:
        """How many were added, listed or not. Grows with every fault."""
        return self._added

    def add(self, place: Place, message: str, file: str | None = None) -> None:
        self._added += 1
        fault = Fault(file or self.file, *place, message)
        if len(self._found) < MAX_FAULTS:
            self._found.setdefault(fault)
        elif fault not in self._found:
            self._unlisted += 1

    def at(self, tree: Tree, message: str) -> None:
        """A fault of a value, where it stands."""
        self.add(tree.place, f"{message} (from {tree.origin})" if tree.origin else message)

    def at_key(self, tree: Tree, message: str) -> None:
        """A fault of the key before a value."""
        self.add(tree.key, f"{message} (from {tree.origin})" if tree.origin else message)

    def nearest(self, name: str, names: Iterable[str]) -> str | None:
        """The name that looks most like `name`; None where none does, or too many were compared already."""
        known = list(names)
        if len(name) > MAX_QUOTED or self._compared + len(known) > MAX_COMPARED:
            return None
        self._compared += len(known)
        return Registry().nearest(name, known)

    def guess(self, name: str, names: Iterable[str]) -> str:
        """`, did you mean 'x'?`, or nothing."""
        close = self.nearest(name, names)
        return f", did you mean {close!r}?" if close else ""

    def listed(self) -> list[Fault]:
        """In file order."""
        found = sorted(self._found)
        if self._unlisted:
            last = found[-1]
            found.append(
                Fault(last.file, last.line, last.column + 1, f"{self._unlisted} more are not listed")
            )
        return found
