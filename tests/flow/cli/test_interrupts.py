"""The handler of signals, in this process."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from flow.cli import interrupts
from flow.cli.interrupts import Interrupts, give_up


def test_a_signal_before_there_is_something_to_stop_is_kept() -> None:
    with Interrupts() as watched:
        signal.raise_signal(signal.SIGTERM)
        assert watched.count == 1


def test_the_first_stops_and_the_second_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(interrupts, "give_up", lambda: done.append("given up"))
    with Interrupts() as watched:
        watched.stop = lambda: done.append("stopped")
        signal.raise_signal(signal.SIGINT)
        assert done == ["stopped"]
        signal.raise_signal(signal.SIGINT)
    assert done == ["stopped", "given up"]


def test_the_former_handlers_are_back_behind_it() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_another_thread_it_leaves_signals_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with Interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert seen == [before]


def test_giving_up_says_so_and_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    give_up()
    assert codes == [130]
    assert capfd.readouterr().err == "flow: interrupted twice: ended without draining\n"
