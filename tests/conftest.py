"""What every test can ask for: the project's folder and the recordings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder named by FLOW_RECORDINGS; the test is skipped where there is none."""
    named = os.environ.get("FLOW_RECORDINGS", "")
    if not named:
        pytest.skip("FLOW_RECORDINGS is not set: no recordings to replay")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"FLOW_RECORDINGS names {named}, which is no folder")
    return folder
