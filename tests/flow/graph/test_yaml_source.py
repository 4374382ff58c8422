"""YAML without surprises: scalars, aliases, limits, places; and text that nobody meant."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.errors import GraphError
from flow.graph import load, yaml_source
from flow.graph.tree import MAX_DEPTH, MAX_SIZE, Faults, Tree
from flow.graph.yaml_source import parse
from flow.registry import Registry


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With the parser in C and with the one in Python."""
    loader = getattr(yaml, request.param, None)
    if loader is None:
        pytest.skip(f"this PyYAML has no {request.param}")
    monkeypatch.setattr(yaml_source, "_LOADER", loader)
    return iter(())


def read(text: str) -> Any:
    found = Faults("f")
    tree = parse(text, found)
    assert found.listed() == []
    assert tree is not None
    return tree.plain()


def refused(text: str) -> list[str]:
    found = Faults("f")
    parse(text, found)
    return [str(fault).removeprefix("f:") for fault in found.listed()]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"), ("no", "no"), ("on", "on"), ("Off", "Off"), ("yes", "yes"), ("y", "y"),
        ("NO-USDT", "NO-USDT"), ("1:30", "1:30"), ("12:30:45", "12:30:45"), ("010", "010"), ("0o17", 15),
        ("0x1F", 31), ("1_000", "1_000"), ("-7", -7), ("+7", 7), ("0", 0), ("00", "00"), ("1e3", 1000.0),
        ("1.50", 1.5), (".5", 0.5), ("5.", 5.0), (".", "."), ("1e999", "1e999"), (".nan", ".nan"),
        (".inf", ".inf"), ("-.inf", "-.inf"), ("01.5", "01.5"), ("0.5", 0.5), ("9" * 40, "9" * 40),
        ("2024-01-01", "2024-01-01"), ("null", None), ("~", None), ("", None), ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"), ("'5'", "5"), ('"true"', "true"), ("=", "="), ("'<<'", "<<"), ("|-\n 5", "5"),
        ("! 5", 5),
    ],
)  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    read_value = read(f"a: {text}\n")["a"]
    assert read_value == value
    assert type(read_value) is type(value)


@pytest.mark.usefixtures("either_parser")
def test_words_of_truth_are_keys_like_others() -> None:
    assert read("{on: 1, off: 2, yes: 3, NO: 4}") == {"on": 1, "off": 2, "yes": 3, "NO": 4}


@pytest.mark.usefixtures("either_parser")
def test_anchors_aliases_and_merge_keys() -> None:
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {y: 4, <<: [*a, {z: 5, x: 9}]}\n"
    a = {"x": 1, "y": 2}
    assert read(text) == {"a": a, "b": a, "c": {"x": 1, "y": 3}, "d": {"x": 1, "y": 4, "z": 5}}


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", "3:1: duplicate key 'a'; the first is in line 1"),
        ("{a: {b: 1, 'b': 2}}", "1:12: duplicate key 'b'; the first is in line 1"),
        ("1: a", "1:1: a key must be text, not 1; quote it if text is meant"),
        ("true: a", "1:1: a key must be text, not True; quote it if text is meant"),
        ("? [a]\n: b", "1:3: a key must be text, not a list; quote it if text is meant"),
        ("~: a", "1:1: a key must be text, not nothing; quote it if text is meant"),
        (
            "a: !!python/object:os.system x",
            "1:4: the tag '!!python/object:os.system' is not allowed; quote what is text, leave out the rest",
        ),
        ("a: !!str 5", "1:4: the tag '!!str' is not allowed; quote what is text, leave out the rest"),
        ("a: !x [1]", "1:4: the tag '!x' is not allowed; quote what is text, leave out the rest"),
        ("a: *b", "1:4: the alias *b has no anchor &b before it"),
        ("a: &b [*b]", "1:8: the alias *b stands inside of what it stands for"),
        ("a: {<<: 3}", "1:9: '<<' takes a mapping or a list of mappings"),
        ("a: {<<: {}, <<: {}}", "1:13: duplicate key '<<'; give it a list"),
    ],
)
def test_what_is_refused_though_it_is_yaml(text: str, expected: str) -> None:
    assert expected in refused(text)


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    "text", ["a: [", "a: 'x", "a: b: c", "a:\n\tb: c\n  d: [", "@x", "a: {b", "%YAML 9.1\n---\na", "]"]
)
def test_syntax_errors_have_a_place(text: str) -> None:
    [fault] = refused(text)
    line, column, message = fault.split(":", 2)
    assert int(line) >= 1
    assert int(column) >= 1
    assert message.startswith(" YAML: ")


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {symbols: ${symbols}}", '1:14: inside {...} and [...] a reference wants quotes: "${symbols}"'),
        ("a:\n  b: [${X:-1}]", '2:7: inside {...} and [...] a reference wants quotes: "${X:-1}"'),
        ("é: {x: '${a}', y: ${b}}", '1:19: inside {...} and [...] a reference wants quotes: "${b}"'),
    ],
)
def test_an_unquoted_reference_in_flow_style_says_what_it_wants(text: str, expected: str) -> None:
    assert refused(text) == [expected]


def test_an_unquoted_reference_in_block_style_is_fine() -> None:
    assert read("a: ${symbols}\nb: ${X:-y}") == {"a": "${symbols}", "b": "${X:-y}"}


