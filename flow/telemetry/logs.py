"""Logs on standard error: text or JSON lines, times in UTC, no secrets, tracebacks at level debug only.

    2026-03-01T12:00:00.123Z warning socket provider.disconnected provider=binance reason=closed_by_peer
    {"ts":"2026-03-01T12:00:00.123Z","level":"warning","node":"socket","event":"provider.disconnected",...}

`OccurrenceLog` listens to `Telemetry` and lets at most ten occurrences of a name through a second; a line
says how many were suppressed.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal

import msgspec

from flow.clock import monotonic_s
from flow.telemetry.occurrences import Occurrence

__all__ = ["LEVELS", "JsonLines", "LogFormat", "OccurrenceLog", "TextLines", "installed", "redacted", "say"]

LogFormat = Literal["text", "json"]
LEVELS: Final = ("debug", "info", "warning", "error")
MOST_A_SECOND: Final = 10
MASK: Final = "***"

_SECRET: Final = re.compile(
    r"(?i)(signature|api[-_]?key|secret|token|password|passphrase|passwd|listen_?key|authorization)"
    r"(\w*[\"']?\s*[=:]\s*[\"']?(?:bearer\s+|basic\s+)?)([^\s&\"',;}]+)"
)
_USER_INFO: Final = re.compile(r"(://)[^/\s@]+@")
_PLAIN: Final = re.compile(r"[^\s\"'=]+")

log = logging.getLogger("flow.occurrence")


def redacted(text: str) -> str:
    """The text without what looks like a credential: `signature=...`, `api_key: ...`, `https://user:...@`."""
    return _USER_INFO.sub(rf"\1{MASK}@", _SECRET.sub(rf"\1\2{MASK}", text))


def say(message: str, level: int = logging.INFO, **fields: Any) -> None:
    """A line of the run itself, with fields that JSON lines carry apart; shown whatever the log level is."""
    record = logging.LogRecord("flow", level, "", 0, message, None, None)
    record.__dict__["flow_fields"] = fields
    for handler in logging.getLogger().handlers:
        if isinstance(handler, StandardError):
            handler.handle(record)


class StandardError(logging.StreamHandler[Any]):
    """Writes to `sys.stderr` as it is at the moment: a live table may stand in for it meanwhile."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Whoever read standard error is gone: nobody is left to tell."""


class _Lines(logging.Formatter):
    """`with_traceback`: whether an exception is shown with its stack, or as one line."""

    def __init__(self, *, with_traceback: bool = False) -> None:
        super().__init__()
        self.with_traceback = with_traceback

    def error_of(self, record: logging.LogRecord) -> tuple[str, str]:
        """An exception in one line, and its traceback; "" for what there is not, or is not to be shown."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return "", ""
        stack = "".join(traceback.format_exception(error)) if self.with_traceback else ""
        return one_line(f"{type(error).__name__}: {error}"), redacted(stack)


class TextLines(_Lines):
    """One line a record, behind it the traceback where that is wanted."""

    default_level: ClassVar[str] = "info"

    def format(self, record: logging.LogRecord) -> str:
        occurrence = getattr(record, "occurrence", None)
        if record.name == "flow":
            return one_line(record.getMessage())
        if isinstance(occurrence, Occurrence):
            where, said = getattr(record, "node", ""), _as_text(occurrence)
        else:
            where, said = record.name, one_line(record.getMessage())
        error, stack = self.error_of(record)
        line = " ".join(
            part for part in (_time(record), record.levelname.lower(), where, said, error) if part
        )
        return f"{line}\n{stack.rstrip()}" if stack else line


class JsonLines(_Lines):
    """An object a record: `ts`, `level`, then `node` and `event`, or `logger` and `message`, then details."""

    def format(self, record: logging.LogRecord) -> str:
        row: dict[str, Any] = {"ts": _time(record), "level": record.levelname.lower()}
        occurrence = getattr(record, "occurrence", None)
        details: dict[str, Any] = dict(getattr(record, "flow_fields", {}))
        if isinstance(occurrence, Occurrence):
            row |= {"node": getattr(record, "node", ""), "event": occurrence.name}
            details |= msgspec.structs.asdict(occurrence)
        else:
            row |= {"logger": record.name, "message": redacted(record.getMessage())}
        error, stack = self.error_of(record)
        details |= {name: text for name, text in (("error", error), ("traceback", stack)) if text}
        for name, value in details.items():
            row[f"{name}_" if name in row else name] = _clean(value)
        return msgspec.json.encode(row, enc_hook=str).decode()


def one_line(text: str) -> str:
    """Redacted, and whatever would break or colour a line made visible."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" if c != "\n" else " " for c in redacted(text))


def _clean(value: Any) -> Any:
    return redacted(value) if isinstance(value, str) else value


def _as_text(occurrence: Occurrence) -> str:
    parts = [occurrence.name]
    for name, value in msgspec.structs.asdict(occurrence).items():
        text = one_line(str(value))
        if text:
            parts.append(f"{name}={text if _PLAIN.fullmatch(text) else _quoted(text)}")
    return " ".join(parts)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "'") + '"'


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


class _Allowance:
    """What one name of occurrence has used of its second."""

    __slots__ = ("began_s", "let_through", "level", "suppressed")

    def __init__(self, level: int) -> None:
        self.level = level
        self.began_s = 0.0
        self.let_through = self.suppressed = 0


class OccurrenceLog:
    """For `telemetry.listeners`. `close` tells what is untold."""

    def __init__(self, most_a_second: int = MOST_A_SECOND) -> None:
        self.most_a_second = most_a_second
        self._allowances: dict[str, _Allowance] = {}

    def __call__(self, node_id: str, occurrence: Occurrence) -> None:
        level = logging.getLevelNamesMapping().get(occurrence.level.upper(), logging.INFO)
        if not log.isEnabledFor(level):
            return
        now_s = monotonic_s()
        allowance = self._allowances.setdefault(occurrence.name, _Allowance(level))
        self._tell_suppressed(now_s)
        if now_s - allowance.began_s >= 1.0:
            allowance.began_s, allowance.let_through = now_s, 0
        if allowance.let_through >= self.most_a_second:
            allowance.suppressed += 1
            return
        allowance.let_through += 1
        log.log(level, "%s", occurrence.name, extra={"node": node_id, "occurrence": occurrence})

    def close(self) -> None:
        """Say what was suppressed and not told yet."""
        self._tell_suppressed(None)

    def _tell_suppressed(self, now_s: float | None) -> None:
        for name, allowance in self._allowances.items():
            if allowance.suppressed and (now_s is None or now_s - allowance.began_s >= 1.0):
                log.log(allowance.level, "%s suppressed %d", name, allowance.suppressed)
                allowance.suppressed = 0


@contextmanager
def installed(level: str = "info", form: LogFormat = "text") -> Generator[OccurrenceLog]:
    """Have everything that is logged written to standard error while this lasts; gives the listener."""
    root = logging.getLogger()
    former = root.level
    handler = StandardError()
    handler.setLevel(level.upper())
    lines = JsonLines if form == "json" else TextLines
    handler.setFormatter(lines(with_traceback=level == "debug"))
    root.addHandler(handler)
    root.setLevel(level.upper())
    listener = OccurrenceLog()
    try:
        yield listener
    finally:
        listener.close()
        root.removeHandler(handler)
        root.setLevel(former)
