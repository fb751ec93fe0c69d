"""Activation ranges by ONNX Runtime's own calibrators."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from edgevid.errors import require
from edgevid.types import Array

Calibrator = Literal["min-max", "percentile", "entropy"]
_METHODS = {"min-max": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}


def activation_ranges(
    model: Path,
    inputs: Iterable[dict[str, Array]],
    calibrator: Calibrator,
    *,
    operators: Sequence[str] | None = None,
    percentile: float | None = None,
    purpose: str = "measuring activation ranges",
) -> dict[str, Any]:
    """(lowest, highest) of each activation over all `inputs`, by tensor name.

    `operators` are those whose inputs and outputs are measured (None: all), `percentile` is the share of the
    values, in percent, that the "percentile" calibrator keeps. MissingExtraError without the package onnx.
    """
    tools = require("onnxruntime.quantization.calibrate", extra="build", purpose=purpose)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        worker = tools.create_calibrator(
            model,
            None if operators is None else list(operators),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=tools.CalibrationMethod[_METHODS[calibrator]],
            extra_options={} if percentile is None else {"percentile": percentile},
        )
        for one in inputs:
            reader = iter(({name: array.copy() for name, array in one.items()}, None))
            worker.collect_data(SimpleNamespace(get_next=reader.__next__))
        data = worker.compute_data()
    return {name: data[name].range_value for name in data}
