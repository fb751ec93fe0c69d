"""Shared fixtures: the field data, where a checkout has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("EDGEVID_GRAPH_CACHE", "0")  # test models leave nothing in the user's cache
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models, videos and annotations; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real test data is not at hand ({SHARED} does not exist)")
    return SHARED
