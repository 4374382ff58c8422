"""The main graph in this process, pointed at an exchange in another, with those who watch it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import flow
from flow.api import Session
from flow.events.stream import Stream
from flow.graph.spec import GraphSpec
from flow.telemetry.occurrences import Telemetry
from nodes.providers.book import Book
from nodes.providers.book_keeper import BookKeeper
from tests.acceptance.book_comparison import TrustWatch
from tests.acceptance.book_follower import REFERENCE, BookFollower, follower_of

__all__ = ["Rig", "main_graph"]


def main_graph(
    project_root: Path,
    symbols: list[str],
    *,
    socket: Mapping[str, float],
    books: Mapping[str, float],
    sets: tuple[str, ...] = (),
) -> GraphSpec:
    """graphs/binance.yaml with the consumer that follows books, and no table on the console.

    `socket` and `books` are params of the nodes of these names, `sets` what else is replaced.
    """
    replaced = [
        f"symbols=[{', '.join(symbols)}]",
        f"nodes.strategy.params.object={REFERENCE}",
        'nodes.console.use="null"',
        *(f"nodes.socket.params.{key}={value}" for key, value in socket.items()),
        *(f"nodes.books.params.{key}={value}" for key, value in books.items()),
        *sets,
    ]
    return flow.load(project_root / "graphs" / "binance.yaml", sets=replaced)


class Rig:
    """`listeners` see every state of the keeper's books, once `watch` was called in the entered session."""

    def __init__(self, spec: GraphSpec, url: str) -> None:
        self.trust = TrustWatch()
        self.telemetry = Telemetry()
        self.telemetry.listeners.append(self.trust.on_occurrence)
        self.session = Session(spec, telemetry=self.telemetry, sim=f"url={url}")
        self.session.observe("books").subscribe(self.trust.on_event)
        self.listeners = [self.trust.on_state]
        self.keeper: BookKeeper
        self.follower: BookFollower

    def watch(self) -> None:
        assert self.session.run is not None
        keeper = self.session.run.topology.vertices["books"].component
        assert isinstance(keeper, BookKeeper)
        assert keeper.taken == 0
        self.keeper = keeper
        self.keeper.on_state = self.on_state
        self.follower = follower_of(self.session.run, "strategy")

    def on_state(self, stream: Stream, number: int, book: Book) -> None:
        for listener in self.listeners:
            listener(stream, number, book)

    @property
    def live(self) -> int:
        """How many books are trusted at the moment."""
        books = self.session.summary()["books"]
        return sum(book["state"] == "live" for book in books.values())

    def judge_accounts(self) -> None:
        """Nothing failed, every edge balances, and every pooled object is back."""
        assert self.session.run is not None
        assert self.session.run.failure is None
        for edge in self.session.run.topology.edges():
            assert edge.difference == 0, edge
            assert edge.in_flight == 0, edge
        pools = self.session.summary()["pools"]
        assert pools
        for kind, figures in pools.items():
            assert figures["out"] == 0, kind
            assert figures["gets"] == figures["puts"] > 0, kind
