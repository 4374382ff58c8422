"""Shows the market as it passes: a live table on a terminal, else a line every `every_s`. On standard output.

Each symbol's best bid and ask come from its best quotes, and from a small book of its own that is kept from
snapshots and updates: behind a coalescing mailbox too, as folded updates lose no change of a level. Drawing
and writing happen in threads, so that a slow terminal or pipe delays nothing, and what goes wrong there is
reported once and then left be.
"""

import asyncio
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from rich.console import Console as Terminal
from rich.console import RenderableType
from rich.live import Live

from flow.clock import NS_PER_MS
from flow.component import Consumer
from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.registry import node
from flow.telemetry.latency import Latency
from flow.telemetry.occurrences import ConsumerFailed
from nodes.sinks.console_market import Market
from nodes.sinks.console_view import FrameOfView, final_line, plain_line, table_view
from nodes.sinks.line_writer import LineWriter, StandardOutput

__all__ = ["Console", "ConsoleParams", "LiveTable", "console"]

REFRESH_PER_S: Final = 4
SAMPLE_EVERY_S: Final = 1.0


class ConsoleParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_symbols: Annotated[int, Meta(ge=1, le=500, description="rows of the table at most")] = 20
    every_s: Annotated[float, Meta(gt=0, le=3600, description="time between two plain lines")] = 1.0
    view: Annotated[
        Literal["auto", "table", "lines"], Meta(description="`auto`: a table on a terminal, else lines")
    ] = "auto"


@node("console")
def console(params: ConsoleParams, context: Context) -> Consumer[CanonicalEvent]:
    """Shows best prices, last trades, rates, lag and books on standard output."""
    return Console(params, context)


class Console(Consumer[CanonicalEvent]):
    def __init__(self, params: ConsoleParams, context: Context) -> None:
        self.params = params
        self.context = context
        self.market = Market()
        self.writer: LineWriter | None = None
        self.table: LiveTable | None = None
        self._add = self.market.add
        self._clock = context.clock
        self._task: asyncio.Task[None] | None = None
        self._started_s = self._sampled_s = 0.0

    def handle(self, element: CanonicalEvent) -> None:
        self._add(element, self._clock())

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._started_s = self._sampled_s = loop.time()
        terminal = Terminal(file=sys.stdout)
        is_table = terminal.is_terminal and not terminal.is_dumb_terminal
        if self.params.view == "table" or (self.params.view == "auto" and is_table):
            report = self._report

            def failed(error: Exception) -> None:
                with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                    loop.call_soon_threadsafe(report, error)

            self.table = LiveTable(terminal, self.frame(), failed)
            self.table.start()
        else:
            self.writer = LineWriter(StandardOutput(), self._report, flush_every_s=0)
        self._task = loop.create_task(self._refresh(), name=f"{self.context.node_id} refresh")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._sample()
        if self.table is not None:
            self.table.stop(self.frame())
        if self.writer is not None:
            self._print(final_line(self.frame(self.market.lag)))
            await self.writer.close()

    def frame(self, lag: Latency | None = None) -> FrameOfView:
        """What there is to show now; `lag` is that of the last sample unless told."""
        market = self.market
        return FrameOfView(
            graph=str(self.context.refs.get("graph", "")),
            mode=self.context.mode,
            uptime_s=asyncio.get_running_loop().time() - self._started_s,
            events=market.events,
            rate=market.rate,
            lag_p99_ms=(lag or market.shown_lag).percentile(99) / NS_PER_MS,
            symbols=len(market.symbols),
            missed=market.missed,
            rows=market.rows(self.params.max_symbols, self._clock()),
        )

    async def _refresh(self) -> None:
        every_s = 1 / REFRESH_PER_S if self.table is not None else self.params.every_s
        sample_every_s = SAMPLE_EVERY_S if self.table is not None else every_s
        while True:
            await asyncio.sleep(every_s)
            try:
                self._show(sample_every_s)
            except Exception as error:
                self._report(error)
                return

    def _show(self, sample_every_s: float) -> None:
        elapsed_s = asyncio.get_running_loop().time() - self._sampled_s
        if elapsed_s > 0.99 * sample_every_s or (self.market.events and not self.market.is_sampled):
            self._sample()
        if self.table is not None:
            self.table.frame = self.frame()
        elif self.writer is not None and not self.writer.is_busy:
            self._print(plain_line(self.frame()))

    def _sample(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s > self._sampled_s:
            self.market.sample(now_s - self._sampled_s)
            self._sampled_s = now_s

    def _print(self, line: str) -> None:
        assert self.writer is not None
        self.writer.write(line.encode() + b"\n")

    def _report(self, error: Exception) -> None:
        detail = f"nothing more is shown: {error}"
        self.context.occurred(ConsumerFailed(self.context.node_id, type(error).__name__, detail))


class LiveTable:
    """A picture of the latest `frame`, drawn by a thread. `failed(error)` is called there, once."""

    def __init__(self, terminal: Terminal, frame: FrameOfView, failed: Callable[[Exception], Any]) -> None:
        self.terminal = terminal
        self.frame = frame
        self.failed = failed
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self._live = Live(
            console=terminal,
            auto_refresh=False,
            transient=False,
            get_renderable=self.view,
            redirect_stderr=sys.stderr.isatty(),
        )

    def view(self) -> RenderableType:
        size = self.terminal.size
        return table_view(self.frame, size.width, size.height, is_ascii=self.terminal.options.ascii_only)

    def start(self) -> None:
        self._thread.start()

    def stop(self, frame: FrameOfView) -> None:
        """Draw `frame` and leave it standing."""
        self.frame = frame
        self._is_over.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        try:
            with self._live:
                while not self._is_over.wait(1 / REFRESH_PER_S):
                    self._live.refresh()
        except Exception as error:
            self.failed(error)
