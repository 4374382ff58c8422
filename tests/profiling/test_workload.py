"""The graph runs whole on the mix, from the file as from memory, and half a run is not taken for one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profiling import frames as mixer
from profiling.features import features
from profiling.graph_cost import BOOK_LOOP, LOOP, graph_cost, start_up_ms, verdicts
from profiling.workload import Workload, WrongWork, check

COUNT = 600


@pytest.fixture(scope="module")
def work() -> Iterator[Workload]:
    try:
        with Workload(COUNT, seed=7, fold=2) as made:
            yield made
    except mixer.RecordingError as absent:
        pytest.skip(str(absent))


@pytest.mark.parametrize("has_books", [False, True])
def test_file_and_memory_give_the_same(work: Workload, has_books: bool) -> None:
    of_file = work.run(work.from_file(has_books=has_books))
    of_memory = work.run(work.from_memory(has_books=has_books))
    for summary in (of_file, of_memory):
        for consumer in summary["consumers"].values():
            del consumer["latency_ms"]
    assert of_file["frames"] == of_memory["frames"] == COUNT
    if not has_books:  # how many updates a snapshot finds waiting depends on where the pushes are cut
        assert of_file["consumers"] == of_memory["consumers"]
    assert of_file["books"] == of_memory["books"]
    assert bool(of_file["books"]) is has_books


@pytest.mark.parametrize("length", [1, 7])
def test_runs_can_be_cut(work: Workload, length: int) -> None:
    whole, cut = (work.run(work.from_memory(longest_run=most)) for most in (None, length))
    assert [each["by_type"] for each in cut["consumers"].values()] == [
        each["by_type"] for each in whole["consumers"].values()
    ]
    high = [summary["pools"]["WsFrame"]["high_water"] for summary in (whole, cut)]
    assert high[1] == length < high[0]


def test_the_folder_goes_with_the_workload() -> None:
    try:
        with Workload(50, seed=1, fold=1) as made:
            assert made.capture.is_file()
    except mixer.RecordingError as absent:
        pytest.skip(str(absent))
    assert not made.folder.exists()


def summary_of(work: Workload) -> dict[str, Any]:
    return work.run(work.from_memory(has_books=True))


def test_half_a_run_is_no_run(work: Workload) -> None:
    variant = work.from_memory(has_books=True)
    good = summary_of(work)
    check(good, variant, COUNT)
    with pytest.raises(WrongWork, match="of 601 frames"):
        check(good, variant, COUNT + 1)

    def broken(path: list[str], value: Any) -> dict[str, Any]:
        bad = place = summary_of(work)
        for step in path[:-1]:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[path[-1]] = value
        return bad

    for path, value, said in (
        (["consumers", "consumer_2", "delivered"], COUNT - 1, "consumer_2"),
        (["consumers", "consumer_1", "coalesced"], 1, "consumer_1"),
        (["dead_letters"], {"oversized": 1}, "dead letters"),
        (["edges", "0", "out"], COUNT - 1, "does not balance"),
        (["books"], {"binance/X-Y": {"state": "buffering"}}, "books"),
    ):
        with pytest.raises(WrongWork, match=said):
            check(broken(path, value), variant, COUNT)


def test_the_graph_is_measured_against_both_loops(work: Workload) -> None:
    comparison = graph_cost(work, rounds=1)
    assert {figures.name: figures.events for figures in comparison.figures} == dict.fromkeys(
        [figures.name for figures in comparison.figures], COUNT
    )
    lines = verdicts(comparison)
    assert (
        sum(f"x {LOOP} " in line for line in lines) == sum(f"x {BOOK_LOOP} " in line for line in lines) == 2
    )
    assert all(line.endswith(("met", "MISSED")) for line in lines)
    assert start_up_ms(work, repeats=1) > 0


def test_features_put_back_what_they_replace(work: Workload) -> None:
    from flow.runtime import delivery
    from flow.telemetry.latency import Latency

    before = Latency.record_batch, delivery._counts
    comparison = features(work, rounds=1)
    assert (Latency.record_batch, delivery._counts) == before
    assert comparison.figures[0].ratio.median == 1.0
    assert {figures.events for figures in comparison.figures} == {COUNT}


def test_a_recording_is_wanted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from profiling.__main__ import main

    monkeypatch.delenv("FLOW_RECORDINGS", raising=False)
    assert main(["graph"]) == 2
    assert "FLOW_RECORDINGS is not set" in capsys.readouterr().err


def test_the_command_prints_and_saves(
    work: Workload, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from profiling.__main__ import main

    assert main(["graph", "--rounds", "1", "--count", "300", "--fold", "1", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "THE BOOK LOOP" in said
    assert "start-up" in said
    assert (tmp_path / "graph-fold-1.json").is_file()
