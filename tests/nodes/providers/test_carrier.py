from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from flow.events.frames import Connection
from flow.telemetry.occurrences import ProviderConnected, ProviderDisconnected
from nodes.providers.binance.link import BinanceLink, LinkStats
from nodes.providers.binance.provider import BinanceProvider
from nodes.providers.carrier import SPREAD, Carrier, CarrierParams, CarrierStats
from nodes.providers.transport import EndOfRecording, NetworkError, Wire

NAMES = ["btcusdt@trade", "btcusdt@bookTicker", "ethusdt@trade"]
BOTH = frozenset({"BTC-USDT", "ETH-USDT"})


def symbols_of(names: Iterable[str]) -> frozenset[str]:
    table = {"btcusdt": "BTC-USDT", "ethusdt": "ETH-USDT"}
    return frozenset(table[name.partition("@")[0]] for name in names)


class Carried:
    """A carrier over a scripted transport, running in a task of its own."""

    def __init__(self, context: Any, transport: Any, collector: Any, emit: Any = None, **params: Any) -> None:
        self.transport = transport
        self.collector = collector
        self.provider = BinanceProvider(context)
        self.told: list[tuple[str, int, frozenset[str]]] = []
        self.provider.on_connected.append(
            lambda c, s: self.told.append(("up", c.connection_id, frozenset(s)))
        )
        self.provider.on_disconnected.append(
            lambda c, s: self.told.append(("down", c.connection_id, frozenset(s)))
        )
        self.stats, self.links = CarrierStats(), LinkStats()
        chosen = CarrierParams(**{"url": "wss://x/stream", "lifetime_s": 3600.0, **params})
        self.carrier = Carrier(self.provider, chosen, self.stats, self.link, emit or collector, symbols_of)
        self.carrier.subscribe(NAMES)
        self.task = asyncio.create_task(self.carrier.run())

    def link(self, wire: Wire, connection: Connection) -> BinanceLink:
        is_answered = not self.provider.transport.is_recording
        return BinanceLink(
            wire, connection, self.links, self.provider.context.occurred, is_answered=is_answered
        )

    async def up(self, opened: int = 1) -> None:
        """Return once so many connections were opened and the present one is answered."""
        await self.transport.until(lambda: self.stats.opened >= opened, 0.01)
        await self.carrier.settled()


@pytest.fixture
def carry(virtually, make_context, scripted, collector) -> Callable:
    def run(body: Callable[[Carried], Any], transport: Any = None, **params: Any) -> None:
        async def main() -> None:
            chosen = transport or scripted
            context = make_context(transports={"binance": lambda context: chosen})
            carried = Carried(context, chosen, collector, **params)
            try:
                await body(carried)
            finally:
                carried.task.cancel()
                await asyncio.wait([carried.task])

        virtually(main())

    return run


def test_a_connection_is_opened_and_asked_for_all_streams(carry, journal) -> None:
    async def body(carried: Carried) -> None:
        await carried.up()
        [wire] = carried.transport.wires
        assert wire.names() == NAMES
        assert carried.told == [("up", 1, BOTH)]
        assert carried.carrier.connections == 1
        assert [report.connection_id for report in journal.of(ProviderConnected)] == [1]

    carry(body)


def test_a_broken_connection_is_reported_and_replaced_after_a_while(carry, journal) -> None:
    async def body(carried: Carried) -> None:
        await carried.up()
        carried.transport.wires[0].detail = "code 1006"
        carried.transport.wires[0].end("network_error")
        ended_at = asyncio.get_running_loop().time()
        await carried.up(2)
        assert carried.transport.wires[1].names() == NAMES
        assert carried.told == [("up", 1, BOTH), ("down", 1, BOTH), ("up", 2, BOTH)]
        [report] = journal.of(ProviderDisconnected)
        assert (report.connection_id, report.reason, report.detail) == (1, "network_error", "code 1006")
        waited = carried.transport.connected_at[1] - ended_at
        assert waited == pytest.approx(report.retry_in_s, abs=0.001)
        assert carried.stats.reconnects == {"network_error": 1}
        assert carried.transport.wires[0].is_closed

    carry(body)


