from __future__ import annotations

import pytest

from flow.errors import PoolTimeout
from flow.events.frames import Arrival, Connection
from nodes.providers.transport import Headers, Reply


def test_headers_are_found_in_any_case() -> None:
    headers = Reply(200, {"Retry-After": "3", "X-A": "b"}, b"").headers
    assert headers["retry-after"] == headers["RETRY-AFTER"] == "3"
    assert "x-a" in headers
    assert headers.get("none", "default") == "default"
    assert len(headers) == 2
    assert sorted(Headers({"B": "1"})) == ["b"]


class Dry:
    """A graph whose pool is empty for the first `refusals` offers."""

    def __init__(self, refusals: int) -> None:
        self.left = refusals
        self.taken: list[bytes] = []

    def __call__(self, arrival: Arrival) -> None:
        if self.left:
            self.left -= 1
            raise PoolTimeout("WsFrame", 1)
        self.taken.append(arrival[1])


async def offer(wire, graph: Dry) -> None:
    arrival = (Connection("binance", 1), b"payload")
    try:
        graph(arrival)
    except PoolTimeout as error:
        await wire.offer_again(arrival, graph, error)


async def test_what_was_refused_is_offered_until_it_is_taken(make_wire) -> None:
    wire, graph, seen = make_wire(), Dry(3), []

    async def again(payload: bytes, error: PoolTimeout, refusals: int) -> bool:
        seen.append((payload, error.kind, refusals))
        return True

    wire.on_exhausted = again
    await offer(wire, graph)
    assert graph.taken == [b"payload"]
    assert seen == [(b"payload", "WsFrame", n) for n in (1, 2, 3)]


async def test_what_is_given_up_is_not_offered_again(make_wire) -> None:
    wire, graph = make_wire(), Dry(9)

    async def twice(payload: bytes, error: PoolTimeout, refusals: int) -> bool:
        return refusals < 3

    wire.on_exhausted = twice
    await offer(wire, graph)
    assert graph.taken == []
    assert graph.left == 9 - 3


async def test_without_anybody_to_decide_the_error_goes_through(make_wire) -> None:
    with pytest.raises(PoolTimeout):
        await offer(make_wire(), Dry(1))


async def test_nothing_is_offered_to_a_wire_that_was_halted(make_wire) -> None:
    wire, graph = make_wire(), Dry(1)

    async def again(payload: bytes, error: PoolTimeout, refusals: int) -> bool:
        wire.halt()
        return True

    wire.on_exhausted = again
    await offer(wire, graph)
    assert graph.taken == []
