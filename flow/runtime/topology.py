"""A graph, wired: from plain data to components, operators, mailboxes and deliveries that are ready to run.

Everything from a source up to the mailboxes is one synchronous call chain. A mailbox stands on the first edge
that leads to one consumer only (behind a node that shares its output, or where the YAML names one); what
follows it runs in the consumer's task.
"""

from __future__ import annotations

from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import Any, Final

from reactivex import Observable

from flow.component import Component, Consumer, Source, Transform
from flow.context import Context
from flow.errors import Fault, FlowError, GraphError, OwnershipBug
from flow.graph.spec import GraphSpec, InputSpec, MailboxSpec, NodeEntry
from flow.named import place_of
from flow.registry import Kind, NodeSpec, Registry
from flow.runtime.delivery import Delivery, Drained
from flow.runtime.mailbox import Gate, Mailbox
from flow.runtime.tee import Tee, Watched
from flow.runtime.vertex import Branch, Inlet, Vertex
from flow.runtime.wiring import (
    Counted,
    DeadLetterPort,
    Joined,
    Shared,
    SourceOutput,
    Tapped,
    TransformOutput,
)
from flow.stage import Fusable, OnCompleted, OnError, OnNext, SharedOutput, Stage, connect
from flow.telemetry.ledger import Edge

__all__ = ["Topology", "build"]

SHAPES: Final[dict[Kind, type[Any]]] = {"source": Source, "transform": Transform, "consumer": Consumer}


def _unexpected(error: Exception) -> None:
    raise error


class Topology:
    """The wired graph. Built by `build`, run by `flow.runtime.run`."""

    def __init__(self, spec: GraphSpec, context: Context, registry: Registry, on_failure: OnError) -> None:
        self.spec = spec
        self.context = context
        self.registry = registry
        self.on_failure = on_failure
        self.gate: Gate = context.service("gate", lambda _: Gate())
        self.vertices: dict[str, Vertex] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.letter_ports: list[DeadLetterPort] = []
        self.readers = _readers(spec)

    @property
    def sources(self) -> list[tuple[str, SourceOutput]]:
        found = [(node_id, vertex.source_output) for node_id, vertex in self.vertices.items()]
        return [(node_id, output) for node_id, output in found if output is not None]

    def observe(self, node_id: str, emit: OnNext, on_completed: OnCompleted) -> None:
        """Let code outside see clones of what a node emits, which was named to `build` as observed."""
        vertex = self.vertices[node_id]
        if vertex.tapped is not None:
            vertex.tapped.observe(emit, on_completed)
        elif isinstance(vertex.output, SharedOutput):
            vertex.output.wire_named(f"observer of {node_id}", emit, _unexpected, on_completed, None)

    def components(self, kind: type[Component]) -> list[tuple[str, Component]]:
        """(node id, component) of a kind, in the order of the data's way."""
        found = [(node_id, vertex.component) for node_id, vertex in self.vertices.items()]
        return [(node_id, component) for node_id, component in found if isinstance(component, kind)]

    def edges(self) -> list[Edge]:
        """The ledger as it stands now."""
        edges = [vertex.edge() for vertex in self.vertices.values()]
        return [edge for edge in edges if edge is not None]

    def spec_of(self, node_id: str) -> NodeSpec:
        return self.registry.nodes[self.spec.nodes[node_id].use]

    def consumer_of(self, node_id: str) -> str | None:
        """The one consumer that all of a node's output goes to, through operators only; else None."""
        spec = self.spec_of(node_id)
        if spec.kind == "consumer":
            return node_id
        readers = self.readers.get(node_id, [])
        if spec.kind != "operator" or spec.shares or len(readers) != 1:
            return None
        return self.consumer_of(readers[0])


def _readers(spec: GraphSpec) -> dict[str, list[str]]:
    readers: dict[str, list[str]] = {}
    for node_id, entry in spec.nodes.items():
        for given in entry.inputs:
            if given.port == "out":
                readers.setdefault(given.source, []).append(node_id)
    return readers


