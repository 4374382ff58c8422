"""What the pool gives objects as their home is one by the protocol."""

from __future__ import annotations

from flow.events import PooledEvent
from flow.events.home import Home
from flow.pool import Pool
from flow.testing import make_stream


def test_a_shelf_is_a_home() -> None:
    pool = Pool("CanonicalEvent", PooledEvent)
    event = pool.shelf(make_stream()).get()
    home: Home | None = event.home
    assert home is not None
    home.put(event)
    assert (event.home, pool.out) == (None, 0)
