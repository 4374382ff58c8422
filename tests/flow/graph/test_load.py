"""Good graphs, and what each kind of bad input gets."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow.errors import GraphError
from flow.graph import GraphSpec, InputSpec, MailboxSpec, lint, load, load_data
from flow.registry import Registry

GOOD = """\
version: 1
name: binance
params: {symbols: [BTC-USDT, NO-USDT]}
pools: {CanonicalEvent: {capacity: 16}, WsFrame: {off: true}}
nodes:
  socket:  {use: socket, params: {symbols: "${symbols}"}}
  frames:  {use: ingest, inputs: [socket]}
  ordered: {use: order-buffer, inputs: [frames], params: {lateness_ms: 50}}
  bus:     {use: fan-out-clone, inputs: [ordered]}
  latest:  {use: coalesce, inputs: [{source: bus, mailbox: {capacity: 9, when_full: drop_oldest}}]}
  console: {use: console, inputs: [latest]}
  refused: {use: jsonl, inputs: [frames.dead_letters], params: {path: refused.jsonl}}
"""


def with_node(line: str) -> str:
    """GOOD with another `ordered`; `line` stands in line 8, its params from column 64 on."""
    return GOOD.replace("{use: order-buffer, inputs: [frames], params: {lateness_ms: 50}}", line)


def test_a_good_graph_is_read_whole(read: Callable[..., GraphSpec]) -> None:
    spec = read(GOOD)
    assert (spec.name, spec.mode, spec.path, spec.base_dir) == ("binance", "live", Path("g.yaml"), Path())
    assert spec.params == {"symbols": ["BTC-USDT", "NO-USDT"]}
    assert spec.nodes["socket"].params.symbols == ["BTC-USDT", "NO-USDT"]
    assert spec.nodes["ordered"].params.lateness_ms == 50
    assert spec.nodes["ordered"].params.capacity == 200
    assert spec.nodes["latest"].inputs == [
        InputSpec("bus", "out", MailboxSpec(capacity=9, when_full="drop_oldest"), 10, 46)
    ]
    assert spec.nodes["refused"].inputs == [InputSpec("frames", "dead_letters", None, 12, 34)]
    assert (spec.nodes["bus"].line, spec.nodes["bus"].column) == (9, 3)
    assert spec.pools["CanonicalEvent"].capacity == 16
    assert spec.pools["WsFrame"].is_off


def test_a_spec_can_be_sent_elsewhere(read: Callable[..., GraphSpec]) -> None:
    spec = read("version: 1\nnodes: {a: {use: gateway}, b: {use: console, inputs: [a]}}")
    entry = pickle.loads(pickle.dumps(spec.nodes["b"].inputs))
    assert entry == spec.nodes["b"].inputs


def test_the_name_is_the_files_where_none_is_given(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("version: 1\nnodes: {a: {use: gateway}, b: {use: console, inputs: [a]}}")
    spec = load(path, registry=registry)
    assert (spec.name, spec.base_dir) == ("mine", tmp_path)


def test_data_is_read_like_a_file(registry: Registry) -> None:
    data: dict[str, Any] = {
        "version": 1,
        "nodes": {"a": {"use": "gateway"}, "b": {"use": "console", "inputs": ["a"]}},
    }
    assert list(load_data(data, registry=registry).nodes) == ["a", "b"]
    data["nodes"]["b"]["use"] = "consul"
    with pytest.raises(GraphError, match="did you mean 'console'"):
        load_data(data, registry=registry)


def test_data_that_contains_itself_is_a_fault(registry: Registry) -> None:
    data: dict[str, Any] = {"version": 1}
    data["nodes"] = data
    with pytest.raises(GraphError, match="levels deep"):
        load_data(data, registry=registry)


# --- the file itself ---


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "1:1: the file is empty; it begins with `version: 1`"),
        (b"# nothing but a comment\n", "1:1: the file is empty; it begins with `version: 1`"),
        (b"\x89PNG\r\n\x00\x00", "0:0: this is a binary file, not YAML"),
        ("version: 1".encode("utf-16"), "0:0: this is a binary file, not YAML"),
        (b"version: 1\nname: \xc3\xa9\xff\n", "2:8: byte 0xff is not valid UTF-8"),
        (b"version: 1\nname: a\x07b\n", "2:8: character '\\x07' is not allowed in YAML"),
        (b"- a\n- b\n", "1:1: a graph is a mapping, not a list; it begins with `version: 1`"),
        (b"just a text", "1:1: a graph is a mapping, not 'just a text'; it begins with `version: 1`"),
        (b"version: 1\n---\nversion: 1\n", "2:1: a second document starts here; a file holds one graph"),
        (b"x" * (1024 * 1024 + 1), "0:0: 1048577 bytes; a graph file has at most 1048576 (1 MiB)"),
    ],
)
def test_what_is_no_graph_file(tmp_path: Path, registry: Registry, content: bytes, expected: str) -> None:
    path = tmp_path / "g.yaml"
    path.write_bytes(content)
    assert [str(fault) for fault in lint(path, registry=registry)] == [f"{path}:{expected}"]


def test_no_file_a_directory_and_what_is_no_file(tmp_path: Path, registry: Registry) -> None:
    def message(path: Path | str) -> str:
        [fault] = lint(path, registry=registry)
        return fault.message

    assert message(tmp_path / "absent.yaml") == "there is no such file"
    assert message(tmp_path) == "this is a directory, not a graph file"
    assert "can't be read" in message("a\0b.yaml")
    os.mkfifo(tmp_path / "pipe")
    assert message(tmp_path / "pipe") == "this is not a regular file"


def test_a_byte_order_mark_is_no_fault(tmp_path: Path, registry: Registry) -> None:
    text = "\ufeffversion: 1\nnodes: {a: {use: gateway}, b: {use: console, inputs: [a]}}"
    (tmp_path / "g.yaml").write_text(text, encoding="utf-8")
    assert lint(tmp_path / "g.yaml", registry=registry) == []
    assert lint("g.yaml", text=text, registry=registry) == []


# --- the sections ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nodes: {}", ["1:1: 'version' is missing; write `version: 1`"]),
        ("version: 2\nnodes: {}", ["1:10: version: this reads version 1, not 2"]),
        ("version: '1'\nnodes: {}", ["1:10: version: this reads version 1, not '1'"]),
        ("version: 1.0\nnodes: {}", ["1:10: version: this reads version 1, not 1.0"]),
        ("version: true\nnodes: {}", ["1:10: version: this reads version 1, not True"]),
        ("version: 1\nnode: {}", ["2:1: graph: unknown key 'node', did you mean 'nodes'?"]),
        ("version: 1\nmode: fast\nnodes: {}", ["2:7: mode: expected one of live, replay, got 'fast'"]),
        ("version: 1\nname: [a]\nnodes: {}", ["2:7: name: a text of one line belongs here, not a list"]),
        ("version: 1\nplugins: a\nnodes: {}", ["2:10: plugins: a list belongs here, not 'a'"]),
        ("version: 1\nplugins: [1]\nnodes: {}", ["2:11: plugins: a text belongs here, not 1"]),
        ("version: 1\nnodes: [a]", ["2:8: nodes: a mapping belongs here, not a list"]),
        (
            "version: 1\npools: {CanonicalEvents: {}}\nnodes: {}",
            ["2:9: pools: there is no pooled type 'CanonicalEvents', did you mean 'CanonicalEvent'?"],
        ),
        (
            "version: 1\npools: {WsFrame: {capacity: 0}}\nnodes: {}",
            ["2:29: pool 'WsFrame': capacity: expected int >= 1, got 0"],
        ),
        (
            "version: 1\npools: {WsFrame: {off: yes}}\nnodes: {}",
            ["2:24: pool 'WsFrame': off: expected bool, got str 'yes'; write true"],
        ),
        ("version: 1\nparams: {Aa: 1}\nnodes: {}", ["2:10: params: 'Aa' is not written in snake_case"]),
    ],
)
def test_sections(faults: Callable[..., list[str]], text: str, expected: list[str]) -> None:
    found = [fault for fault in faults(text) if "has no nodes" not in fault]
    assert found == expected


def test_a_graph_without_nodes(faults: Callable[..., list[str]]) -> None:
    assert faults("version: 1") == ["0:0: this graph has no nodes"]
    assert faults("version: 1\nnodes:") == ["0:0: this graph has no nodes"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{use: orderbuffer, inputs: [frames]}", "8:18: node 'ordered': unknown operator or component 'orderbuffer', did you mean 'order-buffer'?"),  # noqa: E501
        ("{use: xyzzyx, inputs: [frames]}", "8:18: node 'ordered': unknown operator or component 'xyzzyx'; `flow list` shows what there is"),  # noqa: E501
        ("{use: 7, inputs: [frames]}", "8:18: node 'ordered': use: a registered name belongs here, not 7"),
        ("{inputs: [frames]}", "8:3: node 'ordered': 'use' is missing: which operator or component is it?"),
        ("", "8:3: node 'ordered': nothing is said of it; write {use: ..., inputs: [...]}"),
        ("[frames]", "8:12: node 'ordered': a mapping belongs here, not a list"),
        ("{use: order-buffer, input: [frames], inputs: [frames]}", "8:32: node 'ordered': unknown key 'input', did you mean 'inputs'?"),  # noqa: E501
        ("{use: order-buffer, inputs: frames}", "8:40: node 'ordered': inputs: a list belongs here, not 'frames'; write [frames]"),  # noqa: E501
        ("{use: order-buffer, inputs: [frmes]}", "8:41: node 'ordered': there is no node 'frmes', did you mean 'frames'?"),  # noqa: E501
        ("{use: order-buffer, inputs: [3]}", "8:41: node 'ordered': inputs: the id of a node belongs here, not 3"),  # noqa: E501
        ("{use: order-buffer, inputs: [{sauce: frames}]}", "8:41: node 'ordered': inputs: 'source' is missing"),  # noqa: E501
        ("{use: order-buffer, inputs: [frames.uot]}", "8:41: node 'ordered': node 'frames' has no port 'uot', did you mean 'out'?"),  # noqa: E501
        ("{use: order-buffer, inputs: [frames.x]}", "8:41: node 'ordered': node 'frames' has no port 'x'; ports are out and dead_letters"),  # noqa: E501
        ("{use: order-buffer, inputs: [frames, frames.out]}", "8:49: node 'ordered': reads 'frames' twice"),
    ],
)  # fmt: skip
def test_nodes(faults: Callable[..., list[str]], line: str, expected: str) -> None:
    assert expected in faults(with_node(line))


def test_a_name_that_yaml_reads_as_nothing(faults: Callable[..., list[str]], registry: Registry) -> None:
    registry.nodes["null"] = registry.nodes["same"]
    assert faults(with_node('{use: "null", inputs: [frames]}')) == []
    assert faults(with_node("{use: null, inputs: [frames]}")) == [
        "8:18: node 'ordered': use: a registered name belongs here, not nothing; write \"null\" in quotes"
    ]


def test_ids_are_snake_case(faults: Callable[..., list[str]]) -> None:
    for name in ("Upper", "a-b", "1a", "a__b", "a_", "é", "a.b"):
        assert faults(GOOD.replace("  refused:", f"  {name}:")) == [
            f"12:3: node {name!r}: an id is written in snake_case, like ordered_2"
        ]


def test_every_fault_is_found_at_once(faults: Callable[..., list[str]]) -> None:
    found = faults(
        "version: 3\nname: x\nnode: 1\nnodes:\n"
        "  A: {use: sockt}\n"
        "  b: {use: order-buffer, inputs: [a], params: {capacity: 0, ratio: x, lateness_s: 1}}\n"
        "  c: {use: console, inputs: [b, {source: b, mailbox: {capacity: many}}]}\n"
    )
    assert [fault.partition(": ")[0] for fault in found] == [
        "1:10", "3:1", "5:3", "5:12", "6:35", "6:58", "6:68", "6:71", "7:42", "7:65",
    ]  # fmt: skip


def test_the_number_of_faults_is_bounded(faults: Callable[..., list[str]]) -> None:
    found = faults("version: 1\nnodes:\n" + "".join(f"  n{i}: {{use: x{i}}}\n" for i in range(5000)))
    assert len(found) == 201
    assert found[-1].endswith("4800 more are not listed")


def test_lint_never_raises(registry: Registry, tmp_path: Path) -> None:
    assert lint(tmp_path / "none.yaml", registry=registry)[0].message == "there is no such file"
    assert lint("g.yaml", text=GOOD, environ={}, registry=registry) == []


def test_load_raises_with_all_faults_in_file_order(registry: Registry) -> None:
    with pytest.raises(GraphError) as raised:
        load(
            "g.yaml",
            text=GOOD.replace("socket]", "sockt]").replace("version: 1", "version: 9"),
            registry=registry,
        )
    lines = [fault.line for fault in raised.value.faults]
    assert lines == sorted(lines)
    assert len(lines) == 2
    assert str(raised.value).splitlines()[0].startswith("g.yaml:1:10: version")
