"""One operator under contract in one run: what feeds it, what watches it, what must hold throughout."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from reactivex import Observable, abc

from flow.context import Context
from flow.errors import OwnershipBug
from flow.events.canonical import CanonicalEvent
from flow.pool import Pools, release
from flow.registry import Operator
from flow.stage import Fusable, Machine, many, shielded, unshielded
from flow.telemetry.dead_letters import DeadLetter, DeadLetters, raised_at
from flow.testing.contract.cases import TRAP, Inputs, Push, Script
from flow.testing.contract.plain import describe
from flow.testing.contract.wiring import ALONE, WIRINGS, Pusher, Way
from flow.testing.contract.worlds import Scheduled, World

__all__ = ["Account", "Broken", "Candidate", "Rig", "SourceFailed", "WitnessRaised", "play"]

ENOUGH_MS: Final = 15_013
"""After so long everything that was to come has come."""


SLIPS: Final = (AttributeError, NameError, TypeError)
"""What a mistake in the code raises, and hardly a bad element."""


class SourceFailed(Exception):
    """What the source of a rig fails with."""


class Broken(Exception):
    """An operator broke a rule: which, how, and what was done."""

    def __init__(self, rule: str, what: str, rig: Rig) -> None:
        super().__init__(what)
        self.rule, self.what, self.rig = rule, what, rig


@dataclass(frozen=True)
class Candidate:
    """The operator to be checked."""

    name: str
    make: Callable[[Context], Operator[Any, Any]]
    inputs: Inputs
    pooled: bool
    shares: bool
    keeps_critical: bool = False
    """Whether it takes events of all kinds and does not declare that it may lose critical ones."""
    ordinary: dict[int, tuple[Script, Outcome, Outcome]] = field(
        default_factory=dict[int, "tuple[Script, Outcome, Outcome]"]
    )

    def after(self, script: Script, *, completed: bool = False) -> Outcome:
        """What an undisturbed run of a script gives; remembered, as most rules compare with it."""
        known = self.ordinary.get(id(script))
        if known is None:
            rig = play(Rig(self), script)
            played = list(rig.witness.elements), rig.account()
            rig.complete()
            known = self.ordinary[id(script)] = script, played, (rig.witness.elements, rig.account())
        return known[2] if completed else known[1]


@dataclass(frozen=True)
class Account:
    """What became of the elements, by the operator's own counts."""

    taken: int
    dropped: dict[str, int]
    coalesced: int
    dead_lettered: int
    in_flight: int


Outcome = tuple[list[Any], Account | None]
"""What came, and the account."""


@dataclass(frozen=True)
class Came:
    """A line of the log."""

    plain: Any

    def __str__(self) -> str:
        return f"    came {self.plain!s}"


