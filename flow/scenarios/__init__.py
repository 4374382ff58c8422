"""Tests of graphs and nodes in YAML: what goes in, what is to come out, on virtual time in the real runtime.

`find_files` finds the files, `read_scenarios` reads one, `check` runs a scenario and says what is wrong.
"""

from __future__ import annotations

from flow.registry import Registry
from flow.registry import registry as common_registry
from flow.scenarios.file_reader import read_scenarios
from flow.scenarios.find import SUFFIX, find_files
from flow.scenarios.judge import Problem, judged
from flow.scenarios.perform import perform
from flow.scenarios.spec import Scenario

__all__ = ["SUFFIX", "Problem", "Scenario", "check", "find_files", "read_scenarios"]


def check(scenario: Scenario, registry: Registry = common_registry) -> list[Problem]:
    """Run a scenario; what is wrong, [] where it passes. What was logged meanwhile is the last problem."""
    outcome = perform(scenario, registry)
    problems = judged(scenario, outcome)
    logged = [line for line in outcome.logged if not outcome.failure or outcome.failure not in line]
    if problems and logged:
        problems.append(["logged meanwhile", *logged])
    return problems
