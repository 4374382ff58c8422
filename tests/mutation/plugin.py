"""What pytest does differently where mutmut calls it: `-p tests.mutation.plugin`.

The profile `mutants` makes each mutant meet the same few examples. A call of what mutmut changed comes by its
trampoline, which is not the place that a debug pool should name.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from mutmut.mutation import trampoline

settings.register_profile(
    "mutants",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    database=None,
    max_examples=25,
    phases=(Phase.explicit, Phase.generate),
)


def pytest_sessionstart() -> None:
    from flow import poison

    poison.OWN_FILES = (*poison.OWN_FILES, trampoline.__file__)  # type: ignore[misc]
