"""Binance's order books: the diff stream on top of REST snapshots of the same numbering.

Source: Binance spot API, "How to manage a local order book correctly" and `GET /api/v3/depth`, 2026-06.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct, field

from flow.component import Transform
from flow.context import Context
from flow.events.canonical import CanonicalEvent
from flow.registry import node, registry
from nodes.providers.book_keeper import BookKeeper, BookKeeperParams, Snapshot
from nodes.providers.provider import Provider

__all__ = ["binance_books", "read_depth"]


class _Depth(Struct, gc=False):
    last_id: Annotated[int, Meta(ge=0)] = field(name="lastUpdateId")
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


_depth: Final = msgspec.json.Decoder(_Depth)


def read_depth(body: bytes) -> Snapshot:
    """The body of a depth reply. Raises ValueError where it is none."""
    try:
        depth = _depth.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"malformed depth snapshot: {error}") from error
    return Snapshot(depth.last_id, depth.bids, depth.asks)


@node("binance.books", pooled=True)
def binance_books(params: BookKeeperParams, context: Context) -> Transform[CanonicalEvent, CanonicalEvent]:
    """Assembles the order book of each symbol; only trusted books pass, each begun by a snapshot."""
    provider: Provider = context.service("binance", registry.services["binance"])

    async def fetch(symbol: str, depth: int) -> Snapshot:
        await provider.ready()
        return read_depth(await provider.depth_snapshot(symbol, depth))

    return BookKeeper(params, context, fetch, provider)
