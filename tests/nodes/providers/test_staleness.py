from __future__ import annotations

from nodes.providers.staleness import Staleness


def test_only_a_stream_whose_count_stands_still_becomes_stale() -> None:
    staleness = Staleness(10.0)
    names = ["a", "b"]
    assert staleness.check(names, {"a": 1, "b": 1}, 0.0) == {}
    assert staleness.check(names, {"a": 2, "b": 1}, 9.9) == {}
    assert staleness.check(names, {"a": 2, "b": 1}, 10.0) == {"b": 10.0}
    assert staleness.is_stale("b")
    assert not staleness.is_stale("a")


def test_a_stream_that_never_gave_anything_becomes_stale_too() -> None:
    staleness = Staleness(5.0)
    staleness.check(["a"], {}, 100.0)
    assert staleness.check(["a"], {}, 105.0) == {"a": 5.0}


def test_one_that_stays_silent_is_reported_at_doubling_intervals() -> None:
    staleness = Staleness(1.0)
    found = [now for now in range(40) if staleness.check(["a"], {"a": 3}, float(now))]
    assert found == [1, 3, 7, 15, 31]


def test_a_frame_makes_a_stream_fresh_again() -> None:
    staleness = Staleness(1.0)
    for now in range(8):
        staleness.check(["a"], {"a": 3}, float(now))
    assert staleness.check(["a"], {"a": 4}, 8.0) == {}
    assert not staleness.is_stale("a")
    assert staleness.check(["a"], {"a": 4}, 9.0) == {"a": 1.0}


def test_a_stream_that_is_taken_up_again_starts_anew() -> None:
    staleness = Staleness(1.0)
    staleness.check(["a"], {"a": 3}, 0.0)
    staleness.check([], {"a": 3}, 5.0)
    assert not staleness.is_stale("a")
    assert staleness.check(["a"], {"a": 3}, 6.0) == {}
