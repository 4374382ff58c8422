"""The public face holds what it names, and costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from inspect import getmodule

import pytest

import flow

HEAVY = ("nodes", "operators", "aiohttp", "reactivex", "msgspec", "rich", "asyncio", "yaml")


@pytest.mark.parametrize("name", flow.__all__)
def test_every_name_is_the_object_of_its_home(name: str) -> None:
    home = flow._HOME_OF[name]
    assert getattr(flow, name) is getattr(import_module(home), name)


def test_all_is_sorted_complete_and_without_repeats() -> None:
    assert flow.__all__ == sorted(set(flow.__all__))
    assert set(flow.__all__) == set(flow._HOME_OF)
    assert set(flow.__all__) <= set(dir(flow))


@pytest.mark.parametrize("name", [name for name in flow.__all__ if isinstance(getattr(flow, name), type)])
def test_a_class_is_at_home_where_it_is_defined(name: str) -> None:
    module = getmodule(getattr(flow, name))
    assert module is not None
    assert module.__name__ == flow._HOME_OF[name]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = flow.no_such_name  # type: ignore[attr-defined]


@pytest.mark.parametrize("statement", ["import flow", "import flow.cli"])
def test_importing_it_imports_nothing_heavy(statement: str) -> None:
    code = f"import sys; {statement}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
