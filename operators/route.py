"""Stamps each event with the version of the routing table that is in force.

    events  --a-----b--(subscribe)--c-->
    routed  --a1----b1--------------c2->

`table` says what each consumer receives, as [symbol, provider] pairs in which `*` stands for all; a consumer
without an entry receives everything, one with an empty list nothing but what is critical. Changes at run time
go through the graph's `RoutingTable`; each raises the version. Critical events are routed to every consumer.
Drops nothing, holds nothing. Completes and fails with its source.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.registry import Operator, operator
from flow.routing import RoutingTable, routing_table
from flow.stage import Machine, stage

__all__ = ["RouteParams", "Router", "route"]


class RouteParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    table: Annotated[
        dict[str, list[tuple[str, str]]], Meta(description="consumer id: [[symbol, provider], ...]")
    ] = field(default_factory=dict[str, list[tuple[str, str]]])


@operator("route", pooled=True)
def route(params: RouteParams, context: Context) -> Operator[CanonicalEvent, CanonicalEvent]:
    """Versioned routing by (symbol, provider) to consumers."""
    table = context.service("routing", routing_table)
    for consumer, pairs in params.table.items():
        if not pairs:
            table.unsubscribe(consumer)
        for symbol, provider in pairs:
            table.subscribe(consumer, symbol, provider)
    return stage(lambda: Router(table, context))


class Router(Machine[CanonicalEvent, CanonicalEvent]):
    guards_itself = True

    def __init__(self, table: RoutingTable, context: Context) -> None:
        super().__init__(context)
        self.table = table

    def add(self, element: CanonicalEvent) -> None:
        self.add_many([element])

    def add_many(self, elements: list[CanonicalEvent]) -> None:
        version, begin = self.table.version, 0
        for at, event in enumerate(elements):
            try:
                event.routing_version = version
            except Exception as error:
                self.hand_on(elements[begin:at])
                begin = at + 1
                self.refuse(event, error)
        self.hand_on(elements[begin:] if begin else elements)
