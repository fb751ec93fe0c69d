"""One engine of a benchmark: which stages it has, and the figures of its times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import constant_model
from recognizer_models import feature_model
from tiny_detector import bench_folder

from edgevid.errors import InputError
from edgevid.optimize.bench import StageTimes, Subject, Timing, bench
from edgevid.types import Frame


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return bench_folder(tmp_path)


def timing(**ms: Any) -> Timing:
    stages = {k: np.asarray(v, np.float64) for k, v in ms.items()}
    return Timing("a", "a", Path("a.onnx"), "fp32", "cpu", 1, "1x3x32x32 float32", 0.5, stages, 2.0)


def test_percentiles_are_values_that_were_measured() -> None:
    made = timing(frame=np.arange(1, 101))
    assert (made.at("frame", 50), made.at("frame", 99)) == (51.0, 100.0)
    assert timing(frame=[3.0]).at("frame", 99) == 3.0
    assert made.as_dict()["fps"] == pytest.approx(1000 / 51, abs=0.01)


def test_the_stages_of_a_detector_add_up_to_its_frame(folder: Path) -> None:
    result = bench([folder / "tiny.onnx"], data=folder / "photos", runs=5, warm_up=2, device="cpu", threads=1)
    (made,) = result.timings
    assert set(made.ms) == {"pre", "inference", "post", "frame"}
    assert all(len(row) == 5 for row in made.ms.values())
    np.testing.assert_allclose(made.ms["pre"] + made.ms["inference"] + made.ms["post"], made.ms["frame"])
    assert (made.title, made.device, made.threads, made.shape) == (
        "tiny fp32", "cpu", 1, "1x3x32x32 float32",
    )  # fmt: skip


def test_a_bare_file_with_the_same_outputs_borrows_the_recipe(folder: Path) -> None:
    result = bench([folder / "tiny.onnx", folder / "other.onnx"], runs=1, warm_up=0, device="cpu")
    assert [t.model for t in result.timings] == ["tiny", "tiny"]
    assert "post" in result.timings[1].ms


def test_a_model_without_any_recipe_is_timed_by_its_engine_alone(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": np.ones((1, 7), np.float32)}, image=("n", 5, 9, 9))
    (made,) = bench([path], runs=2, warm_up=0, device="cpu").timings
    assert set(made.ms) == {"inference", "frame"}
    open_sizes = constant_model(tmp_path / "o.onnx", {"a": np.ones((1, 7), np.float32)}, image=(1, 5, "h", "w"))
    with pytest.raises(InputError, match="has dynamic sizes"):
        bench([open_sizes], runs=1, device="cpu")


def test_milliseconds_of_the_stages_that_a_model_has(folder: Path) -> None:
    rows = [StageTimes(0.001, 0.004, 0.002, 0.007, 0.010), StageTimes(0.002, 0.005, 0.002, 0.009, 0.020)]
    found = Subject(folder / "tiny.onnx", None, "cpu", 1, []).timing(rows)
    assert {stage: values.tolist() for stage, values in found.ms.items()} == {
        "pre": [1, 2], "inference": [4, 5], "post": [2, 2], "frame": [7, 9],
    }  # fmt: skip
    assert found.cpu_ms == pytest.approx(15)
    values = found.as_dict()
    assert (values["ms"]["inference"], values["fps"]) == ({"p50": 5, "p90": 5, "p99": 5}, 111.11)
    assert (values["engine"], values["input"]) == ("tiny fp32", "1x3x32x32 float32")


def test_a_classifier_is_preprocessed_and_has_no_postprocessing(tmp_path: Path) -> None:
    constant_model(tmp_path / "c.onnx", {"y": np.ones((1, 2), np.float32)}, image=("n", 3, 8, 8))
    (tmp_path / "c.toml").write_text(
        '[model]\nname = "c"\ntask = "classify"\nfile = "c.onnx"\n[input]\nwidth = 8\nheight = 8\n'
        '[names]\nclasses = ["a", "b"]\n'
    )
    (made,) = bench([tmp_path / "c.onnx"], runs=2, warm_up=0, device="cpu").timings
    assert set(made.ms) == {"pre", "inference", "frame"}
    assert made.shape == "anyx3x8x8 float32"


def test_the_model_gets_the_preprocessed_frame(tmp_path: Path) -> None:
    """Gray 51 of 255 is 0.2, and so is its mean over each channel."""
    subject = Subject(feature_model(tmp_path), None, "cpu", 1, [])
    times = subject.run(Frame(np.full((16, 16, 3), 51, np.uint8), 0.0, 0))
    np.testing.assert_allclose(subject.engine.last["f"].ravel(), [0.2] * 3, atol=1e-6)
    assert times.pre + times.inference + times.post == pytest.approx(times.frame)
    assert 0 <= times.cpu < 1  # of this frame, not of the program
