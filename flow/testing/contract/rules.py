"""The rules that an operator is held to alone: ends, disposal, raises, re-entrance, subscriptions, grammar.

Each is a check of what hypothesis drew, and raises `Broken`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from flow.testing.contract.cases import TRAP, Case, End, Push, Step, Wait
from flow.testing.contract.rig import Candidate, Rig, SourceFailed, WitnessRaised, play
from flow.testing.contract.samples import REPORTS
from flow.testing.contract.wiring import ALONE, BEHIND_STOCK

__all__ = ["BY_ITSELF", "Rule"]


@dataclass(frozen=True)
class Rule:
    """`says` is what must hold, for the message."""

    says: str
    check: Callable[[Candidate, Case], None]


# --- every element is accounted for


def balance(candidate: Candidate, case: Case) -> None:
    rig = play(Rig(candidate), case.script)
    rig.act(rig.dispose)
    rig.check_over()


def completion(candidate: Candidate, case: Case) -> None:
    rig = play(Rig(candidate), case.script)
    disposed = rig.machine.dropped["disposed"] if rig.machine is not None else 0
    rig.complete()
    if rig.machine is None:
        rig.wait(1)
    rig.expect(not rig.witness.errors, "completion", f"completion led to {rig.witness.errors}")
    rig.expect(rig.witness.completions == 1, "completion", "the source completed, the operator did not")
    account = rig.account()
    if account is not None:
        rig.expect(not account.in_flight, "completion", f"{account.in_flight} are held after completion")
        lost = account.dropped.get("disposed", 0) - disposed
        rig.expect(lost == 0, "completion", f"completion did not flush {lost}: dropped as `disposed`")
    rig.check_over()


def failure(candidate: Candidate, case: Case) -> None:
    rig = play(Rig(candidate), case.script)
    error = SourceFailed("the source's own")
    rig.fail(error)
    rig.expect(
        len(rig.witness.errors) == 1 and rig.witness.errors[0] is error,
        "failure",
        f"the source failed with {error!r}, the observer was told {rig.witness.errors}",
    )
    rig.check_over()


def no_slip(candidate: Candidate, case: Case) -> None:
    rig = play(Rig(candidate), case.script)
    rig.complete()
    told = "; if it is not for such elements, give `samples` of those that it takes"
    rig.expect(not rig.slips, "samples", f"a sample was refused for {''.join(rig.slips[:1])}{told}")
    rig.feed.close()


def keeps_critical(candidate: Candidate, case: Case) -> None:
    if not candidate.keeps_critical:
        return
    rig = Rig(candidate)
    for report in REPORTS[: case.place]:
        rig.push(report)
    rig.complete()
    account = rig.account()
    lost = 0 if account is None else account.coalesced + sum(account.dropped.values())
    rig.expect(
        lost == 0,
        "critical",
        f'{lost} execution reports were lost; declare loss="anything", or let them pass',
    )
    rig.check_over()


# --- raises


def raise_inside(candidate: Candidate, case: Case) -> None:
    script, at, with_letters = case.script, case.place, case.has("with_letters")
    rig = play(Rig(candidate, with_letters=with_letters), script[:at])
    if not rig.witness.is_over:
        trap_in(rig)
        if with_letters:
            play(rig, script[at:])
            rig.expect(not rig.witness.is_over, "raise-inside", "one bad element ended the stream")
    rig.act(rig.dispose)
    rig.check_over()


def trap_in(rig: Rig) -> None:
    """Push an element whose fields raise, and see that somebody is told of it."""
    before = told(rig)
    came = len(rig.witness.elements)
    trap = rig.take(TRAP)
    rig.log.append(Push(TRAP))
    sprung = trap.sprung
    trouble = None
    try:
        rig.act(lambda: rig.onto.emit(trap))
    except Exception as error:
        trouble = error
    was_told = told(rig) > before or len(rig.witness.elements) > came
    if trap.sprung > sprung and not was_told and getattr(trouble, "rule", "ledger") == "ledger":
        rig.broken("raise-inside", "an element raised inside, and nobody was told: not refused, not dropped")
    if trouble is not None:
        raise trouble
    if rig.letters is None:
        rig.expect(len(rig.witness.errors) <= 1, "raise-inside", f"told twice: {rig.witness.errors}")


def told(rig: Rig) -> int:
    """How often the operator said that an element did not pass, or that it can't go on."""
    account = rig.account()
    letters = 0 if rig.letters is None else sum(rig.letters.counts.values())
    dropped = 0 if account is None else sum(account.dropped.values())
    return letters + dropped + len(rig.witness.errors)


