"""The elements that a file names, and the stream that its numbers belong to: names into recipes and patterns.

    stream: {provider: binance, symbol: BTC-USDT, type: Trade}
    events: {a: {sequence: 7, price: 60000.10}, q: {type: BestQuote, bid_price: "1.5"}}

`a` is what stands there, over what `stream` says; a name that is a number, and that nothing else is said
of, is the event of the stream with that number. On ports of other types an element is what YAML says, and a
number itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from flow.events.canonical import CanonicalEvent
from flow.events.frames import Arrival, WsFrame
from flow.events.payloads import Levels
from flow.events.stream import EventType
from flow.graph.convert import convert
from flow.graph.tree import Faults, Tree, kind_of, quoted
from flow.graph.wording import unknown_key
from flow.scenarios.patterns import Pattern
from flow.scenarios.recipes import PAYLOADS, EventFields, EventRecipe, FrameRecipe, Recipe, ValueRecipe

__all__ = ["STREAM_KEYS", "Port", "Vocabulary", "port_of"]

Kind = Literal["event", "frame", "arrival", "value", "any"]
Place = tuple[int, int]

STREAM_KEYS: Final = ("provider", "symbol", "type", "channel", "numbers")
FRAME_KEYS: Final = ("provider", "text", "json", "hex")
EVENT_KEYS: Final = tuple(field.name for field in msgspec.structs.fields(EventFields))
ROW_KEYS: Final = (
    *(name for name in EVENT_KEYS if name not in ("numbers", "exchange_ms")),
    *("event_id", "ingest_ts", "emit_ts", "routing_version", "schema_version", "payload"),
)


@dataclass(frozen=True, slots=True)
class Port:
    """What kind of elements a port has, and their declared type."""

    kind: Kind
    declared: Any


def port_of(declared: Any) -> Port:
    """The port of a declared type; a union that has events in it is one of events."""
    members: tuple[Any, ...] = (
        get_args(declared) if get_origin(declared) in (Union, UnionType) else (declared,)
    )
    if any(isinstance(member, type) and issubclass(member, CanonicalEvent) for member in members):
        return Port("event", declared)
    if declared is WsFrame:
        return Port("frame", declared)
    if declared == Arrival:
        return Port("arrival", declared)
    is_open = declared is Any or declared is object or isinstance(declared, TypeVar)
    return Port("any" if is_open else "value", Any if is_open else declared)


class Vocabulary:
    """`events` by name and the entries of `stream`, as trees. What is wrong with them goes to `faults`."""

    def __init__(self, events: dict[str, Tree], stream: dict[str, Tree], faults: Faults) -> None:
        self.events = events
        self.stream = stream
        self.faults = faults

    def named(self, name: str, at: Tree, place: Place) -> Tree | None:
        """What a name of some marbles stands for; None, and a fault at `place`, where nothing does."""
        if name in self.events:
            return self.events[name]
        if name.isascii() and name.isdigit():
            return replace(at, value=int(name), text=name, place=place)
        guess = self.faults.guess(name, self.events) if len(name) > 1 else ""
        hint = guess or f"; say under `events` what {name} is"
        self.faults.add(place, f"no event is called {quoted(name)}{hint}")
        return None

    def recipe(self, tree: Tree, port: Port) -> Recipe | None:
        """How to make what a tree says; None, and a fault, where that can't be on this port."""
        kind = self._kind(tree, port)
        if kind == "event":
            return self._event(tree)
        if kind in ("frame", "arrival"):
            return self._frame(tree, is_arrival=kind == "arrival")
        data = tree.plain()
        try:
            msgspec.convert(data, port.declared)
        except (msgspec.ValidationError, TypeError) as error:
            self.faults.at(tree, f"this is no element for the port: {error}")
            return None
        return ValueRecipe(data, port.declared)

    def pattern(self, tree: Tree, port: Port) -> Pattern:
        """What an element is to be like, in marbles: as the recipe says, as far as it says it."""
        if self._kind(tree, port) != "event":
            return Pattern(_payload_tree(tree) if port.kind in ("frame", "arrival") else tree)
        fields = self._with_stream(tree)
        hidden = ("numbers", "exchange_ms")
        self._check_keys(fields, (*EVENT_KEYS, *ROW_KEYS))
        return Pattern(Tree.of_mapping({key: child for key, child in fields.items() if key not in hidden}))

    def stream_pattern(self) -> Tree:
        """What the events of the stream are like."""
        return Tree.of_mapping({key: child for key, child in self.stream.items() if key != "numbers"})

    def row(self, tree: Tree, port: Port) -> Pattern:
        """What an element is to be like, in rows: what is named there and nothing else."""
        if tree.is_mapping and port.kind == "event":
            self._check_keys(tree.entries, ROW_KEYS)
        return Pattern(tree)

    def _kind(self, tree: Tree, port: Port) -> Kind:
        if port.kind != "any":
            return port.kind
        is_number = type(tree.value) is int and bool(self.stream)
        is_event = tree.is_mapping and all(key in _known_fields() for key in tree.entries)
        return "event" if is_number or is_event else "value"

    def _with_stream(self, tree: Tree) -> dict[str, Tree]:
        """What is said of an event, over what the stream says; another type has another channel."""
        if not tree.is_mapping:
            if type(tree.value) is not int:
                self.faults.at(tree, f"an event is a number or a mapping, not {kind_of(tree)}")
                return dict(self.stream)
            return {**self.stream, "sequence": tree}
        own = tree.entries
        inherited = dict(self.stream)
        usual = inherited["type"].value if "type" in inherited else EventType.TRADE
        if "type" in own and own["type"].value != usual:
            inherited = {key: child for key, child in inherited.items() if key not in ("channel", "numbers")}
        return {**inherited, **own}

    def _event(self, tree: Tree) -> Recipe | None:
        fields = self._with_stream(tree)
        before = self.faults.count
        self._check_keys(fields, EVENT_KEYS)
        head = {key: child for key, child in fields.items() if key in EVENT_KEYS}
        read = convert(Tree.of_mapping(head).moved(tree.key, tree.place), EventFields, "event", self.faults)
        if read is None:
            return None
        if read.type not in PAYLOADS:
            self.faults.at(tree, f"events of type {read.type} can't be written in a test")
            return None
        kind, defaults = PAYLOADS[read.type]
        known = {field.name: field.type for field in msgspec.structs.fields(kind)}
        if "trade_id" in known:
            defaults = {**defaults, "trade_id": read.sequence}
        parts = {name: Tree.of_data(value).standing_at(tree) for name, value in defaults.items()}
        for name, declared in known.items():
            if name in tree.entries:
                is_text = declared is str or declared == Levels
                parts[name] = _in_digits(tree.entries[name]) if is_text else tree.entries[name]
        if self.faults.count > before:
            return None
        whole = Tree.of_mapping(parts).moved(tree.key, tree.place)
        payload = convert(whole, kind, f"event: {read.type}", self.faults)
        return None if payload is None else EventRecipe(read, payload)

    def _frame(self, tree: Tree, *, is_arrival: bool) -> Recipe | None:
        parts = tree.entries if tree.is_mapping else {"text": tree}
        self._check_keys(parts, FRAME_KEYS)
        given = [key for key in ("text", "json", "hex") if key in parts]
        if len(given) != 1:
            self.faults.at(tree, "a frame is a text, or a mapping with one of text, json and hex")
            return None
        value = parts[given[0]]
        provider = parts["provider"] if "provider" in parts else self.stream.get("provider")
        try:
            payload = _bytes(given[0], value)
        except ValueError as error:
            self.faults.at(value, f"{given[0]}: {error}")
            return None
        return FrameRecipe("test" if provider is None else str(provider.value), payload, is_arrival)

    def _check_keys(self, fields: dict[str, Tree], known: Iterable[str]) -> None:
        allowed = list(dict.fromkeys(known))
        payload = _payload_fields(fields.get("type"))
        for name, child in fields.items():
            head = name.partition(".")[0]
            if name not in allowed and name not in payload and not (head in allowed and "." in name):
                said = unknown_key(name, [*allowed, *payload], self.faults)
                self.faults.at_key(child, f"event: {said}")


