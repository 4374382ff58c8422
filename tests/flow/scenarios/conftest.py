"""Runs `flow test` on a file that a test writes, beside a plugin whose parts misbehave when asked to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow.plugins import load_installed
from flow.registry import registry

PARTS = '''
import asyncio
import os

from msgspec import Struct

from flow import CanonicalEvent, Consumer, Context, Operator, Source, node, operator
from flow.stage import Machine, stage


class Params(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    does: str = ""


@operator("odd", pooled=True)
def odd(params: Params, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Does something wrong."""
    return stage(lambda: Odd(params, context))


class Odd(Machine[CanonicalEvent, CanonicalEvent]):
    def __init__(self, params: Params, context: Context) -> None:
        super().__init__(context)
        self.does = params.does

    def add(self, element: CanonicalEvent) -> None:
        if self.does == "refuse":
            raise ValueError("no thanks")
        if self.does == "keep":
            return
        element.put()
        if self.does == "put twice":
            element.put()


@node("counter")
def counter(params: Params, context: Context) -> Source[int]:
    """Counts, each 20 ms."""
    return Counter(params)


class Counter(Source[int]):
    def __init__(self, params: Params) -> None:
        self.does = params.does
        self.is_paused = asyncio.Event()

    async def run(self) -> None:
        if self.does == "connect":
            await asyncio.open_connection("127.0.0.1", 9)
        if self.does == "start a process":
            await asyncio.create_subprocess_exec("true")
        while not self.is_paused.is_set():
            try:
                await asyncio.wait_for(self.is_paused.wait(), 0.02)
            except TimeoutError:
                self.emitted += 1
                self.emit(self.emitted)

    def pause(self) -> None:
        self.is_paused.set()


@node("talker")
def talker(params: Params, context: Context) -> Consumer[CanonicalEvent]:
    """Prints, logs or raises."""
    return Talker(params)


class Talker(Consumer[CanonicalEvent]):
    def __init__(self, params: Params) -> None:
        self.does = params.does

    async def start(self) -> None:
        print("started")

    def handle(self, element: CanonicalEvent) -> None:
        print("printed", element.sequence)
        if self.does == "raise":
            raise RuntimeError("oops")


@operator("odd-numbers")
def odd_numbers(params: Params, context: Context) -> Operator[int, int]:
    """Odd numbers."""
    return stage(lambda: OddNumbers(context))


class OddNumbers(Machine[int, int]):
    def add(self, element: int) -> None:
        if element % 2:
            self.passed += 1
            self.emit(element)
        else:
            self.drop(element, "even")
'''

GRAPH = """version: 1
name: small
nodes:
  socket: {use: binance.stream, params: {symbols: [BTC-USDT]}}
  frames: {use: ingest, inputs: [socket]}
  events: {use: decode, inputs: [frames], params: {codec: binance}}
  ordered: {use: order-buffer, inputs: [events]}
  bus: {use: fan-out-clone, inputs: [ordered]}
  one: {use: "null", inputs: [bus]}
  two: {use: "null", inputs: [bus]}
  refused: {use: "null", inputs: [events.dead_letters]}
"""

HEAD = """version: 1
graph: small.yaml
stream: {provider: binance, symbol: BTC-USDT}
tests:
"""

NODE_HEAD = """version: 1
plugins: [./odd_parts.py]
stream: {provider: binance, symbol: BTC-USDT}
tests:
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the test is, with a graph and a plugin, which registers for this test alone."""
    assert load_installed() == []
    monkeypatch.setattr(registry, "nodes", dict(registry.nodes))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(GRAPH)
    (tmp_path / "odd_parts.py").write_text(PARTS)
    return tmp_path


@pytest.fixture
def flow_test(folder: Path, flow_command: Callable[..., Any]) -> Callable[..., Any]:
    """`flow_test("- name: ...")`: what the command makes of these tests of the graph `small`."""

    def call(tests: str, *options: str, head: str = HEAD) -> Any:
        indented = "".join(f"  {line}\n" for line in tests.strip("\n").splitlines())
        (folder / "case_flow_test.yaml").write_text(head + indented)
        return flow_command("test", "case_flow_test.yaml", *options)

    return call


@pytest.fixture
def node_test(flow_test: Callable[..., Any]) -> Callable[..., Any]:
    """The same for tests of single nodes."""
    return lambda tests, *options: flow_test(tests, *options, head=NODE_HEAD)
