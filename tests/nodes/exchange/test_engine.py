from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.exchange.engine import Engine, Execution, OrderSide

BUY, SELL = OrderSide.BUY, OrderSide.SELL
SIDES = st.sampled_from([BUY, SELL])
LIMIT = st.tuples(st.just("limit"), SIDES, st.integers(95, 105), st.integers(1, 9))
MARKET = st.tuples(st.just("market"), SIDES, st.just(0), st.integers(1, 20))
CANCEL = st.tuples(st.just("cancel"), SIDES, st.integers(1, 40), st.just(0))
ACTS = st.lists(st.one_of(LIMIT, LIMIT, MARKET, CANCEL), max_size=60)


def perform(engine: Engine, act: tuple[str, OrderSide, int, int]) -> Execution | None:
    kind, side, number, quantity = act
    if kind == "limit":
        return engine.limit(side, number, quantity)
    if kind == "market":
        return engine.market(side, quantity)
    return engine.cancel(number)


def resting(engine: Engine) -> dict[tuple[OrderSide, int], int]:
    """The lots a side and price, added up from the single orders."""
    totals: dict[tuple[OrderSide, int], int] = defaultdict(int)
    for order in engine.orders.values():
        totals[order.side, order.price] += order.quantity
    return dict(totals)


def shown(engine: Engine) -> dict[tuple[OrderSide, int], int]:
    return {(side, price): lots for side in (BUY, SELL) for price, lots in engine.levels(side)}


@given(ACTS)
def test_no_lot_is_lost_or_made(acts: list[tuple[str, OrderSide, int, int]]) -> None:
    engine = Engine()
    entered = left = 0
    for act in acts:
        execution = perform(engine, act)
        if execution is None:
            continue
        traded = sum(fill.quantity for fill in execution.fills)
        if act[0] == "cancel":
            left += execution.remaining
        else:
            assert traded + execution.remaining == act[3]
            entered += act[3]
            left += 2 * traded + (execution.remaining if act[0] == "market" else 0)
        assert entered - left == sum(order.quantity for order in engine.orders.values())


@given(ACTS)
def test_levels_are_the_sum_of_their_orders_and_are_never_crossed(
    acts: list[tuple[str, OrderSide, int, int]],
) -> None:
    engine = Engine()
    for act in acts:
        perform(engine, act)
        assert shown(engine) == resting(engine)
        bids = [price for price, _ in engine.levels(BUY)]
        asks = [price for price, _ in engine.levels(SELL)]
        assert bids == sorted(set(bids), reverse=True)
        assert asks == sorted(set(asks))
        assert not bids or not asks or bids[0] < asks[0]


@given(ACTS)
def test_changes_alone_rebuild_the_book_and_number_its_updates(
    acts: list[tuple[str, OrderSide, int, int]],
) -> None:
    engine = Engine(update_id=500)
    mirror: dict[tuple[OrderSide, int], int] = {}
    updates = 500
    for act in acts:
        before = engine.best_bid(), engine.best_ask()
        execution = perform(engine, act)
        if execution is None:
            assert engine.update_id == updates
            continue
        updates += len(execution.changes)
        assert engine.update_id == updates
        for change in execution.changes:
            mirror[change.side, change.price] = change.quantity
            if not change.quantity:
                del mirror[change.side, change.price]
        assert mirror == shown(engine)
        assert execution.is_best_changed == (before != (engine.best_bid(), engine.best_ask()))


@given(ACTS)
def test_orders_trade_by_price_then_by_time(acts: list[tuple[str, OrderSide, int, int]]) -> None:
    engine = Engine()
    for act in acts:
        queue = sorted(engine.orders.values(), key=lambda order: (-order.price * order.side, order.order_id))
        queue = [(order.order_id, order.price, order.quantity) for order in queue if order.side is not act[1]]
        execution = perform(engine, act)
        if execution is None or act[0] == "cancel":
            continue
        taker = execution.order_id
        for fill, (maker_id, price, lots) in zip(execution.fills, queue, strict=False):
            assert {fill.buyer_order_id, fill.seller_order_id} == {taker, maker_id}
            assert fill.price == price
            assert fill.quantity == lots or fill is execution.fills[-1]
            assert fill.is_buyer_maker == (act[1] is SELL)
        assert len(execution.fills) <= len(queue)


def test_an_incoming_order_gets_the_resting_prices_and_rests_with_what_is_left() -> None:
    engine = Engine(trade_id=10)
    engine.limit(SELL, 101, 5)
    engine.limit(SELL, 100, 2)
    execution = engine.limit(BUY, 101, 9)
    assert [(fill.trade_id, fill.price, fill.quantity) for fill in execution.fills] == [
        (11, 100, 2),
        (12, 101, 5),
    ]
    assert execution.remaining == 2
    assert engine.best_bid() == (101, 2)
    assert engine.best_ask() is None


def test_a_market_order_expires_where_nothing_is_left_to_trade_with() -> None:
    engine = Engine()
    engine.limit(BUY, 99, 3)
    execution = engine.market(SELL, 10)
    assert execution.remaining == 7
    assert not engine.orders


def test_levels_can_be_cut_to_the_best_ones() -> None:
    engine = Engine()
    for price in (100, 102, 101):
        engine.limit(SELL, price, 1)
        engine.limit(BUY, price - 50, 1)
    assert engine.levels(SELL, 2) == [(100, 1), (101, 1)]
    assert engine.levels(BUY, 2) == [(52, 1), (51, 1)]


def test_cancelling_twice_does_nothing() -> None:
    engine = Engine()
    order_id = engine.limit(BUY, 99, 3).order_id
    assert engine.cancel(order_id) is not None
    assert engine.cancel(order_id) is None
    assert engine.update_id == 2


@pytest.mark.parametrize(("price", "quantity"), [(0, 1), (1, 0), (-1, 5)])
def test_orders_without_price_or_quantity_are_refused(price: int, quantity: int) -> None:
    engine = Engine()
    with pytest.raises(ValueError, match="above 0"):
        engine.limit(BUY, price, quantity)
    with pytest.raises(ValueError, match="above 0"):
        engine.market(BUY, min(quantity, 0))
    assert engine.update_id == 0
