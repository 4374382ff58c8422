"""`check_operator`: draws cases, holds an operator to the rules, and shortens what breaks one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, cast

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from flow.context import Context
from flow.graph.trial import problem_of
from flow.registry import Factory, NodeSpec, Operator
from flow.testing.contract.cases import Case, Inputs, Samples
from flow.testing.contract.company import IN_COMPANY
from flow.testing.contract.rig import Broken, Candidate
from flow.testing.contract.rules import BY_ITSELF, Rule
from flow.testing.contract.samples import event_samples, takes_events

__all__ = ["RULES", "ContractBroken", "check_operator"]

MOST_SHORTENINGS: Final = 300
"""Attempts to find a shorter script."""
_BY_NAME: Final = {**BY_ITSELF, **IN_COMPANY}
RULES: Final[dict[str, str]] = {
    **{name: "; ".join(rule.says for rule in rules) for name, rules in _BY_NAME.items()},
    "timers": "no timer is left after the end, and nothing comes then",
    "ownership": "each pooled object is put back once, by who has it, and not touched afterwards",
}
"""What each rule says. `timers` and `ownership` are held to under all the others."""


class ContractBroken(AssertionError):
    """An operator broke a rule of the contract: `operator` and `rule` name them."""

    def __init__(self, operator: str, checked: str, seed: int, broken: Broken) -> None:
        self.operator = operator
        self.rule = checked if broken.rule == "ledger" else broken.rule
        rig = broken.rig
        lines = [
            f"the operator {operator} breaks the rule {self.rule!r}: {broken.what}",
            f"  the rule: {RULES[self.rule]}",
            f"  it stands {rig.wiring}, on {rig.world.name}, "
            f"{'without' if rig.letters is None else 'with'} dead letters; what was done:",
            *(f"    {line}" for line in rig.log),
            f"  the same again: check_operator(..., only={checked!r}, seed={seed})",
        ]
        super().__init__("\n".join(lines))


def check_operator(
    factory: Factory[Any, Any] | NodeSpec | Callable[[Context], Operator[Any, Any]],
    samples: Samples | None = None,
    *,
    params: msgspec.Struct | Mapping[str, Any] | None = None,
    only: str | Iterable[str] = (),
    skip: Iterable[str] = (),
    examples: int = 25,
    seed: int | None = None,
) -> None:
    """Drive an operator by `examples` scripts, and hold it to the rules: those named by `only`, else all but
    those of `skip`.

    `factory` is what `@operator` made, its registered spec, or a function from a context to the operator.
    `samples` are what it takes: a hypothesis strategy of elements or of recipes `(pools) -> element`, or a
    function `(pools) -> list`, which takes pooled elements out of these pools; events where nothing is given.
    Raises `ContractBroken` with the shortest script found and a `seed` to repeat it. Not for use where an
    event loop runs.
    """
    _refuse_running_loop()
    candidate = _candidate(factory, samples, params)
    names = _named([only] if isinstance(only, str) else list(only)) or list(_BY_NAME)
    for name in _named(list(skip)):
        names.remove(name)
    chosen = random.getrandbits(32) if seed is None else seed
    cases = _draw(candidate, examples, chosen)
    _remember(candidate, cases)
    for name in names:
        for rule in _BY_NAME[name]:
            for case in cases:
                broken = _breaks(candidate, rule, case)
                if broken is not None:
                    broken = _shortened(candidate, rule, case, broken)
                    raise ContractBroken(candidate.name, name, chosen, broken) from broken.__cause__


def _named(names: list[str]) -> list[str]:
    unknown = [name for name in names if name not in _BY_NAME]
    if unknown:
        raise ValueError(f"no such rule: {', '.join(unknown)}; there are {', '.join(_BY_NAME)}")
    return names


def _draw(candidate: Candidate, examples: int, seed: int) -> list[Case]:
    """What all rules are checked with: drawing a case costs more than checking a rule."""
    drawn: list[Case] = []

    @seeded(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list[Any](HealthCheck),
    )
    @given(candidate.inputs.cases())
    def draw(case: Case) -> None:
        drawn.append(case)

    draw()
    return drawn


def _remember(candidate: Candidate, cases: list[Case]) -> None:
    """What undisturbed runs give, before anything else could leave a trace in a class or a module."""
    for case in cases:
        with suppress(Broken):
            candidate.after(case.script)


def _breaks(candidate: Candidate, rule: Rule, case: Case) -> Broken | None:
    try:
        rule.check(candidate, case)
    except Broken as broken:
        return broken
    return None


def _shortened(candidate: Candidate, rule: Rule, case: Case, broken: Broken) -> Broken:
    """The same rule broken in fewer steps, as far as that is found soon."""
    left = MOST_SHORTENINGS
    queue = case.shorter()
    while left and (shorter := next(queue, None)) is not None:
        left -= 1
        again = _breaks(candidate, rule, shorter)
        if again is not None and again.rule == broken.rule:
            broken, queue = again, shorter.shorter()
    return broken


def _candidate(factory: Any, samples: Samples | None, params: Any) -> Candidate:
    spec: NodeSpec | None = factory if isinstance(factory, NodeSpec) else getattr(factory, "spec", None)
    if spec is None:
        if params is not None:
            raise TypeError("params are for what @operator made: let the function from a context see to them")
        name = getattr(factory, "__qualname__", repr(factory))
        _see_that_it_is_made(name, cast(Any, factory), Context(name))
        inputs = Inputs(event_samples() if samples is None else samples, pooled=False)
        return Candidate(name, cast(Any, factory), inputs, pooled=False, shares=False)
    if spec.kind != "operator":
        raise TypeError(f"{spec.name} is a {spec.kind}, and no operator")
    if samples is None:
        if not takes_events(spec.input):
            raise TypeError(
                f"{spec.name} takes {spec.input}, and no canonical events: give `samples`, a function "
                "(pools) -> list of what it takes, or a hypothesis strategy"
            )
        samples = event_samples()
    given_params = (
        params if isinstance(params, msgspec.Struct) else msgspec.convert(params or {}, spec.params)
    )
    make = spec.factory
    _see_that_it_is_made(spec.name, make, given_params, Context(spec.name))
    return Candidate(
        spec.name,
        lambda context: make(given_params, context),
        Inputs(samples, pooled=spec.pooled),
        pooled=spec.pooled,
        shares=spec.shares,
        keeps_critical=spec.loss != "anything" and takes_events(spec.input),
    )


def _see_that_it_is_made(name: str, factory: Callable[..., Any], *arguments: Any) -> None:
    problem = problem_of(name, factory, *arguments)
    if problem:
        raise TypeError(problem)


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("check_operator runs event loops of its own: call it where none is running")
