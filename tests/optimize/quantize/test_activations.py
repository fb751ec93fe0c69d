"""Activation ranges, worked by hand for y = relu(x - 1), z = y + y."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import node, save

from edgevid.optimize.quantize.graph import Graph, normalize
from edgevid.optimize.quantize.ranges import BINS, CALIBRATORS, Calibrator, activation_ranges

HISTOGRAMS: tuple[Calibrator, ...] = ("percentile", "entropy")


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    path = tmp_path / "m.onnx"
    save(
        path,
        [node("Sub", "x one", "d"), node("Relu", "d", "y"), node("Add", "y y", "z")],
        {"x": ("float32", (1, 4))},
        {"z": (1, 4)},
        one=np.float32(1),
    )
    return Graph(normalize(path))


def inputs(*rows: Any) -> list[dict[str, np.ndarray]]:
    return [{"x": np.array([row], np.float32)} for row in rows]


@pytest.mark.parametrize("calibrator", CALIBRATORS)
def test_the_extremes_of_all_inputs_are_found(graph: Graph, calibrator: Calibrator) -> None:
    found = activation_ranges(graph, inputs([0, 1, 2, 3], [-4, 0, 0, 2]), calibrator, percentile=100.0)
    if calibrator == "entropy":  # which may clip
        assert -5 <= found["d"][0] < found["d"][1] <= 2
        return
    assert found == {"x": (-4, 3), "d": (-5, 2), "y": (0, 2), "z": (0, 4)}


def test_only_inputs_and_outputs_of_the_named_operators_are_measured(graph: Graph) -> None:
    found = activation_ranges(graph, inputs([0, 1, 2, 3]), "min-max", operators=["Relu"])
    assert set(found) == {"d", "y"}


def test_a_percentile_cuts_the_rare_extremes_off(graph: Graph) -> None:
    values = np.random.default_rng(0).permutation(np.linspace(-1, 1, 1200, dtype=np.float32))
    values = values.reshape(300, 4)
    values[150, 0] = 50.0
    whole = activation_ranges(graph, inputs(*values), "min-max", operators=["Sub"])
    cut = activation_ranges(graph, inputs(*values), "percentile", operators=["Sub"], percentile=99.0)
    assert whole["x"] == (-1, 50)
    assert cut["x"] == pytest.approx((-0.99, 0.99), rel=0.01)  # of 1200 values 6 at each end are cut off


def test_entropy_clips_a_long_tail(graph: Graph) -> None:
    """A half of the levels for one value in ten thousand loses more than clipping it."""
    values = np.random.default_rng(1).normal(0, 1, (5000, 4)).astype(np.float32)
    values[0, 0] = 12.0
    low, high = activation_ranges(graph, inputs(*values), "entropy", operators=["Sub"])["x"]
    assert 3 < high < 8
    assert low == pytest.approx(values.min(), rel=0.01)


@pytest.mark.parametrize("calibrator", CALIBRATORS)
@pytest.mark.parametrize("value", [0.0, 2.5, -3.0, 1e-40, 3e38])
def test_a_constant_is_a_range_of_one_value(graph: Graph, calibrator: Calibrator, value: float) -> None:
    found = activation_ranges(graph, inputs([value] * 4), calibrator, operators=["Sub"])
    assert found["x"] == (np.float32(value), np.float32(value))


@pytest.mark.parametrize("calibrator", HISTOGRAMS)
def test_memory_does_not_depend_on_the_values(graph: Graph, calibrator: Calibrator) -> None:
    """Bins of the width that the first frame needs would be 1e38 for the second."""
    tracemalloc.start()
    found = activation_ranges(graph, inputs([1e-6] * 4, [1e32] * 4), calibrator)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["x"][1] == pytest.approx(1e32, rel=0.01)
    assert peak < 40 * 8 * BINS


def test_a_value_that_is_not_finite_shows(graph: Graph) -> None:
    found = activation_ranges(graph, inputs([math.nan, 0, 0, 0], [math.inf, 0, 0, 0]), "percentile")
    assert not np.isfinite(found["x"]).all()


def test_inputs_may_reuse_one_array(graph: Graph) -> None:
    array = np.zeros((1, 4), np.float32)

    def reused() -> Iterator[dict[str, np.ndarray]]:
        for value in (3.0, -2.0, 0.0):
            array[:] = value
            yield {"x": array}

    assert activation_ranges(graph, reused(), "min-max")["x"] == (-2, 3)
