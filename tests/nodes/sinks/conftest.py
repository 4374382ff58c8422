"""For tests of sinks: a context that remembers what was reported, and delivery through a real mailbox."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from flow.component import Consumer
from flow.context import Context
from flow.graph.spec import MailboxSpec
from flow.runtime.delivery import Delivery
from flow.runtime.mailbox import Mailbox
from flow.telemetry.occurrences import ConsumerFailed


@pytest.fixture
def reported() -> list[ConsumerFailed]:
    """The occurrences of the test's context."""
    return []


@pytest.fixture
def context(tmp_path: Path, reported: list[Any]) -> Context:
    """A node named `sink` of a graph in `tmp_path`."""
    made = Context("sink", mode="simulated", refs={"base_dir": tmp_path, "graph": "demo"})
    made.telemetry.listeners.append(lambda _, occurrence: reported.append(occurrence))
    return made


@pytest.fixture
def deliver(context: Context) -> Callable[..., Awaitable[Delivery]]:
    """Start a consumer, deliver the elements through a mailbox, stop it; gives the delivery."""

    async def run(consumer: Consumer[Any], *elements: Any) -> Delivery:
        mailbox = Mailbox("sink", MailboxSpec(capacity=100_000), context)
        delivery = Delivery("sink", consumer, mailbox, context)
        await consumer.start()
        for element in elements:
            mailbox.put(element)
        mailbox.complete()
        await delivery.run()
        await consumer.stop()
        return delivery

    return run


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write user code into the graph's folder; gives the file."""

    def put(text: str, name: str = "my_strategy.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
        return path

    return put


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch: pytest.MonkeyPatch) -> Any:
    """User code is imported anew in each test, from this test's folder only."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        module = sys.modules[name]
        if "pytest" in str(getattr(module, "__file__", "")):
            del sys.modules[name]
