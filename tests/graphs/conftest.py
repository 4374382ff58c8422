"""Shows at the end of a session what the random graphs were."""

from __future__ import annotations

import pytest

from tests.graphs.random_graphs.distribution import DISTRIBUTION


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if DISTRIBUTION.graphs:
        terminalreporter.section("random graphs")
        for line in DISTRIBUTION.lines():
            terminalreporter.write_line(line)
