from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from flow.events.frames import Connection
from nodes.providers.binance.link import BinanceLink, LinkStats, RequestRefused


class Linked:
    """A link over a scripted wire, fed by a graph that hands everything back."""

    def __init__(self, wire: Any, collector: Any, **more: Any) -> None:
        self.wire = wire
        self.stats = LinkStats()
        self.reports: list[RequestRefused] = []
        self.woken = 0
        self.link = BinanceLink(
            wire, Connection("binance", 3), self.stats, self.reports.append, answer_timeout_s=10.0, **more
        )
        self.link.start(collector, self.wake)

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def link(virtually, make_wire, collector) -> Callable:
    """Runs a test with a link, which is closed at the end."""

    def run(body: Callable[[Linked], Any], **more: Any) -> None:
        async def main() -> None:
            linked = Linked(make_wire(), collector, **more)
            await body(linked)
            await linked.link.close()

        virtually(main())

    return run


def names(count: int) -> list[str]:
    return [f"s{number}@trade" for number in range(count)]


def refuse(code: int, msg: str) -> Callable[[dict[str, Any]], bytes]:
    return lambda request: msgspec.json.encode({"code": code, "msg": msg, "id": request["id"]})


def test_streams_are_asked_for_in_batches_with_ids_of_their_own(link) -> None:
    async def body(linked: Linked) -> None:
        linked.link.subscribe(names(450))
        assert not linked.link.answered.is_set()
        await linked.link.answered.wait()
        requests = [request for _, request in linked.wire.sent]
        assert [len(request["params"]) for request in requests] == [200, 200, 50]
        assert linked.wire.names() == names(450)
        assert [request["id"] for request in requests] == [1, 2, 3]
        assert linked.stats.requests == 3

    link(body)


def test_no_second_ever_has_more_than_four_messages(link) -> None:
    async def body(linked: Linked) -> None:
        for number in range(20):
            linked.link.subscribe([f"s{number}@trade"])
            await asyncio.sleep(0.03)
        await linked.link.answered.wait()
        times = [at for at, _ in linked.wire.sent]
        assert len(times) == 20
        assert max(sum(start <= at < start + 1 for at in times) for start in times) == 4
        assert times[-1] == pytest.approx(4.0 + 0.09)

    link(body)


def test_what_is_asked_twice_is_sent_once(link) -> None:
    async def body(linked: Linked) -> None:
        linked.link.subscribe(["a@trade", "b@trade"])
        linked.link.subscribe(["a@trade"])
        linked.link.unsubscribe(["c@trade"])
        await linked.link.answered.wait()
        linked.link.unsubscribe(["a@trade"])
        linked.link.unsubscribe(["a@trade"])
        await linked.link.answered.wait()
        assert [request["method"] for _, request in linked.wire.sent] == ["SUBSCRIBE", "UNSUBSCRIBE"]
        assert list(linked.link.names) == ["b@trade"]

    link(body)


def test_a_silent_stream_is_asked_for_anew(link) -> None:
    async def body(linked: Linked) -> None:
        linked.link.subscribe(["a@trade", "b@trade"])
        await linked.link.answered.wait()
        linked.link.resubscribe(["b@trade", "unknown@trade"])
        await linked.link.answered.wait()
        sent = [(request["method"], request["params"]) for _, request in linked.wire.sent[1:]]
        assert sent == [("UNSUBSCRIBE", ["b@trade"]), ("SUBSCRIBE", ["b@trade"])]

    link(body)


def test_a_refused_batch_is_halved_until_the_stream_at_fault_stands_alone(link) -> None:
    async def body(linked: Linked) -> None:
        def answer(request: dict[str, Any]) -> bytes | None:
            if "s3@trade" in request["params"]:
                return refuse(2, "Invalid request: no such stream")(request)
            return linked.wire.acknowledge(request)

        linked.wire.answer = answer
        linked.link.subscribe(names(8))
        await linked.link.answered.wait()
        assert linked.stats.given_up == {"s3@trade": "Invalid request: no such stream"}
        carried = {
            name
            for _, request in linked.wire.sent
            if "s3@trade" not in request["params"]
            for name in request["params"]
        }
        assert carried == set(names(8)) - {"s3@trade"}
        finals = [report for report in linked.reports if report.is_final]
        assert [(report.code, report.first_stream, report.streams) for report in finals] == [
            ("2", "s3@trade", 1)
        ]
        assert linked.stats.refused == {"2": len(linked.reports)} == {"2": 3 + 3}

    link(body)


