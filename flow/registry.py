"""What a YAML name stands for: the parameters, the ports and the factory of an operator, component or codec.

`@operator("dedupe")` and `@node("console")` register a factory `(params, context) -> ...`. The return
annotation says what it makes and its port types: `Operator[In, Out]`, `Source[Out]`, `Transform[In, Out]` or
`Consumer[In]`; the annotation of `params` is its struct. `In` and `Out` may be unions, `Any`, or a TypeVar
(what comes in goes out).
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec
from reactivex import Observable

from flow.component import Consumer, Source, Transform
from flow.context import Context
from flow.errors import FlowError

__all__ = [
    "Decorator",
    "Factory",
    "Kind",
    "NodeSpec",
    "Operator",
    "Registry",
    "RegistryError",
    "codec",
    "node",
    "operator",
    "registry",
    "service",
    "spec_of",
]

In = TypeVar("In")
Out = TypeVar("Out")
P = TypeVar("P", bound=msgspec.Struct)
Made = TypeVar("Made")
F = TypeVar("F", bound=Callable[..., Any])

Operator = Callable[[Observable[In]], Observable[Out]]
"""What `.pipe(...)` takes."""

Kind = Literal["operator", "source", "transform", "consumer"]
Loss = Literal["nothing", "market", "anything"]

_COMPONENTS: dict[Any, Kind] = {Source: "source", Transform: "transform", Consumer: "consumer"}


class RegistryError(FlowError):
    """A factory that can't be registered, or a name that is taken."""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What is known of a registered name. Port types are as the hints say; None where there is no port."""

    name: str
    kind: Kind
    params: type[msgspec.Struct]
    input: Any
    output: Any
    factory: Callable[[Any, Context], Any]
    pooled: bool
    """Takes and gives pooled objects by the rules of ownership; others are handed clones of their own."""
    shares: bool
    """Gives an element of its own to each subscriber, so that its output may have several."""
    loss: Loss
    """What it may lose by its purpose: `check` keeps critical events off paths that lose anything."""
    doc: str = ""
    origin: str = ""
    carries_critical: bool = False
    """Critical events (execution reports, control replies) enter the graph here."""
    watches: bool = False
    """May read pooled objects beside their one owner: it looks at them during the call, keeps copies, and
    leaves them as they are. Its machine guards itself and has `watch_many` for that, beside `add_many`."""

    @property
    def makes_pooled(self) -> bool:
        """Whether it takes objects from a pool itself: as a source, or as it changes the type."""
        return self.pooled and not self.shares and (self.kind == "source" or self.input != self.output)


@dataclass(slots=True)
class Registry:
    """The registered names, by kind of thing."""

    nodes: dict[str, NodeSpec] = field(default_factory=dict[str, NodeSpec])
    codecs: dict[str, Callable[[Context], Any]] = field(default_factory=dict[str, Callable[[Context], Any]])
    services: dict[str, Callable[[Context], Any]] = field(default_factory=dict[str, Callable[[Context], Any]])

    def add(self, spec: NodeSpec) -> None:
        taken = self.nodes.get(spec.name)
        if taken is not None and not _is_same(taken.factory, spec.factory):
            raise RegistryError(
                f"the name {spec.name!r} is taken by {taken.origin}; {spec.origin} wants it too"
            )
        self.nodes[spec.name] = spec

    def add_named(self, names: dict[str, F], kind: str, name: str, factory: F) -> None:
        """Keep a codec or a service under its name. Raises `RegistryError` where another factory has it."""
        taken = names.get(name)
        if taken is not None and not _is_same(taken, factory):
            raise RegistryError(
                f"the {kind} name {name!r} is taken by {_origin(taken)}; {_origin(factory)} wants it too"
            )
        names[name] = factory

    def nearest(self, name: str, names: Iterable[str] | None = None) -> str | None:
        """The registered name that looks most like `name`, for a suggestion; None where nothing does."""
        close = difflib.get_close_matches(name, list(self.nodes if names is None else names), n=1, cutoff=0.5)
        return close[0] if close else None

    def operators(self) -> list[NodeSpec]:
        return sorted((s for s in self.nodes.values() if s.kind == "operator"), key=lambda s: s.name)

    def components(self) -> list[NodeSpec]:
        return sorted((s for s in self.nodes.values() if s.kind != "operator"), key=lambda s: s.name)


registry = Registry()
"""The one that decorators fill; a graph uses it unless it is given another."""


def _origin(factory: Callable[..., Any]) -> str:
    return f"{factory.__module__}:{factory.__qualname__}"


def _is_same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Whether two factories are one piece of code: a graph's plugin may also be imported by its name."""
    if _origin(one) == _origin(other):
        return True
    place = _written_at(one)
    return place is not None and place == _written_at(other)


def _written_at(factory: Callable[..., Any]) -> tuple[str, int] | None:
    code = getattr(inspect.unwrap(factory), "__code__", None)
    return None if code is None else (os.path.realpath(code.co_filename), code.co_firstlineno)


_RETURNS: Final = "Operator[In, Out], Source[Out], Transform[In, Out] or Consumer[In]"


