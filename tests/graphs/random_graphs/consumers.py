"""The consumers of the random graphs: quick, slow, raising, hanging and cancelled ones."""

import asyncio
from collections import Counter
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from flow.component import Consumer
from flow.context import Context
from flow.events.canonical import CanonicalEvent
from tests.graphs.random_graphs.world import World, here, report_of

__all__ = ["ProbeParams", "probe"]


class ProbeParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    style: Literal["sync", "async", "batch"] = "sync"
    delay_ms: Annotated[int, Meta(ge=0, description="async: how long each element takes")] = 0
    raises_every: Annotated[int, Meta(ge=0, description="0: never")] = 0
    cancels_every: Annotated[int, Meta(ge=0, description="async: await something cancelled; 0: never")] = 0
    hangs_at: Annotated[int, Meta(ge=0, description="async: the element that takes for ever; 0: none")] = 0
    reads: bool = False


def probe(params: ProbeParams, context: Context) -> Consumer[Any]:
    """Counts what it gets."""
    return Probe(params, context)


class Probe(Consumer[Any]):
    def __init__(self, params: ProbeParams, context: Context) -> None:
        self.params = params
        self.world: World = here.get()
        self.node = context.node_id
        self.returned: Counter[str] = Counter()
        self.world.delivered[self.node] = self.returned
        self.received = self.world.received[self.node] = []
        self.seen = 0
        if params.style == "batch":
            self.handle_batch = self.take_batch
        elif params.style == "async":
            self.handle = self.take_slowly

    def handle(self, element: Any) -> Any:
        self.take(element)
        self.returned[type_of(element)] += 1

    async def take_slowly(self, element: Any) -> None:
        self.take(element)
        await asyncio.sleep(self.params.delay_ms / 1000)
        if self.seen == self.params.hangs_at:
            self.world.struck["consumer hung"] += 1
            await asyncio.Event().wait()
        if self.params.cancels_every and self.seen % self.params.cancels_every == 0:
            self.world.struck["handler was cancelled"] += 1
            raise asyncio.CancelledError
        self.returned[type_of(element)] += 1

    def take_batch(self, elements: list[Any]) -> None:
        self.note(*elements)
        for element in elements:
            self.look(element)
        self.returned.update(map(type_of, elements))

    def take(self, element: Any) -> None:
        self.note(element)
        self.look(element)

    def note(self, *elements: Any) -> None:
        reports = map(report_of, elements)
        self.received += [report for report in reports if report is not None]

    def look(self, element: Any) -> None:
        self.seen += 1
        if self.params.raises_every and self.seen % self.params.raises_every == 0:
            self.world.strike("handler raised")
        if self.params.reads:
            self.read(element)

    def read(self, element: Any) -> None:
        try:
            element.payload.row()
        except Exception:
            self.world.struck["handler could not read"] += 1
            raise


def type_of(element: Any) -> str:
    """As the summary calls it."""
    return element.event_type.value if isinstance(element, CanonicalEvent) else type(element).__name__