def build(
    spec: GraphSpec,
    context: Context,
    registry: Registry,
    observed: frozenset[str] = frozenset(),
    on_failure: OnError = _unexpected,
) -> Topology:
    """Make and wire every node. `observed` names nodes whose output somebody outside will see as well;
    `on_failure` is told of a stream that failed, as those of stock operators may.

    Raises `GraphError` for what only shows when a node is made: an unknown codec, an object that can't be
    imported.
    """
    topology = Topology(spec, context, registry, on_failure)
    sources = {node_id: [given.source for given in entry.inputs] for node_id, entry in spec.nodes.items()}
    for node_id in TopologicalSorter(sources).static_order():
        _make(topology, spec.nodes[node_id], is_observed=node_id in observed)
    for vertex in topology.vertices.values():
        if vertex.is_boundary:
            _wire_mailbox(topology, vertex)
        if vertex.delivery is not None and not vertex.is_boundary:
            _wire_chain_end(topology, vertex, vertex.delivery)
    return topology


def _make(topology: Topology, entry: NodeEntry, *, is_observed: bool) -> None:
    spec = topology.spec_of(entry.id)
    context = topology.context.for_node(entry.id)
    vertex = topology.vertices[entry.id] = Vertex(entry.id, spec)
    made = _made(topology, entry, spec, context)
    vertex.inlets = [_inlet(topology, given, spec, context) for given in entry.inputs]
    _place_mailbox(topology, vertex, entry, getattr(made, "folds", None))
    source = _source(vertex)
    if spec.kind == "source":
        vertex.component = made
        vertex.output = vertex.source_output = SourceOutput(made)
    elif spec.kind == "transform":
        vertex.component, vertex.output = made, TransformOutput(source, made, context, pooled=spec.pooled)
    elif spec.kind == "consumer":
        assert vertex.mailbox is not None
        vertex.component = made
        vertex.delivery = Delivery(entry.id, made, vertex.mailbox, context)
        topology.deliveries[entry.id] = vertex.delivery
    else:
        vertex.output = _operator_output(vertex, made, source)
    if vertex.output is None or isinstance(vertex.output, SharedOutput):
        return
    if is_observed:
        vertex.output = vertex.tapped = Tapped(vertex.output)
    readers = topology.readers.get(entry.id, [])
    owners = [reader for reader in readers if not topology.spec_of(reader).watches]
    if owners and len(owners) < len(readers):
        vertex.output = vertex.tee = Tee(vertex.output)
    if len(owners or readers) > 1:
        vertex.output = Shared(vertex.output)


def _made(topology: Topology, entry: NodeEntry, spec: NodeSpec, context: Context) -> Any:
    """What the factory makes. What it raises is a fault of the graph, at the node's place."""
    try:
        made = spec.factory(entry.params, context)
        fits = callable(made) if spec.kind == "operator" else isinstance(made, SHAPES[spec.kind])
        if not fits:
            raise FlowError(
                f"{place_of(spec.factory)}{spec.name} is to make: {spec.kind}, not {type(made).__name__}"
            )
        return made
    except (GraphError, OwnershipBug):
        raise
    except Exception as error:
        said = str(error) if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        message = f"{entry.id}: {said.removeprefix(f'{entry.id}: ')}"
        fault = Fault(topology.spec.file, entry.line, entry.column, message)
        raise GraphError([fault]) from error


def _inlet(topology: Topology, given: InputSpec, spec: NodeSpec, context: Context) -> Inlet:
    source = topology.vertices[given.source]
    if given.port == "dead_letters":
        assert topology.context.dead_letters is not None
        port = DeadLetterPort(topology.context.dead_letters, given.source)
        topology.letter_ports.append(port)
        return Inlet(given.reference, source, port)
    if source.tee is not None and spec.watches:
        return Inlet(given.reference, source, Watched(source.tee, context))
    assert source.output is not None
    return Inlet(given.reference, source, source.output)


