"""The console: lines where nobody watches, a table on a real terminal, and failures that hurt nobody."""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console as Terminal

from flow.context import Context
from flow.events.payloads import BestQuoteData, GapData
from flow.events.stream import EventType
from flow.runtime.virtual_time import VirtualTimeLoop, run_virtual
from flow.testing import make_event, make_stream, trade
from nodes.sinks.console import Console, ConsoleParams, LiveTable, console
from nodes.sinks.console_market import Row
from nodes.sinks.console_view import FrameOfView, final_line, plain_line, table_view

QUOTES = make_stream(event_type=EventType.BEST_QUOTE, channel="bookTicker")


def quote(bid: str, ask: str) -> Any:
    return make_event(1, QUOTES, payload=BestQuoteData(bid, "1.5", ask, "20000"))


def frame(*rows: Row, **more: Any) -> FrameOfView:
    fields: dict[str, Any] = {
        "graph": "binance",
        "mode": "simulated",
        "uptime_s": 12.0,
        "events": 18_408,
        "rate": 1534.0,
        "lag_p99_ms": 0.4,
        "symbols": len(rows),
        "missed": 0,
        "rows": list(rows),
    }
    return FrameOfView(**(fields | more))


BTC = Row(
    name="BTC-USDT",
    bid="64210.10000000",
    bid_size="1.50000000",
    ask="64210.20000000",
    ask_size="20000",
    spread="0.10000000",
    last="64210.20000000",
    side="buy",
    rate=300.4,
    lag_ms=0.31,
    book="live",
    book_age_s=0.05,
)


# --- lines -----------------------------------------------------------------------------------------------


def test_a_line() -> None:
    expected = "12.0s simulated 1534 ev/s  BTC-USDT 64210.10/64210.20 last 64210.20 buy  lag p99 0.4 ms"
    assert plain_line(frame(BTC)) == expected


def test_a_line_tells_what_is_wrong_and_leaves_out_what_is_unknown() -> None:
    shown = msgspec.structs.replace(BTC, bid="", last="", book="partial")
    expected = "12.0s live 1534 ev/s  BTC-USDT -/64210.20 book partial  lag p99 0.4 ms  3 missed"
    assert plain_line(frame(shown, mode="live", missed=3)) == expected
    assert plain_line(frame()) == "12.0s simulated 1534 ev/s  lag p99 0.4 ms"


def test_the_final_line() -> None:
    assert final_line(frame(BTC, missed=2)) == (
        "12.0s simulated binance ended  18408 events of 1 symbols  1534 ev/s on average  "
        "lag p99 0.4 ms  2 missed"
    )
    assert "0 ev/s on average" in final_line(frame(uptime_s=0.0))


def test_a_line_at_every_interval_and_one_at_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        context = Context("console", mode="replay", clock=loop.clock, refs={"graph": "demo"})
        consumer = console(ConsoleParams(every_s=2.0), context)
        await consumer.start()
        for _ in range(10):
            consumer.handle(make_event(1, payload=trade("5.50000000"), ingest_ts=loop.clock() - 1_000_000))
            await asyncio.sleep(0.5)
        await consumer.stop()

    run_virtual(run(), 10**18)
    assert capfd.readouterr().out.splitlines() == [
        "2.0s replay 2 ev/s  BTC-USDT last 5.50 buy  lag p99 1.0 ms",
        "4.0s replay 2 ev/s  BTC-USDT last 5.50 buy  lag p99 1.0 ms",
        "5.0s replay demo ended  10 events of 1 symbols  2 ev/s on average  lag p99 1.0 ms",
    ]


async def test_gaps_and_odd_events_are_coped_with(deliver: Any, context: Context) -> None:
    gap = make_event(1, make_stream(event_type=EventType.GAP), payload=GapData(5, 1, 5, "mailbox_full"))
    odd = make_event(1, make_stream(event_type=EventType.TICKER), payload=GapData(1, 1, 1, ""))
    consumer = console(ConsoleParams(view="lines"), context)
    delivery = await deliver(consumer, quote("1", "2"), gap, odd, quote("3", "4"))
    assert (delivery.delivered, dict(delivery.dropped)) == (3, {"handler_raised": 1})
    assert isinstance(consumer, Console)
    assert consumer.market.missed == 5
    assert consumer.market.rows(1, 0)[0].bid == "3"


