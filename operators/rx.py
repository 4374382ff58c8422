"""Stock operators of reactivex for YAML: `use: rx.map` with a function of the user's, and the like.

    events           --a-b-b-c-d--------|
    rx.map           --A-B-B-C-D--------|      function(element)
    rx.filter        --a-----c----------|      function(element) is true; else dropped as `filtered`
    rx.scan          --A-B-B-C-D--------|      function(state, element), the new state each time
    ..distinct..     --a-b---c-d--------|      a repeat is dropped as `repeated`
    rx.pairwise      ----ab-bb-bc-cd----|
    ..with-count     ----ab--bc------d--|      count: 2; dropped as `skipped` where `skip` leaves a hole
    ..with-time      -----ab---bcd------|      no list where nothing came
    rx.sample        -----b----d--------|      every_ms; dropped as `superseded` by a later one
    rx.debounce      --------------d----|      due_ms; dropped as `superseded` by one that came sooner

`function` is `./file.py:name`, from the graph's folder, or `package.module:name`: a plain function, or a
class of objects that are called; `params` are its keyword arguments. The element on which it raises goes to
the dead letters, and the stream goes on. What an operator remembers, it remembers of all elements together,
or with `per` of each stream, symbol or other key apart. Completion lets out what is held; disposal and errors
drop it as `disposed`. Elements are owned copies, so no pooled object is held.
"""

from collections.abc import Callable
from copy import deepcopy
from operator import attrgetter
from typing import Annotated, Any, Final, TypeVar

import reactivex
from msgspec import Meta, Struct
from reactivex import Observable
from reactivex import operators as ops

from flow.context import Context
from flow.errors import FlowError
from flow.named import make_function, nearest_of
from flow.registry import Operator, operator
from flow.stage import stage
from flow.stock import Chosen, Gathered, Host, Latest, Line

__all__ = [
    "rx_buffer_with_count",
    "rx_buffer_with_time",
    "rx_debounce",
    "rx_distinct_until_changed",
    "rx_filter",
    "rx_map",
    "rx_pairwise",
    "rx_sample",
    "rx_scan",
]

T = TypeVar("T")

Reference = Annotated[
    str, Meta(min_length=1, description="`./file.py:name`, from the graph's folder, or `package.module:name`")
]
Keywords = Annotated[dict[str, Any], Meta(description="keyword arguments of the function, or of the class")]
Milliseconds = Annotated[float, Meta(ge=1, le=86_400_000)]
Per = Annotated[
    str | None,
    Meta(description="one memory for each `stream` or `symbol`, or for what `./file.py:name` says"),
]

_UNKNOWN: Final = object()
KEYS: Final = {"stream": attrgetter("stream"), "symbol": attrgetter("symbol")}


def _hosted(context: Context, make: Callable[[Host], Line], per: str | None = None) -> Operator[Any, Any]:
    key = None if per is None else KEYS.get(per) or _named_key(per, context)
    return stage(lambda: Host(context, make, key))


def _named_key(per: str, context: Context) -> Callable[[Any], Any]:
    if ":" not in per:
        raise FlowError(
            f"per: {per!r} is neither stream nor symbol nor ./file.py:name{nearest_of(per, KEYS)}"
        )
    return make_function(per, {}, context, ("element",))


class RxFunctionParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    function: Reference
    params: Keywords = {}


@operator("rx.map")
def rx_map(params: RxFunctionParams, context: Context) -> Operator[Any, Any]:
    """What a function makes of each element."""
    function = make_function(params.function, params.params, context, ("element",))
    return _hosted(context, lambda host: Line(host, lambda line: ops.map(line.guarded(function))))


@operator("rx.filter", loss="anything")
def rx_filter(params: RxFunctionParams, context: Context) -> Operator[T, T]:
    """Elements of which a function is true; the others are dropped as `filtered`."""
    function = make_function(params.function, params.params, context, ("element",))

    def make(host: Host) -> Line:
        return Chosen(host, lambda line: ops.filter(line.guarded(function)), "filtered")

    return _hosted(context, make)


class RxScanParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    function: Reference
    params: Keywords = {}
    seed: Annotated[Any, Meta(description="the first state; null: the first element is")] = None
    per: Per = None