def test_an_exchange_out_of_reach_is_tried_with_growing_delays_and_reports(carry, scripted, journal) -> None:
    scripted.connects.extend([NetworkError("refused")] * 12)

    async def body(carried: Carried) -> None:
        await carried.up()
        reports = journal.of(ProviderDisconnected)
        assert len(reports) == 12
        assert {report.reason for report in reports} == {"connect_failed"}
        assert "wss://x/stream: refused" in reports[0].detail
        assert "--sim" in reports[0].detail
        assert max(report.retry_in_s for report in reports) > 1.0
        assert all(report.retry_in_s <= 4.0 for report in reports)
        assert carried.told == [("up", 1, BOTH)]

    carry(body, longest_delay_s=4.0)


def test_a_refused_handshake_is_not_tried_before_the_exchange_allows(carry, scripted) -> None:
    scripted.connects.append(NetworkError("handshake refused with HTTP 429", 17.0, 429))

    async def body(carried: Carried) -> None:
        await carried.up()
        assert carried.transport.connected_at == pytest.approx([0.0, 17.0])

    carry(body)


def test_a_lifetime_ends_after_the_successor_has_all_streams(carry, journal) -> None:
    async def body(carried: Carried) -> None:
        await carried.up(2)
        old, new = carried.transport.wires
        at = carried.transport.connected_at[1]
        assert 20 * (1 - SPREAD) <= at <= 20
        assert new.names() == NAMES
        assert not old.is_closed
        assert carried.carrier.connections == 2
        await asyncio.sleep(2.0)
        assert old.is_closed
        assert carried.carrier.connections == 1
        assert carried.told == [("up", 1, BOTH), ("up", 2, frozenset()), ("down", 1, frozenset())]
        [report] = journal.of(ProviderDisconnected)
        assert (report.connection_id, report.reason, report.retry_in_s) == (1, "lifetime", 0.0)
        assert carried.stats.reconnects == {"lifetime": 1}

    carry(body, lifetime_s=20.0)


def test_a_renewal_loses_no_frame(carry, collector) -> None:
    async def body(carried: Carried) -> None:
        await carried.up()
        for number in range(400):
            if number == 100:
                carried.carrier.renew("server_shutdown")
            for wire in carried.transport.wires:
                if wire.names() and not wire.is_closed:
                    wire.incoming.put_nowait(b'{"stream":"btcusdt@trade","data":%d}' % number)
            await asyncio.sleep(0.01)
        assert carried.stats.reconnects == {"server_shutdown": 1}
        numbers = [int(payload[33:-1]) for _, payload in collector.frames]
        assert sorted(set(numbers)) == list(range(400))
        assert 400 < len(numbers) < 520
        by_connection = {
            number: [int(payload[33:-1]) for of, payload in collector.frames if of == number]
            for number in (1, 2)
        }
        assert all(seen == sorted(seen) for seen in by_connection.values())

    carry(body)


def test_a_successor_that_can_not_be_opened_leaves_the_old_connection_alone(carry, scripted, journal) -> None:
    async def body(carried: Carried) -> None:
        await carried.up()
        scripted.connects.extend([NetworkError("refused")] * 3)
        carried.carrier.renew("server_shutdown")
        await carried.up(2)
        assert not scripted.wires[0].is_closed
        await asyncio.sleep(2.0)
        assert scripted.wires[0].is_closed
        assert carried.told == [("up", 1, BOTH), ("up", 2, frozenset()), ("down", 1, frozenset())]
        reasons = [report.reason for report in journal.of(ProviderDisconnected)]
        assert reasons == ["connect_failed"] * 3 + ["server_shutdown"]

    carry(body)


def test_a_successor_that_is_not_answered_is_given_up(carry, scripted, make_wire) -> None:
    async def body(carried: Carried) -> None:
        await carried.up()
        mute = make_wire()
        mute.answer = lambda request: None
        scripted.connects.append(mute)
        carried.carrier.renew("stale")
        await carried.up(3)
        await asyncio.sleep(2.0)
        first, second, third = scripted.wires
        assert second is mute
        assert (first.is_closed, second.is_closed, third.is_closed) == (True, True, False)
        assert carried.told == [
            ("up", 1, BOTH),
            ("up", 2, frozenset()),
            ("down", 2, frozenset()),
            ("up", 3, frozenset()),
            ("down", 1, frozenset()),
        ]

    carry(body)


def test_the_old_connection_can_break_while_its_successor_is_made(carry, scripted, make_wire) -> None:
    async def body(carried: Carried) -> None:
        await carried.up()
        slow = make_wire()
        slow.answer = lambda request: None
        scripted.connects.append(slow)
        carried.carrier.renew("server_shutdown")
        await scripted.until(lambda: bool(slow.sent), 0.01)
        scripted.wires[0].end()
        await asyncio.sleep(1.0)
        assert carried.told == [
            ("up", 1, BOTH),
            ("up", 2, frozenset()),
            ("down", 1, BOTH),
            ("up", 2, BOTH),
        ]
        assert not slow.is_closed
        assert carried.carrier.connections == 1

    carry(body)


