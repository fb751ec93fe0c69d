"""The measured choice of a runtime: the faster of two that agree."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_detector import bench_folder

from edgevid.errors import InputError
from edgevid.optimize import bench as module
from edgevid.optimize.bench import Timing, choose_runtime
from edgevid.runtime.load import read_choice


def timing(path: Path, device: str, ms: float) -> Timing:
    return Timing(
        f"tiny, {device}", "tiny", path, "fp32", device, 1, "1x3x32x32 float32", 0.1,
        {"inference": np.full(3, ms)}, ms,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs", "passed", "expected"),
    [
        (10.0, 5.0, True, "openvino"),
        (10.0, 5.0, False, "onnxruntime"),
        (10.0, 9.8, True, "onnxruntime"),
        (5.0, 10.0, True, "onnxruntime"),
    ],
)
def test_openvino_is_taken_where_it_is_faster_and_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: float, theirs: float, passed: bool, expected: str
) -> None:
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    folder = bench_folder(tmp_path)
    report = SimpleNamespace(passed=passed, agreement=0.99 if passed else 0.5)
    monkeypatch.setattr(module, "compare", lambda *_, **__: (report, {}))
    path, other = folder / "tiny.onnx", tmp_path / "another" / "tiny.onnx"
    times = [timing(path, "cpu", ours), timing(path, "openvino", theirs)]
    times += [timing(other, "cpu", theirs), timing(other, "openvino", ours)]  # of the same name
    made = choose_runtime(folder / "tiny.onnx", folder / "photos", times)
    assert (made.runtime, made.onnxruntime_ms, made.openvino_ms) == (expected, ours, theirs)
    assert read_choice(folder / "tiny.onnx") == made


def test_a_choice_needs_frames_and_both_runtimes(tmp_path: Path) -> None:
    folder = bench_folder(tmp_path)
    with pytest.raises(InputError, match="add --data VIDEO"):
        choose_runtime(folder / "tiny.onnx", None, [])
    with pytest.raises(InputError, match="openvino did not run"):
        choose_runtime(folder / "tiny.onnx", folder / "photos", [timing(folder / "tiny.onnx", "cpu", 1)])
