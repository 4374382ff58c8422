"""One JSON object a line, to a file or to standard output.

An event is its `row()`: canonical names, decimals as strings, timestamps in ns. A dead letter is

    {"node", "reason", "detail", "at", "provider", "is_critical",
     "original_bytes", "original_encoding", "original"}

whose `original_encoding` says how to read `original`: `utf-8` (the bytes as text), `base64` (bytes that are
no UTF-8), or `json` (an event as plain data). What else an operator makes, such as a number or a list of
events, is written as plain data. A file that can't be opened or written is reported once as
`consumer.failed`, the lines lost are counted in the summary by error, and the graph goes on; the file is
tried again with the next lines.
"""

import base64
import codecs
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, Struct

from flow.component import Consumer
from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.registry import node
from flow.telemetry.dead_letters import DeadLetter
from flow.telemetry.occurrences import ConsumerFailed
from nodes.sinks.line_writer import LineFile, LineWriter, StandardOutput

__all__ = ["Jsonl", "JsonlParams", "jsonl", "letter_row"]


class JsonlParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: Annotated[
        str, Meta(min_length=1, description="relative to the graph's folder; `-` is standard output")
    ]
    mode: Annotated[
        Literal["append", "overwrite"], Meta(description="what becomes of what the file holds")
    ] = "append"
    flush_every_s: Annotated[
        float, Meta(ge=0, le=3600, description="how long a line may wait in memory; 0 writes at once")
    ] = 1.0


@node("jsonl")
def jsonl(params: JsonlParams, context: Context) -> Consumer[Any]:
    """Writes each event, dead letter or other element as one line of JSON."""
    return Jsonl(params, context)


class Jsonl(Consumer[Any]):
    def __init__(self, params: JsonlParams, context: Context) -> None:
        self.context = context
        self.target: LineFile | StandardOutput
        if params.path == "-":
            self.target = StandardOutput()
        else:
            path = Path(context.refs.get("base_dir", ".")) / Path(params.path).expanduser()
            self.target = LineFile(path, overwrite=params.mode == "overwrite")
        self.writer = LineWriter(self.target, self._report, flush_every_s=params.flush_every_s)
        self._encode = msgspec.json.Encoder(enc_hook=repr).encode

    async def start(self) -> None:
        await self.writer.open()

    async def stop(self) -> None:
        await self.writer.close()

    def handle(self, element: Any) -> Awaitable[object] | None:
        return self.writer.write(self._encode(_plain(element)) + b"\n")

    def summary(self) -> dict[str, Any]:
        """`written` lines, and those `lost` by error."""
        return {"written": self.writer.written, "lost": dict(sorted(self.writer.lost.items()))}

    def _report(self, error: Exception) -> None:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        detail = f"{self.target.name}: {reason}; lines are lost until it can be written"
        self.context.occurred(ConsumerFailed(self.context.node_id, type(error).__name__, detail))


def _plain(element: Any) -> Any:
    if isinstance(element, CanonicalEvent):
        return element.row()
    if isinstance(element, DeadLetter):
        return letter_row(element)
    if isinstance(element, list | tuple):
        return [_plain(item) for item in cast("list[Any]", element)]
    return element


def letter_row(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as plain data; see the top of this module for the encodings."""
    encoding, original = _readable(letter.original, is_cut=letter.original_bytes > len(letter.original))
    return {
        "node": letter.node,
        "reason": letter.reason,
        "detail": letter.detail,
        "at": letter.at,
        "provider": letter.provider,
        "is_critical": letter.is_critical,
        "original_bytes": letter.original_bytes,
        "original_encoding": encoding,
        "original": original,
    }


def _readable(original: bytes | dict[str, Any], *, is_cut: bool) -> tuple[str, str | dict[str, Any]]:
    """Encoding and value; a character that the cut went through is left out of a text."""
    if isinstance(original, dict):
        return "json", original
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(original, final=not is_cut)
    except UnicodeDecodeError:
        return "base64", base64.b64encode(original).decode("ascii")
