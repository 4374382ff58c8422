"""Holds what came of a run against what its test says, and against what holds for every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flow.graph.tree import Tree
from flow.scenarios.difference import Came, difference
from flow.scenarios.patterns import Pattern, looked_up, row_of, written
from flow.scenarios.perform import Outcome, Seen
from flow.scenarios.spec import Expectation, Scenario
from flow.scenarios.vocabulary import Port
from flow.telemetry.dead_letters import DeadLetter

__all__ = ["Problem", "judged"]

Problem = list[str]
"""What is wrong, on a line, and lines that show it."""

HANDLER_RAISED: Final = "handler_raised"
MOST_SHOWN: Final = 5
MOST_LETTERS: Final = 400
"""Characters that are shown of what was refused."""


def judged(scenario: Scenario, outcome: Outcome) -> list[Problem]:
    """Everything that is wrong; [] where the test passes."""
    problems = list(_failure(scenario, outcome))
    if problems or not outcome.summary:
        return problems
    problems += _expectations(scenario, outcome)
    if scenario.fails is not None:
        return problems
    problems += _unexpected(scenario, outcome)
    problems += _books(outcome)
    problems += _occurrences(scenario, outcome)
    if scenario.summary is not None:
        problems += _summary(scenario.summary, outcome.summary, "summary")
    return problems


def _failure(scenario: Scenario, outcome: Outcome) -> Iterator[Problem]:
    wanted = scenario.fails
    if wanted is None and outcome.failure:
        yield [f"the run failed: {outcome.failure}"]
    elif wanted is not None and not outcome.failure:
        yield [f"the run was to fail with {wanted!r}, and did not fail"]
    elif wanted is not None and wanted not in outcome.failure:
        yield [f"the run was to fail with {wanted!r}, and failed with: {outcome.failure}"]


def _expectations(scenario: Scenario, outcome: Outcome) -> list[Problem]:
    """The same of several nodes is said once."""
    nodes: dict[tuple[int, str, tuple[str, ...]], list[str]] = {}
    for expected in scenario.expectations:
        for headline, *lines in _expectation(scenario, expected, outcome):
            nodes.setdefault((expected.line, headline, tuple(lines)), []).append(expected.shown)
    return [
        [f"{', '.join(names)} (line {line}): {headline}", *lines]
        for (line, headline, lines), names in nodes.items()
    ]


def _expectation(scenario: Scenario, expected: Expectation, outcome: Outcome) -> Iterator[Problem]:
    seen = outcome.seen.get(expected.node_id, Seen())
    if expected.elements is not None:
        came = seen.entries if expected.elements.is_ended else _before_the_cut(seen.entries, outcome)
        lines = difference(expected.elements, came, seen.completed_ns, expected.port, scenario.words)
        if lines:
            yield ["other elements than expected", *lines]
    if expected.count is not None and expected.count != len(seen.entries):
        yield [f"expected {expected.count} elements, got {len(seen.entries)}"]
    yield from _figures(expected, outcome)
    if expected.dead_letters is not None:
        came = _letters(outcome, expected.node_id)
        lines = difference(expected.dead_letters, came, None, Port("value", DeadLetter), scenario.words)
        if lines:
            yield ["other dead letters than expected", *lines]


def _before_the_cut(came: Came, outcome: Outcome) -> Came:
    """Where the time was up, without what only the drain brought out."""
    return came if outcome.cut_ns is None else [one for one in came if one[0] < outcome.cut_ns]


def _figures(expected: Expectation, outcome: Outcome) -> Iterator[Problem]:
    edge = next((edge for edge in outcome.edges if edge.target == expected.node_id), None)
    dropped = {} if edge is None else _positive(edge.dropped)
    if expected.dropped is not None and _positive(expected.dropped) != dropped:
        yield [f"expected dropped: {_counts(_positive(expected.dropped))}; got {_counts(dropped)}"]
    coalesced = 0 if edge is None else edge.coalesced
    if expected.coalesced is not None and expected.coalesced != coalesced:
        yield [f"expected {expected.coalesced} coalesced, got {coalesced}"]


def _positive(counts: Mapping[str, int]) -> dict[str, int]:
    return {reason: n for reason, n in counts.items() if n}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items())) or "nothing"


def _letters(outcome: Outcome, node_id: str) -> Came:
    found = [letter for letter in outcome.letters if letter.node == node_id]
    return [(letter.at - outcome.began_ns, _letter_row(letter)) for letter in found]


def _letter_row(letter: DeadLetter) -> Any:
    row = row_of(letter)
    if isinstance(letter.original, bytes):
        row["original"] = letter.original.decode("utf-8", "backslashreplace")
    return row


def _unexpected(scenario: Scenario, outcome: Outcome) -> Iterator[Problem]:
    """What no test passes over: dead letters and handlers that raised, where it does not expect them."""
    told = {one.node_id for one in scenario.expectations if one.dead_letters is not None}
    reasons = {reason for one in scenario.expectations for reason in one.dropped or ()}
    letters = [one for one in outcome.letters if one.node not in told and one.reason not in reasons]
    if letters:
        told_of = Counter(
            f"{letter.node}: {letter.reason}: {written(letter.detail, MOST_LETTERS)}" for letter in letters
        )
        shown = [f"{said} x {n}" if n > 1 else said for said, n in list(told_of.items())[:MOST_SHOWN]]
        yield [f"{len(letters)} dead letters that the test does not expect", *shown]
    counted = {one.node_id for one in scenario.expectations if one.dropped is not None}
    for edge in outcome.edges:
        if edge.dropped.get(HANDLER_RAISED) and edge.target not in counted:
            said = [what for node_id, what in outcome.raised if node_id == edge.target]
            yield [
                f"{edge.target}: a handler raised, {edge.dropped[HANDLER_RAISED]} times",
                *said[:MOST_SHOWN],
            ]


def _books(outcome: Outcome) -> Iterator[Problem]:
    """What holds for every run: each edge balances, and every pooled object came back."""
    for edge in outcome.edges:
        if edge.difference:
            gone = f"{edge.difference:+d} of {edge.entered} elements unaccounted for"
            yield [f"the edge {edge.source} -> {edge.target} does not balance: {gone}"]
    for kind, out in outcome.pools_out.items():
        yield [f"objects of pool {kind} were not returned: {out}"]


def _occurrences(scenario: Scenario, outcome: Outcome) -> Iterator[Problem]:
    came = Counter[str](outcome.summary["occurrences"])
    for said, n in outcome.summary["occurrences"].items():
        name = said.partition("{")[0]
        if name != said:
            came[name] += n
    for name, n in scenario.occurrences.items():
        if came[name] != n:
            yield [f"occurrences: expected {name} {n} times, got {came[name]}"]


def _summary(wanted: Tree, got: Any, path: str) -> Iterator[Problem]:
    """Only what is named is compared."""
    if wanted.is_mapping:
        for name, child in wanted.entries.items():
            yield from _summary(child, looked_up(got, name), f"{path}.{name}")
    elif not Pattern(wanted).fits(got):
        yield [f"{path} (line {wanted.place[0]}): expected {written(wanted.plain())}, got {written(got)}"]
