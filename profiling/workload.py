"""What the graph is given: the mix of recorded frames, as a capture file and as a source that holds it ready.

`profiling.prepared` is a source like any other, registered when this is imported. It pushes frames that lie
in memory with the replay's own pump, so that the reading of a capture file is not counted.
"""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

from msgspec import Meta, Struct

import flow
from flow.component import Source
from flow.context import Context
from flow.events.frames import Arrival, Connection
from flow.registry import node, registry
from flow.stage import many
from nodes.providers.binance.rest import read_exchange_info
from nodes.providers.provider import Provider
from nodes.sources.capture import CaptureWriter, Frames, read_replies, read_runs
from nodes.sources.recorded import Run
from nodes.sources.replay import ReplayTransport
from profiling import frames as mixer
from profiling.frames import MixFigures
from profiling.graphs import Variant

__all__ = [
    "PREPARED",
    "RECEIVED_PER_S",
    "Prepared",
    "PreparedParams",
    "Workload",
    "WrongWork",
    "check",
    "prepared",
]

RECEIVED_PER_S = 100_000
"""Frames a second of recorded time: a slice of the replay, 2.5 ms, holds 250 of them.

Inside the frames time passes at the mixer's own pace, so that no two events of a stream are of the same ms
and THE LOOP takes none of them for a repeat: it and the graph handle the same bytes, and all of them."""

PREPARED = "profiling.prepared"
_ready: dict[str, tuple[list[int], list[bytes]]] = {}
"""Frames by name, with their times: what `profiling.prepared` plays."""


class WrongWork(Exception):
    """A run lost, folded or refused something: its time is not the price of the whole work."""


class PreparedParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """frames: the name that they were made ready under. longest_run: cut what is pushed into runs of so many
    frames; None for what the pump of the replay pushes at once."""

    frames: str
    longest_run: Annotated[int, Meta(ge=1)] | None = None


@node(PREPARED)
def prepared(params: PreparedParams, context: Context) -> Source[Arrival]:
    """Frames that lie in memory, pushed as fast as the graph takes them."""
    return Prepared(params, context)


class Prepared(Source[Arrival]):
    """Plays with the pump of the replay, whose recording only answers requests."""

    def __init__(self, params: PreparedParams, context: Context) -> None:
        self.longest_run = params.longest_run
        self.run_of_frames = Run(*_ready[params.frames])
        self.provider: Provider = context.service("binance", registry.services["binance"])

    async def run(self) -> None:
        transport = self.provider.transport
        assert isinstance(transport, ReplayTransport)
        await self.provider.ready()
        frames, pace, connection = self.run_of_frames, transport.pace, Connection("binance", 1)
        emit = self.emit if self.longest_run is None else self.cut
        while frames.at < len(frames.times_ns):
            await pace.turn(frames.times_ns[frames.at])
            begun_at = frames.at
            pace.push(frames, len(frames.times_ns), connection, emit)
            self.emitted += frames.at - begun_at

    def cut(self, arrival: Arrival) -> None:
        """Pass one frame on."""
        self.emit(arrival)

    def cut_many(self, arrivals: list[Arrival]) -> None:
        """Pass frames on in runs that are not too long."""
        length = self.longest_run or len(arrivals)
        if length == 1:
            for arrival in arrivals:
                self.emit(arrival)
            return
        give = many(self.emit)
        for at in range(0, len(arrivals), length):
            give(arrivals[at : at + length])


class Workload:
    """A mix in a folder of its own; a context manager that removes it.

    `capture` is the whole mix as a recording, `replies` only the exchange's answers of it.
    """

    def __init__(self, count: int, seed: int, fold: int) -> None:
        recording = mixer.recording_folder()
        self.frames = mixer.mix(recording, count, seed, fold=fold)
        self.snapshots = mixer.snapshots(recording)
        self.figures: MixFigures = mixer.describe(self.frames)
        self.folder = Path(tempfile.mkdtemp(prefix="flow-profiling-"))
        self.capture = self.folder / "mix.raw"
        self.replies = self.folder / "replies.raw"
        mixer.write_capture(self.capture, recording, self.frames, events_per_s=RECEIVED_PER_S)
        self.symbols = self._copy_replies()
        self.name = f"fold {fold}, seed {seed}, {count}"
        self._make_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del _ready[self.name]
        shutil.rmtree(self.folder)

    @property
    def title(self) -> str:
        figures = self.figures
        return (
            f"{figures.frames:,} frames, {figures.mean_bytes} bytes, "
            f"{figures.levels_a_depth_frame} levels a depth frame"
        )

    def from_file(self, **fields: Any) -> Variant:
        """A variant that reads the capture file."""
        return Variant(symbols=self.symbols, **fields)

    def from_memory(self, *, longest_run: int | None = None, **fields: Any) -> Variant:
        """A variant that reads the frames in memory, in runs of any length."""
        params = {"frames": self.name, "longest_run": longest_run}
        return Variant(source=PREPARED, source_params=params, **fields)

    def run(self, variant: Variant) -> dict[str, Any]:
        """Run a variant at top speed on what it reads from; its summary. Raises `WrongWork`."""
        recording = self.replies if variant.source == PREPARED else self.capture
        summary = flow.run(variant.graph(), replay=[("binance", recording)], speed=None)
        check(summary, variant, len(self.frames))
        return summary

    def handled(self, variant: Variant) -> int:
        """As `run`; the number of frames."""
        return self.run(variant)["frames"]

    def _copy_replies(self) -> tuple[str, ...]:
        """Write the replies to a file of their own; the canonical names of the symbols in it."""
        symbols: tuple[str, ...] = ()
        with self.replies.open("wb") as out:
            writer = CaptureWriter(out)
            for reply in read_replies(self.capture):
                writer.record(reply)
                if "exchangeInfo" in reply.url:
                    symbols = tuple(info.canonical for info in read_exchange_info(reply.body).infos())
        return symbols

    def _make_ready(self) -> None:
        times: list[int] = []
        payloads: list[bytes] = []
        for run in read_runs(self.capture):
            if isinstance(run, Frames):
                times += run.times_ns
                payloads += run.payloads
        _ready[self.name] = (times, payloads)


def check(summary: dict[str, Any], variant: Variant, frames: int) -> None:
    """Raises `WrongWork` unless every frame reached every consumer, and every edge balances."""
    wrong: list[str] = []
    if summary["frames"] != frames or summary["dead_letters"]:
        wrong.append(f"{summary['frames']} of {frames} frames, dead letters {summary['dead_letters']}")
    snapshots = summary["events"].get("binance/BookSnapshot", 0)
    held_back = sum(sum(edge["dropped"].values()) for edge in summary["edges"] if edge["to"] == "books")
    for name, consumer in summary["consumers"].items():
        delivered = consumer["delivered"]
        if delivered != frames - held_back + snapshots or consumer["coalesced"] or consumer["dropped"]:
            wrong.append(f"{name} {delivered} of {frames} - {held_back} + {snapshots}: {consumer}")
    for edge in summary["edges"]:
        out = edge["out"] + edge["coalesced"] + sum(edge["dropped"].values()) + edge["dead_lettered"]
        if edge["in"] != out + edge["in_flight"]:
            wrong.append(f"the edge does not balance: {edge}")
    books = summary["books"].values()
    if variant.has_books and (not books or any(book["state"] != "live" for book in books)):
        wrong.append(f"books: {[book['state'] for book in books]}")
    if wrong:
        raise WrongWork("; ".join(wrong))
