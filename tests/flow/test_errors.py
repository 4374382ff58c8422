"""The tree of errors is the one that its docstring draws."""

from __future__ import annotations

import re

import pytest

from flow import errors
from flow.errors import Fault, FlowError, GraphError, OwnershipBug, PoolTimeout, Retryable


def drawn() -> dict[str, str]:
    """Class name to the name of its parent, read from the drawing."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│├└─ ]*)([A-Z]\w+)(\s|$)", line)
        if found and (found[1] or found[2] == "FlowError"):
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            if depth:
                parents[found[2]] = above[depth - 1]
    return parents


def test_the_drawing_is_the_tree() -> None:
    real = {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, FlowError) and kind is not FlowError
    }
    assert drawn() == real


def test_faults_are_listed_in_file_order() -> None:
    late, early = Fault("g.yaml", 12, 1, "late"), Fault("g.yaml", 3, 9, "early")
    error = GraphError([late, early])
    assert error.faults == [early, late]
    assert str(error) == "g.yaml:3:9: early\ng.yaml:12:1: late"


def test_errors_say_what_is_needed_to_act_on_them() -> None:
    assert str(PoolTimeout("WsFrame", 8, 100)) == "pool WsFrame: all 8 objects are out (waited 100 ms)"
    assert Retryable("busy", 2.5).retry_after_s == 2.5
    assert not issubclass(PoolTimeout, OwnershipBug)
    with pytest.raises(FlowError):
        raise Retryable("busy")
