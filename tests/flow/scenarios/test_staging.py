"""Which nodes run in a test, and which only lead to those that are fed for."""

from __future__ import annotations

import pytest

import flow
from flow.graph.spec import GraphSpec
from flow.scenarios.staging import idle_nodes

GRAPH = {
    "version": 1,
    "nodes": {
        "socket": {"use": "binance.stream", "params": {"symbols": ["A-B"]}},
        "frames": {"use": "ingest", "inputs": ["socket"]},
        "events": {"use": "decode", "inputs": ["frames"], "params": {"codec": "binance"}},
        "ordered": {"use": "order-buffer", "inputs": ["events"]},
        "bus": {"use": "fan-out-clone", "inputs": ["ordered"]},
        "one": {"use": "null", "inputs": ["bus"]},
        "two": {"use": "null", "inputs": ["bus"]},
        "letters": {"use": "rx.distinct-until-changed", "inputs": ["events.dead_letters"]},
        "refused": {"use": "null", "inputs": ["letters"]},
    },
}


@pytest.fixture
def spec() -> GraphSpec:
    return flow.load_data(GRAPH)


@pytest.mark.parametrize(
    ("fed", "idle"),
    [
        ("", ""),
        ("socket", "socket"),
        ("frames", "socket frames"),
        ("events", "socket frames events"),
        ("ordered", "socket frames events ordered letters refused"),
        ("bus", "socket frames events ordered bus letters refused"),
        ("events bus", "socket frames events ordered bus"),
        ("bus letters", "socket frames events ordered bus letters"),
    ],
)
def test_idle_nodes(spec: GraphSpec, fed: str, idle: str) -> None:
    assert idle_nodes(spec, fed.split()) == set(idle.split())
