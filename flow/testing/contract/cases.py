"""Cases: what is done to an operator in one round of checks, and the elements that it needs.

Samples are a hypothesis strategy, or a function `(pools) -> list of elements`. What a strategy gives is
pushed as it is, or, where it can be called, is a recipe `(pools) -> element`: elements are made anew for
every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, cast

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from flow.events.canonical import PooledEvent
from flow.pool import Pools, release
from flow.testing.contract.samples import TRAPPED, Trap

__all__ = ["TRAP", "Case", "End", "Feed", "Inputs", "Push", "Samples", "Script", "Step", "Wait"]

Samples = SearchStrategy[Any] | Callable[[Pools], Sequence[Any]]

LONGEST: Final = 16
"""Pushes of a script at most."""
PAUSES_MS: Final = (*[0] * 10, 7, 53, 157, 211, 1_511, 11_003)
"""Odd ones, so that no pause ends when a timer is due."""


@dataclass(frozen=True, slots=True)
class Push:
    """A step: push a sample, by what it is made of, or something else."""

    what: Any

    def __str__(self) -> str:
        return f"push {self.what!r}"


@dataclass(frozen=True, slots=True)
class Wait:
    """A step: let time pass."""

    ms: int

    def __str__(self) -> str:
        return f"wait {self.ms} ms"


Step = Push | Wait
Script = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Garbage:
    """What to push that is no sample: the element, or `TRAP`, of which no field can be read."""

    element: Any

    def __repr__(self) -> str:
        return "an element whose fields raise when they are read" if self is TRAP else f"{self.element!r}"


TRAP: Final = Garbage("trap")
GARBAGE: Final = (TRAP, *map(Garbage, (None, 42, "text", (), object)))


class End(Enum):
    """A step: what is done to a subscription from outside but pushing."""

    COMPLETE = "the source completes"
    FAIL = "the source fails"
    DISPOSE = "dispose"


DISTURBANCES: Final = (*End, *map(Push, GARBAGE))
FLAGS: Final = ("with_letters", "ends", "is_twice", "as_runs", "is_piped")


@dataclass(frozen=True)
class Case:
    """What hypothesis drew for one round: each check takes of it what it needs.

    `place` is the number of a step or of an element, `cuts` are lengths of runs, `flags` the bits that are
    asked for by name.
    """

    script: Script
    place: int
    flags: int
    disturbances: list[tuple[int, End | Push]]
    cuts: list[int]

    def has(self, flag: str) -> bool:
        return bool(self.flags >> FLAGS.index(flag) & 1)

    @property
    def pushes(self) -> list[Any]:
        """The samples of the script."""
        return [step.what for step in self.script if isinstance(step, Push)]

    def shorter(self) -> Iterator[Case]:
        """What to try next where this one breaks a rule."""
        script, place = self.script, self.place
        for size in (16, 8, 4, 2, 1):
            for at in range(0, len(script), size):
                rest = script[:at] + script[at + size :]
                yield replace(self, script=rest)
                yield replace(self, script=rest, place=max(0, place - size))
        for at in range(len(self.disturbances)):
            yield replace(self, disturbances=self.disturbances[:at] + self.disturbances[at + 1 :])
        for bit in range(len(FLAGS)):
            if self.flags >> bit & 1:
                yield replace(self, flags=self.flags ^ (1 << bit))
        if place:
            yield replace(self, place=place - 1)
        if self.cuts != [1]:
            yield replace(self, cuts=[1])


@dataclass(frozen=True, slots=True)
class Listed:
    """What to push: a sample by its place in the list that the author's function gives."""

    number: int

    def __repr__(self) -> str:
        return f"sample {self.number}"


class Inputs:
    """The samples of one operator, and the scripts that can be made of them."""

    def __init__(self, samples: Samples, *, pooled: bool) -> None:
        self.pooled = pooled
        self.strategy: SearchStrategy[Any] | None = None
        self.function: Callable[[Pools], Sequence[Any]] | None = None
        self.trap_kind: type[Any] = Trap
        if isinstance(samples, SearchStrategy):
            self.strategy = samples
            self.trap_kind = TRAPPED[PooledEvent]
        else:
            self.function = samples
            pools = Pools()
            listed = samples(pools)
            self.count = len(listed)
            if listed:
                self.trap_kind = TRAPPED.get(cast("type[Any]", type(listed[0])), Trap)

    def samples(self) -> SearchStrategy[list[Any]]:
        """What to push, in order: as many as there can be, as it is for the search to leave some out."""
        if self.strategy is not None:
            return st.lists(self.strategy, min_size=LONGEST, max_size=LONGEST)
        return st.permutations(range(self.count)).map(lambda order: [Listed(at) for at in order[:LONGEST]])

    def cases(self) -> SearchStrategy[Case]:
        """All that one round of checks needs."""
        place = st.integers(0, LONGEST)
        return st.builds(
            Case,
            st.builds(
                _paced,
                self.samples(),
                st.integers(0, LONGEST // 2),
                st.integers(0, len(PAUSES_MS) ** LONGEST - 1),
            ),
            place,
            st.integers(0, 2 ** len(FLAGS) - 1),
            st.lists(st.tuples(place, st.sampled_from(DISTURBANCES)), max_size=5),
            st.lists(st.integers(1, 7), min_size=1, max_size=4),
        )

    def open(self, pools: Pools) -> Feed:
        """The elements of one run."""
        return Feed(self, pools)


def _paced(samples: list[Any], less: int, pauses: int) -> Script:
    """All but the first `less` samples, with pauses: the digits of one number, as drawing each is dear."""
    steps: list[Step] = []
    for what in samples[less:]:
        steps.append(Push(what))
        pauses, pause = divmod(pauses, len(PAUSES_MS))
        if PAUSES_MS[pause]:
            steps.append(Wait(PAUSES_MS[pause]))
    return tuple(steps)


class Feed:
    """Makes the elements of one run, and gives back what was made and never pushed."""

    def __init__(self, inputs: Inputs, pools: Pools) -> None:
        self.pools = pools
        self.traps = Pools()
        self.pooled = inputs.pooled
        self.trap_kind = inputs.trap_kind
        self.pending = {} if inputs.function is None else dict(enumerate(inputs.function(pools)))

    def element(self, what: Any) -> Any:
        """The element for one push."""
        if what is TRAP:
            return self.trap()
        if isinstance(what, Garbage):
            return what.element
        if isinstance(what, Listed):
            element = self.pending.pop(what.number)
        else:
            element = what(self.pools) if callable(what) else what
        return element if self.pooled else _owned(element)

    def trap(self) -> Any:
        """Like a sample, but no field of it can be read; out of a pool where samples are."""
        kind = self.trap_kind
        if kind is Trap or not self.pooled:
            trap: Any = kind("trap")
        else:
            trap = self.traps.of(kind.__name__, kind).shelf("trap").get()
        if kind is not Trap:
            trap.sprung = 0
        return trap

    def close(self) -> None:
        for element in self.pending.values():
            release(element)
        self.pending.clear()


def _owned(element: Any) -> Any:
    """What an operator without `pooled` is handed: a clone of its own."""
    if not isinstance(element, PooledEvent):
        return element
    owned = element.own()
    release(element)
    return owned
