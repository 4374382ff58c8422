from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from flow.errors import Retryable, Terminal
from nodes.providers.binance.rest import BinanceRules
from nodes.providers.http_transport import HttpTransport
from nodes.providers.limits import SlidingWindow, TokenBucket
from nodes.providers.rest import RequestFailed, RestClient, RestRules
from nodes.providers.transport import EndOfRecording, NetworkError, Reply

OK = Reply(200, {}, b"{}")


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.fixture
def make_client(make_context: Callable, scripted: Any) -> Callable[..., RestClient]:
    def make(
        transport: Any = None, url: str = "https://x", limit: float = 6000, per_s: float = 100.0, **more: Any
    ) -> RestClient:
        window, bucket = SlidingWindow(limit, 60.0), TokenBucket(per_s, 10)
        chosen = transport or scripted
        return RestClient(
            make_context(), "binance", chosen, url, BinanceRules(), window, bucket, Random(1), **more
        )

    return make


def test_every_request_waits_while_the_exchange_asks_to(virtually, make_client, scripted, journal) -> None:
    async def main() -> None:
        client = make_client()
        scripted.replies.extend([reply(429, b'{"code":-1003,"msg":"Too much"}', Retry_After="7"), OK, OK, OK])
        first = asyncio.create_task(client.get("/a"))
        await scripted.until(lambda: client.gate.shut_for_s > 0, 0)
        others = [asyncio.create_task(client.get(path)) for path in ("/b", "/c")]
        await asyncio.gather(first, *others)
        assert [at for at, _, _ in scripted.requests] == [0.0, 7.0, 7.0, 7.0]
        assert client.outcomes == {"ok": 3, "http_429": 1}
        [failed] = journal.of(RequestFailed)
        assert failed.outcome == "http_429"
        assert "code -1003: Too much" in failed.detail
        assert failed.retry_in_s == 7.0

    virtually(main())


@pytest.mark.parametrize(
    ("status", "header", "wait"),
    [(418, "300", 300.0), (418, None, 120.0), (429, None, 10.0), (429, "soon", 10.0)],
)
def test_a_ban_and_a_missing_header_have_their_own_waits(
    virtually, make_client, scripted, status, header, wait
) -> None:
    async def main() -> None:
        headers = {"Retry-After": header} if header else {}
        scripted.replies.extend([Reply(status, headers, b""), OK])
        await make_client().get("/a")
        assert [at for at, _, _ in scripted.requests] == [0.0, wait]

    virtually(main())


def test_server_and_network_errors_are_tried_again_with_backoff(virtually, make_client, scripted) -> None:
    async def main() -> None:
        scripted.replies.extend([reply(503), NetworkError("reset"), reply(500), OK])
        client = make_client()
        assert (await client.get("/a")).status == 200
        times = [at for at, _, _ in scripted.requests]
        assert len(set(times)) == 4
        assert times[-1] <= 0.25 + 0.5 + 1.0
        assert client.outcomes == {"server_error": 2, "network_error": 1, "ok": 1}

    virtually(main())


def test_what_does_not_get_better_is_given_up(virtually, make_client, scripted, journal) -> None:
    async def main() -> None:
        scripted.replies.extend([reply(503)] * 3)
        with pytest.raises(Retryable, match="/a: HTTP 503"):
            await make_client().get("/a", attempts=3)
        assert scripted.replies == type(scripted.replies)()
        assert [failed.retry_in_s > 0 for failed in journal.of(RequestFailed)] == [True, True, False]

    virtually(main())


def test_what_the_exchange_refuses_is_terminal_with_its_code_and_message(
    virtually, make_client, scripted, journal
) -> None:
    async def main() -> None:
        scripted.replies.append(reply(400, b'{"code":-1121,"msg":"Invalid symbol."}'))
        client = make_client()
        with pytest.raises(Terminal, match=r"binance /d: HTTP 400, code -1121: Invalid symbol\."):
            await client.get("/d")
        assert client.outcomes == {"refused": 1}
        assert len(journal.of(RequestFailed)) == 1

    virtually(main())


