"""One test of a graph as plain data, once its file has been read. Times are ns from the start of the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from flow.graph.spec import GraphSpec
from flow.graph.tree import Tree
from flow.scenarios.patterns import Pattern
from flow.scenarios.recipes import Recipe
from flow.scenarios.vocabulary import Port, Vocabulary

__all__ = ["ConsumerSetting", "Expectation", "Feed", "Recordings", "Scenario", "Wanted"]

Recordings = Mapping[str, list[str | Path]]
"""By provider: texts in the capture format, and files."""


class ConsumerSetting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in for a consumer; by default something that takes every element at once."""

    takes_ms: Annotated[float, Meta(ge=0, le=86_400_000, description="how long each element takes")] = 0.0
    real: Annotated[bool, Meta(description="the consumer itself gets the elements too")] = False


@dataclass(frozen=True, slots=True)
class Feed:
    """What a node emits in the test instead of running. Without `completed_ns` it stays open.

    `declared` is the type of its elements, which are pooled where the nodes behind are used to that.
    """

    node_id: str
    declared: Any
    is_pooled: bool
    entries: list[tuple[int, Recipe]]
    completed_ns: int | None
    length_ns: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Elements that are to come, each (time, pattern, name); a time of None is not looked at.

    `step_ns` and `places` are those of marbles, 0 for rows. With `is_ended` the end is compared as well.
    """

    line: int
    entries: list[tuple[int | None, Pattern, str]]
    step_ns: int = 0
    places: int = 0
    is_ended: bool = False
    completed_ns: int | None = None

    @property
    def length_ns(self) -> int:
        """Until the place behind the last."""
        last_ns = max((at_ns or 0 for at_ns, _, _ in self.entries), default=-1)
        return max(self.places * self.step_ns, last_ns + 1)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is to become of one node. None where the test does not say."""

    node_id: str
    shown: str
    port: Port
    line: int
    elements: Wanted | None = None
    count: int | None = None
    dropped: Mapping[str, int] | None = None
    coalesced: int | None = None
    dead_letters: Wanted | None = None

    @property
    def looks(self) -> bool:
        """Whether anything is said of the elements."""
        return self.elements is not None or self.count is not None

    @property
    def length_ns(self) -> int:
        """Until when this says anything."""
        lanes = [lane for lane in (self.elements, self.dead_letters) if lane is not None]
        return max((lane.length_ns for lane in lanes), default=0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A test. `spec` is the graph as it is loaded, before anything in it is replaced."""

    name: str
    file: str
    line: int
    spec: GraphSpec
    words: Vocabulary
    feeds: Mapping[str, Feed] = field(default_factory=dict[str, Feed])
    consumers: Mapping[str, ConsumerSetting] = field(default_factory=dict[str, ConsumerSetting])
    expectations: list[Expectation] = field(default_factory=list[Expectation])
    recordings: Recordings = field(default_factory=dict[str, list[str | Path]])
    occurrences: Mapping[str, int] = field(default_factory=dict[str, int])
    summary: Tree | None = None
    fails: str | None = None
    lasts_ns: int | None = None
