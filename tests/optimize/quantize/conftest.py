"""A small classifier and its frames, for all tests of quantization."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_classifier import classifier, noise_video

from edgevid.optimize.quantize.graph import Graph, normalize
from edgevid.runtime.recipe import LocalRecipe


@pytest.fixture
def net(tmp_path: Path) -> LocalRecipe:
    """A classifier of 8 x 8 images, with its file."""
    return classifier(tmp_path)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twenty frames of noise, 32 x 32."""
    return noise_video(tmp_path / "noise.mp4")


@pytest.fixture
def graph(net: LocalRecipe) -> Graph:
    """The classifier's graph in its normal form."""
    return Graph(normalize(net.local))
