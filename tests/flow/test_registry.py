"""The registry: what annotations say, what it refuses, and how registered factories are called."""

from typing import Annotated, Any, TypeVar

import msgspec
import pytest
from msgspec import Meta, Struct
from reactivex import Observable

import flow.registry
from flow.component import Consumer, Source, Transform
from flow.context import Context
from flow.events import CanonicalEvent, ExecReport, WsFrame
from flow.registry import (
    Factory,
    Operator,
    Registry,
    RegistryError,
    codec,
    node,
    operator,
    service,
    spec_of,
)

T = TypeVar("T")


class SomeParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    window: Annotated[int, Meta(ge=1)] = 3


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty registry for the decorators to fill."""
    fresh = Registry()
    monkeypatch.setattr(flow.registry, "registry", fresh)
    return fresh


def framing(params: SomeParams, context: Context) -> Operator[WsFrame, CanonicalEvent]:
    """Makes events of frames."""
    raise AssertionError("never called")


def through(params: SomeParams, context: Context) -> Operator[T, T]: ...
def either(params: SomeParams, context: Context) -> Operator[CanonicalEvent | ExecReport, Any]: ...
def spring(params: SomeParams, context: Context) -> Source[WsFrame]: ...
def books(params: SomeParams, context: Context) -> Transform[CanonicalEvent, ExecReport]: ...
def sink(params: SomeParams, context: Context) -> Consumer[CanonicalEvent]: ...


@pytest.mark.parametrize(
    ("factory", "kind", "takes", "gives"),
    [
        (framing, "operator", WsFrame, CanonicalEvent),
        (through, "operator", T, T),
        (either, "operator", CanonicalEvent | ExecReport, Any),
        (spring, "source", None, WsFrame),
        (books, "transform", CanonicalEvent, ExecReport),
        (sink, "consumer", CanonicalEvent, None),
    ],
)
def test_ports_are_read_from_the_return_annotation(factory: Any, kind: str, takes: Any, gives: Any) -> None:
    spec = spec_of("name", factory)
    assert (spec.kind, spec.input, spec.output, spec.params) == (kind, takes, gives, SomeParams)


def test_a_spec_keeps_what_the_author_said() -> None:
    spec = spec_of("framing", framing, pooled=True, shares=True, loss="market", carries_critical=True)
    assert spec.doc == "Makes events of frames."
    assert spec.origin == f"{__name__}:framing"
    assert (spec.pooled, spec.shares, spec.loss, spec.carries_critical) == (True, True, "market", True)


def test_a_loss_that_there_is_not() -> None:
    with pytest.raises(RegistryError, match="framing: loss is one of nothing, market, anything, not 'all'"):
        spec_of("framing", framing, loss="all")  # type: ignore[arg-type]


def test_a_decorator_without_a_name() -> None:
    for register in (operator, node):
        with pytest.raises(RegistryError, match=r"framing is registered under no name; write @operator"):
            register(framing)  # type: ignore[arg-type]


def test_no_return_annotation_is_told_as_such() -> None:
    with pytest.raises(
        RegistryError, match=r"returns_nothing must be annotated to return Operator\[In, Out\]"
    ):
        spec_of("name", returns_nothing)


def test_what_watches_is_pooled() -> None:
    assert spec_of("framing", framing, pooled=True, watches=True).watches
    assert not spec_of("framing", framing, pooled=True).watches
    with pytest.raises(RegistryError, match="framing watches pooled objects, so it must be pooled itself"):
        spec_of("framing", framing, watches=True)


@pytest.mark.parametrize(
    ("factory", "flags", "makes"),
    [
        (spring, {"pooled": True}, True),
        (spring, {}, False),
        (framing, {"pooled": True}, True),
        (framing, {"pooled": True, "shares": True}, False),
        (framing, {}, False),
        (through, {"pooled": True}, False),
        (sink, {}, False),
    ],
)
def test_who_takes_objects_from_a_pool(factory: Any, flags: dict[str, bool], makes: bool) -> None:
    assert spec_of("name", factory, **flags).makes_pooled is makes


def returns_nothing(params: SomeParams, context: Context): ...
def returns_int(params: SomeParams, context: Context) -> int: ...
def bare_source(params: SomeParams, context: Context) -> Source: ...
def no_stream(params: SomeParams, context: Context) -> Operator: ...
def one_parameter(params: SomeParams) -> Source[WsFrame]: ...
def params_unannotated(params, context: Context) -> Source[WsFrame]: ...
def params_no_struct(params: dict, context: Context) -> Source[WsFrame]: ...
def unknown_name(params: "Missing", context: Context) -> Source[WsFrame]: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    "factory",
    [
        returns_nothing,
        returns_int,
        bare_source,
        one_parameter,
        params_unannotated,
        params_no_struct,
        unknown_name,
    ],
)
def test_a_factory_that_does_not_say_what_is_needed_is_refused_by_name(factory: Any) -> None:
    with pytest.raises(RegistryError, match=factory.__name__):
        spec_of("name", factory)


@pytest.mark.parametrize("returned", ["...", "[int]", "[int, int]", "[]"])
def test_callables_that_are_no_operators_are_refused(returned: str) -> None:
    namespace: dict[str, Any] = {"SomeParams": SomeParams, "Context": Context, "Observable": Observable}
    exec(
        "from collections.abc import Callable\n"
        f"def odd(params: SomeParams, context: Context) -> Callable[{returned}, Observable[int]]: ...\n",
        namespace,
    )
    with pytest.raises(RegistryError, match="odd"):
        spec_of("odd", namespace["odd"])


def test_a_registered_operator_is_called_as_its_author_writes(registry: Registry) -> None:
    @operator("widen", pooled=True, loss="market")
    def widen(params: SomeParams, context: Context) -> Operator[int, int]:
        """Doc."""
        assert isinstance(context, Context)
        return lambda source: (params.window, context, source)  # type: ignore[return-value]

    assert isinstance(widen, Factory)
    assert widen.__doc__ == "Doc."
    assert registry.nodes["widen"] is widen.spec
    assert (widen.spec.pooled, widen.spec.loss) == (True, "market")
    context = Context("here")
    assert widen()(1)[0] == 3  # type: ignore[arg-type, index]
    assert widen(window=5)(1)[0] == 5  # type: ignore[arg-type, index]
    assert widen(SomeParams(window=7), context)(1)[:2] == (7, context)  # type: ignore[arg-type, index]


def test_fields_are_checked_as_those_of_yaml_are() -> None:
    @operator("widen")
    def widen(params: SomeParams, context: Context) -> Operator[int, int]: ...

    for fields in ({"window": 0}, {"window": "3"}, {"windw": 3}):
        with pytest.raises(msgspec.ValidationError):
            widen(**fields)
    with pytest.raises(TypeError, match="not both"):
        widen(SomeParams(), window=3)


def test_each_decorator_takes_its_kind_only() -> None:
    with pytest.raises(RegistryError, match="makes a source"):
        operator("spring")(spring)
    with pytest.raises(RegistryError, match="makes a operator"):
        node("framing")(framing)
    assert node("spring")(spring).spec.kind == "source"


def test_a_name_that_is_taken_names_both(registry: Registry) -> None:
    registry.add(spec_of("name", framing))
    registry.add(spec_of("name", framing))
    with pytest.raises(RegistryError, match=r"'name' is taken by .*:framing; .*:through wants it too"):
        registry.add(spec_of("name", through))
    assert registry.nodes["name"].factory is framing


def test_codecs_and_services_have_names_of_their_own(registry: Registry) -> None:
    def one(context: Context) -> str: ...
    def two(context: Context) -> str: ...

    assert codec("binance")(one) is one
    assert service("binance")(two) is two
    codec("binance")(one)
    with pytest.raises(RegistryError, match="codec name 'binance'"):
        codec("binance")(two)
    with pytest.raises(RegistryError, match="service name 'binance'"):
        service("binance")(one)
    assert (registry.codecs, registry.services) == ({"binance": one}, {"binance": two})


def test_lists_are_sorted_and_suggestions_near(registry: Registry) -> None:
    for name, factory in (("order-buffer", framing), ("dedupe", through), ("console", sink)):
        registry.add(spec_of(name, factory))
    assert [spec.name for spec in registry.operators()] == ["dedupe", "order-buffer"]
    assert [spec.name for spec in registry.components()] == ["console"]
    assert registry.nearest("order_buffer") == "order-buffer"
    assert registry.nearest("zzz") is None
    assert registry.nearest("window_", ["window_ms", "other"]) == "window_ms"
