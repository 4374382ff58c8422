"""Turns what arrives on a wire into pooled frames, with the one clock reading that latency counts from.

    arrivals  --a--b-----c-->
    frames    --A--B-----C-->     received_at = the clock at each

Drops nothing. An exhausted frame pool raises `PoolTimeout` to the source, which waits and offers the arrival
again. Completes and fails with its source. Takes one `WsFrame` per arrival; the next operator puts it.
"""

from msgspec import Struct

from flow.context import Context
from flow.errors import PoolTimeout
from flow.events.frames import Arrival, Connection, WsFrame
from flow.pool import Shelf
from flow.registry import Operator, operator
from flow.stage import Machine, stage

__all__ = ["IngestParams", "Ingester", "ingest"]


class IngestParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters."""


@operator("ingest", pooled=True)
def ingest(params: IngestParams, context: Context) -> Operator[Arrival, WsFrame]:
    """Frames from a WebSocket, a recording or the simulator, stamped on receipt."""
    return stage(lambda: Ingester(context))


class Ingester(Machine[Arrival, WsFrame]):
    """Keeps a shelf of frames per connection."""

    guards_itself = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.clock = context.clock
        self.pool = context.pools.of("WsFrame", WsFrame)
        self.shelves: dict[Connection, Shelf[WsFrame]] = {}

    def add(self, element: Arrival) -> None:
        self.add_many([element])

    def add_many(self, elements: list[Arrival]) -> None:
        shelves, clock = self.shelves, self.clock
        frames: list[WsFrame] = []
        append = frames.append
        dry = None
        for at, element in enumerate(elements):
            try:
                connection, payload, received_at = element
                shelf = shelves[connection]
            except Exception as error:
                self.offer_on(frames, len(elements) - at)  # first: what a dry pool leaves is the run's end
                frames = []
                append = frames.append
                if not self.meet(element, error):
                    continue
                connection, payload, received_at = element
                shelf = shelves[connection]
            try:
                frame = shelf.pop() if shelf else shelf.make()
            except PoolTimeout as error:
                dry = error
                dry.left = len(elements) - at
                break
            frame.home = shelf.home
            frame.payload = payload
            frame.received_at = received_at or clock()
            append(frame)
        self.offer_on(frames, 0 if dry is None else dry.left)
        if dry is not None:
            raise dry

    def meet(self, arrival: Arrival, error: Exception) -> bool:
        """The first arrival of a connection gets it a shelf; what is no arrival is refused."""
        try:
            if not isinstance(error, KeyError):
                raise error
            connection, _, _ = arrival
            if not isinstance(connection, Connection):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"an arrival names its Connection, not {connection!r:.80}")
        except Exception as fault:
            self.refuse(arrival, fault)
            return False
        self.shelves[connection] = self.pool.shelf(connection)
        return True

    def offer_on(self, frames: list[WsFrame], rest: int) -> None:
        """Emit, and count what was taken downstream: all but what a dry pool left, and `rest` behind it."""
        if not frames:
            return
        total, left = len(frames), 0
        try:
            self.emit_many(frames)
        except PoolTimeout as dry:
            left = dry.left
            dry.left += rest
            raise
        finally:
            self.passed += total - left
