"""Holds every state of the graph's books against the matching engine's own at the same update id, in full.

Two books of each symbol are watched: the keeper's, and the one that a consumer builds of what it received.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from typing import Any

from flow.clock import monotonic_s
from flow.events.stream import EventType, Stream
from flow.telemetry.occurrences import BookResynced, Occurrence
from nodes.providers.book import Book
from tests.acceptance.book_follower import BookFollower
from tests.acceptance.simulator import Control, TrueState

__all__ = ["Comparison", "TrustWatch"]

Levels = list[tuple[str, str]]
KeptState = tuple[int, Levels, Levels]
MOST_DIFFERENCES = 10
AT_ONCE = 10
"""Symbols whose true states are asked for at a time."""


class Comparison:
    """`kept` and `followed` count the comparisons by symbol; `differences` says where books were unlike.

    A snapshot may stand between two depth periods, where the engine's states are not recorded; `unmatched`
    has the numbers of the states that could not be compared.
    """

    def __init__(self, symbols: list[str], control: Control, follower: BookFollower) -> None:
        self.symbols = symbols
        self.kept: Counter[str] = Counter(dict.fromkeys(symbols, 0))
        self.followed: Counter[str] = Counter(dict.fromkeys(symbols, 0))
        self.levels = 0
        self.differences: list[str] = []
        self.unmatched: dict[str, set[int]] = defaultdict(set)
        self.last: dict[str, KeptState] = {}
        self._control = control
        self._follower = follower
        self._states: dict[str, deque[KeptState]] = defaultdict(deque)
        self._truth: dict[str, dict[int, TrueState]] = {symbol: {} for symbol in symbols}
        self._asked: Counter[str] = Counter()

    def on_state(self, stream: Stream, number: int, book: Book) -> None:
        """For `BookKeeper.on_state`."""
        state = number, book.bids(), book.asks()
        self.last[stream.symbol] = state
        self._states[stream.symbol].append(state)

    async def catch_up(self) -> None:
        """Fetch the true states since the last call, and compare what has the number of one of them."""
        for at in range(0, len(self.symbols), AT_ONCE):
            await asyncio.gather(*(self._catch_up(symbol) for symbol in self.symbols[at : at + AT_ONCE]))

    async def _catch_up(self, symbol: str) -> None:
        truth = self._truth[symbol]
        for state in await self._control.truth(symbol, self._asked[symbol]):
            truth[state.u] = state
            self._asked[symbol] = state.u
        numbers = self._compare_kept(symbol), self._compare_followed(symbol)
        for number in [number for number in truth if number < min(numbers)]:
            del truth[number]

    def _compare_kept(self, symbol: str) -> int:
        """The number up to which all states of the keeper are dealt with."""
        states, truth, known = self._states[symbol], self._truth[symbol], self._asked[symbol]
        while states and states[0][0] <= known:
            number, bids, asks = states.popleft()
            true = truth.get(number)
            if true is None:
                self.unmatched[symbol].add(number)
                continue
            self.kept[symbol] += 1
            self.levels += len(bids) + len(asks)
            if bids != true.bids or asks != true.asks:
                self._differ(f"the keeper's {symbol} at {number}", bids, asks, true)
        return states[0][0] if states else self.last.get(symbol, (0,))[0]

    def _compare_followed(self, symbol: str) -> int:
        states, truth, known = self._follower.states[symbol], self._truth[symbol], self._asked[symbol]
        last = 0
        while states and states[0].number <= known:
            state = states.popleft()
            last = state.number
            true = truth.get(last)
            if true is None:
                self.unmatched[symbol].add(last)
                continue
            self.followed[symbol] += 1
            if state.bids != dict(true.bids) or state.asks != dict(true.asks):
                bids, asks = list(state.bids.items()), list(state.asks.items())
                self._differ(f"the consumer's {symbol} at {last}", bids, asks, true)
        return states[0].number if states else last

    def _differ(self, whose: str, bids: Levels, asks: Levels, true: TrueState) -> None:
        if len(self.differences) < MOST_DIFFERENCES:
            wrong = sorted({*bids, *asks} ^ {*true.bids, *true.asks})[:4]
            self.differences.append(f"{whose}: {len(bids)} x {len(asks)} levels, unlike in {wrong}")


class TrustWatch:
    """Watches at the keeper's own output, in the same call, that nothing of an untrusted book leaves it.

    `recoveries` are (symbol, reason of the first loss, seconds until the snapshot); a book that has not come
    back is in `lost`.
    """

    def __init__(self) -> None:
        self.applied: dict[str, int] = {}
        """The last number of each book that the keeper has applied."""
        self.lost: dict[str, tuple[str, float]] = {}
        self.recoveries: list[tuple[str, str, float]] = []
        self.faults: list[str] = []
        self.snapshots: dict[str, set[int]] = defaultdict(set)

    def on_state(self, stream: Stream, number: int, book: Book) -> None:
        """For `BookKeeper.on_state`: what the keeper applies it trusts, and nothing else may leave."""
        self.applied[stream.symbol] = number

    def on_occurrence(self, node_id: str, occurrence: Occurrence) -> None:
        """For `Telemetry.listeners`."""
        if isinstance(occurrence, BookResynced):
            self.lost.setdefault(occurrence.symbol, (occurrence.reason, monotonic_s()))

    def on_event(self, event: Any) -> None:
        """For an observer of the node that keeps the books."""
        symbol = event.symbol
        if event.event_type is EventType.BOOK_SNAPSHOT:
            self.snapshots[symbol].add(event.sequence)
            lost = self.lost.pop(symbol, None)
            if lost is not None:
                self.recoveries.append((symbol, lost[0], monotonic_s() - lost[1]))
        elif event.event_type is EventType.BOOK_UPDATE and (
            event.sequence > self.applied.get(symbol, -1) or not self.snapshots[symbol]
        ):
            self.faults.append(f"{symbol}: update {event.sequence} of a book that is not trusted")

    def by_reason(self) -> dict[str, list[float]]:
        """Seconds until the book was back, sorted, by reason."""
        times: dict[str, list[float]] = defaultdict(list)
        for _, reason, seconds in self.recoveries:
            times[reason].append(seconds)
        return {reason: sorted(seconds) for reason, seconds in sorted(times.items())}
