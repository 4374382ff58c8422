"""Orders and what becomes of them. Decimals are strings with the exchange's own digits; timestamps are ns."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

__all__ = ["ExecReport", "OrderState"]


class OrderState(StrEnum):
    """The states of an order, as they are reported."""

    ACK = "ACK"
    PARTIAL = "PARTIAL"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


class ExecReport(Struct, gc=False, frozen=True):
    """What an exchange says of an order. Never dropped, coalesced, sampled or reordered."""

    client_order_id: str
    state: OrderState
    exchange_order_id: str = ""
    side: str = ""
    order_type: str = ""
    price: str = "0"
    quantity: str = "0"
    filled: str = "0"
    remaining: str = "0"
    average_price: str = "0"
    last_price: str = "0"
    last_quantity: str = "0"
    last_fee: str = "0"
    trade_id: int | str | None = None
    reject_reason: str | None = None
    transact_ts: int = 0

    def row(self) -> dict[str, Any]:
        return asdict(self)
