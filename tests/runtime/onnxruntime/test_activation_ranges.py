"""Activation ranges, worked by hand for y = relu(x - 1), z = y + y."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import node, save

from edgevid.errors import MissingExtraError
from edgevid.runtime.onnxruntime.activation_ranges import activation_ranges


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    save(
        path,
        [node("Sub", "x one", "d"), node("Relu", "d", "y"), node("Add", "y y", "z")],
        {"x": ("float32", (1, 4))},
        {"z": (1, 4)},
        one=np.float32(1),
    )
    return path


def inputs(*rows: list[float]) -> list[dict[str, np.ndarray]]:
    return [{"x": np.array([row], np.float32)} for row in rows]


def plain(ranges: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """The ranges as plain numbers: some calibrators give arrays of one."""
    return {name: (np.asarray(low).item(), np.asarray(high).item()) for name, (low, high) in ranges.items()}


def test_the_extremes_of_all_inputs_are_found(model: Path) -> None:
    found = plain(activation_ranges(model, inputs([0, 1, 2, 3], [-4, 0, 0, 2]), "min-max"))
    assert found["x"] == (-4, 3)
    assert found["d"] == (-5, 2)
    assert found["y"] == (0, 2)
    assert found["z"] == (0, 4)


def test_only_inputs_and_outputs_of_the_named_operators_are_measured(model: Path) -> None:
    found = activation_ranges(model, inputs([0, 1, 2, 3]), "min-max", operators=["Relu"])
    assert set(found) == {"d", "y"}


def test_a_percentile_cuts_the_rare_extremes_off(model: Path) -> None:
    values = np.random.default_rng(0).permutation(np.linspace(-1, 1, 1200, dtype=np.float32))
    values = values.reshape(300, 1, 4)
    values[150, 0, 0] = 50.0
    rows = [{"x": row} for row in values]
    whole = plain(activation_ranges(model, rows, "min-max", operators=["Sub"]))
    cut = plain(activation_ranges(model, rows, "percentile", operators=["Sub"], percentile=99.0))
    assert whole["x"] == (-1, 50)
    assert 0.95 < cut["x"][1] < 1.05  # of 1200 values the 12 largest are cut off


def test_inputs_may_reuse_one_array(model: Path) -> None:
    array = np.zeros((1, 4), np.float32)

    def reused() -> Iterator[dict[str, np.ndarray]]:
        for value in (3.0, -2.0, 0.0):
            array[:] = value
            yield {"x": array}

    assert plain(activation_ranges(model, reused(), "min-max"))["x"] == (-2, 3)


def test_the_model_and_its_folder_stay_as_they_are(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = model.read_bytes()
    activation_ranges(model, inputs([0, 1, 2, 3]), "entropy")
    assert model.read_bytes() == before
    assert [path.name for path in model.parent.iterdir()] == [model.name]
    assert capsys.readouterr().out == ""  # the calibrators print


def test_without_onnx_the_pip_line_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization.calibrate", None)
    with pytest.raises(MissingExtraError, match=r'activation ranges.*pip install "edgevid\[build\]"'):
        activation_ranges(model, inputs([0, 1, 2, 3]), "min-max")
