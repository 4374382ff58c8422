from __future__ import annotations

from typing import Any

import pytest

from nodes.exchange import FaultParams, LimitParams, SimParams

QUIET = SimParams(symbols=["BTC-USDT", "NKN-USDT", "BLZ-ETH"], rate=0.001)


async def test_ping_and_time(serve: Any, hand_clock: Any) -> None:
    async with serve(QUIET, clock=hand_clock) as client:
        assert (await client.get("/api/v3/ping"))[::2] == (200, {})
        status, headers, body = await client.get("/api/v3/time")
        assert (status, body) == (200, {"serverTime": 1_700_000_000_000})
        assert headers["X-Flow-Simulated"] == "1"
        assert headers["Content-Type"] == "application/json;charset=UTF-8"
        unit = {"X-MBX-TIME-UNIT": "MICROSECOND"}
        assert (await client.get("/api/v3/time", headers=unit))[2] == {"serverTime": 1_700_000_000_000_000}
        status, _, body = await client.get("/api/v3/time", headers={"X-MBX-TIME-UNIT": "HOUR"})
        assert (status, body["code"]) == (400, -1194)


async def test_every_reply_says_that_it_is_simulated(serve: Any) -> None:
    async with serve(QUIET) as client:
        for path in ("/api/v3/depth?symbol=NONE", "/sim/status", "/sim/faults"):
            assert (await client.get(path))[1]["X-Flow-Simulated"] == "1"
        async with client.http.get(client.exchange.rest_url + "/api/v3/nowhere") as reply:
            assert (reply.status, reply.headers["X-Flow-Simulated"]) == (404, "1")


async def test_exchange_info_has_names_filters_and_limits(serve: Any) -> None:
    async with serve(QUIET) as client:
        _, _, body = await client.get("/api/v3/exchangeInfo")
        assert [each["symbol"] for each in body["symbols"]] == ["BTCUSDT", "NKNUSDT", "BLZETH"]
        assert body["rateLimits"][0] == {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": 6000,
        }
        nkn = body["symbols"][1]
        assert (nkn["baseAsset"], nkn["quoteAsset"], nkn["status"]) == ("NKN", "USDT", "TRADING")
        filters = {each["filterType"]: each for each in nkn["filters"]}
        assert filters["PRICE_FILTER"]["tickSize"] == "0.00010000"
        assert filters["LOT_SIZE"]["stepSize"] == "1.00000000"
        assert float(filters["NOTIONAL"]["minNotional"]) > 0


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ("symbol=NKNUSDT", ["NKNUSDT"]),
        ('symbols=["BLZETH","BTCUSDT"]', ["BLZETH", "BTCUSDT"]),
        ("symbols=[]", []),
    ],
)
async def test_exchange_info_of_some_symbols(serve: Any, query: str, symbols: list[str]) -> None:
    async with serve(QUIET) as client:
        _, _, body = await client.get(f"/api/v3/exchangeInfo?{query}")
        assert [each["symbol"] for each in body["symbols"]] == symbols


