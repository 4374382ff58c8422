"""What goes into a node or is to come out of it, as marbles or rows: from trees to times and elements.

    "1-2---(3,4)-5|"                                     marbles, a step for each place
    {marbles: "ab|", step_ms: 50}                        with a step of its own
    {rows: [{at_ms: 0, sequence: 1}], completes_ms: 9}   rows

Without `|` or `completes_ms` what goes in stays open, and of what comes out the end is not looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from flow.clock import NS_PER_MS
from flow.graph.sections import mapping_of
from flow.graph.tree import Faults, Tree, kind_of
from flow.scenarios.marbles import MarbleError, Marbles, parse_marbles
from flow.scenarios.patterns import Pattern
from flow.scenarios.recipes import Recipe
from flow.scenarios.spec import Feed, Wanted
from flow.scenarios.vocabulary import Port, Vocabulary

__all__ = ["FEED_KEYS", "LaneReader", "ns_of"]

FEED_KEYS: Final = ("marbles", "step_ms", "rows", "completes_ms")
MOST_MS: Final = 10 * 365 * 86_400_000


def ns_of(tree: Tree | None, what: str, faults: Faults) -> int | None:
    """Milliseconds as ns; None where nothing is said, or something that is no time, which is a fault."""
    if tree is None:
        return None
    value = tree.value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MOST_MS:
        faults.at(tree, f"{what}: milliseconds belong here, from 0 to ten years, not {kind_of(tree)}")
        return None
    return round(value * NS_PER_MS)


class LaneReader:
    """Reads the lanes of one test."""

    def __init__(self, words: Vocabulary, step_ns: int, faults: Faults) -> None:
        self.words = words
        self.step_ns = step_ns
        self.faults = faults

    def feed(self, tree: Tree, node_id: str, port: Port, *, is_pooled: bool) -> Feed:
        """What a node emits instead of running. What can't be read is left out, with a fault."""
        parts = self._parts(tree, node_id, FEED_KEYS)
        entries: list[tuple[int, Recipe]] = []
        if "rows" in parts:
            completed_ns = ns_of(parts.get("completes_ms"), f"{node_id}: completes_ms", self.faults)
            for row in self._rows(parts["rows"], node_id):
                at_ns, said = self._split(row, node_id)
                recipe = self.words.recipe(said, port)
                entries += [] if recipe is None else [(at_ns or 0, recipe)]
            entries.sort(key=lambda entry: entry[0])
            last_ns = max([completed_ns or 0, *(at_ns for at_ns, _ in entries)])
            return Feed(node_id, port.declared, is_pooled, entries, completed_ns, last_ns + self.step_ns)
        step_ns, marbles = self._marbles(parts.get("marbles", tree), parts, node_id)
        for at_ns, named in self._placed(marbles, step_ns, parts.get("marbles", tree)):
            recipe = self.words.recipe(named[0], port)
            entries += [] if recipe is None else [(at_ns, recipe)]
        end = None if marbles.end is None else marbles.end * step_ns
        return Feed(node_id, port.declared, is_pooled, entries, end, len(marbles.places) * step_ns)

    def wanted(self, tree: Tree, node_id: str, port: Port) -> Wanted | None:
        """What is to come out of a node; None where only other things are said of it."""
        parts = tree.entries if tree.is_mapping else {"marbles": tree}
        if "rows" in parts:
            return self.rows(parts["rows"], node_id, port)
        if "marbles" not in parts:
            return None
        lane = parts["marbles"]
        step_ns, marbles = self._marbles(lane, parts, node_id)
        entries: list[tuple[int | None, Pattern, str]] = [
            (at_ns, self.words.pattern(named, port), name)
            for at_ns, (named, name) in self._placed(marbles, step_ns, lane)
        ]
        end = None if marbles.end is None else marbles.end * step_ns
        is_ended = marbles.end is not None
        return Wanted(lane.place[0], entries, step_ns, len(marbles.places), is_ended, end)

    def rows(self, tree: Tree, what: str, port: Port) -> Wanted:
        """Rows of which only the named fields are compared."""
        entries: list[tuple[int | None, Pattern, str]] = []
        for row in self._rows(tree, what):
            at_ns, said = self._split(row, what)
            entries.append((at_ns, self.words.row(said, port), ""))
        return Wanted(tree.place[0], entries)

    def _split(self, row: Tree, what: str) -> tuple[int | None, Tree]:
        """A row's time, and what else it says; of `{at_ms: 5, value: 7}` that is 7."""
        if not row.is_mapping:
            return None, row
        at_ns = ns_of(row.entries.get("at_ms"), f"{what}: at_ms", self.faults)
        fields = {key: child for key, child in row.entries.items() if key != "at_ms"}
        return at_ns, fields["value"] if list(fields) == ["value"] else row.rebuilt(fields)

    def _parts(self, tree: Tree, what: str, keys: Collection[str]) -> dict[str, Tree]:
        if not tree.is_mapping:
            return {}
        parts = mapping_of(tree, what, self.faults, keys)
        if ("rows" in parts) == ("marbles" in parts):
            self.faults.at(tree, f"{what}: marbles or rows belong here, one of them")
        return parts

    def _rows(self, tree: Tree, what: str) -> list[Tree]:
        if not tree.is_list:
            self.faults.at(tree, f"{what}: rows: a list belongs here, not {kind_of(tree)}")
        return tree.items

    def _marbles(self, tree: Tree, parts: dict[str, Tree], what: str) -> tuple[int, Marbles]:
        step_ns = ns_of(parts.get("step_ms"), f"{what}: step_ms", self.faults)
        if step_ns == 0:
            self.faults.at(parts["step_ms"], f"{what}: step_ms: a step takes some time")
        text = tree.value if isinstance(tree.value, str) else tree.text
        if tree.is_list or tree.is_mapping or not text:
            if not tree.is_mapping:
                self.faults.at(tree, f"{what}: marbles belong here, such as 1-2--3|, not {kind_of(tree)}")
            return step_ns or self.step_ns, Marbles()
        try:
            return step_ns or self.step_ns, parse_marbles(text)
        except MarbleError as error:
            hint = (
                "; inside {...} a comma wants quotes around" if tree.text and "bracket" in str(error) else ""
            )
            self.faults.add(_inside(tree, error.at), f"{what}: marbles: {error}{hint}")
            return step_ns or self.step_ns, Marbles()

    def _placed(self, marbles: Marbles, step_ns: int, lane: Tree) -> Iterable[tuple[int, tuple[Tree, str]]]:
        for place, names in enumerate(marbles.places):
            for name in names:
                found = self.words.named(name, lane, _inside(lane, marbles.starts[place]))
                if found is not None:
                    yield place * step_ns, (found, name)


def _inside(tree: Tree, at: int) -> tuple[int, int]:
    """The place of a character of a scalar of one line."""
    line, column = tree.place
    return line, column + at + (0 if tree.text else 1)
