"""Quantized files: what is written, the same bytes from stored ranges, warnings and errors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx_models
import pytest

from edgevid.errors import InputError, SourceError
from edgevid.models.hub import resolve_model
from edgevid.optimize.agreement import TaskMetrics
from edgevid.optimize.quantize.evaluator import Evaluator
from edgevid.optimize.quantize.graph import Graph, normalize
from edgevid.optimize.quantize.quantizer import lacks_vnni, output_layers, quantize
from edgevid.optimize.quantize.ranges import calibration_text, read_ranges
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import LocalRecipe
from edgevid.runtime.variants import find_variant, read_record

onnx = onnx_models.onnx


def test_files_records_and_ranges_are_written(net: LocalRecipe, video: Path, tmp_path: Path) -> None:
    report = quantize(net, video, max_frames=20, min_agreement=0.0, save_ranges=tmp_path / "small.toml")
    assert [m.variant for m in report.files] == ["int8-cpu", "int8-trt"]
    assert any("few to calibrate on" in w for w in report.warnings)
    for made in report.files:
        assert find_variant(net, made.variant) == made.path
        record = read_record(made.path)
        assert record["int8_layers"] == 3
        assert record["calibration"]["frames"] == 16
        assert record["held_out_frames"] == 4
        with OrtEngine(made.path, device="cpu") as engine:
            assert engine.run({"x": np.zeros((1, 3, 8, 8), np.float32)})["y"].shape == (1, 4)
    found = read_ranges(tmp_path / "small.toml")
    assert calibration_text(found) == (tmp_path / "small.toml").read_text()
    assert found.measured.sources == ("noise.mp4",)
    assert found.ranges["x"][1] <= 1.0


@pytest.mark.parametrize("calibrator", ["min-max", "percentile", "entropy"])
def test_stored_ranges_make_the_same_bytes_without_frames(
    net: LocalRecipe, video: Path, tmp_path: Path, calibrator: str
) -> None:
    ranges = tmp_path / "small.toml"
    first = quantize(net, video, calibrator=calibrator, max_frames=10, out=tmp_path / "a", save_ranges=ranges)
    again = quantize(net, ranges=ranges, out=tmp_path / "b")
    for one, two in zip(first.files, again.files, strict=True):
        assert one.path.read_bytes() == two.path.read_bytes()
        assert two.agreement is None
    assert json.loads((tmp_path / "b" / "small.int8-cpu.json").read_text())["excluded_nodes"] == list(
        first.files[0].excluded_nodes
    )


def metrics(agreement: float, total: float) -> TaskMetrics:
    return TaskMetrics("classify", agreement, total, int(total), "frames", "", "", {})


def test_a_file_with_few_int8_layers_is_a_warning(
    net: LocalRecipe, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluator, "agreement", lambda *_, **__: metrics(0.5, 4))
    report = quantize(net, video, max_frames=5, variants=["int8-trt"], save_ranges=tmp_path / "r.toml")
    assert not report.files[0].plan.layers  # nothing reached the floor: all are excluded
    assert any("agrees on 50.0 %, below the floor of 97.0 %" in w for w in report.warnings)
    assert any("only 0 of 3 layers are INT8" in w for w in report.warnings)


@pytest.mark.parametrize(("ratio", "text"), [(0.6, "slower than"), (1.0, "no faster than"), (1.4, None)])
def test_a_cpu_file_without_a_gain_is_a_warning(
    net: LocalRecipe, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratio: float, text: str | None
) -> None:
    from edgevid.optimize.quantize import quantizer as module

    measured = []
    monkeypatch.setattr(module, "speedup", lambda recipe, path: measured.append(path) or ratio)
    report = quantize(net, video, max_frames=5, out=tmp_path, save_ranges=tmp_path / "r.toml")
    cpu, trt = report.files
    assert (cpu.speedup, trt.speedup) == (ratio, None)
    assert measured == [cpu.path]  # ONNX Runtime's time for TensorRT's file is no evidence
    assert read_record(cpu.path)["speedup"] == ratio
    notes = [w for w in report.warnings if f"({ratio:.2f}x its speed)" in w]
    assert len(notes) == (text is not None)
    assert all(f"int8-cpu is {text} FP32 on this processor" in note for note in notes)


def test_frames_without_objects_verify_nothing(
    net: LocalRecipe, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluator, "agreement", lambda *_, **__: metrics(0.0, 0))
    report = quantize(net, video, out=tmp_path / "build", save_ranges=tmp_path / "r.toml")
    assert report.failed == report.files
    assert sum("is unverified" in text for text in report.warnings) == len(report.files)


def test_no_frames_are_an_error(net: LocalRecipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected frames like those that the model will run on, got none"):
        quantize(net)
    with pytest.raises(InputError, match="got none"):
        quantize(net, [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="expected images"):
        quantize(net, tmp_path / "empty")
    with pytest.raises(InputError, match="live source"):
        quantize(net, "rtsp://gate/1")


def test_options_out_of_range_are_errors(net: LocalRecipe, video: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of min-max, percentile, entropy"):
        quantize(net, video, calibrator="mse")
    with pytest.raises(InputError, match="--min-agreement: expected 0 to 1"):
        quantize(net, video, min_agreement=97)
    with pytest.raises(InputError, match="got both"):
        quantize(net, video, ranges=tmp_path / "r.toml")
    with pytest.raises(InputError, match="--max-frames: expected at least 1"):
        quantize(net, video, max_frames=0)
    with pytest.raises(InputError, match="expected one of int8-cpu, int8-trt"):
        quantize(net, video, variants=["int4"])


def test_seven_bits_leave_room_for_sums(net: LocalRecipe, video: Path, tmp_path: Path) -> None:
    ranges = tmp_path / "r.toml"
    report = quantize(
        net, video, max_frames=5, min_agreement=0.0, reduce_range=True, out=tmp_path / "a", save_ranges=ranges
    )
    largest = {}
    for made in report.files:
        stored = onnx.load(made.path).graph.initializer
        weights = [onnx.numpy_helper.to_array(t) for t in stored if t.name.endswith(" int")]
        largest[made.variant] = max(int(np.abs(w).max()) for w in weights if w.dtype == np.int8)
    assert largest == {"int8-cpu": 63, "int8-trt": 127}
    again = quantize(net, ranges=ranges, out=tmp_path / "b")
    assert [m.sha256 for m in again.files] == [m.sha256 for m in report.files]


def test_a_processor_without_vnni_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr("edgevid.runtime.processor.INFO", info)
    assert not lacks_vnni()
    info.write_text("flags\t\t: fpu avx2 avx512f\n")
    assert lacks_vnni()
    info.write_text("flags\t\t: fpu avx2 avx512_vnni\n")
    assert not lacks_vnni()


def test_a_model_without_an_image_input_cannot_be_calibrated(net: LocalRecipe, video: Path) -> None:
    with pytest.raises(InputError, match="has no image input"):
        quantize(dataclasses.replace(net, input=None), video, max_frames=5)


def test_a_real_detector_agrees_with_itself(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    video = shared_data / "videos" / "pets09_s2l1_vtest.avi"
    report = quantize(
        "street-nano",
        video,
        calibrator="min-max",
        max_frames=10,
        min_agreement=0.5,
        out=tmp_path,
        save_ranges=tmp_path / "r.toml",
    )
    for made in report.files:
        assert made.agreement is not None
        assert made.agreement.agreement >= 0.8
        assert made.agreement.details["boxes of the reference"] >= 5
        assert len(made.plan.layers) >= 20
    last = set(output_layers(Graph(normalize(resolve_model("street-nano").local))))
    assert last == last & set(report.files[0].plan.float_layers)  # boxes and scores are no bytes


@pytest.mark.parametrize("option", ["out", "save_ranges"])
def test_a_place_that_cannot_be_written_is_rejected_before_the_work(
    net: LocalRecipe, video: Path, tmp_path: Path, option: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    steps: list[str] = []
    places = {"out": tmp_path / "out", "save_ranges": tmp_path / "r.toml"}
    places |= {option: tmp_path / {"out": "file", "save_ranges": "folder"}[option]}
    with pytest.raises(SourceError, match="cannot be written: it is a"):
        quantize(net, video, max_frames=5, progress=lambda done, total, step: steps.append(step), **places)
    assert not steps
    assert not (tmp_path / "out").exists()