@pytest.mark.usefixtures("either_parser")
def test_an_alias_bomb_is_refused_at_once() -> None:
    text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
    )
    started = time.process_time()
    [fault] = refused(text)
    assert fault.endswith(f"more than {MAX_SIZE} values, with every alias written out")
    assert time.process_time() - started < 5


def test_an_alias_bomb_along_the_top_is_refused_too() -> None:
    text = f"a: &a [{','.join('x' * 999)}]\nb: [{','.join(['*a'] * 99)}]\n" + "c: [*a]\nd: [*a]\n"
    assert refused(text)[0].endswith("with every alias written out")


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[{a: "])
def test_a_nesting_bomb_is_refused_long_before_recursion(opening: str) -> None:
    [fault] = refused(opening * 30_000)
    assert fault.endswith(f"nested more than {MAX_DEPTH} levels deep")


def test_aliases_can_not_nest_deeper_than_brackets() -> None:
    half = MAX_DEPTH // 2 + 1
    text = f"a: &a {'[' * half}{']' * half}\nb: {'[' * half}*a{']' * half}\n"
    assert refused(text)[0].endswith("levels deep")
    assert refused(text.replace("*a", "x")) == []


def test_depth_up_to_the_limit_is_read() -> None:
    assert refused("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []
    assert refused("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)) != []


def test_places_are_those_of_keys_and_values() -> None:
    tree = parse("a:\n  bé: [x, 'y']\n", Faults("f"))
    assert tree is not None
    inner = tree.entries["a"].entries["bé"]
    assert (tree.entries["a"].key, inner.key, inner.place) == ((1, 1), (2, 3), (2, 7))
    assert [item.place for item in inner.items] == [(2, 8), (2, 11)]


def test_many_faults_do_not_make_it_slow(faults: Callable[..., list[str]]) -> None:
    started = time.process_time()
    text = "version: 1\nnodes:\n" + "".join(
        f"  node_{i}: {{use: order-bufer, inputs: [x_{i}]}}\n" for i in range(9000)
    )
    assert len(faults(text)) == 201
    assert time.process_time() - started < 20


def test_a_long_chain_is_no_recursion(read: Callable[..., Any]) -> None:
    links = "".join(f"  n{i}: {{use: same, inputs: [n{i - 1}]}}\n" for i in range(1, 3000))
    spec = read(
        f"version: 1\nnodes:\n  n0: {{use: gateway}}\n{links}  end: {{use: console, inputs: [n2999]}}\n"
    )
    assert len(spec.nodes) == 3001


# --- text that nobody meant ---

PIECES = st.sampled_from(
    [
        "version: 1\n", "nodes:\n", "  a: {use: gateway}\n", "  b: {use: console, inputs: [a]}\n",
        "params: {x: 1}\n",
        "${x}", "${", "$$", "&a ", "*a", "<<: ", "[", "]", "{", "}", ": ", "- ", "? ", "'", '"', "|\n",
        ">-\n", "\n",
        "\t", "#", "!!str ", "!", "%YAML 1.2\n", "---\n", "...\n", "  ", "pools: {WsFrame: {capacity: ",
        "1e9", "\ud800",
        "\x85", "\u2028", "\ufeff", "\x00", "\x0b", "plugins: [./x.py]\n", "mode: replay\n",
        ".dead_letters", "mailbox",
    ]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=30).map("".join))


@given(text=TEXTS, assignment=st.text(max_size=40))
@settings(max_examples=400)
def test_any_text_is_nothing_worse_than_a_graph_error(text: str, assignment: str) -> None:
    with pytest.raises(GraphError) as raised:
        load("g.yaml", text=text, sets=[assignment], environ={}, registry=Registry())
    assert raised.value.faults
    assert str(raised.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(value=VALUES)
def test_what_a_careful_writer_dumps_is_read_back(value: Any) -> None:
    def quoted(data: Any) -> Any:
        if isinstance(data, dict):
            return {key: quoted(child) for key, child in data.items()}
        if isinstance(data, list):
            return [quoted(child) for child in data]
        return data

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def represent_text(self, data: str) -> yaml.ScalarNode:
            return self.represent_scalar("tag:yaml.org,2002:str", data, style='"')

    Dumper.add_representer(str, Dumper.represent_text)
    text = yaml.dump({"a": quoted(value)}, Dumper=Dumper, allow_unicode=False, width=10_000)
    tree = parse(text, Faults("f"))
    assert tree is not None
    assert tree.plain() == {"a": _as_yaml_says(value)}


def _as_yaml_says(value: Any) -> Any:
    """A float such as 1e+16 is written without its point, and large integers are text here."""
    if isinstance(value, dict):
        return {key: _as_yaml_says(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_as_yaml_says(child) for child in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    if isinstance(value, int) and not isinstance(value, bool) and len(str(abs(value))) > 31:
        return str(value)
    return value


def test_plain_data_becomes_a_tree() -> None:
    tree = Tree.of_data({"a": [1, True, None]})
    assert tree.plain() == {"a": [1, True, None]}
    assert [item.text for item in tree.entries["a"].items] == ["1", "true", ""]
    assert (tree.size, tree.depth) == (5, 3)
