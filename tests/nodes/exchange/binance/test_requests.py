from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nodes.exchange.binance.requests import answer

EXPECTED = "expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"


class Streams:
    """A connection without a socket."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.combined = False

    def set_combined(self, value: bool) -> None:
        self.combined = value

    def subscribe(self, names: list[str]) -> None:
        self.names += names

    def unsubscribe(self, names: list[str]) -> None:
        self.names = [name for name in self.names if name not in names]

    def subscriptions(self) -> list[str]:
        return self.names


def ask(text: str, client: Streams | None = None) -> Any:
    return msgspec.json.decode(answer(text.encode(), client or Streams()))


def test_streams_are_subscribed_listed_and_unsubscribed() -> None:
    client = Streams()
    both = '{"method":"SUBSCRIBE","params":["btcusdt@depth","btcusdt@trade"],"id":1}'
    assert answer(both.encode(), client) == b'{"result":null,"id":1}'
    one = '{"method":"UNSUBSCRIBE","params":["btcusdt@depth"],"id":2}'
    assert ask(one, client) == {"result": None, "id": 2}
    assert ask('{"method":"LIST_SUBSCRIPTIONS","id":3}', client) == {"result": ["btcusdt@trade"], "id": 3}


def test_the_combined_property_is_set_and_read() -> None:
    client = Streams()
    assert ask('{"method":"GET_PROPERTY","params":["combined"],"id":1}', client) == {"result": False, "id": 1}
    assert ask('{"method":"SET_PROPERTY","params":["combined",true],"id":2}', client) == {
        "result": None,
        "id": 2,
    }
    assert ask('{"method":"GET_PROPERTY","params":["combined"],"id":3}', client) == {"result": True, "id": 3}


@pytest.mark.parametrize(
    "number", ["0", "-5", "9223372036854775807", '"a1"', '"3f2b9c1e-0000-4000-8000-0123456789ab"', "null"]
)
def test_ids_come_back_as_they_were(number: str) -> None:
    text = '{"method":"LIST_SUBSCRIPTIONS","id":' + number + "}"
    assert answer(text.encode(), Streams()) == b'{"result":[],"id":' + number.encode() + b"}"


@pytest.mark.parametrize(
    "rest",
    ["", ',"id":1.5', ',"id":true', ',"id":9223372036854775808', ',"id":""', ',"id":"a b"', ',"id":[1]'],
)
def test_ids_of_other_kinds_are_refused(rest: str) -> None:
    reply = ask('{"method":"LIST_SUBSCRIPTIONS"' + rest + "}")
    assert reply == {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}


def test_an_id_of_37_characters_is_too_long() -> None:
    assert ask('{"method":"LIST_SUBSCRIPTIONS","id":"' + "a" * 36 + '"}')["result"] == []
    assert ask('{"method":"LIST_SUBSCRIPTIONS","id":"' + "a" * 37 + '"}')["code"] == 2


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        (
            '{"method":"SET_PROPERTY","params":["colour",true],"id":5}',
            {"code": 0, "msg": "Unknown property", "id": 5},
        ),
        (
            '{"method":"GET_PROPERTY","params":["colour"],"id":6}',
            {"code": 0, "msg": "Unknown property", "id": 6},
        ),
        (
            '{"method":"SET_PROPERTY","params":["combined","yes"],"id":5}',
            {"code": 1, "msg": "Invalid value type: expected Boolean"},
        ),
        (
            '{"method":"SET_PROPERTY","params":["combined"],"id":5}',
            {"code": 1, "msg": "Invalid value type: expected Boolean"},
        ),
        (
            '{"method":"SET_PROPERTY","params":[1,true],"id":5}',
            {"code": 2, "msg": "Invalid request: property name must be a string"},
        ),
        (
            '{"method":"GET_PROPERTY","id":5}',
            {"code": 2, "msg": "Invalid request: property name must be a string"},
        ),
        (
            '{"method":"SET_PROPERTY","params":["combined",true,1],"id":5}',
            {"code": 2, "msg": "Invalid request: too many parameters"},
        ),
        (
            '{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":5}',
            {"code": 2, "msg": "Invalid request: too many parameters"},
        ),
        (
            '{"method":"SUBSCRIB","params":["x"],"id":5}',
            {
                "code": 2,
                "msg": f"Invalid request: unknown variant SUBSCRIB, {EXPECTED} at line 1 column 20",
            },
        ),
        (
            '{"params":["x"],\n"id":5}',
            {"code": 2, "msg": "Invalid request: missing field `method` at line 2 column 7"},
        ),
        ("[1]", {"code": 2, "msg": "Invalid request: missing field `method` at line 1 column 3"}),
        ('{"method":xyz}', {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 11"}),
        ('{"id":1,\n "method":}', {"code": 3, "msg": "Invalid JSON: expected value at line 2 column 11"}),
        ("", {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}),
    ],
)
def test_errors_are_answered_as_documented(text: str, reply: dict[str, Any]) -> None:
    assert ask(text) == reply


@pytest.mark.parametrize("params", ["", ',"params":"btcusdt@trade"', ',"params":[1]'])
def test_subscribing_to_no_list_of_names_is_refused(params: str) -> None:
    client = Streams()
    assert ask('{"method":"SUBSCRIBE"' + params + ',"id":1}', client)["code"] == 2
    assert client.names == []


@pytest.mark.parametrize(
    "data", [b"\xff\xfe", b"[" * 100_000, b'{"method":7,"id":1}', b'{"method":null,"id":1}']
)
def test_nothing_a_client_sends_raises(data: bytes) -> None:
    assert msgspec.json.decode(answer(data, Streams()))["code"] in (2, 3)
