"""`${...}`: where values come from, what they become, and what is wrong with the others."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.graph.tree import MAX_SIZE, Faults, Tree
from flow.graph.variables import Variables
from flow.graph.yaml_source import parse


def fill(text: str, environ: dict[str, str] | None = None, **params: Any) -> tuple[Any, list[str]]:
    found = Faults("f")
    tree = parse(text, found)
    assert tree is not None
    assert not found
    variables = Variables(environ or {}, found)
    for name, value in params.items():
        variables.define(name, Tree.of_data(value))
    return variables.fill(tree).plain(), [fault.message for fault in found.listed()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: ${x}", 5),
        ("a: '${x}'", 5),
        ("a: '${many}'", ["A", "B"]),
        ("a: ${flag}", True),
        ("a: ws://${host}:${x}/${flag}", "ws://h:5/true"),
        ("a: <${nothing}>", "<>"),
        ("a: ${HOME}", "/h"),
        ("a: ${host}${HOME}", "h/h"),
        ("a: $$x", "$x"),
        ("a: $${x}", "${x}"),
        ("a: $$$$", "$$"),
        ("a: $x", "$x"),
        ("a: 5$", "5$"),
        ("a: ${ABSENT:-b}", "b"),
        ("a: ${ABSENT:-}", ""),
        ("a: ${EMPTY:-b}", "b"),
        ("a: ${EMPTY}", ""),
        ("a: ${nothing:-b}", "b"),
        ("a: ${HOME:?wanted}", "/h"),
        ("a: ${x:-b}", 5),
        ("a: x${ABSENT:-b:-c}y", "xb:-cy"),
    ],
)
def test_references(text: str, expected: Any) -> None:
    value, said = fill(
        text, {"HOME": "/h", "EMPTY": ""}, x=5, many=["A", "B"], flag=True, host="h", nothing=None
    )
    assert said == []
    assert value == {"a": expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: ${symbls}",
            "${symbls} is neither a param of this graph nor in the environment, did you mean 'symbols'?",
        ),
        (
            "a: ${FOO}",
            "${FOO} is neither a param of this graph nor in the environment; ${FOO:-...} gives a default",
        ),
        ("a: ${FOO:?set it to a key}", "FOO: set it to a key"),
        ("a: ${EMPTY:?set it}", "EMPTY: set it"),
        ("a: x${symbols}", "${symbols} is a list, which can't stand inside of a longer text"),
        ("a: ${}", "'${}' is no reference: write ${NAME}, ${NAME:-default} or ${NAME:?message}"),
        ("a: ${1}", "'${1}' is no reference: write ${NAME}, ${NAME:-default} or ${NAME:?message}"),
        ("a: ${a b}", "'${a b}' is no reference: write ${NAME}, ${NAME:-default} or ${NAME:?message}"),
        ("a: ${a", "'${' without its '}' in '${a'; write $$ for a plain $"),
        ("a: ${A:-${B}}", "'${' without its '}' in '${A:-${B}}'; write $$ for a plain $"),
    ],
)
def test_what_is_wrong_with_a_reference(text: str, expected: str) -> None:
    _, said = fill(text, {"EMPTY": ""}, symbols=["A"])
    assert expected in said


def test_params_come_before_the_environment() -> None:
    assert fill("a: ${x}", {"x": "outside"}, x="inside")[0] == {"a": "inside"}


def test_keys_are_left_alone() -> None:
    assert fill("${x}: 1", x="y") == ({"${x}": 1}, [])


HEAD = "version: 1\nparams: {{{params}}}\nnodes:\n  a: {{use: socket, params: {{{node}}}}}\n"
TAIL = "  b: {use: ingest, inputs: [a]}\n  c: {use: console, inputs: [b]}\n"


def graph(params: str, node: str) -> str:
    return HEAD.format(params=params, node=node) + TAIL


def test_a_param_may_use_those_before_it_and_the_environment(read: Callable[..., Any]) -> None:
    spec = read(graph("base: '${BASE:-USDT}', pair: 'BTC-${base}', BASE2: x".replace(", BASE2: x", ""), ""))
    assert spec.params == {"base": "USDT", "pair": "BTC-USDT"}


def test_a_param_named_like_its_variable_takes_it(read: Callable[..., Any]) -> None:
    spec = read(graph("symbols: '${symbols}'", ""), environ={"symbols": "x"})
    assert spec.params == {"symbols": "x"}


def test_a_param_can_not_use_those_after_it(faults: Callable[..., list[str]]) -> None:
    assert faults(graph("a: '${b}', b: 1", "")) == [
        "2:13: ${b} is set further down; a param may only use those before it"
    ]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LATE": "7", "CAP": "9", "LABEL": "123"}, (7, 9, "123", ["AAA", "010"])),
        ({"LATE": "7"}, (7, 50, "none", ["AAA", "010"])),
    ],
)
def test_the_environment_is_text_and_what_yaml_makes_of_it(
    read: Callable[..., Any], environ: dict[str, str], expected: tuple[Any, ...]
) -> None:
    spec = read(
        "version: 1\nparams: {late: '${LATE}'}\nnodes:\n"
        "  s: {use: socket, params: {symbols: '${SYMBOLS:-[AAA, 010]}'}}\n  i: {use: ingest, inputs: [s]}\n"
        "  o: {use: order-buffer, inputs: [i], params: "
        "{lateness_ms: '${late}', capacity: '${CAP:-50}', label: '${LABEL:-none}'}}\n"
        "  c: {use: console, inputs: [o]}\n",
        environ=environ,
    )
    params = spec.nodes["o"].params
    assert (params.lateness_ms, params.capacity, params.label, spec.nodes["s"].params.symbols) == expected


def test_what_the_environment_holds_is_never_shown(faults: Callable[..., list[str]]) -> None:
    text = (
        "version: 1\nname: '${SECRET}'\nmode: '${SECRET}'\nplugins: '${SECRET}'\nnodes:\n"
        "  s: {use: '${SECRET}', inputs: '${SECRET}'}\n"
        "  t: {use: socket, params: '${SECRET}'}\n"
        "  o: {use: order-buffer, inputs: [s], params: {lateness_ms: '${SECRET}', side: '${SECRET}', "
        "ratio: 'x${SECRET}', is_strict: '${SECRET}'}}\n"
    )
    found = faults(text, environ={"SECRET": "hunter2\nhunter3"})
    assert len(found) >= 8
    assert not [fault for fault in found if "hunter" in fault]
    assert any(
        "lateness_ms: expected int, got str (from ${SECRET} of the environment)" in fault for fault in found
    )


def test_a_value_too_large_is_named(faults: Callable[..., list[str]]) -> None:
    many = ",".join(["x"] * 400)
    uses = ",".join(["'${a}'"] * 400)
    found = faults(graph(f"a: [{many}], b: [{uses}]", ""))
    assert "is too large or nested too deeply" in found[0]
    assert MAX_SIZE < 400 * 400


def test_texts_can_not_grow_without_end(faults: Callable[..., list[str]]) -> None:
    doubling = ", ".join(f"a{i}: '${{a{i - 1}}}${{a{i - 1}}}'" for i in range(1, 40))
    found = faults(graph(f"a0: 0123456789, {doubling}", ""))
    assert "longer than 65536 characters" in found[0]


@given(st.text(alphabet="${}:-?aB1 \n", max_size=30), st.text(max_size=10))
def test_any_text_is_filled_in_or_faulty(text: str, value: str) -> None:
    found = Faults("f")
    tree = Tree(text, (1, 1), (1, 1), text)
    filled = Variables({"a": value, "B": value}, found).fill(tree)
    if "$" not in text:
        assert filled.value == text
    assert isinstance(filled.value, str) or found