@pytest.mark.parametrize(
    ("path", "code", "msg"),
    [
        ("depth?symbol=NONEUSDT", -1121, "Invalid symbol."),
        ("depth", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("depth?symbol=", -1105, "Parameter 'symbol' was empty."),
        (
            "depth?symbol=btcusdt",
            -1100,
            "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.",
        ),
        (
            "depth?symbol=BTCUSDT&limit=-1",
            -1100,
            "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            "depth?symbol=BTCUSDT&limit=%D9%A1",
            -1100,
            "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.",
        ),
        ("depth?symbol=BTCUSDT&limit=0", -1130, "Data sent for parameter 'limit' is not valid."),
        ("depth?symbol=BTCUSDT&x=1&y=2", -1101, "Too many parameters; expected '2' and received '3'."),
        ("depth?symbol=BTCUSDT&symbol=BTCUSDT", -1101, "Duplicate values for a parameter detected."),
        ("ping?x=1", -1101, "Too many parameters; expected '0' and received '1'."),
        ("exchangeInfo?symbol=NONE", -1121, "Invalid symbol."),
        (
            'exchangeInfo?symbol=BTCUSDT&symbols=["BTCUSDT"]',
            -1128,
            "Combination of optional parameters invalid.",
        ),
        (
            "exchangeInfo?symbols=BTCUSDT",
            -1100,
            "Illegal characters found in parameter 'symbols'; legal range is "
            '\'^\\[("[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}){0,1}\\]$\'.',
        ),
    ],
)
async def test_bad_parameters_are_named(serve: Any, path: str, code: int, msg: str) -> None:
    async with serve(QUIET) as client:
        status, _, body = await client.get(f"/api/v3/{path}")
        assert (status, body) == (400, {"code": code, "msg": msg})


async def test_a_snapshot_is_the_engines_book_best_first(serve: Any) -> None:
    async with serve(QUIET) as client:
        _, _, body = await client.get("/api/v3/depth?symbol=NKNUSDT&limit=5")
        listing = client.exchange.market.by_name["NKN-USDT"]
        assert body["lastUpdateId"] == listing.engine.update_id
        best = listing.engine.best_bid()
        assert best is not None
        assert body["bids"][0] == [listing.instrument.price(best[0]), listing.instrument.quantity(best[1])]
        bids, asks = ([float(price) for price, _ in body[side]] for side in ("bids", "asks"))
        assert len(bids) == len(asks) == 5
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0] < asks[0]


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("ping", 1),
        ("time", 1),
        ("exchangeInfo", 20),
        ("depth?symbol=BTCUSDT", 5),
        ("depth?symbol=BTCUSDT&limit=100", 5),
        ("depth?symbol=BTCUSDT&limit=101", 25),
        ("depth?symbol=BTCUSDT&limit=500", 25),
        ("depth?symbol=BTCUSDT&limit=1000", 50),
        ("depth?symbol=BTCUSDT&limit=5000", 250),
        ("depth?symbol=BTCUSDT&limit=9999", 250),
    ],
)
async def test_weights_are_counted_in_a_header(serve: Any, hand_clock: Any, path: str, weight: int) -> None:
    async with serve(QUIET, clock=hand_clock) as client:
        for number in (1, 2):
            status, headers, _ = await client.get(f"/api/v3/{path}")
            assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, str(weight * number))


async def test_too_much_weight_is_429_then_418_and_then_forgiven(serve: Any, hand_clock: Any) -> None:
    limits = LimitParams(weight_per_min=10, refusals_before_ban=2, ban_s=300)
    async with serve(SimParams(symbols=1, rate=1, limits=limits), clock=hand_clock) as client:
        path = "/api/v3/depth?symbol=BTCUSDT"
        replies = [await client.get(path) for _ in range(5)]
        assert [status for status, _, _ in replies] == [200, 200, 429, 429, 418]
        assert [body["code"] for _, _, body in replies[2:]] == [-1003] * 3
        assert "current limit is 10 request weight per 1 MINUTE" in replies[2][2]["msg"]
        assert "IP banned until 1700000300000." in replies[4][2]["msg"]
        assert 1 <= int(replies[2][1]["Retry-After"]) <= 60
        assert replies[4][1]["Retry-After"] == "300"
        assert client.exchange.counters.refused == 3
        hand_clock.advance(300)
        assert (await client.get(path))[0] == 200


async def test_request_faults_are_made_and_counted(serve: Any) -> None:
    async with serve(QUIET) as client:
        path = "/api/v3/depth?symbol=BTCUSDT&limit=5000"
        first = (await client.get(path))[2]["lastUpdateId"]
        for kind in ("http_429", "http_5xx", "stale_snapshot"):
            assert (await client.post("/sim/fault", {"kind": kind, "symbol": "BTC-USDT"}))[0] == 200
            assert (await client.get("/api/v3/depth?symbol=NKNUSDT"))[0] == 200
        status, headers, body = await client.get(path)
        assert (status, body["code"], headers["Retry-After"]) == (429, -1003, "1")
        assert (await client.get(path))[::2] == (
            503,
            {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."},
        )
        stale = (await client.get(path))[2]
        assert stale["lastUpdateId"] < first
        assert (await client.get(path))[2]["lastUpdateId"] == first
        counts = (await client.get("/sim/faults"))[2]["counts"]
        assert {kind: count for kind, count in counts.items() if count} == {
            "http_429": 1,
            "http_5xx": 1,
            "stale_snapshot": 1,
        }


async def test_request_faults_come_at_their_rates(serve: Any) -> None:
    faults = FaultParams(http_429=0.2, http_5xx=0.2, retry_after_s=7)
    async with serve(SimParams(symbols=1, rate=1, seed=3, faults=faults)) as client:
        replies = [await client.get("/api/v3/ping") for _ in range(100)]
        counts = client.exchange.faults.counts
        statuses = [status for status, _, _ in replies]
        assert statuses.count(429) == counts["http_429"] > 5
        assert statuses.count(503) == counts["http_5xx"] > 5
        assert {headers["Retry-After"] for status, headers, _ in replies if status == 429} == {"7"}
