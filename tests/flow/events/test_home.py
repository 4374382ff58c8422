"""What the pool gives objects as their home is one by the protocol."""

from __future__ import annotations

import pytest

from flow.errors import DoublePut
from flow.events import Connection, PooledEvent, WsFrame
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


@pytest.mark.parametrize("item", [PooledEvent(make_stream()), WsFrame(Connection("binance", 1))])
def test_a_put_of_what_has_no_home_says_what_it_is(item: PooledEvent | WsFrame) -> None:
    with pytest.raises(DoublePut) as caught:
        item.put()
    key = item.stream if isinstance(item, PooledEvent) else item.connection
    name = type(item).__name__
    assert str(caught.value) == f"put of a {name} of {key!r} that is already in its pool, or in none"
