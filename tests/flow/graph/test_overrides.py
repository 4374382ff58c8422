"""`--set path=value`."""

from collections.abc import Callable
from typing import Any

import pytest

TEXT = """\
version: 1
params: {symbols: [AAA-USDT], limit: {max: 3}}
nodes:
  socket: {use: socket, params: {symbols: "${symbols}"}}
  frames: {use: ingest, inputs: [socket]}
  first:  {use: order-buffer, inputs: [frames], params: &same {lateness_ms: 1}}
  second: {use: order-buffer, inputs: [first], params: *same}
  bus:    {use: fan-out-clone, inputs: [second]}
  show:   {use: console, inputs: [{source: bus, mailbox: {capacity: 5}}]}
"""


def test_a_param_is_set_before_it_is_used(read: Callable[..., Any]) -> None:
    spec = read(TEXT, ["symbols=[BTC-USDT,NO-USDT]"])
    assert spec.params["symbols"] == ["BTC-USDT", "NO-USDT"]
    assert spec.nodes["socket"].params.symbols == ["BTC-USDT", "NO-USDT"]


def test_any_path_is_set_and_nothing_beside_it(read: Callable[..., Any]) -> None:
    spec = read(
        TEXT,
        [
            "nodes.first.params.lateness_ms=50",
            "nodes.first.params.capacity=7",
            "nodes.show.inputs.0.mailbox.capacity=9",
            "pools.CanonicalEvent.capacity=10",
            "pools.WsFrame.off=true",
            "limit.max=4",
            "name=other",
            "mode=replay",
            "nodes.bus.params={lateness_ms: 3}",
        ],
    )
    assert (spec.nodes["first"].params.lateness_ms, spec.nodes["first"].params.capacity) == (50, 7)
    assert spec.nodes["second"].params.lateness_ms == 1
    assert spec.nodes["show"].inputs[0].mailbox.capacity == 9
    assert spec.pools["CanonicalEvent"].capacity == 10
    assert spec.pools["WsFrame"].is_off
    assert spec.params["limit"] == {"max": 4}
    assert (spec.name, spec.mode) == ("other", "replay")
    assert spec.nodes["bus"].params.lateness_ms == 3


def test_the_last_one_wins(read: Callable[..., Any]) -> None:
    assert read(TEXT, ["symbols=[AAA]", "params.symbols=[BBB]"]).params["symbols"] == ["BBB"]


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("symbols", "0:0: --set symbols: write it as path=value"),
        ("=3", "0:0: --set =3: write it as path=value"),
        (f"{'a.' * 5000}b=3", ": write it as path=value"),
        ("a..b=3", "0:0: --set a..b=3: write it as path=value"),
        ("symbls=[A]", "0:0: --set symbls=[A]: this graph has no param 'symbls', did you mean 'symbols'?"),
        ("limit.mx=3", "0:0: --set limit.mx=3: the param limit has no key 'mx'"),
        ("nodes.frst.params.capacity=3", "0:0: --set nodes.frst.params.capacity=3: this graph has no node 'frst', did you mean 'first'?"),  # noqa: E501
        ("nodes.show.inputs.3=bus", "0:0: --set nodes.show.inputs.3=bus: nodes.show.inputs is a list of 1; '3' is no place in it (0 is the first)"),  # noqa: E501
        ("nodes.first.use.x=3", "0:0: --set nodes.first.use.x=3: nodes.first.use is 'order-buffer', there is nothing below it"),  # noqa: E501
        ("nodes.first.params.latenes_ms=3", "6:57: node 'first': unknown key 'latenes_ms', did you mean 'lateness_ms'? (from --set nodes.first.params.latenes_ms=3)"),  # noqa: E501
        ("nodes.first.params.lateness_ms=x", "6:77: node 'first': lateness_ms: expected int, got str 'x' (from --set nodes.first.params.lateness_ms=x)"),  # noqa: E501
        ("symbols=[", "0:0: --set symbols=[: YAML: "),
        ("symbols={a: ${b}}", "0:0: --set symbols={a: ${b}}: inside {...} and [...] a reference wants quotes"),  # noqa: E501
        ("pools.WsFrame.of=true", "unknown key 'of', did you mean 'off'? (from --set pools.WsFrame.of=true)"),
        ("version=2", "1:10: version: this reads version 1, not 2 (from --set version=2)"),
    ],
)  # fmt: skip
def test_what_can_not_be_set(faults: Callable[..., list[str]], assignment: str, expected: str) -> None:
    [fault] = faults(TEXT, [assignment])
    assert expected in fault


def test_strange_characters_are_escaped(faults: Callable[..., list[str]]) -> None:
    [fault] = faults(TEXT, ["sym\x1b[31m=3"])
    assert "\x1b" not in fault
