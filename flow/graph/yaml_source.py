"""Text to a tree with places: YAML without its surprises.

The parser's events are composed here, so that every limit holds before anything is built: nesting, the size
with all aliases written out, duplicate keys. Plain scalars follow the core schema of YAML 1.2, and less
where that could surprise: `null ~ true false` (also capitalised), decimal and 0x/0o integers, decimal
floats. Everything else is text: `on off yes no`, `1:30`, `010`, `1_000`, `.nan`, `.inf`, dates. Tags are
refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from flow.graph.source_file import MAX_BYTES
from flow.graph.tree import MAX_DEPTH, MAX_SIZE, Faults, Tree, kind_of, quoted

__all__ = ["parse"]

MERGE: Final = "<<"

_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,30})|0x[0-9a-fA-F]{1,30}|0o[0-7]{1,30}")
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9]")
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WORDS: Final[dict[str, Any]] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Enough(Exception):
    """A limit was passed: what follows is not read."""


def parse(text: str, faults: Faults) -> Tree | None:
    """The one document of a text, nothing where there is none; None, and faults, where it can't be read."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        faults.add((0, 0), f"more than {MAX_BYTES} bytes (1 MiB)")
        return None
    strange = _UNPRINTABLE.search(text)
    if strange is not None:
        faults.add(_place_of(text, strange.start()), f"character {strange.group()!a} is not allowed in YAML")
        return None
    composer = _Composer(faults)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except _Enough:
        return None
    except yaml.MarkedYAMLError as error:
        _report(error, text, faults)
        return None
    except (yaml.YAMLError, ValueError) as error:
        faults.add((0, 0), f"YAML: {error}")
        return None
    return composer.root or Tree(None, (1, 1), (1, 1))


def _place_of(text: str, index: int) -> tuple[int, int]:
    start = text.rfind("\n", 0, index) + 1
    return text.count("\n", 0, index) + 1, index - start + 1


def _report(error: yaml.MarkedYAMLError, text: str, faults: Faults) -> None:
    mark = error.problem_mark or error.context_mark
    line, column = (0, 0) if mark is None else (mark.line, mark.column)
    lines = text.splitlines()
    shown = lines[line] if mark is not None and line < len(lines) else ""
    if shown[max(column - 1, 0) : column + 1] == "${":
        rest = re.match(r"\$\{[^}]*\}?", shown[column - 1 :])
        reference = rest.group() if rest else "${...}"
        faults.add((line + 1, column), f'inside {{...}} and [...] a reference wants quotes: "{reference}"')
        return
    problem = error.problem or "not YAML"
    context = f" ({error.context})" if error.context else ""
    faults.add((line + 1, column + 1) if mark is not None else (0, 0), f"YAML: {problem}{context}")


@dataclass(slots=True)
class _Open:
    """A list or a mapping whose end has not come yet."""

    place: tuple[int, int]
    anchor: str | None
    is_mapping: bool
    items: list[Tree] = field(default_factory=list[Tree])
    entries: dict[str, Tree] = field(default_factory=dict[str, Tree])
    merged: list[Tree] = field(default_factory=list[Tree])
    key: Tree | None = None
    size: int = 1


