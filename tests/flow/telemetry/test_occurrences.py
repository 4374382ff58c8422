"""Occurrences: counted by label, told to listeners, and never in the way."""

from __future__ import annotations

import logging

import pytest

from flow.errors import DoublePut
from flow.telemetry import occurrences
from flow.telemetry.occurrences import (
    BookResynced,
    LateEventDropped,
    Occurrence,
    ProviderDisconnected,
    Telemetry,
)

KINDS = Occurrence.__subclasses__()


def test_counters_are_kept_by_node_name_and_labels() -> None:
    telemetry = Telemetry()
    for sequence in (1, 2):
        telemetry.report("ordered", LateEventDropped("s", sequence, "late"))
    telemetry.report("ordered", LateEventDropped("s", 3, "duplicate"))
    telemetry.report("other", LateEventDropped("s", 4, "late"))
    telemetry.report("books", BookResynced("binance", "BTC-USDT", "gap", "missed 3"))
    assert telemetry.counts == {
        ("ordered", "late_event.dropped", "late"): 2,
        ("ordered", "late_event.dropped", "duplicate"): 1,
        ("other", "late_event.dropped", "late"): 1,
        ("books", "book.resync", "binance", "BTC-USDT", "gap"): 1,
    }
    assert telemetry.count("late_event.dropped") == 4
    assert telemetry.count("never.heard_of") == 0


def test_listeners_get_the_structs_in_order() -> None:
    telemetry = Telemetry()
    heard: list[tuple[str, Occurrence]] = []
    telemetry.listeners.append(lambda node_id, occurrence: heard.append((node_id, occurrence)))
    occurrence = ProviderDisconnected("binance", 1, "closed", retry_in_s=0.5)
    telemetry.report("socket", occurrence)
    assert heard == [("socket", occurrence)]


def test_a_listener_that_raises_is_logged_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def break_down(node_id: str, occurrence: Occurrence) -> None:
        raise ValueError("out of paper")

    telemetry = Telemetry()
    heard: list[str] = []
    telemetry.listeners += [break_down, lambda node_id, occurrence: heard.append(node_id)]
    with caplog.at_level(logging.ERROR):
        telemetry.report("ordered", LateEventDropped("s", 1, "late"))
    assert heard == ["ordered"]
    assert telemetry.count("late_event.dropped") == 1
    assert "out of paper" in caplog.text


def test_a_bug_of_ownership_in_a_listener_is_not_only_logged() -> None:
    def put_again(node_id: str, occurrence: Occurrence) -> None:
        raise DoublePut("again")

    telemetry = Telemetry()
    telemetry.listeners.append(put_again)
    with pytest.raises(DoublePut):
        telemetry.report("ordered", LateEventDropped("s", 1, "late"))


def test_names_are_unique_and_the_classes_are_public() -> None:
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names)
    assert {kind.__name__ for kind in KINDS if kind.__module__ == occurrences.__name__} <= set(
        occurrences.__all__
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_labels_are_fields_and_levels_are_levels(kind: type[Occurrence]) -> None:
    assert set(kind.labels) <= set(kind.__struct_fields__)
    assert kind.level in ("debug", "info", "warning", "error")
    assert kind.name != Occurrence.name