async def test_a_fault_of_drawing_is_reported_once_and_events_go_on(
    deliver: Any, context: Context, reported: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer: Any = console(ConsoleParams(view="lines", every_s=0.001), context)

    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError("while drawing")

    monkeypatch.setattr(consumer.market, "sample", fail)
    await consumer.start()
    while not reported:  # noqa: ASYNC110 - the failure is what is waited for
        await asyncio.sleep(0.001)
    consumer.handle(quote("1", "2"))
    assert consumer.market.events == 1
    monkeypatch.undo()
    await consumer.stop()
    assert [failure.error for failure in reported] == ["ZeroDivisionError"]
    assert "while drawing" in reported[0].detail


# --- the table -------------------------------------------------------------------------------------------


def drawn(view: FrameOfView, width: int, height: int = 40, **more: Any) -> list[str]:
    terminal = Terminal(width=width, height=height, record=True, file=io.StringIO())
    terminal.print(table_view(view, width, height, **more))
    return [line.rstrip() for line in terminal.export_text().splitlines()]


def test_a_wide_table() -> None:
    header, titles, rule, row = drawn(frame(BTC), 140)
    assert header == " SIMULATED  binance  up 0:12  1,534 ev/s  18,408 events  lag p99 0.4 ms"
    assert titles.split() == [
        "symbol",
        "size",
        "bid",
        "ask",
        "size",
        "spread",
        "bps",
        "last",
        *["ev/s", "lag", "ms", "book"],
    ]
    assert set(rule) == {"─"}
    assert row.split() == [
        *[
            "BTC-USDT",
            "1.500",
            "64210.10",
            "64210.20",
            "20.0k",
            "0.10",
            "0.02",
            "64210.20",
            "▲",
            "300",
            "0.3",
            "live",
            "0.1s",
        ]
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_prices_are_whole_and_lines_fit_at_every_width(width: int) -> None:
    small = msgspec.structs.replace(BTC, name="1000SATS-FDUSD", bid="0.00029997", ask="0.00030003")
    lines = drawn(frame(BTC, small, missed=3), width)
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    for price in ("64210.10", "64210.20", "0.00029997", "0.00030003"):
        assert re.search(rf"(^|\s){re.escape(price)}(\s|$)", text, re.MULTILINE)
    assert "SIMULATED" in text


def test_eighty_columns_hold_what_matters() -> None:
    titles = drawn(frame(BTC), 80)[1].split()
    assert {"symbol", "bid", "ask", "last", "ev/s", "lag", "ms", "book", "spread"} <= set(titles)


def test_the_height_bounds_the_rows() -> None:
    rows = [msgspec.structs.replace(BTC, name=f"S{number}-USDT") for number in range(20)]
    lines = drawn(frame(*rows, symbols=150), 80, 12)
    assert len(lines) < 12
    assert lines[-1] == "and 144 less active"


def test_states_of_books_and_a_terminal_without_unicode() -> None:
    rows = [
        msgspec.structs.replace(BTC, name=f"{state or 'none'}-X", book=state, book_age_s=age, side=side)
        for state, age, side in (
            ("live", 12.0, "sell"),
            ("partial", 0, ""),
            ("crossed", 0, "buy"),
            ("", 0, ""),
        )
    ]
    lines = drawn(frame(*rows, mode="live"), 120, is_ascii=True)
    assert "\n".join(lines).isascii()
    assert [
        next(word for word in ("live 12.0s", "partial", "crossed", "none") if word in line)
        for line in lines[3:]
    ] == [
        "live 12.0s",
        "partial",
        "crossed",
        "none",
    ]


def test_before_the_first_event() -> None:
    assert drawn(frame(mode="replay"), 80)[1].strip() == "waiting for the first event"


def test_a_terminal_that_fails_is_told_once_and_hurts_nobody() -> None:
    class Broken:
        encoding = "utf-8"

        def write(self, text: str) -> int:
            raise OSError("the terminal is gone")

        def flush(self) -> None: ...

        def isatty(self) -> bool:
            return True

    failures: list[Exception] = []
    table = LiveTable(Terminal(file=Broken(), force_terminal=True), frame(BTC), failures.append)  # type: ignore[arg-type]
    table.start()
    table.stop(frame(BTC))
    assert [str(error) for error in failures] == ["the terminal is gone"]


SHOW = """
import asyncio
from flow.context import Context
from flow.events.payloads import BestQuoteData
from flow.events.stream import EventType
from flow.testing import make_event, make_stream
from nodes.sinks.console import ConsoleParams, console

async def main():
    consumer = console(ConsoleParams(), Context("console", mode="simulated", refs={"graph": "demo"}))
    await consumer.start()
    stream = make_stream(event_type=EventType.BEST_QUOTE)
    for number in range(8):
        quote = BestQuoteData(f"64210.{number}0", "1", "64211.00", "1")
        consumer.handle(make_event(1, stream, payload=quote))
        await asyncio.sleep(0.1)
    print("a line of somebody else's")
    await consumer.stop()

asyncio.run(main())
"""


def test_on_a_real_terminal_there_is_a_live_table(project_root: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    with subprocess.Popen(
        [sys.executable, "-c", SHOW], stdout=theirs, stderr=theirs, cwd=project_root, env=environment
    ) as process:
        os.close(theirs)
        got = bytearray()
        try:
            while chunk := os.read(ours, 65536):
                got += chunk
        except OSError:  # how a terminal says that its other end is closed
            pass
        assert process.wait() == 0
    os.close(ours)
    text = got.decode()
    assert "\x1b[2K" in text  # drawn over, not again below
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert " SIMULATED  demo" in plain
    last = plain[plain.rindex("SIMULATED") :]
    assert "64210.70" in last
    assert "a line of somebody else's" in plain


def test_parameters_are_bounded() -> None:
    for wrong in ({"max_symbols": 0}, {"every_s": 0}, {"view": "chart"}, {"rows": 3}):
        with pytest.raises(msgspec.ValidationError):
            console(**wrong)
