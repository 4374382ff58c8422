"""For tests of operators, nodes and graphs: builders of events, pools that must be empty, virtual time.

Nothing here needs a test framework.
"""

from flow.testing.bench import Bench
from flow.testing.events import EventFactory, make_event, make_stream, trade
from flow.testing.pools import assert_nothing_out
from flow.testing.virtual import Recorder, pushed, values

__all__ = [
    "Bench",
    "EventFactory",
    "Recorder",
    "assert_nothing_out",
    "make_event",
    "make_stream",
    "pushed",
    "trade",
    "values",
]