def test_the_end_of_a_recording_is_not_a_failure_to_try_again(virtually, make_client, scripted) -> None:
    async def main() -> None:
        scripted.replies.append(EndOfRecording("no reply was recorded"))
        with pytest.raises(EndOfRecording):
            await make_client().get("/a")

    virtually(main())


def test_weights_are_charged_before_a_request_and_corrected_by_the_header(
    virtually, make_client, scripted
) -> None:
    async def main() -> None:
        client = make_client(limit=100)
        scripted.replies.extend([reply(200, X_MBX_USED_WEIGHT_1M="95"), OK, OK])
        await client.get("/a", weight=20)
        assert client.window.used == 95
        await client.get("/a", weight=5)
        await client.get("/a", weight=10)
        assert [at for at, _, _ in scripted.requests] == [0.0, 0.0, 60.0]

    virtually(main())


def test_a_request_that_waits_for_weight_also_waits_for_what_comes_meanwhile(
    virtually, make_client, scripted
) -> None:
    async def main() -> None:
        client = make_client(limit=10)
        scripted.replies.extend([OK, OK])
        await client.get("/a", weight=10)
        asyncio.get_running_loop().call_later(30.0, client.gate.shut, 100.0)
        await client.get("/a", weight=10)
        assert [at for at, _, _ in scripted.requests] == pytest.approx([0.0, 130.0])

    virtually(main())


def test_only_so_many_requests_are_sent_in_a_second(virtually, make_client, scripted) -> None:
    async def main() -> None:
        scripted.replies.extend([OK] * 30)
        client = make_client(per_s=5.0)
        await asyncio.gather(*(client.get("/a") for _ in range(30)))
        assert scripted.requests[-1][0] == pytest.approx(4.0)

    virtually(main())


def test_a_caller_that_reports_failures_itself_is_not_doubled(
    virtually, make_client, scripted, journal
) -> None:
    async def main() -> None:
        scripted.replies.append(NetworkError("reset"))
        with pytest.raises(NetworkError):
            await make_client().get("/a", attempts=1, is_reported=False)
        assert journal.all == []

    virtually(main())


def test_only_so_many_requests_are_under_way_at_once(virtually, make_client, scripted) -> None:
    class Slow:
        most = now = 0

        async def get(self, url: str, params: Any, headers: Any = None) -> Reply:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(1.0)
            self.now -= 1
            return OK

    async def main() -> None:
        slow = Slow()
        client = make_client(slow, most_at_once=3)
        await asyncio.gather(*(client.get("/a") for _ in range(9)))
        assert slow.most == 3
        assert asyncio.get_running_loop().time() == 3.0

    virtually(main())


async def test_over_the_network_a_429_holds_the_next_request_back(server, make_client) -> None:
    transport = HttpTransport()
    server.reply("/api", {"code": -1003, "msg": "Too much"}, 429, {"Retry-After": "1"})
    server.reply("/api", {"lastUpdateId": 1}, 200, {"X-MBX-USED-WEIGHT-1M": "55"})
    client = make_client(transport, server.rest_url + "/")
    answer = await client.get("/api", {"symbol": "BTCUSDT"}, weight=5)
    assert answer.body == b'{"lastUpdateId":1}'
    assert client.window.used == 55
    assert client.outcomes == {"http_429": 1, "ok": 1}
    assert [dict(call.query) for call in server.calls] == [{"symbol": "BTCUSDT"}] * 2
    await transport.close()


async def test_over_the_network_a_418_is_waited_out_too(server, make_client, monkeypatch) -> None:
    transport = HttpTransport()
    server.reply("/api", b"<html>banned</html>", 418, {"Retry-After": "1"})
    server.reply("/api", {})
    client = make_client(transport, server.rest_url)
    await client.get("/api")
    assert client.outcomes == {"http_418": 1, "ok": 1}
    await transport.close()


def test_the_rules_of_http_are_the_default() -> None:
    rules = RestRules()
    assert rules.used_weight(OK) is None
    assert rules.error_of(reply(404)) == "HTTP 404"
    assert rules.retry_after_s(reply(429)) == 10.0
    assert rules.retry_after_s(reply(429, Retry_After="3")) == 3.0


async def test_a_request_needs_an_attempt(make_client) -> None:
    with pytest.raises(ValueError, match="an attempt at least"):
        await make_client().get("/a", attempts=0)