class Witness:
    """The observer at the end. It owns what it is handed; `on_element` may raise, push or dispose."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.elements: list[Any] = []
        """What arrived, as plain data."""
        self.errors: list[Exception] = []
        self.completions = 0
        self.wrong: list[tuple[str, str]] = []
        self.has_raised = False
        self.on_element: Callable[[int], None] | None = None
        """Called with the number of the element, from 1."""

    @property
    def is_over(self) -> bool:
        return bool(self.completions or self.errors)

    def on_next(self, element: Any) -> None:
        plain = describe(element)
        self.rig.log.append(Came(plain))
        self.see("the element ", plain)
        self.elements.append(plain)
        if self.on_element is not None:
            self.on_element(len(self.elements))
        release(element)

    def on_error(self, error: Exception) -> None:
        self.see("on_error: ", error)
        self.rig.log.append(f"    came on_error({error!r})")
        self.errors.append(error)

    def on_completed(self) -> None:
        self.see("on_completed")
        self.rig.log.append("    came on_completed()")
        self.completions += 1

    def see(self, what: str, value: Any = "") -> None:
        if self.rig.is_disposed:
            self.wrong.append(("dispose", f"{what}{value} came after the subscription was disposed"))
        elif self.is_over:
            self.wrong.append(("grammar", f"{what}{value} came after the end"))


class Letters(DeadLetters):
    """Dead letters that stand in the log, with the line that raised."""

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.rig = rig
        """Whose log they go to."""

    def add(self, letter: DeadLetter) -> None:
        error = sys.exception()
        said = f"{letter.reason}: {letter.detail}{raised_at(error)}"
        self.rig.log.append(f"    refused for {said}")
        if isinstance(error, SLIPS):
            self.rig.slips.append(said)
        super().add(letter)


class Rig:
    """One subscription to one operator. Every verb checks afterwards what must hold at every moment."""

    def __init__(
        self,
        candidate: Candidate,
        *,
        world: World | None = None,
        wiring: str = ALONE,
        with_letters: bool = True,
        beside: Rig | None = None,
    ) -> None:
        self.candidate = candidate
        self.world = world or Scheduled()
        self.wiring = wiring
        self.log: list[Any] = []
        self.slips: list[str] = []
        """Refusals by mistakes in the code."""
        self.pushed = 0
        self.is_disposed = False
        self.witness = Witness(self)
        if beside is None:
            self.pools = Pools(is_debug=True)
            self.letters = Letters(self) if with_letters else None
            self.pusher = Pusher()
            self.times = [self.world]
            self.context = Context(
                candidate.name,
                pools=self.pools,
                dead_letters=self.letters,
                clock=lambda times=self.times: times[-1].now_ns(),
            )
            before, _ = WIRINGS[wiring]
            self.operated = candidate.make(self.context)(before(self.pusher))
        else:
            self.pools, self.letters, self.pusher = beside.pools, beside.letters, beside.pusher
            self.context, self.operated, self.times = beside.context, beside.operated, beside.times
            self.times.append(self.world)
            if self.letters is not None:
                self.letters.rig = self
        self.feed = candidate.inputs.open(self.pools)
        self.subscription = self.subscribe(WIRINGS[wiring][1](self.operated))
        self.way = self.pusher.ways[-1] if self.pusher.ways else None
        self.machine: Machine[Any, Any] | None = getattr(self.operated, "machine", None)

    def subscribe(self, tail: Observable[Any]) -> abc.DisposableBase:
        witness, scheduler = self.witness, self.world.scheduler
        if isinstance(tail, Fusable):
            completed = shielded(lambda _: witness.on_completed())
            return tail.wire(
                shielded(witness.on_next),
                shielded(witness.on_error),
                lambda: completed(None),
                scheduler,
            )
        return tail.subscribe(witness.on_next, witness.on_error, witness.on_completed, scheduler=scheduler)

    # --- what is done to it

    def push(self, what: Any) -> Any:
        """Push one sample; returns the element."""
        self.log.append(Push(what))
        element = self.take(what)
        self.act(lambda: self.onto.emit(element))
        return element

    def push_run(self, samples: list[Any]) -> None:
        """Push several at once, through the door for runs where there is one."""
        self.log.append(f"push as one run {samples!r}")
        elements = [self.take(what) for what in samples]
        if elements:
            self.act(lambda: many(self.onto.emit)(elements))

    def take(self, what: Any) -> Any:
        element = self.feed.element(what)
        if isinstance(element, CanonicalEvent) and what is not TRAP and not element.ingest_ts:
            element.ingest_ts = max(1, self.world.now_ns())
        if self.wiring == ALONE or not (self.witness.is_over or self.is_disposed):
            self.pushed += 1
        return element

    def wait(self, ms: int) -> None:
        self.log.append(f"wait {ms} ms")
        self.act(lambda: self.world.advance(ms))

    def complete(self) -> None:
        self.log.append("the source completes")
        self.act(self.onto.on_completed)

    def fail(self, error: Exception) -> None:
        self.log.append(f"the source fails with {error!r}")
        self.act(lambda: self.onto.on_error(error))

    def dispose(self) -> None:
        """Dispose the subscription; also from inside."""
        self.log.append("dispose the subscription")
        self.is_disposed = True
        self.subscription.dispose()

    @property
    def onto(self) -> Way:
        if self.way is None:
            self.broken("re-subscription", "a subscription did not subscribe to the source")
        return self.way

    def act(self, verb: Callable[[], Any]) -> None:
        """Do something to the operator from outside, and see that all is as it must be."""
        try:
            unshielded(lambda _: verb())(None)
        except OwnershipBug as bug:
            self.broken("ownership", f"{type(bug).__name__}: {bug}", bug)
        except (Broken, WitnessRaised):
            raise
        except Exception as error:
            self.broken("raise-inside", f"{error!r} reached whoever pushed", error)
        self.check()

    # --- what must hold

    def broken(self, rule: str, what: str, cause: BaseException | None = None) -> NoReturn:
        raise Broken(rule, what, self) from cause

    def expect(self, is_so: bool, rule: str, what: str) -> None:
        if not is_so:
            self.broken(rule, what)

    def account(self) -> Account | None:
        """None where the operator keeps no account: it is no stage."""
        machine = self.machine
        if machine is None:
            return None
        dropped = {reason: n for reason, n in sorted(machine.dropped.items()) if n}
        coalesced: int = getattr(machine, "coalesced", 0)
        return Account(machine.taken, dropped, coalesced, machine.dead_lettered, machine.in_flight)

    def check(self) -> None:
        """The grammar, and the ledger: each element that went in is accounted for."""
        for rule, what in self.witness.wrong:
            self.broken(rule, what)
        account, machine = self.account(), self.machine
        if account is None or machine is None:
            return
        if self.letters is None and (self.witness.is_over or self.is_disposed):
            return  # what is refused after the end is told to nobody
        markers: int = getattr(machine, "markers", 0)
        parts = account.taken + sum(account.dropped.values()) + account.coalesced + account.dead_lettered
        accounted = parts + account.in_flight
        self.expect("" not in account.dropped, "ledger", "an element was dropped without a reason")
        self.expect(
            accounted == self.pushed + markers,
            "ledger",
            f"{self.pushed + markers} elements went in, {accounted} are accounted for: {account}; each is "
            "counted in `passed`, dropped, refused, or held and counted by `in_flight`",
        )
        is_whole = not (self.is_disposed or self.witness.is_over or self.witness.has_raised)
        if self.wiring == ALONE and is_whole:
            came = len(self.witness.elements)
            self.expect(
                machine.emitted == came, "ledger", f"{machine.emitted} were counted as emitted, {came} came"
            )

    def compare(self, expected: Outcome, rule: str, *, in_order: bool = True) -> None:
        """The same elements came as of an undisturbed run, and the account is the same."""
        elements, account = expected
        came = self.witness.elements
        if not in_order:
            elements, came = sorted(map(repr, elements)), sorted(map(repr, came))
        self.expect(came == elements, rule, f"what came is\n    {came}\n  undisturbed it is\n    {elements}")
        own = self.account()
        self.expect(own == account, rule, f"the account is {own}, undisturbed it is {account}")

    def check_over(self) -> None:
        """After the end: nothing is held, no timer left, nothing out of a pool, and nothing comes."""
        self.check()
        self.feed.close()
        account = self.account()
        if account is not None:
            self.expect(not account.in_flight, "completion", f"{account.in_flight} are held after the end")
        left = self.world.timers_left()
        self.expect(left == 0, "timers", f"timers left after the end: {left}")
        for kind, pool in (*self.pools.by_kind.items(), *self.feed.traps.by_kind.items()):
            self.expect(pool.out == 0, "ownership", f"{kind}: {pool.out} never put: {pool.whereabouts()}")
            figures = pool.figures()
            self.expect(
                figures["gets"] == figures["puts"] and sum(map(len, pool.shelves.values())) == pool.made,
                "ownership",
                f"{kind}: {figures}, but {sum(map(len, pool.shelves.values()))} lie there",
            )
        came = len(self.witness.elements)
        self.wait(ENOUGH_MS)
        self.expect(len(self.witness.elements) == came, "timers", "something came long after the end")


class WitnessRaised(Exception):
    """What a witness raises, to see where it arrives."""


def play(rig: Rig, script: Script) -> Rig:
    """All steps, one after another."""
    for step in script:
        if isinstance(step, Push):
            rig.push(step.what)
        else:
            rig.wait(step.ms)
    return rig