def _ports(factory: Callable[..., Any], returned: Any) -> tuple[Kind, Any, Any]:
    origin: Any = get_origin(returned)
    args: Any = get_args(returned)
    if origin is get_origin(Operator) and len(args) == 2 and isinstance(args[0], list):
        streams: list[Any] = [*args[0], args[1]]
        elements: list[Any] = [get_args(one)[0] for one in streams if get_origin(one) is Observable]
        if len(streams) == len(elements) == 2:
            return "operator", elements[0], elements[1]
    kind = _COMPONENTS.get(origin)
    if kind == "source":
        return kind, None, args[0]
    if kind == "consumer":
        return kind, args[0], None
    if kind == "transform":
        return kind, args[0], args[1]
    raise RegistryError(f"{_origin(factory)} must be annotated to return {_RETURNS}, not {returned!r}")


def spec_of(
    name: str,
    factory: Callable[..., Any],
    *,
    pooled: bool = False,
    shares: bool = False,
    loss: Loss = "nothing",
    carries_critical: bool = False,
    watches: bool = False,
) -> NodeSpec:
    """Read a factory's annotations. Raises `RegistryError` where they do not say what is needed."""
    if watches and not pooled:
        raise RegistryError(f"{_origin(factory)} watches pooled objects, so it must be pooled itself")
    try:
        hints = get_type_hints(factory)
    except NameError as error:
        raise RegistryError(f"the annotations of {_origin(factory)} can't be read: {error}") from error
    parameters = list(inspect.signature(factory).parameters)
    params = hints.get(parameters[0]) if len(parameters) == 2 else None
    if not (isinstance(params, type) and issubclass(params, msgspec.Struct)):
        raise RegistryError(
            f"{_origin(factory)} must be annotated as (params: SomeStruct, context: Context) -> ..."
        )
    if "return" not in hints:
        raise RegistryError(f"{_origin(factory)} must be annotated to return {_RETURNS}")
    if loss not in get_args(Loss):
        raise RegistryError(f"{_origin(factory)}: loss is one of {', '.join(get_args(Loss))}, not {loss!r}")
    kind, takes, gives = _ports(factory, hints["return"])
    return NodeSpec(
        name=name,
        kind=kind,
        params=params,
        input=takes,
        output=gives,
        factory=factory,
        pooled=pooled,
        shares=shares,
        loss=loss,
        doc=inspect.getdoc(factory) or "",
        origin=_origin(factory),
        carries_critical=carries_critical,
        watches=watches,
    )


class Factory(Generic[P, Made]):
    """A registered factory as its author's code calls it: `order_buffer()`, `order_buffer(lateness_ms=50)`,
    `order_buffer(OrderBufferParams(...), context)`. Without a context it works in surroundings of its own."""

    def __init__(self, spec: NodeSpec, make: Callable[[P, Context], Made]) -> None:
        self.spec = spec
        self.__doc__ = spec.doc
        self._make = make

    def __call__(self, params: P | None = None, context: Context | None = None, **fields: Any) -> Made:
        """Raises `msgspec.ValidationError` for fields that the parameters do not have or that are out of
        bounds."""
        if params is None:
            params = cast(P, msgspec.convert(fields, self.spec.params))
        elif fields:
            raise TypeError(f"{self.spec.name}: give a params struct or fields, not both")
        return self._make(params, context or Context())


class Decorator(Protocol):
    """What turns a factory into a registered one, keeping the types of its parameters and of what it
    makes."""

    def __call__(self, factory: Callable[[P, Context], Made], /) -> Factory[P, Made]: ...


def _register(kinds: tuple[Kind, ...], name: str, **flags: Any) -> Decorator:
    if callable(name):
        raise RegistryError(f'{_origin(name)} is registered under no name; write @operator("name")')

    def decorate(factory: Callable[[P, Context], Made], /) -> Factory[P, Made]:
        spec = spec_of(name, factory, **flags)
        if spec.kind not in kinds:
            raise RegistryError(f"{spec.origin} makes a {spec.kind}; register it as such")
        registry.add(spec)
        return Factory(spec, factory)

    return decorate


def operator(
    name: str,
    *,
    pooled: bool = False,
    shares: bool = False,
    loss: Loss = "nothing",
    carries_critical: bool = False,
    watches: bool = False,
) -> Decorator:
    """Register a factory of operators under the name that YAML uses."""
    flags: dict[str, Any] = {"pooled": pooled, "shares": shares, "loss": loss, "watches": watches}
    return _register(("operator",), name, carries_critical=carries_critical, **flags)


def node(
    name: str,
    *,
    pooled: bool = False,
    shares: bool = False,
    loss: Loss = "nothing",
    carries_critical: bool = False,
) -> Decorator:
    """Register a factory of components under the name that YAML uses."""
    flags: dict[str, Any] = {"pooled": pooled, "shares": shares, "loss": loss}
    kinds: tuple[Kind, ...] = ("source", "transform", "consumer")
    return _register(kinds, name, carries_critical=carries_critical, **flags)


def codec(name: str) -> Callable[[F], F]:
    """Register a factory `(context) -> Codec` for `decode: {codec: name}`."""

    def decorate(factory: F) -> F:
        registry.add_named(registry.codecs, "codec", name, factory)
        return factory

    return decorate


def service(name: str) -> Callable[[F], F]:
    """Register a factory `(context) -> object` of what a graph's nodes share, such as a provider."""

    def decorate(factory: F) -> F:
        registry.add_named(registry.services, "service", name, factory)
        return factory

    return decorate