@operator("rx.scan")
def rx_scan(params: RxScanParams, context: Context) -> Operator[Any, Any]:
    """The states that a function makes of the last state and each element."""
    function = make_function(params.function, params.params, context, ("state", "element"))

    def operate(line: Line) -> Operator[Any, Any]:
        accumulate = line.guarded(function, _state_of)
        return ops.scan(accumulate) if params.seed is None else ops.scan(accumulate, deepcopy(params.seed))

    return _hosted(context, lambda host: Line(host, operate), params.per)


def _state_of(state: Any, element: Any) -> Any:
    return state


class RxDistinctUntilChangedParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    function: Annotated[
        str | None, Meta(description="what is compared of an element, `./file.py:name`; null: the element")
    ] = None
    params: Keywords = {}
    per: Per = None


@operator("rx.distinct-until-changed", loss="anything")
def rx_distinct_until_changed(params: RxDistinctUntilChangedParams, context: Context) -> Operator[T, T]:
    """Elements that differ from the one before; the others are dropped as `repeated`."""
    function: Callable[[Any], Any] = _itself
    if params.function is not None:
        function = make_function(params.function, params.params, context, ("element",))

    def operate(line: Line) -> Operator[Any, Any]:
        return ops.distinct_until_changed(line.guarded(function, _unknown), line.guarded(_is_same, _true))

    return _hosted(context, lambda host: Chosen(host, operate, "repeated"), params.per)


def _itself(element: Any) -> Any:
    return element


def _unknown(element: Any) -> Any:
    """What stands for an element whose comparison raised: no other equals it."""
    return _UNKNOWN


def _is_same(last: Any, this: Any) -> bool:
    return this is _UNKNOWN or last == this


def _true(*_: Any) -> bool:
    return True


class RxPairwiseParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    per: Per = None


@operator("rx.pairwise")
def rx_pairwise(params: RxPairwiseParams, context: Context) -> Operator[T, tuple[T, T]]:
    """Each element from the second on, with the one before."""
    return _hosted(context, lambda host: Line(host, lambda _: ops.pairwise()), params.per)


class RxBufferWithCountParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=1, le=100_000, description="elements of a list")]
    skip: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        Meta(description="elements from list to list; null: `count`"),
    ] = None
    per: Per = None


@operator("rx.buffer-with-count", loss="anything")
def rx_buffer_with_count(params: RxBufferWithCountParams, context: Context) -> Operator[T, list[T]]:
    """Lists of so many elements; with `skip: 1` the last ones, each time."""
    count, step = params.count, params.skip or params.count

    def make(host: Host) -> Line:
        return Gathered(host, lambda _: ops.buffer_with_count(count, step), count, step)

    return _hosted(context, make, params.per)


class RxBufferWithTimeParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    span_ms: Annotated[Milliseconds, Meta(description="time that a list covers, from the first element on")]
    most: Annotated[int, Meta(ge=1, le=1_000_000, description="elements that end a list early")] = 10_000
    per: Per = None


@operator("rx.buffer-with-time", loss="anything")
def rx_buffer_with_time(params: RxBufferWithTimeParams, context: Context) -> Operator[T, list[T]]:
    """Lists of what came in each span of time."""
    span_s, most = params.span_ms / 1000, params.most

    def make(host: Host) -> Line:
        return Gathered(host, lambda _: ops.buffer_with_time_or_count(span_s, most), most, most)

    return _hosted(context, make, params.per)


class RxSampleParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    every_ms: Annotated[Milliseconds, Meta(description="time between two looks, from the first element on")]
    per: Per = None


@operator("rx.sample", loss="anything")
def rx_sample(params: RxSampleParams, context: Context) -> Operator[T, T]:
    """The latest element, every so often; the others are dropped as `superseded`."""
    every_s = params.every_ms / 1000

    def operate(line: Line) -> Operator[Any, Any]:
        looks: Observable[Any] = reactivex.interval(every_s)
        return ops.sample(looks.pipe(ops.take_until(line.ended)))

    return _hosted(context, lambda host: Latest(host, operate), params.per)


class RxDebounceParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    due_ms: Annotated[Milliseconds, Meta(description="time without a further element")]
    per: Per = None


@operator("rx.debounce", loss="anything")
def rx_debounce(params: RxDebounceParams, context: Context) -> Operator[T, T]:
    """An element that no other followed for a while; the others are dropped as `superseded`."""
    due_s = params.due_ms / 1000

    return _hosted(context, lambda host: Latest(host, lambda _: ops.debounce(due_s)), params.per)
