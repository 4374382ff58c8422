"""Execution reports: every field in the row, digits kept."""

from __future__ import annotations

import pytest

from flow.events import ExecReport, OrderState


def test_a_row_has_every_field() -> None:
    report = ExecReport("c-1", OrderState.PARTIAL, price="0.10", quantity="3", filled="1", remaining="2")
    row = report.row()
    assert set(row) == set(ExecReport.__struct_fields__)
    assert (row["state"], row["price"], row["filled"], row["remaining"]) == ("PARTIAL", "0.10", "1", "2")


def test_a_report_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        ExecReport("c-1", OrderState.ACK).state = OrderState.FILLED  # type: ignore[misc]
