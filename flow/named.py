"""Finds and makes the code that a graph names: `./my_strategy.py:MyStrategy` or `package.module:Name`.

Whatever goes wrong becomes one `FlowError` in words, with file and line of the user's code where that failed.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from flow.context import Context
from flow.errors import FlowError

__all__ = ["make_function", "make_object", "nearest_of", "place_of", "where_raised"]

Raised = Exception | SystemExit
"""What user code may end with while it is loaded; an interrupt is no fault of it."""


def make_object(reference: str, params: dict[str, Any], context: Context) -> Any:
    """The named object; a class is called with `params`. Raises `FlowError`."""
    name, target = _find(reference, context)
    if inspect.isclass(target):
        return _construct(target, params)
    if params:
        raise FlowError(f"{place_of(target)}{name} is no class: only a class takes parameters")
    return target


def make_function(
    reference: str, params: dict[str, Any], context: Context, arguments: tuple[str, ...]
) -> Callable[..., Any]:
    """The named function, with `params` as keyword arguments, or an object of the named class, made with
    them; it is to be called with the `arguments`, which have these names in messages. Raises `FlowError`."""
    name, target = _find(reference, context)
    where = (place_of(target) or f"{reference.rpartition(':')[0]}: ") + name
    if inspect.isclass(target):
        target, params = _construct(target, params), {}
    if not callable(target):
        raise FlowError(f"{where} can't be called")
    if inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(type(target).__call__):
        raise FlowError(f"{where} is async; an operator calls plain functions")
    _check_arguments(target, where, params, arguments)
    return functools.partial(target, **params) if params else target


def _check_arguments(
    target: Callable[..., Any], where: str, params: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments, **params)
    except TypeError as error:
        unknown = next((param for param in params if param not in signature.parameters), None)
        hint = nearest_of(unknown, signature.parameters) if unknown else ""
        given = ", ".join([*arguments, *(f"{param}=..." for param in params)])
        raise FlowError(f"{where} is called as ({given}): {error}{hint}") from None


def _find(reference: str, context: Context) -> tuple[str, Any]:
    where, colon, name = reference.rpartition(":")
    if not (colon and where and name):
        raise FlowError(f"{reference!r} names no object; write ./file.py:Name or package.module:Name")
    base_dir = Path(context.refs.get("base_dir", ".")).resolve()
    if where.endswith(".py") or "/" in where or "\\" in where:
        path = (base_dir / Path(where).expanduser()).resolve()
        module: ModuleType = context.service(f"module {path}", lambda _: _load_file(path))
    else:
        module = _import(where, base_dir)
    return name, _attribute(module, name)


def place_of(target: Any) -> str:
    """`file:line: ` of a class or function, '' where it has none."""
    target = inspect.unwrap(getattr(target, "__func__", target))
    try:
        file = inspect.getsourcefile(target)
        line = inspect.getsourcelines(target)[1]
    except (TypeError, OSError):
        return ""
    return f"{file}:{line}: "


def where_raised(error: BaseException, own_file: str) -> str:
    """`file:line: ` of the deepest line of `own_file` that an exception passed, '' where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == own_file]
    return f"{own_file}:{lines[-1]}: " if lines else ""


def nearest_of(name: str, names: Iterable[str]) -> str:
    """`; did you mean NAME?`, or '' where nothing is like it."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _load_file(path: Path) -> ModuleType:
    if not path.exists():
        raise FlowError(f"{path}: there is no such file")
    if not path.is_file():
        raise FlowError(f"{path}: is no file")
    _let_import_from(path.parent)
    name = f"flow_object_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FlowError(f"{path}: is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    former = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        _restore(name, former)
        raise _load_error(error, str(path)) from None
    return module


def _restore(name: str, former: ModuleType | None) -> None:
    if former is None:
        sys.modules.pop(name, None)
    else:
        sys.modules[name] = former


def _import(name: str, base_dir: Path) -> ModuleType:
    _let_import_from(base_dir)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise FlowError(
                f"no module named {error.name!r}, neither installed nor in {base_dir}; "
                f"a file is written ./{name.replace('.', '/')}.py:Name"
            ) from None
        raise _load_error(error, _file_of(name)) from None
    except (Exception, SystemExit) as error:
        raise _load_error(error, _file_of(name)) from None


def _let_import_from(folder: Path) -> None:
    """User code may import what lies beside it; what is installed comes first."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def _file_of(module: str) -> str:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    return (spec.origin or "") if spec else ""


def _load_error(error: Raised, path: str) -> FlowError:
    if isinstance(error, SyntaxError) and error.filename:
        return FlowError(f"{error.filename}:{error.lineno or 0}: {type(error).__name__}: {error.msg}")
    where = where_raised(error, path) or (f"{path}: " if path else "")
    return FlowError(f"{where}{_in_words(error)}")


def _in_words(error: BaseException) -> str:
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def _attribute(module: ModuleType, name: str) -> Any:
    target: Any = module
    for part in name.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            public = [known for known in dir(target) if not known.startswith("_")]
            file = getattr(module, "__file__", None) or module.__name__
            raise FlowError(f"{file}: has no {name!r}{nearest_of(part, public)}") from None
    return target


def _construct(target: type[Any], params: dict[str, Any]) -> Any:
    _check_parameters(target, params)
    try:
        return target(**params)
    except (Exception, SystemExit) as error:
        file = inspect.getsourcefile(target) if target.__module__ != "builtins" else None
        where = where_raised(error, file or "") or place_of(target)
        raise FlowError(f"{where}{target.__name__}(...) raised {_in_words(error)}") from None


def _check_parameters(target: type[Any], params: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(**params)
        return
    except TypeError as error:
        known = [
            name
            for name, parameter in signature.parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        unknown = next((name for name in params if name not in known), None)
        hint = nearest_of(unknown, known) if unknown else ""
        where = place_of(_initialiser(target)) or place_of(target)
        takes = f"takes {', '.join(known)}" if known else "takes no parameters"
        raise FlowError(f"{where}{target.__name__} {takes}: {error}{hint}") from None


def _initialiser(target: type[Any]) -> Callable[..., Any]:
    return target.__init__
