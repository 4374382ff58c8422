"""`${VAR}`, `${VAR:-default}` and `${VAR:?message}` in scalars, filled in after parsing.

A name is looked up in the graph's own params first, then in the environment. A scalar that is nothing else
than one reference takes the whole value, lists too; inside of a longer text the value is written out. What
comes from the environment or a default is text, and where a parameter wants something else, what it would
be in YAML. With `:-` and `:?` an empty value counts as missing, as in a shell. `$$` stands for one `$`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from flow.graph.tree import MAX_DEPTH, MAX_SIZE, Faults, Tree, kind_of, quoted
from flow.graph.yaml_source import parse

__all__ = ["Variables"]

MAX_TEXT: Final = 65_536

_PIECE: Final = re.compile(r"\$\$|\$\{([^{}]*)\}|\$\{")
_REFERENCE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)(.*))?", re.DOTALL)


class Variables:
    """Fills trees in. `define` adds a graph param, already filled in, under its name."""

    def __init__(self, environ: Mapping[str, str], faults: Faults) -> None:
        self.environ = environ
        self.faults = faults
        self.params: dict[str, Tree] = {}
        self.pending: set[str] = set()
        """Params that can't be referred to yet: each may only use those before it."""
        self.size = 0

    def define(self, name: str, tree: Tree) -> None:
        self.params[name] = tree

    def fill(self, tree: Tree) -> Tree:
        """The tree with every reference replaced; what could not be found is a fault, and stays."""
        return self._fill(tree, 0)

    def _fill(self, tree: Tree, level: int) -> Tree:
        if tree.is_mapping:
            return tree.rebuilt({key: self._fill(child, level + 1) for key, child in tree.entries.items()})
        if tree.is_list:
            return tree.rebuilt([self._fill(child, level + 1) for child in tree.items])
        if not isinstance(tree.value, str) or "$" not in tree.value:
            return tree
        filled = self._scalar(tree, tree.value)
        self.size += filled.size
        if self.size > MAX_SIZE or level + filled.depth > MAX_DEPTH:
            self.faults.at(tree, "what the references stand for is too large or nested too deeply")
            return replace(tree, value=None)
        return filled

    def _scalar(self, tree: Tree, text: str) -> Tree:
        whole = _PIECE.fullmatch(text)
        if whole is not None and whole.group(1) is not None:
            found = self._look_up(tree, whole.group(1))
            return replace(tree, value=None) if found is None else found.moved(tree.key, tree.place)
        return self._embedded(tree, text)

    def _embedded(self, tree: Tree, text: str) -> Tree:
        secret = False

        def written(match: re.Match[str]) -> str:
            nonlocal secret
            if match.group() == "$$":
                return "$"
            if match.group(1) is None:
                self.faults.at(tree, f"'${{' without its '}}' in {quoted(text)}; write $$ for a plain $")
                return ""
            found = self._look_up(tree, match.group(1))
            secret = secret or (found is not None and found.is_secret)
            return "" if found is None else self._text_of(tree, match.group(), found)

        filled = _PIECE.sub(written, text)
        if len(filled) > MAX_TEXT:
            self.faults.at(tree, f"filled in, this is longer than {MAX_TEXT} characters")
            filled = ""
        return replace(tree, value=filled, text="", is_secret=secret)

    def _text_of(self, tree: Tree, reference: str, found: Tree) -> str:
        if found.is_mapping or found.is_list:
            self.faults.at(
                tree, f"{reference} is {kind_of(found)}, which can't stand inside of a longer text"
            )
            return ""
        return found.value if isinstance(found.value, str) else found.text

    def _look_up(self, tree: Tree, inside: str) -> Tree | None:
        """What a reference stands for; None with a fault."""
        match = _REFERENCE.fullmatch(inside)
        if match is None:
            expected = "${NAME}, ${NAME:-default} or ${NAME:?message}"
            self.faults.at(tree, f"{quoted('${' + inside + '}')} is no reference: write {expected}")
            return None
        name, sign, rest = match.groups()
        if name in self.pending:
            self.faults.at(tree, f"${{{name}}} is set further down; a param may only use those before it")
            return None
        found = self.params.get(name) or self._from_environ(name)
        if found is not None and not (sign and found.value in (None, "")):
            return found
        if sign == ":-":
            return _text(rest, f"the default of ${{{name}}}", is_secret=False)
        return self._missing(tree, name, rest if sign else "")

    def _from_environ(self, name: str) -> Tree | None:
        value = self.environ.get(name)
        return None if value is None else _text(value, f"${{{name}}} of the environment", is_secret=True)

    def _missing(self, tree: Tree, name: str, message: str) -> None:
        if message:
            self.faults.at(tree, f"{name}: {message}")
            return
        guess = self.faults.guess(name, self.params)
        where = "neither a param of this graph nor in the environment"
        self.faults.at(tree, f"${{{name}}} is {where}{guess or '; ${' + name + ':-...} gives a default'}")


def _text(value: str, origin: str, *, is_secret: bool) -> Tree:
    """A text, and its second reading where YAML would make something else of it."""
    read = parse(value, Faults(origin))
    other = None if read is None or read.value == value else read
    return Tree(value, other=other, origin=origin, is_secret=is_secret)
