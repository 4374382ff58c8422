"""`flow run`: the announcement, the streams, the summary, the exit code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flow.cli import run as run_command
from flow.runtime.mailbox import Mailbox
from flow.runtime.run import GraphRun

GRAPH = """version: 1
name: small
params: {{symbols: [AAA-USDT, BBB-USDT]}}
nodes:
  socket: {{use: binance.stream, params: {{symbols: "${{symbols}}", channels: [trade]}}}}
  frames: {{use: ingest, inputs: [socket]}}
  events: {{use: decode, inputs: [frames], params: {{codec: binance}}}}
  bus: {{use: fan-out-clone, inputs: [events]}}
  sink: {{use: {sink}, inputs: [bus]{params}}}
"""


@pytest.fixture
def graph(tmp_path: Path) -> Callable[..., Path]:
    def write(sink: str = '"null"', params: str = "", code: str = "") -> Path:
        path = tmp_path / "small.yaml"
        if code:
            (tmp_path / "mine.py").write_text(code)
            sink, params = "python", ', params: {object: "./mine.py:Mine"}'
        path.write_text(GRAPH.format(sink=sink, params=params))
        return path

    return write


@pytest.fixture
def replayed(
    flow_command: Callable[..., Any],
    graph: Callable[..., Path],
    binance_capture: Callable[..., Path],
    trade_frame: Callable[..., bytes],
) -> Callable[..., Any]:
    """Runs the small graph on ten trades."""

    def call(*options: object, **parts: str) -> Any:
        recording = binance_capture(*(trade_frame(number) for number in range(1, 11)))
        given = ("--replay", f"binance={recording}", "--speed", "max")
        return flow_command("run", graph(**parts), *given, *options)

    return call


def test_the_first_line_says_that_it_is_a_replay(replayed: Callable[..., Any]) -> None:
    done = replayed()
    assert done.code == 0
    assert done.out == ""
    assert done.lines[0] == (
        "flow: small: REPLAY of a recording, not live: binance=capture.raw; "
        "as fast as can be, on recorded time"
    )


def test_a_summary_on_standard_output_stands_alone(replayed: Callable[..., Any]) -> None:
    done = replayed("--summary", "-", sink="console")
    assert done.code == 0
    assert done.out.count("\n") == 1
    summary = msgspec.json.decode(done.out)
    assert summary["graph"] == "small"
    assert summary["mode"] == "replay"
    assert summary["frames"] == 10
    assert summary["events"] == {"binance/Trade": 10}
    assert summary["consumers"]["sink"]["delivered"] == 10
    assert "10 events of 1 symbols" in done.err


def test_not_even_user_code_prints_between(replayed: Callable[..., Any]) -> None:
    done = replayed(
        "--summary", "-", code="class Mine:\n    def on_trade(self, e): print('seen', e.symbol)\n"
    )
    assert msgspec.json.decode(done.out)["frames"] == 10
    assert done.err.count("seen AAA-USDT\n") == 10


def test_without_a_summary_standard_output_is_the_consumers(replayed: Callable[..., Any]) -> None:
    done = replayed(code="class Mine:\n    def on_trade(self, e): print('seen', e.symbol)\n")
    assert done.out == "seen AAA-USDT\n" * 10


def test_a_summary_in_a_file(replayed: Callable[..., Any], tmp_path: Path) -> None:
    target = tmp_path / "summary.json"
    done = replayed("--summary", target)
    assert (done.code, done.out) == (0, "")
    assert msgspec.json.decode(target.read_bytes())["frames"] == 10


def test_a_person_gets_the_figures_in_short(replayed: Callable[..., Any]) -> None:
    done = replayed()
    report = done.err[done.err.index("flow: small (replay) ran") :]
    figures = dict(re.findall(r"^  (\S.*?)  +(.*)$", report, re.MULTILINE))
    assert figures["frames"].startswith("10, ")
    assert figures["events"] == "binance/Trade 10"
    assert figures["-> sink"].startswith("delivered 10, coalesced 0, dropped 0, p99 ")
    assert figures["dead letters"] == "none"
    assert figures["pools"] == "3, objects out 0, gets 30, puts 30"
    assert figures["edges"] == "every edge balances (4)"


def test_json_logs_are_json_from_the_first_line_to_the_last(replayed: Callable[..., Any]) -> None:
    done = replayed("--log-format", "json")
    rows = [msgspec.json.decode(line) for line in done.lines]
    assert rows[0]["mode"] == "replay"
    assert all({"ts", "level"} <= row.keys() for row in rows)
    assert any(row.get("event") == "provider.connected" for row in rows)


@pytest.mark.parametrize("most", [1, 4, 10, 11])
def test_max_frames(replayed: Callable[..., Any], most: int) -> None:
    done = replayed("--max-frames", most, "--summary", "-")
    summary = msgspec.json.decode(done.out)
    assert done.code == 0
    assert summary["frames"] == summary["consumers"]["sink"]["delivered"] == min(most, 10)


def test_a_duration_is_recorded_time_at_top_speed(replayed: Callable[..., Any]) -> None:
    summary = msgspec.json.decode(replayed("--duration", "45ms", "--summary", "-").out)
    assert summary["frames"] == 5


def test_set_reaches_the_graph(replayed: Callable[..., Any]) -> None:
    done = replayed("--set", "name=other", "--set", "symbols=[AAA-USDT]", "--summary", "-")
    assert msgspec.json.decode(done.out)["graph"] == "other"


def test_at_recorded_pace_it_takes_as_long_as_it_did(
    flow_command: Callable[..., Any],
    graph: Callable[..., Path],
    binance_capture: Callable[..., Path],
    trade_frame: Callable[..., bytes],
) -> None:
    recording = binance_capture(*(trade_frame(number) for number in range(1, 6)), step_ms=200)
    done = flow_command("run", graph(), "--replay", f"binance={recording}", "--speed", "4", "--summary", "-")
    summary = msgspec.json.decode(done.out)
    assert "; at 4 x" in done.lines[0]
    assert summary["frames"] == 5
    assert summary["duration_s"] >= 0.2


def test_simulated_data_are_announced(flow_command: Callable[..., Any], graph: Callable[..., Path]) -> None:
    done = flow_command(
        "run",
        graph(),
        "--set",
        "symbols=[BTC-USDT]",
        "--sim",
        "rate=500",
        "--max-frames",
        "20",
        "--summary",
        "-",
    )
    assert done.code == 0
    assert done.lines[0].startswith("flow: small: SIMULATED DATA")
    assert "--sim rate=500" in done.lines[0]
    summary = msgspec.json.decode(done.out)
    assert (summary["mode"], summary["frames"]) == ("simulated", 20)


def test_live_data_are_announced_and_the_unreachable_exchange_is_told_at_once(
    flow_command: Callable[..., Any], graph: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nodes.providers.binance import provider
    from nodes.providers.provider import Endpoints

    nobody = Endpoints(ws="ws://127.0.0.1:9", rest="http://127.0.0.1:9")
    monkeypatch.setattr(provider.BinanceProvider.__init__, "__defaults__", (nobody,))
    done = flow_command("run", graph(), "--duration", "600ms", "--summary", "-")
    assert done.code == 0
    assert done.lines[0] == "flow: small: live data"
    assert "provider.unreachable" in done.lines[1]
    assert "--sim runs on simulated data, --replay binance=FILE on a recording" in done.lines[1]
    summary = msgspec.json.decode(done.out)
    assert summary["mode"] == "live"
    assert summary["occurrences"]["provider.unreachable{binance}"] >= 2
    assert summary["frames"] == 0


def test_a_consumer_that_raises_is_reported_and_the_run_succeeds(replayed: Callable[..., Any]) -> None:
    done = replayed(
        "--summary", "-", code="class Mine:\n    def on_trade(self, e): raise ValueError(e.sequence)\n"
    )
    assert done.code == 0
    assert msgspec.json.decode(done.out)["consumers"]["sink"]["dropped"] == {"handler_raised": 10}
    assert "consumer.failed consumer=sink error=ValueError" in done.err


def test_a_consumer_that_can_not_start_is_a_failure(replayed: Callable[..., Any]) -> None:
    done = replayed(
        code="class Mine:\n    def on_start(self): raise OSError('no port')\n    def on_trade(self, e): ...\n"
    )
    assert done.code == 1
    assert "no port" in done.lines[-1]


def test_symbols_that_the_exchange_does_not_have_are_a_failure(replayed: Callable[..., Any]) -> None:
    done = replayed("--set", "symbols=[ZZZ-USDT]", "--summary", "-")
    assert done.code == 1
    assert done.lines[-1] == "flow: the run failed: Terminal: binance knows none of the symbols ZZZ-USDT"
    assert msgspec.json.decode(done.out)["frames"] == 0


def test_a_ledger_that_does_not_balance_is_a_failure(
    replayed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Mailbox.take
    is_lost = False

    async def lossy(self: Mailbox) -> list[Any]:
        nonlocal is_lost
        batch = await take(self)
        if batch and not is_lost:
            is_lost = True
            batch.pop()
        return batch

    monkeypatch.setattr(Mailbox, "take", lossy)
    done = replayed()
    assert done.code == 1
    assert done.lines[-1] == "flow: the edge bus -> sink does not balance: +1 of 10 unaccounted for"
    assert "1 of 4 do not balance" in done.err


LEAKY = """
from flow import CanonicalEvent, Context, GraphSpec, Operator, operator, release
from flow.graph.spec import NoParams
from flow.stage import Machine, stage

