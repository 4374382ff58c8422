"""Plugins: code whose import registers operators and components.

Two doors. The entry-point group `flow.plugins` names installed packages; this project's own `operators` and
`nodes` come through it. A graph's YAML names files and folders relative to itself (`./my_ops.py`,
`./my_ops/`) or packages. Each is imported once; a file under a module name of its own, so that two graphs
may each have a `my_ops.py`. An import that fails leaves nothing registered, and is one message with the
plugin's own file and line.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from flow.errors import FlowError
from flow.registry import registry

__all__ = ["GROUP", "PluginFault", "load_installed", "load_plugins", "misplaced"]

GROUP: Final = "flow.plugins"
OWN_PACKAGES: Final = ("operators", "nodes")
_PACKAGE: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")

_modules: dict[Path, str] = {}
"""The module name under which each file was imported."""


@dataclass(frozen=True, slots=True)
class PluginFault:
    """Why a plugin could not be loaded. `file` and `line` are its own; empty and 0 where it was not found."""

    plugin: str
    message: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        return f"{place}plugin {self.plugin!r}: {self.message}"


def load_installed() -> list[PluginFault]:
    """Import the packages that the entry points name. Costs next to nothing the second time."""
    wrong = misplaced()
    if wrong is not None:
        return [wrong]
    packages = sorted({point.value for point in entry_points(group=GROUP)})
    return [fault for package in packages if (fault := _import_package(package)) is not None]


def load_plugins(names: Sequence[str], base_dir: Path) -> list[PluginFault]:
    """Import what a graph names; paths are relative to `base_dir`. Returns what went wrong."""
    found = [
        _import_path(name, base_dir) if _is_path(name) else _import_package(name, base_dir) for name in names
    ]
    return [fault for fault in found if fault is not None]


def misplaced(packages: Sequence[str] = OWN_PACKAGES) -> PluginFault | None:
    """Whether another package has the name of one that belongs beside this one."""
    home = Path(__file__).resolve().parent.parent
    for package in packages:
        spec = find_spec(package)
        if spec is None:
            return PluginFault(package, f"the package {package!r} is missing beside flow in {home}")
        found = spec.origin or next(iter(spec.submodule_search_locations or ()), "")
        folder = Path(found).resolve().parent
        if folder.name == package:
            folder = folder.parent
        if folder != home:
            return PluginFault(
                package,
                f"another package named {package!r} in {folder} hides the one beside flow in {home}; "
                f"run in an environment, and from a folder, without it",
            )
    return None


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or "/" in name or "\\" in name or name.endswith(".py")


def _import_path(name: str, base_dir: Path) -> PluginFault | None:
    try:
        path = (base_dir / Path(name).expanduser()).resolve()
        file = path / "__init__.py" if path.is_dir() else path
        is_there = file.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        return PluginFault(name, f"this path can't be read: {error}")
    if not is_there:
        what = "folder has no __init__.py" if path.is_dir() else "file is not there"
        return PluginFault(name, f"the {what}: {file}")
    if file in _modules:
        return None
    digest = hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    module_name = f"flow_plugin_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"
    home = file.parent if path.is_dir() else file
    fault = _guarded(name, module_name, lambda: _execute(module_name, file), home)
    if fault is None:
        _modules[file] = module_name
        return None
    return PluginFault(name, fault.message.replace(module_name, name), fault.file, fault.line)


def _execute(module_name: str, file: Path) -> None:
    is_package = file.name == "__init__.py"
    spec = importlib.util.spec_from_file_location(
        module_name, file, submodule_search_locations=[str(file.parent)] if is_package else None
    )
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)


def _import_package(name: str, base_dir: Path | None = None) -> PluginFault | None:
    if not _PACKAGE.fullmatch(name):
        return PluginFault(name, "neither a package's name nor a path; a path begins with ./")
    if name in sys.modules:
        return None
    top = name.partition(".")[0]
    return _guarded(name, top, lambda: importlib.import_module(name), None, base_dir)


def _guarded(
    name: str, top: str, do_import: Callable[[], object], home: Path | None, base_dir: Path | None = None
) -> PluginFault | None:
    """Import, and where that fails take back what was registered on the way."""
    tables: list[dict[str, Any]] = [registry.nodes, registry.codecs, registry.services]
    kept = [dict(table) for table in tables]
    before = set(sys.modules)
    try:
        do_import()
    except (Exception, SystemExit) as error:
        for table, earlier in zip(tables, kept, strict=True):
            table.clear()
            table.update(earlier)
        for module in set(sys.modules) - before:
            if module.split(".")[0] == top:
                del sys.modules[module]
        if isinstance(error, ModuleNotFoundError) and home is None and _is_absent(error, name):
            return PluginFault(name, f"there is no package {error.name!r}{_path_hint(name, base_dir)}")
        file, line = _place(error, home or _home_of(name))
        return PluginFault(name, _said(error), file, line)
    return None


def _is_absent(error: ModuleNotFoundError, name: str) -> bool:
    return error.name is not None and f"{name}.".startswith(f"{error.name}.")


def _path_hint(name: str, base_dir: Path | None) -> str:
    top = name.partition(".")[0]
    for candidate in (f"{top}.py", top):
        if base_dir is not None and (base_dir / candidate).exists():
            return f"; the file beside the graph is ./{candidate}"
    return ""


def _home_of(name: str) -> Path | None:
    module = sys.modules.get(name.partition(".")[0])
    try:
        origin = getattr(module, "__file__", None) or getattr(
            find_spec(name.partition(".")[0]), "origin", None
        )
    except (ImportError, ValueError):
        return None
    return Path(origin).resolve().parent if origin else None


def _place(error: BaseException, home: Path | None) -> tuple[str, int]:
    """The innermost line of the plugin's own that led to the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        file = Path(frame.filename)
        if home is not None and (file == home or home in file.parents):
            return frame.filename, frame.lineno or 0
    return (str(home), 0) if home is not None else ("", 0)


def _said(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    first = (text or "").strip().splitlines()
    message = first[0] if first else ""
    if isinstance(error, FlowError):
        for file, module_name in _modules.items():
            message = message.replace(module_name, str(file))
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
