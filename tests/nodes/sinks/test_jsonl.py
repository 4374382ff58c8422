"""Events and dead letters as lines of JSON, and disks that refuse."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flow.context import Context
from flow.events.payloads import BestQuoteData, BookUpdateData, GapData, KlineData, TickerData
from flow.events.stream import EventType
from flow.runtime.virtual_time import run_virtual
from flow.telemetry.dead_letters import DeadLetter
from flow.testing import make_event, make_stream, trade
from nodes.sinks import line_writer
from nodes.sinks.jsonl import JsonlParams, jsonl


def rows(path: Path) -> list[Any]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def sink(context: Context, path: str = "out.jsonl", **params: Any) -> Any:
    return jsonl(JsonlParams(path=path, **params), context)


async def test_writes_one_line_for_each_event(context: Context, tmp_path: Path, deliver: Any) -> None:
    payloads: dict[EventType, Any] = {
        EventType.TRADE: trade("60000.10", "0.50000000", 7),
        EventType.TICKER: TickerData("1", "2", "3", "4", "5", "6"),
        EventType.BEST_QUOTE: BestQuoteData("1.10", "2", "1.20", "3"),
        EventType.BOOK_UPDATE: BookUpdateData([("1.10", "2")], []),
        EventType.KLINE: KlineData("1m", 0, 60, "1", "1", "1", "1", "1", "1", 1, True),
        EventType.GAP: GapData(3, 1, 3, "mailbox_full"),
    }
    events = [
        make_event(number, make_stream(event_type=kind), payload=payload, ingest_ts=5)
        for number, (kind, payload) in enumerate(payloads.items(), 1)
    ]
    consumer = sink(context)
    delivery = await deliver(consumer, *events)
    written = rows(tmp_path / "out.jsonl")
    assert written == [msgspec.to_builtins(event.row()) for event in events]
    assert written[0]["payload"]["quantity"] == "0.50000000"
    assert delivery.delivered == 6
    assert consumer.summary() == {"written": 6, "lost": {}}


async def test_writes_what_operators_make_of_events_as_plain_data(
    context: Context, tmp_path: Path, deliver: Any
) -> None:
    event = make_event(1)
    row = msgspec.to_builtins(event.row())
    await deliver(sink(context), 1.5, [event, 2], (event, (event,)), {"mid": 3.5}, None, 1j)
    assert rows(tmp_path / "out.jsonl") == [1.5, [row, 2], [row, [row]], {"mid": 3.5}, None, "1j"]


async def test_the_file_appears_without_any_event(context: Context, tmp_path: Path, deliver: Any) -> None:
    await deliver(sink(context, "deep/er/out.jsonl"))
    assert (tmp_path / "deep/er/out.jsonl").read_bytes() == b""


@pytest.mark.parametrize(("mode", "expected"), [("append", 3), ("overwrite", 1)])
async def test_mode(context: Context, tmp_path: Path, deliver: Any, mode: Any, expected: int) -> None:
    await deliver(sink(context), make_event(1), make_event(2))
    await deliver(sink(context, mode=mode), make_event(3))
    written = rows(tmp_path / "out.jsonl")
    assert len(written) == expected
    assert written[-1]["sequence"] == 3


async def test_paths_are_relative_to_the_graph_or_else_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deliver: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    await deliver(sink(Context("sink"), "here.jsonl"))
    await deliver(sink(Context("sink", refs={"base_dir": tmp_path / "a"}), str(tmp_path / "absolute.jsonl")))
    assert (tmp_path / "here.jsonl").exists()
    assert (tmp_path / "absolute.jsonl").exists()


LETTERS = [
    (DeadLetter("decode", "malformed", "at 3", 9, '{"é'.encode(), 4, "binance"), "utf-8", '{"é'),
    (
        DeadLetter("decode", "malformed", "", 9, b"\xff\x00", 2),
        "base64",
        base64.b64encode(b"\xff\x00").decode(),
    ),
    (DeadLetter("decode", "malformed", "", 9, "aé".encode()[:2], 9000), "utf-8", "a"),
    (DeadLetter("decode", "malformed", "", 9, "aé".encode()[:2], 2), "base64", "YcM="),
    (DeadLetter("bus", "mailbox_full", "", 9, {"event_id": "x"}), "json", {"event_id": "x"}),
]


@pytest.mark.parametrize(("letter", "encoding", "original"), LETTERS)
async def test_dead_letters_say_how_their_original_is_written(
    context: Context, tmp_path: Path, deliver: Any, letter: DeadLetter, encoding: str, original: Any
) -> None:
    await deliver(sink(context), letter)
    (row,) = rows(tmp_path / "out.jsonl")
    assert row["original_encoding"] == encoding
    assert row["original"] == original
    assert {name: row[name] for name in ("node", "reason", "detail", "at", "original_bytes")} == {
        "node": letter.node,
        "reason": letter.reason,
        "detail": letter.detail,
        "at": 9,
        "original_bytes": letter.original_bytes,
    }


async def test_an_event_that_cannot_be_written_costs_itself(
    context: Context, tmp_path: Path, deliver: Any
) -> None:
    class Broken:
        def row(self) -> Any:
            raise ValueError("malformed candle")

    delivery = await deliver(sink(context), make_event(1), make_event(2, payload=Broken()), make_event(3))
    assert [row["sequence"] for row in rows(tmp_path / "out.jsonl")] == [1, 3]
    assert delivery.dropped == {"handler_raised": 1}


async def test_lines_wait_for_their_time_and_no_longer(context: Context, tmp_path: Path) -> None:
    consumer = sink(context, flush_every_s=0)
    await consumer.start()
    for number in (1, 2):
        consumer.handle(make_event(number))
    assert rows(tmp_path / "out.jsonl") == []
    for _ in range(3):
        await asyncio.sleep(0)
    await consumer.writer.rest()
    assert len(rows(tmp_path / "out.jsonl")) == 2
    await consumer.stop()


def test_on_virtual_time_too(context: Context, tmp_path: Path) -> None:
    async def run() -> None:
        consumer = sink(context, flush_every_s=10)
        await consumer.start()
        consumer.handle(make_event(1))
        await asyncio.sleep(9)
        assert rows(tmp_path / "out.jsonl") == []
        await asyncio.sleep(2)
        assert len(rows(tmp_path / "out.jsonl")) == 1
        consumer.handle(make_event(2))
        await consumer.stop()

    run_virtual(run(), 0)
    assert len(rows(tmp_path / "out.jsonl")) == 2


# --- disks that refuse ----------------------------------------------------------------------------


async def test_a_directory_is_one_clear_error_and_the_graph_goes_on(
    context: Context, tmp_path: Path, deliver: Any, reported: list[Any]
) -> None:
    (tmp_path / "out.jsonl").mkdir()
    consumer = sink(context)
    delivery = await deliver(consumer, make_event(1), make_event(2))
    (failure,) = reported
    assert (failure.consumer, failure.error) == ("sink", "IsADirectoryError")
    assert f"{tmp_path / 'out.jsonl'}: Is a directory" in failure.detail
    assert consumer.summary() == {"written": 0, "lost": {"IsADirectoryError": 2}}
    assert delivery.delivered == 2


async def test_a_folder_that_is_a_file(
    context: Context, tmp_path: Path, deliver: Any, reported: list[Any]
) -> None:
    (tmp_path / "file").write_text("")
    await deliver(sink(context, "file/out.jsonl"), make_event(1))
    assert len(reported) == 1
    assert "file" in reported[0].detail


async def test_a_file_without_permission(
    context: Context, tmp_path: Path, deliver: Any, reported: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Any, *arguments: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(line_writer.os, "open", refuse)  # root may open everything
    await deliver(sink(context), make_event(1))
    assert [failure.error for failure in reported] == ["PermissionError"]
    assert reported[0].detail.startswith(f"{tmp_path / 'out.jsonl'}: Permission denied")


async def test_it_is_written_again_once_it_can_be(
    context: Context, tmp_path: Path, reported: list[Any]
) -> None:
    path = tmp_path / "out.jsonl"
    path.mkdir()
    consumer = sink(context, mode="overwrite")
    await consumer.start()
    consumer.handle(make_event(1))
    await flushed(consumer)
    path.rmdir()
    consumer.handle(make_event(2))
    await flushed(consumer)
    path.unlink()
    await consumer.stop()
    assert consumer.summary() == {"written": 1, "lost": {"IsADirectoryError": 1}}
    assert len(reported) == 1


async def flushed(consumer: Any) -> None:
    consumer.writer.flush()
    await consumer.writer.rest()


LITTLE_ROOM = 2000
FULL_DISK = f"""
import asyncio, resource, signal, sys
from pathlib import Path
import msgspec
from flow.context import Context
from flow.testing import make_event
from nodes.sinks.jsonl import JsonlParams, jsonl

