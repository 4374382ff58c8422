"""What `flow list`, `flow describe` and `flow schema` say."""

import re
from typing import Any

import msgspec
import pytest

from flow.graph.reference import describe, listing
from flow.graph.schema import json_schema
from flow.registry import Registry


def test_the_listing_has_a_line_a_name(registry: Registry) -> None:
    both = listing(registry).splitlines()
    assert len(both) == len(registry.nodes)
    parts = listing(registry, "operators").splitlines() + listing(registry, "nodes").splitlines()
    assert [part.split() for part in parts] == [part.split() for part in both]
    assert "order-buffer   operator   Puts events in order." in both
    assert listing(Registry()) == "nothing is registered\n"


def test_the_description_has_ports_types_bounds_and_defaults(registry: Registry) -> None:
    text = describe(registry.nodes["order-buffer"])
    assert text.startswith(
        "order-buffer (operator)\n\n  takes  Event\n  gives  Event\n\nPuts events in order."
    )
    assert "It waits for what is late." in text
    rows = {
        row.split()[0]: re.sub(r" +", " ", row.strip()) for row in text.partition("params:\n")[2].splitlines()
    }
    assert rows["lateness_ms"] == "lateness_ms = 150 int >= 0, <= 60000: how long a gap may stay open"
    assert rows["label"] == "label = null str | null"
    assert rows["side"] == 'side = "buy" buy | sell'
    assert rows["limits"] == 'limits = {"low":0,"high":10} Limits'


def test_the_description_says_what_a_graph_must_know(registry: Registry) -> None:
    assert "takes" not in describe(registry.nodes["socket"])
    assert "gives" not in describe(registry.nodes["console"])
    assert "It takes no params." in describe(registry.nodes["console"])
    assert re.search(
        r"path +required +str at least 1 long: where to write", describe(registry.nodes["jsonl"])
    )
    assert "May lose anything" in describe(registry.nodes["sample"])
    assert "any number may read it" in describe(registry.nodes["fan-out-clone"])
    assert "Critical events enter the graph here." in describe(registry.nodes["gateway"])
    assert "DeadLetter" in describe(registry.nodes["jsonl"])


@pytest.fixture
def schema(registry: Registry) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(json_schema(registry)))


def test_the_schema_names_every_use_with_its_params(schema: dict[str, Any], registry: Registry) -> None:
    node = schema["$defs"]["node"]
    assert [option["const"] for option in node["properties"]["use"]["anyOf"]] == sorted(registry.nodes)
    by_use = {rule["if"]["properties"]["use"]["const"]: rule["then"] for rule in node["allOf"]}
    ref = by_use["order-buffer"]["properties"]["params"]["anyOf"][0]["$ref"]
    params = schema["$defs"][ref.removeprefix("#/$defs/")]
    bounds, reference = params["properties"]["lateness_ms"]["anyOf"]
    assert (bounds["minimum"], bounds["maximum"], bounds["default"]) == (0, 60_000, 150)
    assert reference == {"type": "string", "pattern": r"\$\{"}
    assert params["additionalProperties"] is False


def test_every_reference_of_the_schema_leads_somewhere(schema: dict[str, Any]) -> None:
    found = set(re.findall(r'"\$ref":"#/\$defs/([^"]+)"', msgspec.json.encode(schema).decode()))
    assert found
    assert found <= set(schema["$defs"])


def test_params_that_json_can_not_describe_are_any_object(schema: dict[str, Any]) -> None:
    rules = {
        rule["if"]["properties"]["use"]["const"]: rule["then"] for rule in schema["$defs"]["node"]["allOf"]
    }
    assert rules["jsonl"]["properties"]["params"]["anyOf"][0] == {"type": "object", "title": "FileParams"}


def test_the_schema_knows_the_sections(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]) == {"version", "name", "mode", "params", "plugins", "pools", "nodes"}
    assert "CanonicalEvent" in schema["properties"]["pools"]["properties"]
    assert schema["properties"]["mode"]["enum"] == ["live", "replay"]


def test_an_empty_registry_has_a_schema_too() -> None:
    assert json_schema(Registry())["$defs"]["node"]["properties"]["use"] == {"type": "string"}
