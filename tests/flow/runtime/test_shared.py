"""An output that several read without a fan-out: each reader's elements are its own."""

from __future__ import annotations

from typing import Any

import pytest

from flow.events.canonical import OwnedEvent
from flow.runtime.wiring import Shared
from flow.stage import Fusable
from flow.testing import make_event


class Hand(Fusable[Any]):
    """A source that is pushed by hand."""

    def wire(self, emit: Any, on_error: Any, on_completed: Any, scheduler: Any) -> Any:
        self.emit, self.on_error, self.on_completed = emit, on_error, on_completed


def readers(count: int) -> tuple[Hand, list[list[Any]]]:
    source = Hand()
    shared, taken = Shared(source), [[] for _ in range(count)]
    for elements in taken:
        shared.wire(elements.append, print, print, None)
    return source, taken


def test_what_one_reader_writes_no_other_sees() -> None:
    source, taken = readers(3)
    event = make_event(1)
    source.emit(event)
    for number, (clone,) in enumerate(taken):
        assert isinstance(clone, OwnedEvent)
        clone.routing_version = number + 1
    assert [clone.routing_version for (clone,) in taken] == [1, 2, 3]
    assert [(clone.sequence, clone.payload) for (clone,) in taken] == [(1, event.payload)] * 3
    assert taken[-1] == [event]


def test_elements_that_know_no_clones_are_handed_on() -> None:
    source, taken = readers(2)
    element = object()
    source.emit(element)
    assert taken == [[element], [element]]


@pytest.mark.parametrize(("end", "given"), [("on_error", (ValueError("over"),)), ("on_completed", ())])
def test_every_reader_is_told_of_the_end(end: str, given: tuple[Exception, ...]) -> None:
    source, told = Hand(), []
    shared = Shared(source)
    for name in ("first", "second"):
        shared.wire(
            print,
            lambda error, name=name: told.append((name, error)),
            lambda name=name: told.append((name,)),
            None,
        )
    getattr(source, end)(*given)
    assert told == [("first", *given), ("second", *given)]