def _place_mailbox(topology: Topology, vertex: Vertex, entry: NodeEntry, folds: Any) -> None:
    """Take over the mailbox that the node is behind, or put one on its edges where it is the boundary."""
    behind = [
        inlet.source.mailbox
        for inlet in vertex.inlets
        if inlet.source.mailbox is not None and not isinstance(inlet.output, DeadLetterPort)
    ]
    if behind:
        if len(vertex.inlets) > 1:
            fault = "reads a path behind a mailbox and another input; join them before the mailbox"
            raise GraphError([Fault(topology.spec.file, entry.line, entry.column, f"{entry.id}: {fault}")])
        vertex.mailbox, vertex.drained = behind[0], vertex.inlets[0].source.drained
        return
    consumer = topology.consumer_of(entry.id)
    given = next((edge.mailbox for edge in entry.inputs if edge.mailbox is not None), None)
    is_shared = any(isinstance(inlet.output, SharedOutput | DeadLetterPort) for inlet in vertex.inlets)
    if consumer is None or not (given or is_shared or vertex.spec.kind == "consumer"):
        return
    context = topology.context.for_node(consumer)
    vertex.mailbox = Mailbox(consumer, given or MailboxSpec(), context, topology.gate, folds)
    vertex.drained = Drained() if vertex.spec.kind != "consumer" else None
    vertex.is_boundary = True


def _source(vertex: Vertex) -> Observable[Any]:
    if vertex.is_boundary and vertex.drained is not None:
        return vertex.drained
    outputs: list[Observable[Any]] = [
        Branch(inlet, inlet.output) if isinstance(inlet.output, SharedOutput) else inlet.output
        for inlet in vertex.inlets
    ]
    return outputs[0] if len(outputs) == 1 else Joined(outputs)


def _operator_output(
    vertex: Vertex, operate: Callable[[Any], Observable[Any]], source: Observable[Any]
) -> Fusable[Any]:
    """An operator's output. One that knows of no pools gets elements of its own, as all behind a mailbox are;
    stock ones are counted, and what is taken from a pool behind a mailbox is cloned, as consumers own what
    they get."""
    if not vertex.spec.pooled and vertex.mailbox is None:
        source = Counted(source, is_owning=True)
    output = operate(source)
    if isinstance(output, Stage | SharedOutput):
        vertex.stage = output
        is_behind = vertex.mailbox is not None and vertex.spec.makes_pooled
        return Counted(output, is_owning=True) if is_behind else output
    vertex.counted_in = source if isinstance(source, Counted) else Counted(source)
    vertex.counted_out = Counted(operate(vertex.counted_in))
    return vertex.counted_out


def _wire_mailbox(topology: Topology, vertex: Vertex) -> None:
    mailbox = vertex.mailbox
    assert mailbox is not None
    open_inlets = len(vertex.inlets)

    def complete() -> None:
        nonlocal open_inlets
        open_inlets -= 1
        if open_inlets == 0:
            mailbox.complete()

    def fail(error: Exception) -> None:
        topology.on_failure(error)
        complete()

    for inlet in vertex.inlets:
        inlet.connect(mailbox.name, mailbox.put, fail, complete)
    if vertex.delivery is not None and all(inlet.tells_streams for inlet in vertex.inlets):
        vertex.delivery.inflow = vertex.sent_by_stream


def _wire_chain_end(topology: Topology, vertex: Vertex, delivery: Delivery) -> None:
    """The operators between a mailbox and its consumer run in the consumer's task."""
    delivery.head, delivery.on_failure = vertex.drained, topology.on_failure
    output = vertex.inlets[0].output
    delivery.chain = connect(output, delivery.arrive, delivery.fail, _nothing, None)
    before = vertex.inlets[0].source
    while (passes_all := getattr(before.machine, "passes_all", False)) and not before.is_boundary:
        before = before.inlets[0].source
    if passes_all and all(inlet.tells_streams for inlet in before.inlets):
        delivery.inflow = before.sent_by_stream


def _nothing() -> None:
    return
