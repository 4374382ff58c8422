"""How an operator under contract is wired: the source it is pushed by, and its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import reactivex
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.scheduler import ImmediateScheduler

from flow.context import Context
from flow.registry import Operator
from flow.stage import Fusable, Machine, OnCompleted, OnError, OnNext, stage

__all__ = ["ALONE", "BEHIND_STOCK", "FUSED", "PIPED", "WIRINGS", "Pusher", "Way"]


@dataclass
class Way:
    """One subscription to the source."""

    emit: OnNext
    on_error: OnError
    on_completed: OnCompleted
    is_left: bool = False


class Pusher(Fusable[Any]):
    """A source that pushes what it is told to, also what the Rx grammar forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.ways: list[Way] = []

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        way = Way(emit, on_error, on_completed)
        self.ways.append(way)

        def leave() -> None:
            way.is_left = True

        return Disposable(leave)


class Through(Machine[Any, Any]):
    """A neighbour to be fused with."""

    guards_itself = True

    def add(self, element: Any) -> None:
        self.emit(element)


def _through(source: Observable[Any]) -> Observable[Any]:
    return stage(lambda: Through(Context()))(source)


def _behind_stock(source: Observable[Any]) -> Observable[Any]:
    return source.pipe(ops.map(lambda element: element), ops.share())


def _before_stock(source: Observable[Any]) -> Observable[Any]:
    def flat(run: list[Any]) -> Observable[Any]:
        return reactivex.from_iterable(run, ImmediateScheduler.singleton())

    return source.pipe(ops.filter(lambda _: True), ops.buffer_with_count(2), ops.flat_map(flat), ops.share())


def _alone(source: Observable[Any]) -> Observable[Any]:
    return source


Wiring = tuple[Operator[Any, Any], Operator[Any, Any]]
ALONE: Final = "alone"
FUSED: Final = "fused with stages before and behind it"
PIPED: Final = "in a .pipe between ops.map, ops.share, ops.filter and ops.buffer_with_count"
BEHIND_STOCK: Final = "in a .pipe behind ops.map and ops.share"
WIRINGS: Final[dict[str, Wiring]] = {
    ALONE: (_alone, _alone),
    FUSED: (_through, _through),
    PIPED: (_behind_stock, _before_stock),
    BEHIND_STOCK: (_behind_stock, _alone),
}
