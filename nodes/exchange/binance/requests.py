"""The requests that a client sends over a stream connection, and the replies, errors as documented."""

import re
from typing import Any, Protocol

import msgspec

__all__ = ["StreamClient", "answer"]

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
ID_TEXT = re.compile(r"[0-9A-Za-z_-]{1,36}")
INT64 = range(-(2**63), 2**63)
METHOD_VALUE = re.compile(rb'"method"\s*:\s*("(?:[^"\\]|\\.)*"|[^,}\s]+)')
BYTE_OF_FAULT = re.compile(r"\(byte (\d+)\)")


class StreamClient(Protocol):
    """What a request can change: the streams of a connection and whether its events are wrapped."""

    @property
    def combined(self) -> bool: ...

    def set_combined(self, value: bool) -> None: ...

    def subscribe(self, names: list[str]) -> None: ...

    def unsubscribe(self, names: list[str]) -> None: ...

    def subscriptions(self) -> list[str]: ...


class _Refused(ValueError):
    """Carries the error reply."""

    def __init__(self, code: int, msg: str, **more: Any) -> None:
        super().__init__(msg)
        self.reply = {"code": code, "msg": msg, **more}


def answer(data: bytes, client: StreamClient) -> bytes:
    """Carry out one request and return the reply to send. Never raises for what the client sent."""
    try:
        request = _decode(data)
        method = _method(request, data)
        request_id = _request_id(request)
        result = _carry_out(method, request.get("params"), request_id, client)
    except _Refused as refused:
        return msgspec.json.encode(refused.reply)
    return msgspec.json.encode({"result": result, "id": request_id})


def _decode(data: bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = BYTE_OF_FAULT.search(str(error))
        line, column = _place(data, int(found[1]) if found else len(data))
        raise _Refused(3, f"Invalid JSON: expected value at line {line} column {column}") from None
    if not isinstance(request, dict):
        raise _missing_method(data)
    return request


def _method(request: dict[str, Any], data: bytes) -> str:
    if "method" not in request:
        raise _missing_method(data)
    method = request["method"]
    if method in METHODS:
        return str(method)
    found = METHOD_VALUE.search(data)
    line, column = _place(data, found.end() - 1 if found else len(data) - 1)
    expected = ", ".join(f"`{name}`" for name in METHODS)
    fault = f"unknown variant {_shown(method)}, expected one of {expected} at line {line} column {column}"
    raise _Refused(2, f"Invalid request: {fault}")


def _missing_method(data: bytes) -> _Refused:
    line, column = _place(data, len(data.rstrip()) - 1)
    return _Refused(2, f"Invalid request: missing field `method` at line {line} column {column}")


def _shown(method: Any) -> str:
    return method if isinstance(method, str) else msgspec.json.encode(method).decode()


def _request_id(request: dict[str, Any]) -> int | str | None:
    value = request.get("id", ...)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value in INT64):
        return value
    if isinstance(value, str) and ID_TEXT.fullmatch(value):
        return value
    raise _Refused(2, "Invalid request: request ID must be an unsigned integer")


def _carry_out(method: str, params: Any, request_id: int | str | None, client: StreamClient) -> Any:
    if method == "LIST_SUBSCRIPTIONS":
        if params:
            raise _Refused(2, "Invalid request: too many parameters")
        return client.subscriptions()
    if method in ("SET_PROPERTY", "GET_PROPERTY"):
        return _property(method, params, request_id, client)
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
        raise _Refused(2, "Invalid request: params must be an array of stream names")
    if method == "SUBSCRIBE":
        client.subscribe(params)
    else:
        client.unsubscribe(params)
    return None


def _property(method: str, params: Any, request_id: int | str | None, client: StreamClient) -> bool | None:
    values = params if isinstance(params, list) else []
    if not values or not isinstance(values[0], str):
        raise _Refused(2, "Invalid request: property name must be a string")
    if len(values) > (2 if method == "SET_PROPERTY" else 1):
        raise _Refused(2, "Invalid request: too many parameters")
    if values[0] != "combined":
        raise _Refused(0, "Unknown property", id=request_id)
    if method == "GET_PROPERTY":
        return client.combined
    if len(values) < 2 or not isinstance(values[1], bool):
        raise _Refused(1, "Invalid value type: expected Boolean")
    client.set_combined(values[1])
    return None


def _place(data: bytes, index: int) -> tuple[int, int]:
    """The line and the column, counted from 1, of a byte."""
    before = data[: max(index, 0)]
    return before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1
