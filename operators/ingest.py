"""Turns what arrives on a wire into pooled frames, with the one clock reading that latency counts from.

    arrivals  --a--b-----c-->
    frames    --A--B-----C-->     received_at = the clock at each

Drops nothing. An exhausted frame pool raises `PoolTimeout` to the source, which waits and offers the arrival
again. Completes and fails with its source. Takes one `WsFrame` per arrival; the next operator puts it.
"""

from msgspec import Struct

from flow.context import Context
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
    """Keeps a shelf of frames per connection. `trace_id` numbers the frames of a run from 1."""

    guards_itself = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.clock = context.clock
        self.pool = context.pools.of("WsFrame", WsFrame)
        self.shelves: dict[Connection, Shelf[WsFrame]] = {}

    def add(self, element: Arrival) -> None:
        try:
            connection, payload = element
            shelf = self.shelves[connection]
        except Exception as error:
            self.take_unusual(element, error)
            return
        frame = shelf.pop() if shelf else shelf.make()
        frame.home = shelf.home
        frame.payload = payload
        frame.received_at = self.clock()
        frame.trace_id = number = self.passed + 1
        self.emit(frame)
        self.passed = number

    def take_unusual(self, arrival: Arrival, error: Exception) -> None:
        """The first arrival of a connection, or something that is no arrival."""
        if not isinstance(error, KeyError):
            self.refuse(arrival, error)
            return
        connection, _ = arrival
        if not isinstance(connection, Connection):  # pyright: ignore[reportUnnecessaryIsInstance]
            self.refuse(arrival, TypeError(f"an arrival names its Connection, not {connection!r:.80}"))
            return
        self.shelves[connection] = self.pool.shelf(connection)
        self.add(arrival)