async def main():
    reported = []
    context = Context("sink", refs={{"base_dir": Path(sys.argv[1])}})
    context.telemetry.listeners.append(lambda _, occurrence: reported.append(occurrence.detail))
    consumer = jsonl(JsonlParams(path="out.jsonl", flush_every_s=0), context)
    await consumer.start()
    for number in range(10):
        consumer.handle(make_event(number))
        consumer.writer.flush()
        await consumer.writer.rest()
    await consumer.stop()
    return {{**consumer.summary(), "reported": reported}}

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({LITTLE_ROOM}, resource.RLIM_INFINITY))
sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(main())))
"""


def test_a_full_disk_leaves_whole_lines_only(tmp_path: Path) -> None:
    """In a process of its own: the limit on the size of files would hold for the log of the tests too."""
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], stdout=subprocess.PIPE, check=True, timeout=30
    )
    figures = msgspec.json.decode(child.stdout)
    written = rows(tmp_path / "out.jsonl")
    assert 0 < len(written) == figures["written"] < 10
    assert figures["written"] + figures["lost"]["OSError"] == 10
    assert (tmp_path / "out.jsonl").stat().st_size <= LITTLE_ROOM
    assert len(figures["reported"]) == 1
    assert "File too large" in figures["reported"][0]


async def test_a_disk_that_hangs_makes_the_sink_wait_and_nobody_else(
    context: Context, tmp_path: Path, deliver: Any
) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    got = bytearray()
    events = [make_event(number) for number in range(6000)]
    delivering = asyncio.ensure_future(deliver(sink(context, "pipe", flush_every_s=0), *events))
    for _ in range(2000):  # the loop runs on while the pipe is full
        await asyncio.sleep(0)
    assert not delivering.done()

    def read_all() -> None:
        while chunk := os.read(reader, 1 << 20):
            got.extend(chunk)

    await asyncio.gather(delivering, asyncio.to_thread(read_all))
    os.close(reader)
    assert [msgspec.json.decode(line)["sequence"] for line in got.splitlines()] == list(range(6000))


async def test_a_disk_that_never_answers_is_given_up(
    context: Context, tmp_path: Path, reported: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_writer, "CLOSE_WITHIN_S", 0.01)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    consumer = sink(context, "pipe", flush_every_s=0)
    await consumer.start()
    for number in range(1000):
        consumer.handle(make_event(number))
    await consumer.stop()
    assert [failure.error for failure in reported] == ["TimeoutError"]
    os.close(reader)  # lets the thread go, with a broken pipe


# --- standard output ------------------------------------------------------------------------------


async def test_a_dash_is_standard_output(
    context: Context, deliver: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    print("before")
    await deliver(sink(context, "-"), make_event(1), make_event(2))
    before, *lines = capfd.readouterr().out.splitlines()
    assert before == "before"
    assert [msgspec.json.decode(line)["sequence"] for line in lines] == [1, 2]


async def test_standard_output_without_a_descriptor(
    context: Context, deliver: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await deliver(sink(context, "-"), make_event(1))
    assert msgspec.json.decode(capsys.readouterr().out)["sequence"] == 1


PIPED = """
import asyncio, sys
from flow.context import Context
from flow.testing import make_event
from nodes.sinks.jsonl import JsonlParams, jsonl

async def main():
    context = Context("sink")
    context.telemetry.listeners.append(lambda _, o: print(o.error, file=sys.stderr))
    consumer = jsonl(JsonlParams(path="-"), context)
    await consumer.start()
    for number in range(5000):
        waiting = consumer.handle(make_event(number))
        if waiting is not None:
            await waiting
    await consumer.stop()
    print("ended", file=sys.stderr)

asyncio.run(main())
"""


def test_a_reader_that_went_away_is_reported_once(project_root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PIPED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=project_root,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read().splitlines()[:2] == ["BrokenPipeError", "ended"]


def test_a_path_must_be_given() -> None:
    with pytest.raises(msgspec.ValidationError):
        jsonl(path="")