class _Composer:
    """Builds trees out of events, with a stack of its own in place of recursion."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.root: Tree | None = None
        self.documents = 0
        self.stack: list[_Open] = []
        self.anchors: dict[str, Tree] = {}
        self.open_anchors: set[str] = set()

    def take(self, event: Any) -> None:
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        match event:
            case yaml.DocumentStartEvent():
                self._document(place)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event, place)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.ScalarEvent():
                self._refuse_tag(event, place)
                self._named(event.anchor, _scalar(event, place))
            case yaml.AliasEvent():
                self._alias(event.anchor or "", place)
            case _:
                pass

    def _document(self, place: tuple[int, int]) -> None:
        self.documents += 1
        if self.documents > 1:
            self.faults.add(place, "a second document starts here; a file holds one graph")
            raise _Enough

    def _open(self, event: Any, place: tuple[int, int]) -> None:
        self._refuse_tag(event, place)
        if len(self.stack) >= MAX_DEPTH:
            self._too_deep(place)
        self.stack.append(_Open(place, event.anchor, isinstance(event, yaml.MappingStartEvent)))
        if event.anchor:
            self.open_anchors.add(event.anchor)

    def _close(self) -> None:
        done = self.stack.pop()
        if done.is_mapping:
            tree = Tree.of_mapping(_merge(done), done.place)
        else:
            tree = Tree.of_list(done.items, done.place)
        if done.anchor:
            self.open_anchors.discard(done.anchor)
        self._named(done.anchor, tree)

    def _alias(self, anchor: str, place: tuple[int, int]) -> None:
        tree = self.anchors.get(anchor)
        if anchor in self.open_anchors:
            self.faults.add(place, f"the alias *{anchor} stands inside of what it stands for")
            raise _Enough
        if tree is None:
            self.faults.add(place, f"the alias *{anchor} has no anchor &{anchor} before it")
            tree = Tree(None)
        self._add(tree.moved(place, place))

    def _named(self, anchor: str | None, tree: Tree) -> None:
        if anchor:
            self.anchors[anchor] = tree
        self._add(tree)

    def _add(self, tree: Tree) -> None:
        if len(self.stack) + tree.depth > MAX_DEPTH + 1:
            self._too_deep(tree.place)
        if not self.stack:
            self.root = tree
            return
        holder = self.stack[-1]
        holder.size += tree.size
        if holder.size > MAX_SIZE:
            self.faults.add(tree.place, f"more than {MAX_SIZE} values, with every alias written out")
            raise _Enough
        if not holder.is_mapping:
            holder.items.append(tree)
        elif holder.key is None:
            holder.key = tree
        else:
            key, holder.key = holder.key, None
            self._entry(holder, key, tree.moved(key.place))

    def _entry(self, holder: _Open, key: Tree, value: Tree) -> None:
        if key.text == MERGE and key.value == MERGE:
            self._merge_key(holder, key, value)
        elif not isinstance(key.value, str):
            self.faults.add(key.place, f"a key must be text, not {kind_of(key)}; quote it if text is meant")
        elif key.value in holder.entries:
            line = holder.entries[key.value].key[0]
            self.faults.add(key.place, f"duplicate key {quoted(key)}; the first is in line {line}")
        else:
            holder.entries[key.value] = value

    def _merge_key(self, holder: _Open, key: Tree, value: Tree) -> None:
        given = value.items if value.is_list else [value]
        if holder.merged:
            self.faults.add(key.place, "duplicate key '<<'; give it a list")
        elif not all(tree.is_mapping for tree in given):
            self.faults.add(value.place, "'<<' takes a mapping or a list of mappings")
        holder.merged += [tree for tree in given if tree.is_mapping]

    def _refuse_tag(self, event: Any, place: tuple[int, int]) -> None:
        if event.tag not in (None, "!"):
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.faults.add(
                place, f"the tag {quoted(tag)} is not allowed; quote what is text, leave out the rest"
            )

    def _too_deep(self, place: tuple[int, int]) -> None:
        self.faults.add(place, f"nested more than {MAX_DEPTH} levels deep")
        raise _Enough


def _merge(done: _Open) -> dict[str, Tree]:
    """Own keys win over merged ones, and the first of several merged mappings over the later ones."""
    merged: dict[str, Tree] = {}
    for tree in done.merged:
        for key, value in tree.entries.items():
            merged.setdefault(key, value)
    return merged | done.entries


def _scalar(event: Any, place: tuple[int, int]) -> Tree:
    text: str = event.value
    is_plain = event.style in (None, "")
    return Tree(_resolved(text) if is_plain else text, place, place, text if is_plain else "")


def _resolved(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and not _LEADING_ZERO.match(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text
