"""The harness, on a clock that only its candidates move."""

from pathlib import Path

import msgspec
import pytest

from profiling.interleave import Comparison, interleave, save, show


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0
        self.calls: list[str] = []

    def candidate(self, name: str, spends_ns: list[int], events: int = 10):
        spends = iter(spends_ns)

        def run() -> int:
            self.calls.append(name)
            self.now_ns += next(spends)
            return events

        return run

    def read(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def comparison(clock: Clock) -> Comparison:
    candidates = {
        "a": clock.candidate("a", [9_000, 10_000, 20_000, 30_000]),
        "b": clock.candidate("b", [9_000, 20_000, 30_000, 45_000]),
    }
    return interleave(candidates, rounds=3, title="two", clock_ns=clock.read)


def test_candidates_take_turns(clock: Clock, comparison: Comparison) -> None:
    assert clock.calls == ["a", "b"] * 4
    assert comparison.rounds == 3


def test_medians_spread_and_ratio(comparison: Comparison) -> None:
    a, b = comparison.figures
    assert (a.name, a.events, a.rounds_cpu_us) == ("a", 10, [1.0, 2.0, 3.0])
    assert msgspec.structs.astuple(a.cpu_us) == (1.0, 1.5, 2.0, 2.5, 3.0)
    assert (b.cpu_us.median, b.ratio.minimum, b.ratio.maximum) == (3.0, 1.5, 2.0)
    assert comparison.ratio("b") == 1.5  # the median of 2, 1.5 and 1.5
    assert comparison.ratio("a") == 1.0
    with pytest.raises(KeyError):
        comparison.ratio("c")


def test_a_saved_comparison_reads_back(comparison: Comparison, tmp_path: Path) -> None:
    save(comparison, tmp_path / "figures.json")
    assert msgspec.json.decode((tmp_path / "figures.json").read_bytes(), type=Comparison) == comparison


def test_what_is_shown(comparison: Comparison, capsys: pytest.CaptureFixture[str]) -> None:
    show(comparison)
    shown = capsys.readouterr().out
    for part in ("two", "2.000", "1.500 - 2.500", "1.50", "3 interleaved rounds"):
        assert part in shown


def test_it_measures_process_time_unless_told_otherwise() -> None:
    found = interleave({"sum": lambda: len([sum(range(1000)) for _ in range(200)])}, rounds=1, warm_up=0)
    assert found.figures[0].events == 200
    assert found.figures[0].cpu_us.minimum == found.figures[0].cpu_us.maximum > 0


def test_unequal_work_is_refused(clock: Clock) -> None:
    counts = iter([5, 6])
    with pytest.raises(ValueError, match="handled 6 events, 5 before"):
        interleave({"a": lambda: next(counts)}, rounds=1, clock_ns=clock.read)
    with pytest.raises(ValueError, match="at least one candidate"):
        interleave({})