def raise_downstream(candidate: Candidate, case: Case) -> None:
    error = WitnessRaised("the observer's own")
    rig = Rig(candidate)

    def refuse(number: int) -> None:
        if number == case.place + 1 and not rig.witness.has_raised:
            rig.witness.has_raised = True
            rig.log.append("    the observer raises")
            raise error

    rig.witness.on_element = refuse
    is_last_word = False
    for step in (*case.script, End.COMPLETE):
        before, arrived = rig.witness.has_raised, None
        try:
            if isinstance(step, End):
                rig.complete()
            else:
                play(rig, (step,))
        except WitnessRaised as caught:
            arrived = caught
        if rig.witness.has_raised and not before:
            is_last_word = isinstance(step, End)
            see_raise(rig, error, arrived)
    if not (rig.witness.has_raised and (is_last_word or candidate.shares)):
        see_no_other(rig, candidate.after(case.script, completed=True)[0])
    rig.check_over()


def see_raise(rig: Rig, error: Exception, arrived: Exception | None) -> None:
    """It arrives at the pusher; where subscribers are many, it ends the subscription of the one it is of."""
    rule = "raise-downstream"
    errors = rig.witness.errors
    if rig.candidate.shares:
        rig.expect(
            len(errors) == 1 and errors[0] is error, rule, f"the observer that raised was told {errors}"
        )
    else:
        rig.expect(arrived is error, rule, f"the observer raised, {arrived!r} arrived at the pusher")
        rig.expect(not errors, rule, f"the observer raised, and was told {errors}")
    rig.check()


def see_no_other(rig: Rig, undisturbed: list[Any]) -> None:
    """Of the emission in which the observer raised the rest may be lost; nothing may come that would not."""
    more = Counter(map(repr, rig.witness.elements)) - Counter(map(repr, undisturbed))
    rig.expect(not more, "raise-downstream", f"{list(more)} came only because an observer had raised")
    rig.expect(bool(rig.witness.completions), "raise-downstream", "the stream no longer completes")


# --- disposal


def dispose_between(candidate: Candidate, case: Case) -> None:
    """Between two steps, perhaps twice; and the source goes on for a while."""
    rig = play(Rig(candidate), case.script[: case.place])
    rig.act(rig.dispose)
    if case.has("is_twice"):
        rig.act(rig.dispose)
    rig.expect(rig.onto.is_left, "dispose", "the source is still subscribed to after disposal")
    play(rig, case.script[case.place :])
    rig.complete()
    rig.check_over()


def dispose_inside(candidate: Candidate, case: Case) -> None:
    """When an element arrives: in the middle of an emission, of a run, of a timer's or of the last flush."""
    rig = Rig(candidate)

    def leave(number: int) -> None:
        if number == case.place + 1:
            rig.dispose()

    rig.witness.on_element = leave
    if case.has("as_runs"):
        rig.push_run(case.pushes)
    else:
        play(rig, case.script)
    if case.has("ends"):
        rig.complete()
    else:
        rig.act(rig.dispose)
    rig.check_over()


# --- re-entrance and re-subscription


def re_entrance(candidate: Candidate, case: Case) -> None:
    """From inside an emission the observer pushes the next samples of the script."""
    rig = Rig(candidate)
    steps = list(case.script)
    is_pushing = False
    left = case.cuts[0]

    def push_more(number: int) -> None:
        nonlocal left
        following = steps[0] if steps else None
        if is_pushing and number > case.place and left and isinstance(following, Push):
            left -= 1
            steps.pop(0)
            rig.log.append(f"    the observer, from inside: {following}")
            rig.onto.emit(rig.take(following.what))

    rig.witness.on_element = push_more
    while steps:
        step = steps.pop(0)
        is_pushing = isinstance(step, Push)
        play(rig, (step,))
    rig.complete()
    rig.compare(candidate.after(case.script, completed=True), "re-entrance", in_order=False)
    rig.check_over()


