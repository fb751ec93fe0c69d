"""`edgevid bench`: what is timed, what is reported, and what is left out. No test here looks at a clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx_models import constant_model

from edgevid.cli import main
from edgevid.cli.bench import _short
from edgevid.errors import EdgevidError, InputError, SourceError
from edgevid.optimize import bench as module
from edgevid.optimize import conditions as found
from edgevid.optimize.bench import bench
from edgevid.optimize.bench_subject import Subject, Timing
from edgevid.optimize.compare.outputs import RecordingEngine
from edgevid.runtime import FakeEngine, TensorSpec

RECIPE = """
[model]
name = "tiny"
task = "detect"
file = "tiny.onnx"
[input]
width = 32
height = 32
[decode]
kind = "yolo"
layout = "rows"
nms_iou = 0.5
[names]
classes = ["person", "car"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """tiny.onnx with its recipe, other.onnx with the same outputs and none, and two photos."""
    (tmp_path / "tiny.toml").write_text(RECIPE)
    for name in ("tiny", "other"):
        constant_model(tmp_path / f"{name}.onnx", {"output": np.ones((1, 8, 6), np.float32)})
    (tmp_path / "photos").mkdir()
    for n in range(2):
        cv2.imwrite(str(tmp_path / "photos" / f"{n}.png"), np.full((48, 64, 3), 50 * n, np.uint8))
    return tmp_path


def timing(**ms: Any) -> Timing:
    stages = {k: np.asarray(v, np.float64) for k, v in ms.items()}
    return Timing("a", "a", "a.onnx", "fp32", "cpu", 1, "1x3x32x32 float32", 0.5, stages, 2.0)


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


def test_engines_take_turns_frame_by_frame(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float]] = []
    true = Subject.run

    def run(self: Any, frame: Any) -> Any:
        seen.append((self.model.file.stem, float(frame.image[0, 0, 0])))
        return true(self, frame)

    monkeypatch.setattr(Subject, "run", run)
    bench(
        [folder / "tiny.onnx", folder / "other.onnx"],
        data=folder / "photos",
        runs=2,
        warm_up=1,
        device="cpu",
    )
    assert [name for name, _ in seen] == ["tiny", "other"] * 3
    assert [value for _, value in seen] == [50, 50, 0, 0, 50, 50]


def test_a_bare_file_with_the_same_outputs_borrows_the_recipe(folder: Path) -> None:
    result = bench([folder / "tiny.onnx", folder / "other.onnx"], runs=1, warm_up=0, device="cpu")
    assert [t.model for t in result.timings] == ["tiny", "tiny"]
    assert "post" in result.timings[1].ms


def test_conditions_travel_with_the_figures(folder: Path) -> None:
    result = bench([folder / "tiny.onnx"], data=folder / "photos", runs=3, warm_up=1, device="cpu")
    printed = result.conditions
    assert printed["frames"] == f"2 of {folder / 'photos'}, 64x48, RGB, held in memory"
    assert (printed["runs"], printed["warm-up"]) == (3, 1)
    assert printed["processor"]
    assert printed["versions"]["onnxruntime"]
    made_up = bench([folder / "tiny.onnx"], runs=1, warm_up=0, device="cpu").conditions["frames"]
    assert made_up == "a synthetic image, 1280x720, RGB, held in memory"


def test_a_model_without_any_recipe_is_timed_by_its_engine_alone(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": np.ones((1, 7), np.float32)}, image=("n", 5, 9, 9))
    (made,) = bench([path], runs=2, warm_up=0, device="cpu").timings
    assert set(made.ms) == {"inference", "frame"}
    open_sizes = constant_model(
        tmp_path / "o.onnx", {"a": np.ones((1, 7), np.float32)}, image=(1, 5, "h", "w")
    )
    with pytest.raises(InputError, match="has dynamic sizes"):
        bench([open_sizes], runs=1, device="cpu")


def test_one_that_does_not_load_is_named_and_the_others_run(folder: Path) -> None:
    (folder / "broken.onnx").write_bytes(b"nothing")
    result = bench([folder / "tiny.onnx", folder / "broken.onnx"], runs=1, warm_up=0, device="cpu")
    assert [t.title for t in result.timings] == ["tiny fp32"]
    assert "none or is damaged" in result.failed["broken.onnx"]
    with pytest.raises(EdgevidError, match="damaged"):
        bench([folder / "broken.onnx"], runs=1, device="cpu")


@pytest.mark.parametrize(("wish", "words"), [({"runs": 0}, "at least 1 run"), ({"warm_up": -1}, "warm-up")])
def test_impossible_wishes(folder: Path, wish: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        bench([folder / "tiny.onnx"], **wish)


def test_nothing_to_run_or_to_see(folder: Path) -> None:
    with pytest.raises(InputError, match="at least one model"):
        bench([])
    with pytest.raises(SourceError, match="no such file"):
        bench([folder / "tiny.onnx"], data=folder / "absent.mp4")


def test_the_recording_engine_answers_like_the_engine_and_states_when() -> None:
    spec = TensorSpec("x", (1,), np.dtype(np.float32))
    inner = FakeEngine((spec,), (spec,), lambda given: {"x": given["x"] * 2})
    engine = RecordingEngine(inner)
    assert engine.run({"x": np.ones(1, np.float32)})["x"].tolist() == [2.0]
    assert 0 < engine.called <= engine.returned


def test_the_command_prints_a_table_and_writes_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", str(folder / "tiny.onnx"), "--data", str(folder / "photos"), "--runs", "3"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--json", str(folder / "b.json"), "--device", "cpu"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "tiny fp32" in printed
    assert "inference" in printed
    assert "p99 is the slowest of them" in printed
    written = json.loads((folder / "b.json").read_text())
    assert set(written["engines"][0]["ms"]["frame"]) == {"p50", "p90", "p99"}
    assert written["conditions"]["runs"] == 3
    with pytest.raises(SystemExit):
        main([*words, "--json", "-"])
    assert json.loads(capsys.readouterr().out)["engines"][0]["engine"] == "tiny fp32"


def test_a_busy_machine_and_few_runs_are_noted() -> None:
    assert module._notes(200, 0.9, 2) == ()
    few, shared = module._notes(99, 5.0, 2)
    assert "p99 is the slowest" in few
    assert "load 5.0 on 2 cores" in shared


def test_three_digits_are_shown() -> None:
    assert [_short(ms) for ms in (0.123, 9.949, 9.96, 99.4, 99.6, 1234.5)] == [
        "0.12", "9.95", "10.0", "99.4", "100", "1234",
    ]  # fmt: skip


def test_the_device_is_read_by_its_own_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"nvidia-smi": ["NVIDIA X, 550.1, 1500 MHz"], "nvpmodel": []}
    monkeypatch.setattr(found, "_tool_output", lambda *command: answers[command[0]])
    assert found.gpu() == "NVIDIA X, 550.1, 1500 MHz"
    answers.update({"nvidia-smi": [], "nvpmodel": ["NV Power Mode: 25W", "1"]})
    assert found.gpu() == "NV Power Mode: 25W 1"
    monkeypatch.undo()
    assert found._tool_output("no-such-tool-anywhere") == []
