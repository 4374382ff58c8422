"""Route: the version in force on each event, the table from the parameters."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from reactivex import operators as ops
from reactivex.subject import Subject

from flow.context import Context
from flow.pool import Pools
from flow.routing import RoutingTable, routing_table
from flow.telemetry.dead_letters import DeadLetters
from flow.testing import Recorder, assert_nothing_out, make_event, make_stream, values
from operators.route import RouteParams, route


def table_of(context: Context) -> RoutingTable:
    return context.service("routing", routing_table)


def test_each_event_bears_the_version_in_force() -> None:
    pools, context = Pools(), Context()
    recorder = Recorder()
    source: Subject[Any] = Subject()
    source.pipe(route(context=context)).subscribe(recorder)
    table = table_of(context)
    for n, change in enumerate([None, None, "BTC-USDT", "BTC-USDT", "ETH-USDT"]):
        if change is not None:
            table.subscribe("a", change)
        source.on_next(make_event(n, pools=pools))
    source.on_completed()
    assert [event.routing_version for event in recorder.elements] == [1, 1, 2, 2, 3]
    assert recorder.is_completed
    assert_nothing_out(pools)


def test_the_table_of_the_parameters_is_in_force_before_the_first_event() -> None:
    context = Context()
    params = RouteParams(table={"a": [("BTC-USDT", "*"), ("*", "kraken")], "b": []})
    route(params, context)
    table = table_of(context)
    btc, eth = make_stream(symbol="BTC-USDT"), make_stream(symbol="ETH-USDT")
    assert table.audience(btc, ["a", "b", "c"]) == ["a", "c"]
    assert table.audience(eth, ["a", "b", "c"]) == ["c"]
    assert table.receives("a", make_stream(symbol="ETH-USDT", provider="kraken"))


def test_a_new_subscription_keeps_what_was_changed_at_run_time() -> None:
    context = Context()
    source: Subject[Any] = Subject()
    routed = source.pipe(route(RouteParams(table={"a": [("BTC-USDT", "*")]}), context))
    table = table_of(context)
    routed.subscribe(Recorder()).dispose()
    table.unsubscribe("a", "BTC-USDT")
    routed.subscribe(Recorder())
    assert not table.receives("a", make_stream(symbol="BTC-USDT"))


def test_the_table_is_read_as_yaml_gives_it() -> None:
    params = msgspec.convert({"table": {"a": [["BTC-USDT", "*"]]}}, RouteParams)
    assert params.table == {"a": [("BTC-USDT", "*")]}
    for wrong in ({"a": ["BTC-USDT"]}, {"a": [["BTC-USDT"]]}, ["a"]):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"table": wrong}, RouteParams)


class Sealed:
    __slots__ = ()


@pytest.mark.parametrize("with_letters", [True, False])
def test_what_can_not_be_stamped_is_refused(with_letters: bool) -> None:
    letters = DeadLetters() if with_letters else None
    recorder = Recorder()
    source: Subject[Any] = Subject()
    source.pipe(route(context=Context(dead_letters=letters))).subscribe(recorder)
    source.on_next(Sealed())
    source.on_next(make_event(1))
    assert values(recorder) == ([1] if with_letters else [])
    assert isinstance(recorder.error, AttributeError) is not with_letters


def test_between_stock_operators_and_to_the_end() -> None:
    source: Subject[Any] = Subject()
    recorder = Recorder()
    chain = source.pipe(
        ops.filter(lambda event: event.sequence % 2 == 0), route(), ops.share(), ops.map(lambda e: e.sequence)
    )
    subscription = chain.subscribe(recorder)
    for n in range(4):
        source.on_next(make_event(n))
    subscription.dispose()
    source.on_next(make_event(4))
    assert recorder.elements == [0, 2]
    boom = ValueError("boom")
    again = Recorder()
    chain.subscribe(again)
    source.on_error(boom)
    assert again.error is boom
