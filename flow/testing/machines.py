"""Small machines that show what a stage does with what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex import Observable

from flow.context import Context
from flow.errors import DoublePut, PoolTimeout
from flow.stage import Machine, stage

__all__ = ["GuardedTwice", "Late", "Made", "Twice", "twice"]


class Twice(Machine[int, int]):
    """Emits each element and its negative; refuses 13, raises on 14 from the pool, on 15 a bug."""

    closed = 0
    finish_raises = False

    def add(self, element: int) -> None:
        if element == 13:
            raise ValueError("unlucky")
        if element == 14:
            raise PoolTimeout("Thing", 1)
        if element == 15:
            raise DoublePut("again")
        self.passed += 1
        self.emit(element)
        self.emit(-element)

    def finish(self) -> None:
        if self.finish_raises:
            raise ValueError("no last word")
        self.emit(0)

    def close(self) -> None:
        self.closed += 1


class GuardedTwice(Twice):
    """The same with a guard of its own around the body only."""

    guards_itself = True

    def add(self, element: int) -> None:
        try:
            if element == 13:
                raise ValueError("unlucky")
        except Exception as error:
            self.refuse(element, error)
            return
        self.passed += 1
        self.emit(element)
        self.emit(-element)


class Late(Machine[Any, Any]):
    """Hands each element on 10 s later."""

    def add(self, element: Any) -> None:
        self.timer = self.after(10, lambda: self.pass_one_on(element))

    def pass_one_on(self, element: Any) -> None:
        if element == 13:
            raise ValueError("unlucky")
        self.emit(element)


Made = list[Any]


def twice(
    kind: type[Machine[Any, Any]] = Twice, context: Context | None = None, made: Made | None = None
) -> Callable[[Observable[Any]], Observable[Any]]:
    """The operator of one kind of machine; `made` collects one for each subscription."""

    def make() -> Machine[Any, Any]:
        machine = kind(Context() if context is None else context)
        if made is not None:
            made.append(machine)
        return machine

    return stage(make)
