"""Virtual time: an observer that keeps what it gets, and elements pushed at given seconds.

scheduler = TestScheduler()
source = pushed(scheduler, (0.0, make_event(1)), (0.01, make_event(3)), completed_at=1.0)
recorder = Recorder()
source.pipe(order_buffer()).subscribe(recorder, scheduler=scheduler)
scheduler.advance_by(0.2)
values(recorder) == [1, 3]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable
from reactivex.scheduler import VirtualTimeScheduler

from flow.events.canonical import CanonicalEvent
from flow.pool import release

__all__ = ["Recorder", "pushed", "values"]


class Recorder(abc.ObserverBase[Any]):
    """Keeps what it gets and asserts the Rx grammar. Pooled events are cloned and put back at once, unless
    `keeps`.

    `on_element` is called with each element and may raise.
    """

    def __init__(self, on_element: Callable[[Any], None] | None = None, *, keeps: bool = False) -> None:
        self.elements: list[Any] = []
        self.error: Exception | None = None
        self.is_completed = False
        self.after_end = 0
        self._on_element = on_element
        self._keeps = keeps

    @property
    def is_over(self) -> bool:
        return self.is_completed or self.error is not None

    def on_next(self, value: Any) -> None:
        self.after_end += self.is_over
        if self._on_element is not None:
            self._on_element(value)
        if isinstance(value, CanonicalEvent) and not self._keeps:
            self.elements.append(value.own())
            release(value)
        else:
            self.elements.append(value)

    def on_error(self, error: Exception) -> None:
        self.after_end += self.is_over
        self.error = error

    def on_completed(self) -> None:
        self.after_end += self.is_over
        self.is_completed = True


def values(recorder: Recorder) -> list[int]:
    """The numbers of the events that were received."""
    return [event.sequence for event in recorder.elements]


def pushed(
    scheduler: VirtualTimeScheduler,
    *timed: tuple[float, Any],
    completed_at: float | None = None,
    failed_at: float | None = None,
    error: Exception | None = None,
) -> Observable[Any]:
    """A cold stock Observable: each element so many seconds after the subscription, then the end, if any."""

    def subscribe(observer: abc.ObserverBase[Any], _: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        def at(seconds: float, act: Callable[[], None]) -> abc.DisposableBase:
            def run(scheduler: abc.SchedulerBase, state: Any = None) -> None:
                act()

            return scheduler.schedule_relative(seconds, run)

        timers: list[abc.DisposableBase] = [
            at(seconds, lambda element=element: observer.on_next(element)) for seconds, element in timed
        ]
        if completed_at is not None:
            timers.append(at(completed_at, observer.on_completed))
        if failed_at is not None:
            timers.append(at(failed_at, lambda: observer.on_error(error or ValueError("the source failed"))))
        return CompositeDisposable(*timers)

    return Observable(subscribe)
