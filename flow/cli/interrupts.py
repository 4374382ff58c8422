"""SIGINT and SIGTERM: the first asks for an orderly end, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

__all__ = ["INTERRUPTED", "Interrupts"]

INTERRUPTED: Final = 130
SHOW_CURSOR: Final = b"\x1b[?25h"
GIVEN_UP: Final = b"flow: interrupted twice: ended without draining\n"


class Interrupts:
    """`with Interrupts() as interrupts:`; the first signal calls `interrupts.stop` in the signal's handler.

    One that comes before `stop` is set is kept in `count`. Outside of the main thread this does nothing.
    """

    def __init__(self) -> None:
        self.count = 0
        self.stop: Callable[[], object] | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            give_up()
        elif self.stop is not None:
            self.stop()


def give_up() -> None:
    """End now: nothing that hangs is waited for. The terminal gets its cursor back."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and stream.isatty():
            os.write(stream.fileno(), SHOW_CURSOR)
    os.write(2, GIVEN_UP)
    os._exit(INTERRUPTED)
