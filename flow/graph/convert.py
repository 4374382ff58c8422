"""A tree into a parameters struct: every fault of every key, each where the key or the value stands.

Types are as strict as msgspec's: a text is no number. Only what came from the environment, which has
nothing but texts, is also tried as what it would be in YAML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin

import msgspec

from flow.graph.tree import Faults, Tree, kind_of, quoted
from flow.graph.wording import choices, spelled, unknown_key, without_none

__all__ = ["convert"]

S = TypeVar("S", bound=msgspec.Struct)

_PATH: Final = re.compile(r"^(.*?)(?: - at `([^`]*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")
_ENUM: Final = re.compile(r"Invalid (?:enum|str|int|literal) value")
_LISTS: Final = (list, tuple, set, frozenset, Sequence)


def convert(tree: Tree, kind: type[S], where: str, faults: Faults) -> S | None:
    """The struct, or None with at least one fault. `where` begins each message, such as `node 'ordered'`."""
    if tree.value is None:
        tree = tree.rebuilt({})
    if not tree.is_mapping:
        faults.at(tree, f"{where}: a mapping belongs here, not {kind_of(tree)}")
        return None
    before = faults.count
    data = _struct(tree, kind, where, "", faults)
    if faults.count > before:
        return None
    try:
        return _strictly(data, kind)
    except msgspec.ValidationError as error:
        _explain(error, tree, kind, where, "", faults)
    except Exception as error:  # the __post_init__ of a plugin may raise anything
        faults.at_key(tree, f"{where}: {type(error).__name__}: {error}")
    return None


def _strictly(data: Any, kind: Any) -> Any:
    return msgspec.convert(data, kind, strict=True, dec_hook=_decode_path)


def _decode_path(kind: type[Any], value: Any) -> Any:
    if issubclass(kind, Path) and isinstance(value, str):
        return kind(value)
    raise TypeError(f"{kind.__name__} can't be written in YAML")


def _struct(tree: Tree, kind: type[msgspec.Struct], where: str, path: str, faults: Faults) -> dict[str, Any]:
    """Judge each key on its own, so that one fault hides no other. Returns the readings that fitted."""
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    tag: Any = kind.__struct_config__.tag_field
    data: dict[str, Any] = {}
    for name, child in tree.entries.items():
        if name in known:
            data[name] = _value(child, known[name].type, where, path + name, faults)
        elif name == tag:
            data[name] = child.value
        else:
            faults.at_key(child, f"{where}: {unknown_key(name, list(known), faults, prefix=path)}")
    for name, field in known.items():
        if field.required and name not in tree.entries:
            faults.at_key(tree, f"{where}: {quoted(path + name)} is missing ({spelled(field.type)})")
    return data


def _children(tree: Tree, declared: Any, where: str, path: str, faults: Faults) -> Any:
    """What is inside of a struct, a list or a mapping, each judged on its own."""
    kind = without_none(declared)
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and tree.is_mapping:
        return _struct(tree, kind, where, f"{path}.", faults)
    if tree.is_list and origin in _LISTS and inner and (len(inner) == 1 or inner[1:] == (...,)):
        return [
            _value(item, inner[0], where, f"{path}[{number}]", faults)
            for number, item in enumerate(tree.items)
        ]
    if tree.is_mapping and origin in (dict, Mapping) and inner[0] is str:
        return {
            name: _value(item, inner[1], where, f"{path}.{name}", faults)
            for name, item in tree.entries.items()
        }
    return tree.plain()


def _value(tree: Tree, declared: Any, where: str, path: str, faults: Faults) -> Any:
    """The plain data of a value that fits its type, or faults."""
    before = faults.count
    readings = [_children(tree, declared, where, path, faults)]
    if faults.count > before:
        return None
    if any(part.other is not None for part in tree.walk()):
        readings.append(tree.plain(other=True))
    failure: msgspec.ValidationError | None = None
    for data in readings:
        try:
            _strictly(data, declared)
        except msgspec.ValidationError as error:
            failure = error
        except Exception as error:  # as above
            faults.at(tree, f"{where}: {path}: {type(error).__name__}: {error}")
            return None
        else:
            return data
    assert failure is not None
    if tree.other is not None:
        tree = tree.other.standing_at(tree)
    _explain(failure, tree, declared, where, path, faults)
    return None


def _explain(
    error: msgspec.ValidationError, tree: Tree, declared: Any, where: str, path: str, faults: Faults
) -> None:
    """Say where a value is wrong, what was expected, and what stands there."""
    match = _PATH.match(str(error))
    message, inside = (match.group(1), match.group(2) or "") if match else (str(error), "")
    for name, index in _STEP.findall(inside.removeprefix("$")):
        child = tree.entries.get(name) if name else None
        if index and int(index) < len(tree.items):
            child = tree.items[int(index)]
        if child is None:
            break
        tree, path = child, f"{path}.{name}" if name and path else (name or f"{path}[{index}]")
        declared = None
    spot = f"{where}: {path}" if path else where
    if _ENUM.match(message):
        known = [str(choice) for choice in choices(declared)]
        allowed = f"expected one of {', '.join(known)}" if known else "not one of the values allowed"
        guess = "" if tree.is_secret else faults.guess(str(tree.value), known)
        faults.at(tree, f"{spot}: {allowed}, got {kind_of(tree)}{guess}")
        return
    is_said = tree.is_mapping or tree.is_list or ", got " in message
    got = "" if is_said else f", got {kind_of(tree)}"
    faults.at(tree, f"{spot}: {_lowered(message)}{got}{_hint(tree, message)}")


def _lowered(message: str) -> str:
    return message.replace("`", "")[:1].lower() + message.replace("`", "")[1:]


def _hint(tree: Tree, message: str) -> str:
    """What to write instead, where a text looks like something else."""
    if not isinstance(tree.value, str) or tree.is_secret or "got `str`" not in message:
        return ""
    shown = f" {quoted(tree)}"
    if "`bool`" in message and tree.value.lower() in ("on", "yes", "y", "off", "no", "n", "true", "false"):
        word = "true" if tree.value.lower() in ("on", "yes", "y", "true") else "false"
        return f"{shown}; write {word}"
    if re.fullmatch(r"[-+]?[0-9][0-9_]*", tree.value) and ("`int`" in message or "`float`" in message):
        number = int(tree.value.replace("_", "")) if len(tree.value) < 30 else "the number"
        return f"{shown}; write {number}"
    return shown
