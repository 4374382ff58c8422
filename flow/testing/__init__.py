"""For tests of operators, nodes and graphs: the operators' contract, builders of events, pools that must be
empty, virtual time.

Nothing here needs a test framework; `check_operator` needs hypothesis, and is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flow.testing.bench import Bench
from flow.testing.events import EventFactory, make_event, make_stream, trade
from flow.testing.pools import assert_nothing_out
from flow.testing.virtual import Recorder, pushed, values

if TYPE_CHECKING:
    from flow.testing.contract.check import ContractBroken, check_operator
    from flow.testing.contract.samples import event_samples

__all__ = [
    "Bench",
    "ContractBroken",
    "EventFactory",
    "Recorder",
    "assert_nothing_out",
    "check_operator",
    "event_samples",
    "make_event",
    "make_stream",
    "pushed",
    "trade",
    "values",
]

_CONTRACT = {
    "ContractBroken": "flow.testing.contract.check",
    "check_operator": "flow.testing.contract.check",
    "event_samples": "flow.testing.contract.samples",
}


def __getattr__(name: str) -> Any:
    home = _CONTRACT.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