def test_a_successor_told_to_go_is_replaced_in_its_turn(carry, scripted) -> None:
    async def body(carried: Carried) -> None:
        await carried.up()
        carried.carrier.renew("stale")
        await scripted.until(lambda: len(scripted.wires) >= 2, 0.01)
        scripted.wires[1].incoming.put_nowait(
            b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}'
        )
        await carried.up(3)
        await asyncio.sleep(3.0)
        assert [wire.is_closed for wire in scripted.wires] == [True, True, False]
        assert carried.stats.reconnects == {"stale": 1, "server_shutdown": 1}

    carry(body)


def test_streams_can_be_added_and_removed_while_it_runs(carry, scripted) -> None:
    async def body(carried: Carried) -> None:
        await carried.up()
        carried.carrier.unsubscribe(["ethusdt@trade", "unknown@trade"])
        carried.carrier.unsubscribe(["btcusdt@trade"])
        carried.carrier.subscribe(["btcusdt@trade", "ethusdt@bookTicker"])
        await carried.carrier.settled()
        [wire] = scripted.wires
        assert wire.names("UNSUBSCRIBE") == ["ethusdt@trade", "btcusdt@trade"]
        assert wire.names() == [*NAMES, "btcusdt@trade", "ethusdt@bookTicker"]
        assert carried.told[1:] == [
            ("down", 1, frozenset({"ETH-USDT"})),
            ("down", 1, frozenset()),
            ("up", 1, frozenset({"ETH-USDT"})),
        ]
        wire.end()
        await carried.up(2)
        assert sorted(scripted.wires[1].names()) == [
            "btcusdt@bookTicker",
            "btcusdt@trade",
            "ethusdt@bookTicker",
        ]

    carry(body)


def test_what_the_graph_raises_ends_the_carrier(carry, scripted) -> None:
    def broken(arrival: Any) -> None:
        raise RuntimeError("a bug")

    async def body(carried: Carried) -> None:
        await scripted.until(lambda: bool(scripted.wires), 0.01)
        await asyncio.wait([carried.task])
        with pytest.raises(RuntimeError, match="a bug"):
            carried.task.result()
        assert scripted.wires[0].is_closed

    carry(body, emit=broken)


def test_a_recording_ends_with_its_last_connection(carry, recorded, make_wire, collector) -> None:
    recorded.connects.extend([make_wire(), make_wire()])

    async def body(carried: Carried) -> None:
        await recorded.until(lambda: bool(recorded.wires), 0.01)
        recorded.wires[0].incoming.put_nowait(b'{"stream":"btcusdt@trade","data":1}')
        await asyncio.sleep(10 * 3600.0)
        recorded.wires[0].end("closed_by_peer")
        await recorded.until(lambda: len(recorded.wires) >= 2, 0.01)
        recorded.wires[1].incoming.put_nowait(b'{"stream":"btcusdt@trade","data":2}')
        recorded.wires[1].end("end_of_recording")
        await carried.task
        assert [of for of, _ in collector.frames] == [1, 2]
        assert carried.stats.reconnects == {"closed_by_peer": 1}
        assert carried.told[1:] == [("down", 1, BOTH), ("up", 2, BOTH), ("down", 2, frozenset())]

    carry(body, recorded)


def test_a_recording_without_a_connection_ends_at_once(carry, recorded) -> None:
    async def body(carried: Carried) -> None:
        await carried.task
        with pytest.raises(EndOfRecording):
            await recorded.connect("")
        assert carried.stats.opened == 0

    carry(body, recorded)


def test_cancelling_closes_what_is_open_and_lets_nothing_through(carry, scripted, collector) -> None:
    async def body(carried: Carried) -> None:
        await carried.up()
        scripted.wires[0].incoming.put_nowait(b'{"stream":"btcusdt@trade","data":1}')
        await asyncio.sleep(0.1)
        carried.task.cancel()
        await asyncio.sleep(0)
        scripted.wires[0].incoming.put_nowait(b'{"stream":"btcusdt@trade","data":2}')
        await asyncio.wait([carried.task])
        assert carried.task.cancelled()
        assert len(collector.frames) == 1
        assert scripted.wires[0].is_closed
        assert carried.carrier.connections == 0
        await carried.carrier.settled()

    carry(body)
