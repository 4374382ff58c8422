"""The variants of the main graph are what their fields say."""

from pathlib import Path

import pytest

import flow
from flow import GraphError
from profiling.graphs import CONSUMERS, Variant


def uses(variant: Variant) -> list[str]:
    return [entry.use for entry in variant.graph().nodes.values()]


def test_the_main_graph_has_every_operator_in_order() -> None:
    whole = uses(Variant(symbols=("BTC-USDT",), has_books=True))
    assert whole == [
        *("binance.stream", "ingest", "decode", "order-buffer", "binance.books", "dedupe", "route"),
        *("fan-out-clone", "window-merge", "coalesce", "throttle"),
        *["null"] * CONSUMERS,
    ]


def test_it_has_the_operators_of_the_graph_that_is_shipped(project_root: Path) -> None:
    shipped = {entry.use for entry in flow.load(project_root / "graphs" / "binance.yaml").nodes.values()}
    assert shipped - {"console", "python"} == set(uses(Variant(symbols=("BTC-USDT",), has_books=True)))


@pytest.mark.parametrize("name", ["order-buffer", "dedupe", "route", "window-merge"])
def test_an_operator_can_be_left_out(name: str) -> None:
    whole, without = (
        uses(Variant(symbols=("BTC-USDT",))),
        uses(Variant(symbols=("BTC-USDT",), without=(name,))),
    )
    whole.remove(name)
    assert without == whole


def test_levels_are_read_with_the_frame_where_books_read_them() -> None:
    def levels(**fields: bool) -> str:
        return Variant(symbols=("BTC-USDT",), **fields).graph().nodes["events"].params.levels

    assert (levels(), levels(has_books=True)) == ("lazy", "eager")
    assert Variant(symbols=("BTC-USDT",), levels="eager").graph().nodes["events"].params.levels == "eager"


def test_consumers_mailboxes_and_pools() -> None:
    graph = Variant(symbols=("BTC-USDT",), consumers=3, shaped=2, unpooled=("WsFrame",), capacity=7).graph()
    assert graph.pools["WsFrame"].is_off
    latest = [graph.nodes[f"latest_{number}"].inputs[0].mailbox for number in (1, 2)]
    assert [mailbox.capacity for mailbox in latest if mailbox is not None] == [7, 7]
    assert "latest_3" not in graph.nodes


def test_a_throttle_stands_behind_coalesce() -> None:
    graph = Variant(symbols=("BTC-USDT",), consumers=1).graph()
    ways = {name: graph.nodes[name].inputs[0].source for name in ("consumer_1", "paced_1", "latest_1")}
    assert ways == {"consumer_1": "paced_1", "paced_1": "latest_1", "latest_1": "bus"}


@pytest.mark.parametrize(("without", "joined"), [((), "routed"), (("route",), "bus")])
def test_the_side_branch_watches_what_it_joins_again(without: tuple[str, ...], joined: str) -> None:
    graph = Variant(symbols=("BTC-USDT",), without=without).graph()
    assert [given.source for given in graph.nodes["merged"].inputs] == ["unique"]
    assert [given.source for given in graph.nodes[joined].inputs] == ["unique", "merged"]


def test_a_variant_is_checked_like_any_graph() -> None:
    with pytest.raises(GraphError, match="nosuch"):
        Variant(symbols=("BTC-USDT",), consumer="nosuch").graph()
