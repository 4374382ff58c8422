"""What stands behind --replay: one player a provider, and nothing live beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from flow.clock import NS_PER_S
from flow.context import Context
from flow.errors import ConfigurationError, FlowError
from flow.graph.spec import MailboxSpec
from flow.runtime.mailbox import Gate, Mailbox
from nodes.recorded import Recorded, replay


def context(*named: tuple[str, Path], **refs: object) -> Context:
    return Context("replay", mode="replay", refs={"replay": list(named), "speed": None, **refs})


def capture(folder: Path, name: str, at_s: float) -> Path:
    path = folder / name
    path.write_text(f"wss://x.test/ws <-> {at_s}\n{at_s + 1}: {{}}\n")
    return path


async def test_a_player_for_each_provider_and_time_begins_with_the_earliest(tmp_path: Path) -> None:
    surroundings = context(
        ("a", capture(tmp_path, "a1", 2000.0)),
        ("b", capture(tmp_path, "b1", 1000.5)),
        ("a", capture(tmp_path, "a2", 3000.0)),
    )
    backend = replay(surroundings)
    assert isinstance(backend, Recorded)
    assert backend.start_ns == 1000.5 * NS_PER_S
    assert {name: len(player.timeline.paths) for name, player in backend.players.items()} == {"a": 2, "b": 1}
    await backend.start()
    make = surroundings.refs["transports"].get("a")
    assert make(surroundings) is backend.players["a"]
    assert make(surroundings).is_recording
    assert set(backend.summary()) == {"a", "b"}
    await backend.stop()


async def test_a_provider_without_a_recording_gets_no_network(tmp_path: Path) -> None:
    surroundings = context(("a", capture(tmp_path, "a1", 1.0)))
    await replay(surroundings).start()
    with pytest.raises(FlowError, match=r"nothing recorded is given for binance: --replay"):
        surroundings.refs["transports"].get("binance")


@pytest.mark.parametrize("content", [b"", b"nothing that is known\n"])
def test_a_recording_that_can_not_be_used_is_bad_configuration(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"^--replay: {path}"):
        replay(context(("a", path)))


def test_one_that_is_not_there_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^--replay: "):
        replay(context(("a", tmp_path / "nothing")))


def test_speed_and_the_number_of_frames_reach_the_player(tmp_path: Path) -> None:
    path = capture(tmp_path, "a", 1.0)
    backend = replay(context(("a", path), speed=3.0, max_frames=7))
    assert isinstance(backend, Recorded)
    assert (backend.players["a"].speed, backend.players["a"].left) == (3.0, 7)


async def test_the_graphs_gate_holds_the_player_back(
    tmp_path: Path, binance_capture: Callable[..., Path]
) -> None:
    surroundings = context(("a", capture(tmp_path, "a", 1.0)))
    backend = replay(surroundings)
    assert isinstance(backend, Recorded)
    gate = backend.players["a"].gate
    assert gate is not None
    assert gate() is None
    surroundings.services["gate"] = opened = Gate()
    assert gate() is None
    mailbox = Mailbox("slow", MailboxSpec(capacity=1, when_full="block"), surroundings, opened)
    opened.close(mailbox)
    waiting = gate()
    assert waiting is not None
    opened.open(mailbox)
    await asyncio.wait_for(asyncio.ensure_future(waiting), 1)
