"""A decoder with Binance's codec, and everything around it real."""

from __future__ import annotations

from typing import Any

import pytest

from flow.context import Context
from flow.events.canonical import OwnedEvent
from flow.events.frames import Connection, WsFrame
from flow.registry import registry
from flow.telemetry.dead_letters import DeadLetters
from nodes.providers.binance.codec import BinanceCodec, binance_codec
from nodes.providers.binance.provider import BinanceProvider
from nodes.providers.symbols import SymbolInfo
from operators.decode import Decoder, Reading

SYMBOLS = {"BTCUSDT": "BTC-USDT", "NKNUSDT": "NKN-USDT", "BLZETH": "BLZ-ETH", "LRCBTC": "LRC-BTC"} | {
    "RUNEEUR": "RUNE-EUR"
}


class Desk:
    """A decoder with everything real around it. `events` are clones of what came out."""

    def __init__(self, levels: Reading = "lazy") -> None:
        self.letters = DeadLetters()
        self.context = Context("events", dead_letters=self.letters, clock=lambda: 77)
        provider = self.context.service("binance", registry.services["binance"])
        assert isinstance(provider, BinanceProvider)
        self.provider = provider
        provider.symbols.load(
            SymbolInfo(canonical=canonical, wire=wire, base="", quote="")
            for wire, canonical in SYMBOLS.items()
        )
        self.codec: BinanceCodec = binance_codec(self.context, levels)
        self.decoder = Decoder(self.codec, self.context)
        self.events: list[OwnedEvent] = []
        self.decoder.emit = self.take
        self.control: list[bytes] = []
        self.answers_understood = True
        self.frames = self.context.pools.of("WsFrame", WsFrame).shelf(
            Connection("binance", 1, self.on_control)
        )

    def take(self, event: Any) -> None:
        self.events.append(event.own())
        event.home.put(event)

    def on_control(self, payload: bytes) -> bool:
        self.control.append(payload)
        return self.answers_understood

    def feed(self, *payloads: bytes) -> list[OwnedEvent]:
        """The events that came of the payloads; nothing is left out of a pool."""
        before = len(self.events)
        for payload in payloads:
            frame = self.frames.get()
            frame.payload = payload
            frame.received_at = 1_000
            self.decoder.add(frame)
        assert all(figures["out"] == 0 for figures in self.context.pools.figures().values())
        return self.events[before:]


@pytest.fixture(scope="session")
def new_desk() -> type[Desk]:
    """Makes desks: `new_desk(levels)`."""
    return Desk
