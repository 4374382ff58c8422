"""Logs: text and JSON lines, nothing secret, no traceback but at level debug, occurrences rate-limited."""

from __future__ import annotations

import logging
import re

import msgspec
import pytest

from flow.telemetry import logs
from flow.telemetry.logs import LogFormat, OccurrenceLog, installed, one_line, redacted
from flow.telemetry.occurrences import LateEventDropped, ProviderDisconnected, Telemetry

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
GONE = ProviderDisconnected("binance", 3, "closed_by_peer", 0.25, 'code 1001: "going away"')


def rows(text: str) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in text.splitlines()]


def report(*occurrences: tuple[str, object], form: LogFormat = "text", level: str = "info") -> None:
    telemetry = Telemetry()
    with installed(level, form) as listener:
        telemetry.listeners.append(listener)
        for node, occurrence in occurrences:
            telemetry.report(node, occurrence)  # type: ignore[arg-type]


def test_an_occurrence_is_a_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    report(("socket", GONE))
    line = capsys.readouterr().err.rstrip("\n")
    at, _, rest = line.partition(" ")
    assert TIMESTAMP.fullmatch(at)
    assert rest == (
        "warning socket provider.disconnected provider=binance connection_id=3 reason=closed_by_peer "
        "retry_in_s=0.25 detail=\"code 1001: 'going away'\""
    )


def test_an_occurrence_is_an_object_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    report(("socket", GONE), form="json")
    (row,) = rows(capsys.readouterr().err)
    assert TIMESTAMP.fullmatch(str(row.pop("ts")))
    assert row == {
        "level": "warning",
        "node": "socket",
        "event": "provider.disconnected",
        "provider": "binance",
        "connection_id": 3,
        "reason": "closed_by_peer",
        "retry_in_s": 0.25,
        "detail": 'code 1001: "going away"',
    }


def test_the_level_holds_back_what_is_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    report(("a", LateEventDropped("s", 1, "late")), ("b", GONE), level="warning")
    (line,) = capsys.readouterr().err.splitlines()
    assert " b provider.disconnected" in line


def test_a_flood_of_one_name_is_ten_lines_a_second_and_a_count(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(logs, "monotonic_s", lambda: now[0])
    telemetry = Telemetry()
    with installed() as listener:
        telemetry.listeners.append(listener)
        for sequence in range(35):
            telemetry.report("a", LateEventDropped("s", sequence, "late"))
        telemetry.report("a", GONE)
        assert capsys.readouterr().err.count("late_event.dropped") == 10
        now[0] += 1.0
        telemetry.report("a", LateEventDropped("s", 35, "late"))
    suppressed, last = capsys.readouterr().err.splitlines()
    assert suppressed.endswith("late_event.dropped suppressed 25")
    assert "sequence=35" in last
    assert telemetry.count("late_event.dropped") == 36


def test_what_is_untold_at_the_end_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    report(*[("a", LateEventDropped("s", n, "late")) for n in range(12)], form="json")
    last = rows(capsys.readouterr().err)[-1]
    assert last["message"] == "late_event.dropped suppressed 2"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("GET /order?symbol=BTC&signature=abc123&x=1", "GET /order?symbol=BTC&signature=***&x=1"),
        ("X-MBX-APIKEY: vmPUZE6mv9SD5V", "X-MBX-APIKEY: ***"),
        ('{"api_secret": "s3cr3t", "a": 1}', '{"api_secret": "***", "a": 1}'),
        ("Authorization: Bearer eyJ.abc", "Authorization: Bearer ***"),
        ("wss://user:pa55@host/stream", "wss://***@host/stream"),
        ("listenKey=pqia91ma19a5s61cv6a81va65sdf", "listenKey=***"),
        ("nothing to hide: 5 = 5", "nothing to hide: 5 = 5"),
    ],
)
def test_credentials_are_masked(text: str, wanted: str) -> None:
    assert redacted(text) == wanted


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_credential_reaches_a_line(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    with installed("debug", form):
        try:
            raise ValueError("signature=abc123")
        except ValueError:
            logging.getLogger("x").exception("token=t0k3n %s", "password=pw1")
    report(("a", ProviderDisconnected("x", 1, "y", 0.0, "secret=s3cr3t")), form=form)
    said = capsys.readouterr().err
    assert not re.search("abc123|t0k3n|pw1|s3cr3t", said.replace('raise ValueError("signature=abc123")', ""))
    assert "***" in said


@pytest.mark.parametrize(("level", "is_shown"), [("info", False), ("debug", True)])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_is_shown_at_level_debug_only(
    form: LogFormat, level: str, is_shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with installed(level, form):
        try:
            raise ValueError("of\nno use")
        except ValueError:
            logging.getLogger("x").exception("it broke")
    said = capsys.readouterr().err
    assert ("Traceback" in said) is is_shown
    assert "ValueError: of no use" in said
    assert len(said.splitlines()) == 1 or (is_shown and form == "text")


def test_nothing_can_break_out_of_a_line() -> None:
    assert one_line("a\nb\x1b[31mred\r\x00") == "a b\\x1b[31mred\\x0d\\x00"


def test_everything_is_as_before_behind_it() -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with installed("debug"):
        assert root.level == logging.DEBUG
    assert (root.level, root.handlers) == before


def test_fields_that_would_hide_a_standard_one_get_a_name_of_their_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with installed("info", "json"):
        logs.say("hello", level_of_care=1, ts="theirs")
    (row,) = rows(capsys.readouterr().err)
    assert row["ts_"] == "theirs"
    assert row["ts"] != "theirs"
    assert row["message"] == "hello"


def test_who_is_not_there_to_read_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> None:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    with installed():
        monkeypatch.setattr("sys.stderr", Gone())
        OccurrenceLog()("a", GONE)
        monkeypatch.undo()