def _payload_fields(kind: Tree | None) -> list[str]:
    """The fields of a type's payload; of all types where it is not said which."""
    chosen = None if kind is None else kind.value
    types = [EventType(chosen)] if chosen in tuple(EventType) else list(PAYLOADS)
    return [
        field.name for one in types if one in PAYLOADS for field in msgspec.structs.fields(PAYLOADS[one][0])
    ]


def _known_fields() -> set[str]:
    return {*EVENT_KEYS, *ROW_KEYS, *_payload_fields(None)}


def _in_digits(tree: Tree) -> Tree:
    """Decimals as they were written: exact strings, quoted or not."""
    if tree.is_list:
        return tree.rebuilt([_in_digits(item) for item in tree.items])
    is_number = isinstance(tree.value, (int, float)) and not isinstance(tree.value, bool)
    return replace(tree, value=tree.text) if is_number and tree.text else tree


def _payload_tree(tree: Tree) -> Tree:
    """A frame as its row has it."""
    key = next((key for key in ("text", "json", "hex") if key in tree.entries), "text")
    value = tree.entries.get(key, tree)
    try:
        text = _bytes(key, value).decode("utf-8", "backslashreplace")
    except ValueError:
        return tree
    return Tree.of_mapping({"payload": replace(value, value=text)})


def _bytes(key: str, tree: Tree) -> bytes:
    """Raises ValueError."""
    if key == "json":
        return msgspec.json.encode(tree.plain())
    text = tree.value if isinstance(tree.value, str) else tree.text
    if not isinstance(tree.value, str) and not text:
        raise ValueError(f"a text belongs here, not {kind_of(tree)}")
    return bytes.fromhex(text) if key == "hex" else text.encode()
