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


def lacks(reason: str) -> None:
    """Skips, or fails where EDGEVID_REQUIRE=trt promises a machine with a device and TensorRT."""
    if "trt" in os.environ.get("EDGEVID_REQUIRE", "").split(","):
        pytest.fail(f"EDGEVID_REQUIRE=trt, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def device_backend() -> str:
    """The installed TensorRT of a machine with an NVIDIA device; see `lacks` for one without."""
    from edgevid.optimize.builder.engine import choose_backend, installed_version
    from edgevid.runtime.cuda.driver import gpus

    backend = choose_backend()
    if not gpus():
        lacks("no NVIDIA driver answers here")
    if not installed_version(backend):
        lacks("TensorRT is not installed")
    return backend
