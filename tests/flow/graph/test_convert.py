"""Parameters: strict types, every fault at its own place, and what was probably meant."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from flow.graph.convert import convert
from flow.graph.tree import Faults, Tree
from flow.graph.wording import spelled, unknown_key
from flow.graph.yaml_source import parse


def with_params(params: str) -> str:
    """`params` begins at 6:13."""
    return (
        "version: 1\nnodes:\n  s: {use: socket}\n  i: {use: ingest, inputs: [s]}\n"
        f"  o:\n    params: {params}\n    use: order-buffer\n    inputs: [i]\n"
        "  c: {use: console, inputs: [o]}\n"
    )


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("{latness_ms: 5}", "6:14: node 'o': unknown key 'latness_ms', did you mean 'lateness_ms'?"),
        ("{lateness_s: 5}", "6:14: node 'o': unknown key 'lateness_s', did you mean lateness_ms (milliseconds)?"),  # noqa: E501
        ("{lateness: 5}", "6:14: node 'o': unknown key 'lateness', did you mean lateness_ms (milliseconds)?"),
        ("{xyz: 5}", "6:14: node 'o': unknown key 'xyz'; known are capacity, is_strict, label, lateness_ms, limits, ratio, side, weights"),  # noqa: E501
        ('{lateness_ms: "50"}', "6:27: node 'o': lateness_ms: expected int, got str '50'; write 50"),
        ("{lateness_ms: 1_000}", "6:27: node 'o': lateness_ms: expected int, got str '1_000'; write 1000"),
        ("{lateness_ms: 010}", "6:27: node 'o': lateness_ms: expected int, got str '010'; write 10"),
        ("{lateness_ms: 1:30}", "6:27: node 'o': lateness_ms: expected int, got str '1:30'"),
        ("{lateness_ms: 1.5}", "6:27: node 'o': lateness_ms: expected int, got float"),
        ("{lateness_ms: true}", "6:27: node 'o': lateness_ms: expected int, got bool"),
        ("{lateness_ms: [1]}", "6:27: node 'o': lateness_ms: expected int, got array"),
        ("{lateness_ms: ~}", "6:27: node 'o': lateness_ms: expected int, got null"),
        ("{lateness_ms: -1}", "6:27: node 'o': lateness_ms: expected int >= 0, got -1"),
        ("{lateness_ms: 60001}", "6:27: node 'o': lateness_ms: expected int <= 60000, got 60001"),
        ("{ratio: .nan}", "6:21: node 'o': ratio: expected float, got str '.nan'"),
        ("{is_strict: yes}", "6:25: node 'o': is_strict: expected bool, got str 'yes'; write true"),
        ("{is_strict: off}", "6:25: node 'o': is_strict: expected bool, got str 'off'; write false"),
        ("{side: bye}", "6:20: node 'o': side: expected one of buy, sell, got 'bye', did you mean 'buy'?"),
        ("{label: 5}", "6:21: node 'o': label: expected str | null, got int"),
        ("{limits: {low: -1}}", "6:28: node 'o': limits.low: expected int >= 0, got -1"),
        ("{limits: {hihg: 1}}", "6:23: node 'o': unknown key 'limits.hihg', did you mean 'high'?"),
        ("{limits: {low: 20}}", "6:22: node 'o': limits: low is above high"),
        ("{limits: 3}", "6:22: node 'o': limits: expected object, got int"),
        ("{weights: {a: x}}", "6:27: node 'o': weights.a: expected int, got str 'x'"),
        ("[a]", "6:13: node 'o': a mapping belongs here, not a list"),
        ("5", "6:13: node 'o': a mapping belongs here, not 5"),
    ],
)  # fmt: skip
def test_a_fault_is_at_its_own_place(faults: Callable[..., list[str]], params: str, expected: str) -> None:
    assert faults(with_params(params)) == [expected]


def test_all_faults_of_one_node_are_found(faults: Callable[..., list[str]]) -> None:
    first = "lateness_ms: x, capacity: 0, rato: 1, side: up"
    found = faults(with_params(f"{{{first}, limits: {{low: a, high: b}}, weights: {{a: 1, b: c, d: e}}}}"))
    keys = [fault.split("'o': ")[1].split(":")[0] for fault in found]
    assert keys == [
        "lateness_ms", "capacity", "unknown key 'rato', did you mean 'ratio'?", "side", "limits.low",
        "limits.high", "weights.b", "weights.d",
    ]  # fmt: skip


def test_params_may_be_left_out_or_empty(read: Callable[..., Any]) -> None:
    assert read(with_params("")).nodes["o"].params.lateness_ms == 150
    assert read(with_params("{}")).nodes["o"].params == read(with_params("~")).nodes["o"].params


def test_elements_of_lists_are_judged_one_by_one(faults: Callable[..., list[str]]) -> None:
    text = (
        "version: 1\nnodes:\n  s:\n    use: socket\n    params:\n      symbols: [BTC-USDT, NO, 1]\n"
        "      channels:\n      - trade\n      - boook\n  i: {use: ingest, inputs: [s]}\n"
        "  c: {use: console, inputs: [i]}\n"
    )
    assert faults(text) == [
        "6:27: node 's': symbols[1]: expected str of length >= 3, got 'NO'",
        "6:31: node 's': symbols[2]: expected str, got int",
        "9:9: node 's': channels[1]: expected one of trade, book, kline, got 'boook', did you mean 'book'?",
    ]


def test_a_missing_param_is_named_with_its_type(faults: Callable[..., list[str]]) -> None:
    text = "version: 1\nnodes:\n  s: {use: gateway}\n  j: {use: jsonl, inputs: [s]}\n"
    assert faults(text) == ["4:3: node 'j': 'path' is missing (str at least 1 long)"]
    assert faults(text.replace("[s]}", "[s], params: {folder: x}}")) == [
        "4:32: node 'j': 'path' is missing (str at least 1 long)"
    ]


def test_paths_are_paths(read: Callable[..., Any]) -> None:
    sink = "j: {use: jsonl, inputs: [s], params: {path: a, folder: b/c}}"
    text = f"version: 1\nnodes:\n  s: {{use: gateway}}\n  {sink}\n"
    assert read(text).nodes["j"].params.folder == Path("b/c")


class Mixed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: int = 0
    text: str = ""
    either: int | str = 0
    several: list[int] = []
    renamed: int = 0


def converted(tree: Tree, kind: type[Any] = Mixed) -> tuple[Any, list[str]]:
    found = Faults("f")
    return convert(tree, kind, "here", found), [fault.message for fault in found.listed()]


def loose(text: str) -> Tree:
    read = parse(text, Faults("f"))
    assert read is not None
    return Tree(text, other=read)


def test_a_second_reading_is_taken_only_where_the_first_does_not_fit() -> None:
    tree = Tree.of_mapping(
        {"number": loose("5"), "text": loose("5"), "either": loose("5"), "several": loose("[1, 2]")}
    )
    value, said = converted(tree)
    assert said == []
    assert value == Mixed(number=5, text="5", either="5", several=[1, 2])


def test_the_second_reading_explains_the_fault() -> None:
    _, said = converted(Tree.of_mapping({"several": loose("[1, x]")}))
    assert said == ["here: several[1]: expected int, got str 'x'"]


def test_a_struct_that_raises_anything_is_a_fault() -> None:
    class Fragile(Struct):
        a: int = 0

        def __post_init__(self) -> None:
            raise RuntimeError("broken")

    value, said = converted(Tree.of_mapping({}), Fragile)
    assert value is None
    assert said == ["here: RuntimeError: broken"]


def test_units_are_only_suffixes() -> None:
    found = Faults("f")
    assert (
        unknown_key("size_kib", ["size_bytes"], found)
        == "unknown key 'size_kib', did you mean size_bytes (bytes)?"
    )
    assert unknown_key("zzz_s", ["lateness_ms"], found) == "unknown key 'zzz_s'; known are lateness_ms"
    assert unknown_key("a", [], found) == "unknown key 'a'"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int, "int"),
        (Annotated[int, Meta(ge=1, le=5)], "int >= 1, <= 5"),
        (list[Annotated[str, Meta(min_length=2)]], "list[str at least 2 long]"),
        (Literal["a", "b"], "a | b"),
        (int | None, "int | null"),
        (tuple[int, ...], "tuple[int, ...]"),
        (dict[str, Any], "dict[str, anything]"),
        (Path, "Path"),
    ],
)
def test_types_are_spelled_for_readers(kind: Any, expected: str) -> None:
    assert spelled(kind) == expected


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.sampled_from(["number", "text", "either", "several", "renamed"]) | st.text(max_size=5)


@given(st.dictionaries(KEYS, JUNK, max_size=5))
def test_any_data_is_a_struct_or_a_fault(data: dict[str, Any]) -> None:
    value, said = converted(Tree.of_data(data))
    assert (value is None) == bool(said)
    if value is not None:
        assert set(data) <= {"number", "text", "either", "several", "renamed"}
