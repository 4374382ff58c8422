"""Whether what one port gives is what another takes, by their type hints.

Unions, `Any`, subclasses, tuples, lists and mappings with their arguments, `Literal`, `NewType`, and type
variables, which stand for whatever comes in. What can't be judged (a protocol without a run-time check) is
taken to fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

__all__ = ["fits", "joined", "resolved", "type_name"]

Bindings = dict[Any, Any]
"""What each type variable was found to stand for."""


def fits(given: Any, wanted: Any, bindings: Bindings) -> bool:
    """Whether every value of `given` may go where `wanted` stands. Type variables of `wanted` are bound."""
    given, wanted = _bare(given), _bare(wanted)
    if isinstance(wanted, TypeVar):
        return _bind(given, wanted, bindings)
    if given is Any or wanted is Any or wanted is object:
        return True
    members = _members(given)
    if members is not None:
        return all(fits(member, wanted, bindings) for member in members)
    options = _members(wanted)
    if options is not None:
        return any(fits(given, option, bindings) for option in _variables_last(options))
    if isinstance(given, TypeVar):
        return fits(resolved(given, {}), wanted, bindings)
    return _one_fits(given, wanted, bindings)


def _bind(given: Any, wanted: TypeVar, bindings: Bindings) -> bool:
    limits = [wanted.__bound__] if wanted.__bound__ is not None else list(wanted.__constraints__)
    if limits and not any(fits(given, limit, bindings) for limit in limits):
        return False
    bindings[wanted] = joined([bindings[wanted], given]) if wanted in bindings else given
    return True


def _one_fits(given: Any, wanted: Any, bindings: Bindings) -> bool:
    if get_origin(given) is Literal:
        if get_origin(wanted) is Literal:
            return set(get_args(given)) <= set(get_args(wanted))
        return all(fits(type(value), wanted, bindings) for value in get_args(given))
    above, below = get_origin(wanted) or wanted, get_origin(given) or given
    if not isinstance(above, type) or not isinstance(below, type):
        return given == wanted or not isinstance(above, type)
    if not _is_subclass(below, above):
        return False
    return _arguments_fit(given, wanted, bindings)


def _is_subclass(below: type[Any], above: type[Any]) -> bool:
    try:
        return issubclass(below, above) or (above is float and below is int)
    except TypeError:
        return True


def _arguments_fit(given: Any, wanted: Any, bindings: Bindings) -> bool:
    have, want = get_args(given), get_args(wanted)
    if not have or not want:
        return True
    if get_origin(given) is tuple and get_origin(wanted) is tuple:
        if want[-1] is ...:
            return all(fits(item, want[0], bindings) for item in have if item is not ...)
        if have[-1] is ...:
            return False
    return len(have) == len(want) and all(fits(a, b, bindings) for a, b in zip(have, want, strict=True))


def resolved(declared: Any, bindings: Bindings) -> Any:
    """The type with its variables replaced by what they stand for, unbound ones by their bound."""
    declared = _bare(declared)
    if isinstance(declared, TypeVar):
        if declared in bindings:
            return bindings[declared]
        if declared.__constraints__:
            return joined(declared.__constraints__)
        return Any if declared.__bound__ is None else declared.__bound__
    members = _members(declared)
    if members is not None:
        return joined([resolved(member, bindings) for member in members])
    origin, args = get_origin(declared), get_args(declared)
    if origin is None or origin is Literal or not any(_has_variable(arg) for arg in args):
        return declared
    return origin[tuple(resolved(arg, bindings) for arg in args)]


def _has_variable(declared: Any) -> bool:
    return isinstance(declared, TypeVar) or any(_has_variable(arg) for arg in get_args(declared))


def joined(types: Iterable[Any]) -> Any:
    """The union; `Any` where one of them is."""
    members = list(types)
    if not members or any(member is Any for member in members):
        return Any
    return cast(Any, Union)[tuple(members)]


def _bare(declared: Any) -> Any:
    while True:
        if get_origin(declared) is Annotated:
            declared = get_args(declared)[0]
        elif hasattr(declared, "__supertype__"):
            declared = declared.__supertype__
        elif type(declared).__name__ == "TypeAliasType":
            declared = declared.__value__
        else:
            return NoneType if declared is None else declared


def _members(declared: Any) -> tuple[Any, ...] | None:
    return get_args(declared) if get_origin(declared) in (Union, UnionType) else None


def _variables_last(options: tuple[Any, ...]) -> list[Any]:
    return sorted(options, key=lambda option: isinstance(option, TypeVar))


def type_name(declared: Any) -> str:
    """As a message shows a type: `CanonicalEvent | DeadLetter`."""
    declared = _bare(declared)
    members = _members(declared)
    if members is not None:
        return " | ".join(type_name(member) for member in members)
    if declared is Any:
        return "anything"
    if declared is NoneType:
        return "None"
    if declared is ...:
        return "..."
    origin, args = get_origin(declared), get_args(declared)
    if origin is Literal:
        return " | ".join(repr(value) for value in args)
    if isinstance(declared, TypeVar):
        return declared.__name__ if declared.__bound__ is None else type_name(declared.__bound__)
    name = cast(str, getattr(origin or declared, "__name__", str(declared)))
    return f"{name}[{', '.join(type_name(arg) for arg in args)}]" if args else name