def re_subscription(candidate: Candidate, case: Case) -> None:
    """One after the other: the second subscription starts anew."""
    first = play(Rig(candidate), case.script)
    if case.has("ends") and not candidate.shares:
        first.complete()
    else:
        first.act(first.dispose)
    first.feed.close()
    second = Rig(candidate, beside=first)
    second.log = [*first.log, "subscribe again", *second.log]
    if candidate.shares:
        second.machine = None  # it counts for all its subscribers
    play(second, case.script)
    elements, account = candidate.after(case.script)
    second.compare((elements, None if candidate.shares else account), "re-subscription")
    second.act(second.dispose)
    second.check_over()


def two_at_once(candidate: Candidate, case: Case) -> None:
    """Two subscriptions of one operator at the same time, each with a source subscription of its own; of an
    operator that shares, both behind one."""
    first = Rig(candidate)
    second = Rig(candidate, beside=first, world=first.world)
    pushers = [first] if candidate.shares else [first, second]
    for rig in (first, second):
        rig.machine = rig.machine if len(pushers) == 2 else None
    expected = 1 if candidate.shares else 2
    ways = len(first.pusher.ways)
    first.expect(ways == expected, "re-subscription", f"the source was subscribed to {ways} times")
    for step in case.script:
        if isinstance(step, Push):
            for rig in pushers:
                rig.push(step.what)
        else:
            first.wait(step.ms)
    elements, _ = candidate.after(case.script)
    for rig in (first, second):
        rig.compare((elements, rig.account()), "re-subscription")
        rig.act(rig.dispose)
        rig.feed.close()
    second.check_over()


# --- the grammar


def grammar(candidate: Candidate, case: Case) -> None:
    """Whatever can be called is called, in any order."""
    wiring = BEHIND_STOCK if case.has("is_piped") else ALONE
    rig = Rig(candidate, wiring=wiring, with_letters=case.has("with_letters"))
    steps: list[Step | End] = list(case.script)
    for at, disturbance in case.disturbances:
        steps.insert(at, disturbance)
    for step in steps:
        if isinstance(step, End):
            end(rig, step)
        elif wiring == ALONE or isinstance(step, Wait) or not (rig.is_disposed or rig.witness.is_over):
            play(rig, (step,))  # stock observers would lose what comes after the end
    rig.act(rig.dispose)
    rig.check_over()


def end(rig: Rig, how: End) -> None:
    match how:
        case End.COMPLETE:
            rig.complete()
        case End.FAIL:
            rig.fail(SourceFailed("one of several"))
        case End.DISPOSE:
            rig.act(rig.dispose)


BY_ITSELF: Final[dict[str, list[Rule]]] = {
    "ledger": [Rule("every element that went in is accounted for, at every step", balance)],
    "samples": [Rule("what it takes does not meet mistakes in its code", no_slip)],
    "critical": [
        Rule(
            "execution reports that come once and in order pass, where no loss of them is declared",
            keeps_critical,
        )
    ],
    "re-subscription": [
        Rule(
            "each subscription starts anew, and nothing is kept at the class or the module", re_subscription
        ),
        Rule("subscriptions do not touch each other", two_at_once),
    ],
    "completion": [
        Rule("completion flushes: what is held goes out, or is given up for a reason", completion)
    ],
    "failure": [Rule("what the source fails with arrives once, and nothing stays behind", failure)],
    "raise-inside": [
        Rule(
            "an element that raises inside goes to the dead letters and the stream goes on; without dead "
            "letters it is on_error, once",
            raise_inside,
        )
    ],
    "raise-downstream": [
        Rule(
            "what the observer raises arrives at the pusher as it was raised, and nothing is lost by it",
            raise_downstream,
        )
    ],
    "dispose": [
        Rule("nothing comes after disposal, nothing is kept", dispose_between),
        Rule("an emission can be disposed in its middle", dispose_inside),
    ],
    "re-entrance": [
        Rule(
            "an observer may push from inside an emission: the same comes, each once; what was under way and "
            "what was pushed may interleave",
            re_entrance,
        )
    ],
    "grammar": [Rule("on_next* (on_error | on_completed)?, whatever the source does", grammar)],
}
