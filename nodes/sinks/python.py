"""Hands each event to code of the user's: a class with handlers, or a function.

    class MyStrategy:                         # object: ./my_strategy.py:MyStrategy
        def __init__(self, threshold=0): ...  # params: {threshold: 5}
        def on_start(self): ...               # once, before the first event
        async def on_trade(self, event): ...  # a handler may be async: the next event waits for it
        def on_event(self, event): ...        # every event that has no handler of its own type; also what
                                              # operators make of events, such as a number or a list
        def on_stop(self): ...                # once, after the last

An event without a handler is passed over. What a handler raises is reported, counted as `handler_raised`, and
the next event is delivered. What can't be loaded or made raises one `FlowError` with file and line while the
graph is built.
"""

import inspect
from collections.abc import Callable
from types import MappingProxyType
from typing import Annotated, Any, Final, cast

from msgspec import Meta, Struct

from flow.component import Consumer
from flow.context import Context
from flow.errors import ConsumerError, FlowError, OwnershipBug
from flow.events.canonical import CanonicalEvent
from flow.events.stream import EventType
from flow.named import make_object, nearest_of, place_of, where_raised
from flow.registry import node
from flow.telemetry.occurrences import ConsumerFailed

__all__ = ["HANDLERS", "Python", "PythonParams", "python"]

Handler = Callable[[CanonicalEvent], Any]

HANDLERS: Final = MappingProxyType(
    {
        "on_trade": EventType.TRADE,
        "on_ticker": EventType.TICKER,
        "on_best_quote": EventType.BEST_QUOTE,
        "on_book_snapshot": EventType.BOOK_SNAPSHOT,
        "on_book_update": EventType.BOOK_UPDATE,
        "on_kline": EventType.KLINE,
        "on_merged": EventType.MERGED,
        "on_exec_report": EventType.EXEC_REPORT,
        "on_gap": EventType.GAP,
    }
)
"""Handlers by type; `on_event` gets the types that have none."""

LIFE: Final = ("on_start", "on_stop")


class PythonParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    object: Annotated[
        str,
        Meta(min_length=1, description="`./file.py:Name`, from the graph's folder, or `package.module:Name`"),
    ]
    params: Annotated[dict[str, Any], Meta(description="keyword arguments of the class's constructor")] = {}


@node("python")
def python(params: PythonParams, context: Context) -> Consumer[Any]:
    """Hands each event to a class or function of your own, sync or async."""
    try:
        target = make_object(params.object, params.params, context)
        return Python(target, context)
    except FlowError as error:
        raise FlowError(f"{context.node_id or 'python'}: {error}") from None


class Python(Consumer[Any]):
    """`target` is an object with handlers, or a callable. Raises `FlowError` where it is neither."""

    def __init__(self, target: Any, context: Context) -> None:
        self.context = context
        self.target = target
        self._has_started = False
        handlers = _handlers(target)
        self._by_type = {
            event_type: handlers.get(name, handlers.get("on_event", _pass_over))
            for name, event_type in HANDLERS.items()
        }
        self._otherwise = handlers.get("on_event", _pass_over)
        if set(handlers) == {"on_event"}:
            self.handle = cast(Any, handlers["on_event"])

    def handle(self, element: Any) -> Any:
        try:
            event_type = element.stream.event_type
        except AttributeError:
            return self._otherwise(element)
        return self._by_type.get(event_type, self._otherwise)(element)

    async def start(self) -> None:
        """Raises `ConsumerError` with the place where `on_start` raises."""
        try:
            await self._call("on_start")
        except Exception as error:
            raise ConsumerError(f"{self.context.node_id}: {self._told('on_start', error)}") from None
        self._has_started = True

    async def stop(self) -> None:
        if not self._has_started:
            return
        try:
            await self._call("on_stop")
        except OwnershipBug:
            raise
        except Exception as error:
            occurrence = ConsumerFailed(
                self.context.node_id, type(error).__name__, self._told("on_stop", error)
            )
            self.context.occurred(occurrence)

    async def _call(self, name: str) -> None:
        method = getattr(self.target, name, None)
        if callable(method):
            result = method()
            if inspect.isawaitable(result):
                await result

    def _told(self, name: str, error: Exception) -> str:
        method = getattr(self.target, name)
        code = getattr(getattr(method, "__func__", method), "__code__", None)
        where = where_raised(error, code.co_filename if code else "")
        return f"{where}{name} raised {type(error).__name__}: {error}"


def _pass_over(event: CanonicalEvent) -> None:
    return


def _handlers(target: Any) -> dict[str, Handler]:
    """The handlers that an object has; a callable without any is its own `on_event`."""
    found = {
        name: handler for name in ("on_event", *HANDLERS) if callable(handler := getattr(target, name, None))
    }
    _refuse_misspelt(target)
    if not found and callable(target):
        found = {"on_event": target}
    if not found:
        raise FlowError(
            f"{place_of(type(target))}{type(target).__name__} has no handler; "
            f"it could have on_event or {', '.join(HANDLERS)}"
        )
    for name, handler in found.items():
        _refuse_wrong_arguments(name, handler)
    return found


def _refuse_misspelt(target: Any) -> None:
    missing = [name for name in ("on_event", *HANDLERS, *LIFE) if not hasattr(target, name)]
    for name in dir(type(target)):
        if not name.startswith("on_") or name in HANDLERS or name in ("on_event", *LIFE):
            continue
        hint = nearest_of(name, missing)
        if hint:
            method = getattr(target, name)
            raise FlowError(f"{place_of(method)}{type(target).__name__}.{name} would never be called{hint}")


def _refuse_wrong_arguments(name: str, handler: Handler) -> None:
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError:
        shown = getattr(handler, "__name__", name)
        raise FlowError(f"{place_of(handler)}{shown}{signature} must take one event") from None