def test_a_stream_that_is_refused_for_the_moment_is_asked_for_again(link) -> None:
    async def body(linked: Linked) -> None:
        answers = [refuse(3, "Invalid JSON"), linked.wire.acknowledge]
        linked.wire.answer = lambda request: (answers.pop(0))(request)  # noqa: PLW0108 - one answer a call
        linked.link.subscribe(["a@trade"])
        await linked.link.answered.wait()
        assert linked.wire.names() == ["a@trade", "a@trade"]
        assert linked.stats.given_up == {}
        assert [report.message for report in linked.reports] == ["Invalid JSON"]

    link(body)


def test_a_request_without_an_answer_is_sent_again_and_then_ends_the_connection(link) -> None:
    async def body(linked: Linked) -> None:
        linked.wire.answer = lambda request: None
        linked.link.subscribe(["a@trade"])
        await asyncio.wait([linked.link.reading])
        assert [at for at, _ in linked.wire.sent] == [0.0, 10.0, 20.0]
        assert linked.link.outcome() == "no_answer"
        assert [report.is_final for report in linked.reports] == [False, False, True]
        assert linked.woken == 1

    link(body)


def test_what_was_asked_the_other_way_since_is_not_sent_again(link) -> None:
    async def body(linked: Linked) -> None:
        linked.wire.answer = lambda request: None
        linked.link.subscribe(["a@trade"])
        await asyncio.sleep(5.0)
        linked.link.unsubscribe(["a@trade"])
        await asyncio.sleep(2.0)
        linked.wire.answer = linked.wire.acknowledge
        await linked.link.answered.wait()
        sent = [(at, request["method"]) for at, request in linked.wire.sent]
        assert sent == [(0.0, "SUBSCRIBE"), (5.0, "UNSUBSCRIBE"), (15.0, "UNSUBSCRIBE")]

    link(body)


@pytest.mark.parametrize(
    "notice",
    [
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
        b'{"e":"serverShutdown","E":1770123456789}',
    ],
)
def test_a_notice_of_shutdown_has_the_connection_replaced(link, notice: bytes) -> None:
    async def body(linked: Linked) -> None:
        assert linked.link.due == ""
        assert linked.link.take_control(notice)
        assert linked.link.due == "server_shutdown"
        assert linked.woken == 1

    link(body)


def test_an_error_that_names_no_request_is_reported(link) -> None:
    async def body(linked: Linked) -> None:
        assert linked.link.take_control(b'{"code":3,"msg":"Invalid JSON: expected value"}')
        assert linked.link.take_control(b'{"error":{"code":2,"msg":"Invalid request"},"id":null}')
        assert [(report.code, report.message) for report in linked.reports] == [
            ("3", "Invalid JSON: expected value"),
            ("2", "Invalid request"),
        ]

    link(body)


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"{}", b'{"id":1}', b'{"e":"unheard"}', b'{"stream":"x","data":{}}', b'{"id":"\xff"}'],
)
def test_what_is_neither_answer_nor_notice_is_not_taken(link, payload: bytes) -> None:
    async def body(linked: Linked) -> None:
        assert not linked.link.take_control(payload)

    link(body)


def test_an_answer_that_nobody_asked_for_is_taken_and_does_no_harm(link) -> None:
    async def body(linked: Linked) -> None:
        assert linked.link.take_control(b'{"result":null,"id":77}')
        assert linked.link.take_control(b'{"result":["a@trade"],"id":"x"}')
        assert linked.reports == []

    link(body)


def test_a_recording_answers_nothing_and_nothing_is_awaited(link) -> None:
    async def body(linked: Linked) -> None:
        linked.wire.answer = lambda request: None
        linked.link.subscribe(names(3))
        await linked.link.answered.wait()
        await asyncio.sleep(100.0)
        assert not linked.link.is_over
        assert linked.reports == []

    link(body, is_answered=False)


def test_a_connection_that_breaks_while_it_speaks_is_over(link) -> None:
    async def body(linked: Linked) -> None:
        linked.wire.is_closed = True
        linked.wire.incoming.put_nowait("network_error")
        linked.link.subscribe(["a@trade"])
        await asyncio.wait([linked.link.reading])
        assert linked.link.outcome() == "network_error"

    link(body)