class Leaky(Machine[CanonicalEvent, CanonicalEvent]):
    def add(self, element):
        self.passed += 1
        clone = element.own()
        if element.sequence != 3:
            release(element)
        self.emit(clone)

@operator("leaky", pooled=True)
def leaky(params: NoParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    "Forgets to put back the third."
    return stage(lambda: Leaky(context))
"""


def test_an_object_that_was_not_returned_is_a_failure(replayed: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY)
    options = ("--set", "plugins=[./leaky.py]", "--set", "nodes.events.inputs=[frames]")
    leaky = ("--set", "nodes.bus.use=leaky")
    done = replayed(*options, *leaky)
    assert done.code == 1
    assert done.lines[-1] == "flow: 1 objects of pool CanonicalEvent were not returned"


@pytest.mark.parametrize("level", ["info", "debug"])
def test_a_bug_is_one_line_and_a_traceback_only_where_it_is_asked_for(
    replayed: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    level: str,
) -> None:
    def broken(run: GraphRun) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(run_command, "summarise", broken)
    said = "flow: internal error: ZeroDivisionError: a bug; run with --log-level debug for the traceback"
    if level == "debug":
        with pytest.raises(AssertionError, match="Traceback"):
            replayed("--log-level", level)
        return
    done = replayed("--log-level", level)
    assert done.code == 1
    assert done.lines[-1] == said
