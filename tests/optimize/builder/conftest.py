"""A builder, a small graph and a detector with frames, for all tests of builds."""

from __future__ import annotations

from pathlib import Path

import pytest
from builder_samples import local_street, small_model, street_frames

from edgevid.runtime.recipe import LocalRecipe


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="no builder here: pip install 'edgevid[tensorrt-rtx]'")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_model(tmp_path / "small.onnx")


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few rendered images of a street."""
    return street_frames(tmp_path_factory.mktemp("frames"))


@pytest.fixture
def street(tmp_path: Path) -> tuple[LocalRecipe, Path]:
    """The shipped detector and the folder that keeps what is made of it too."""
    return local_street(tmp_path / "build"), tmp_path / "build"
