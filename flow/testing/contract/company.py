"""The rules that an operator is held to in company: fused, piped, in runs, and on every scheduler."""

from __future__ import annotations

from typing import Final

from flow.testing.contract.cases import Case, Push
from flow.testing.contract.rig import Candidate, Rig, play
from flow.testing.contract.rules import Rule
from flow.testing.contract.wiring import FUSED, PIPED
from flow.testing.contract.worlds import RealLoop, ReplayLoop, wall_time_read

__all__ = ["IN_COMPANY"]


def in_company(candidate: Candidate, case: Case) -> None:
    wiring = FUSED if case.has("as_runs") else PIPED
    rig = play(Rig(candidate, wiring=wiring), case.script)
    rig.complete()
    rig.compare(candidate.after(case.script, completed=True), "composition")
    rig.check_over()


def as_runs(candidate: Candidate, case: Case) -> None:
    """However elements are cut into runs, the outcome is that of one after another."""
    samples = case.pushes
    for at, disturbance in case.disturbances[:2]:
        if isinstance(disturbance, Push):
            samples.insert(at, disturbance.what)
    singly = candidate.after(tuple(map(Push, samples)), completed=True)
    rig = Rig(candidate)
    at = turn = 0
    while at < len(samples):
        length = case.cuts[turn % len(case.cuts)]
        rig.push_run(samples[at : at + length])
        at, turn = at + length, turn + 1
    rig.complete()
    rig.compare(singly, "composition")
    rig.check_over()


def at_replay(candidate: Candidate, case: Case) -> None:
    """What happens on virtual time is the same on the loop of a replay, and reads no other clock."""
    with wall_time_read() as read:
        virtual = play(Rig(candidate), case.script)
        virtual.complete()
    virtual.expect(not read, "time", f"wall time instead of the scheduler's or the context's: {read[:3]}")
    with ReplayLoop() as world:
        rig = play(Rig(candidate, world=world), case.script)
        rig.complete()
        rig.compare((virtual.witness.elements, virtual.account()), "time")
        rig.check_over()


def on_a_real_loop(candidate: Candidate, case: Case) -> None:
    """No time passes; where the operator asks for none, the result is that of a TestScheduler."""
    pushes = tuple(map(Push, case.pushes))
    virtual = candidate.after(pushes, completed=True)
    with RealLoop() as world:
        rig = play(Rig(candidate, world=world), pushes)
        rig.complete()
        if not world.asked.was_asked:
            rig.compare(virtual, "time")
        rig.check_over()


IN_COMPANY: Final[dict[str, list[Rule]]] = {
    "composition": [
        Rule("the same comes of it fused with stages and between stock operators", in_company),
        Rule("the same comes of runs as of one element after another", as_runs),
    ],
    "time": [
        Rule("time is the scheduler's and the context's clock's", at_replay),
        Rule("it runs on an AsyncIOScheduler too", on_a_real_loop),
    ],
}
