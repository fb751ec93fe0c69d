"""Each kernel is tested on both twins."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest

from edgevid.kernels import reference


@pytest.fixture(scope="session")
def native() -> Any:
    """The compiled twin; EDGEVID_KERNELS=native demands it."""
    if os.environ.get("EDGEVID_KERNELS") == "native":
        return importlib.import_module("edgevid.kernels._native")
    return pytest.importorskip("edgevid.kernels._native", exc_type=ImportError)


@pytest.fixture(params=["numpy", "native"])
def twin(request: pytest.FixtureRequest) -> Any:
    """Each twin in turn."""
    return reference if request.param == "numpy" else request.getfixturevalue("native")
