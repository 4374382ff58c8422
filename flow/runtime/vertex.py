"""One node of a wired graph, and its edges' accounts."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from reactivex import abc

from flow.component import Component, Transform
from flow.events.stream import Stream
from flow.registry import NodeSpec
from flow.runtime.delivery import Delivery, Drained
from flow.runtime.mailbox import Mailbox
from flow.runtime.tee import Tee, Watched
from flow.runtime.wiring import Counted, DeadLetterPort, SourceOutput, Tapped, owned
from flow.stage import Fusable, Machine, OnCompleted, OnError, OnNext, SharedOutput, Subscription, connect
from flow.telemetry.ledger import Edge

__all__ = ["Branch", "Inlet", "Vertex"]


class Inlet:
    """One edge into a node."""

    def __init__(self, reference: str, source: Vertex, output: Fusable[Any]) -> None:
        self.reference = reference
        self.source = source
        self.output = output
        self.subscription: Subscription | None = None

    @property
    def sent(self) -> int:
        """How many elements the source put on this edge."""
        if self.subscription is not None:
            return self.subscription.sent
        if isinstance(self.output, DeadLetterPort | Watched):
            return self.output.sent
        return self.source.emitted

    @property
    def dropped(self) -> Counter[str]:
        """What never arrived of it, where `sent` is all that the node before was to emit."""
        output, machine = self.source.source_output, self.source.machine
        if self.subscription is not None or isinstance(self.output, DeadLetterPort | Watched):
            return Counter()
        if output is not None:
            return output.dropped + Counter(output.component.refused)
        return Counter({"disposed": machine.taken_back}) if machine and machine.taken_back else Counter()

    @property
    def tells_streams(self) -> bool:
        """Whether the source says how much of each stream it sent."""
        return self.subscription is not None and self.subscription.sent_by_stream is not None

    def connect(self, consumer: str, emit: OnNext, failed: OnError, completed: OnCompleted) -> None:
        """Wire the edge to its end; a shared output knows it by the consumer's name."""
        if isinstance(self.output, SharedOutput):
            self.subscription = self.output.wire_named(consumer, emit, failed, completed, None)
        else:
            connect(self.output, owned(emit), failed, completed, None)


class Branch(Fusable[Any]):
    """A shared output as a node of the chain reads it: with an account of its own."""

    def __init__(self, inlet: Inlet, output: SharedOutput[Any]) -> None:
        super().__init__()
        self.inlet = inlet
        self.output = output

    def wire(
        self, emit: OnNext, on_error: OnError, on_completed: OnCompleted, scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        self.inlet.subscription = self.output.wire_named("", emit, on_error, on_completed, scheduler)
        return self.inlet.subscription


class Vertex:
    """What stands behind a node id. `mailbox` is the one whose elements flow through the node, if any."""

    def __init__(self, node_id: str, spec: NodeSpec) -> None:
        self.node_id = node_id
        self.spec = spec
        self.component: Component | None = None
        self.output: Fusable[Any] | None = None
        self.source_output: SourceOutput | None = None
        self.tapped: Tapped | None = None
        self.tee: Tee | None = None
        self.stage: Any = None
        self.counted_in: Counted | None = None
        self.counted_out: Counted | None = None
        self.delivery: Delivery | None = None
        self.inlets: list[Inlet] = []
        self.mailbox: Mailbox | None = None
        self.drained: Drained | None = None
        self.is_boundary = False
        """Whether the mailbox stands on this node's own edges."""

    @property
    def machine(self) -> Machine[Any, Any] | None:
        return self.stage.machine if self.stage is not None else None

    @property
    def transform(self) -> Transform[Any, Any] | None:
        return cast("Transform[Any, Any]", self.component) if self.spec.kind == "transform" else None

    @property
    def taken(self) -> int:
        """Elements that this node handled."""
        if self.delivery is not None:
            return self.delivery.delivered
        if self.transform is not None:
            return self.transform.taken
        if self.machine is not None:
            return self.machine.taken
        return self.counted_in.passed if self.counted_in is not None else 0

    @property
    def emitted(self) -> int:
        """Elements that this node put on its output."""
        if self.source_output is not None:
            return self.source_output.component.emitted
        if self.transform is not None:
            return self.transform.emitted
        if self.machine is not None:
            return self.machine.emitted
        return self.counted_out.passed if self.counted_out is not None else 0

    def sent_by_stream(self) -> Counter[Stream]:
        """What was put on this node's edges, by stream, where `tells_streams` holds."""
        totals: Counter[Stream] = Counter()
        for inlet in self.inlets:
            if inlet.subscription is not None:
                totals.update(inlet.subscription.sent_by_stream or {})
        return totals

    def edge(self) -> Edge | None:
        """The account of the edge, or edges, into this node."""
        if not self.inlets:
            return None
        edge = Edge(
            source=", ".join(inlet.reference for inlet in self.inlets),
            target=self.node_id,
            entered=sum(inlet.sent for inlet in self.inlets),
            out=self.taken,
        )
        dropped: Counter[str] = Counter()
        for inlet in self.inlets:
            dropped.update(inlet.dropped)
            if isinstance(inlet.output, Watched):
                edge.dead_lettered += inlet.output.dead_lettered
        for holder in self._holders():
            dropped.update(holder.dropped)
            edge.in_flight += holder.in_flight
            edge.coalesced += getattr(holder, "coalesced", 0)
            edge.entered += getattr(holder, "markers", 0)
            edge.dead_lettered += getattr(holder, "dead_lettered", 0)
        edge.dropped = dict(dropped)
        return edge

    def _holders(self) -> list[Any]:
        mailbox = self.mailbox if self.is_boundary else None
        holders = [self.machine, self.delivery, mailbox, self.transform]
        return [holder for holder in holders if holder is not None]
