"""Quantized files: scales worked by hand, refusals, and the same bytes again from stored ranges."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx_models
import pytest
from onnx_models import node

from edgevid.errors import FileFormatError, InputError, ModelError, SourceError
from edgevid.models.hub import resolve_model
from edgevid.optimize.agreement import Floor
from edgevid.optimize.compare.pair import TaskMetrics
from edgevid.optimize.quantize.apply import apply_plan, insert_qdq, rounded, weight_scale
from edgevid.optimize.quantize.evaluator import DriftMeter, Evaluator
from edgevid.optimize.quantize.frames import select_frames
from edgevid.optimize.quantize.graph import Graph, normalize
from edgevid.optimize.quantize.plan import (
    Scale,
    asymmetric_scale,
    clipped_range,
    plan_cpu,
    plan_tensorrt,
    symmetric_scale,
)
from edgevid.optimize.quantize.quantizer import lacks_vnni, output_layers, quantize
from edgevid.optimize.quantize.ranges import Calibration, calibration_text, read_ranges, write_ranges
from edgevid.optimize.quantize.search import ExclusionSearch, build
from edgevid.optimize.quantize.speedup import speedup
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import LocalRecipe, Source
from edgevid.runtime.variants import find_variant, read_record
from edgevid.types import InputSpec
from edgevid.video.writer import VideoWriter

onnx = onnx_models.onnx
RNG = np.random.default_rng(3)
W1 = RNG.normal(size=(8, 3, 3, 3)).astype(np.float32)
W2 = RNG.normal(size=(4, 8, 1, 1)).astype(np.float32)


def small_net(path: Path) -> Path:
    """Conv, Relu, Conv, silu, mean: four class values of an 8 x 8 image."""
    onnx_models.save(
        path,
        [
            node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]),
            node("Relu", "c1", "r1"),
            node("Conv", "r1 w2 b2", "c2"),
            node("Sigmoid", "c2", "gate"),
            node("Mul", "c2 gate", "s"),
            node("Conv", "s w3", "c3"),
            node("GlobalAveragePool", "c3", "p"),
            node("Flatten", "p", "y"),
        ],
        {"x": ("float32", (1, 3, 8, 8))},
        {"y": (1, 4)},
        w1=W1,
        b1=np.linspace(-1, 1, 8, dtype=np.float32),
        w2=W2,
        b2=np.zeros(4, np.float32),
        w3=RNG.normal(size=(4, 4, 1, 1)).astype(np.float32),
    )
    return path


@pytest.fixture
def net(tmp_path: Path) -> LocalRecipe:
    """A classifier of 8 x 8 images, with its file."""
    path = small_net(tmp_path / "small.onnx")
    return LocalRecipe(
        "small",
        "classify",
        path.name,
        tmp_path,
        source=Source(),
        input=InputSpec(8, 8, resize="stretch"),
        names=("a", "b", "c", "d"),
        local=path,
    )


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twenty frames of noise, 32 x 32."""
    path = tmp_path / "noise.mp4"
    with VideoWriter(path, fps=10, quality=8) as writer:
        for n in range(20):
            writer.write(np.random.default_rng(n).integers(0, 256, (32, 32, 3), np.uint8), n / 10)
    return path


def graph_of(net: LocalRecipe) -> Graph:
    assert net.local is not None
    return Graph(normalize(net.local))


def test_scales_are_as_published() -> None:
    # 0 .. 25.5 in 255 steps of 0.1; -12.7 .. 12.7 in 254 steps of 0.1
    assert asymmetric_scale((0.0, 25.5)) == Scale(float(np.float32(0.1)), 0)
    assert asymmetric_scale((-5.1, 20.4)) == Scale(float(np.float32(0.1)), 51)
    assert asymmetric_scale((3.0, 25.5)).zero == 0  # 0 is always among the steps: padding is exactly 0
    assert symmetric_scale((-12.7, 3.0)) == Scale(float(np.float32(0.1)), 0, signed=True)
    assert asymmetric_scale((0.0, 0.0)).scale == 1.0


def test_weights_get_a_scale_for_each_channel() -> None:
    values = np.array([[1.27, -0.5], [0.0127, 0.0]], np.float32).reshape(2, 2, 1, 1)
    scale = weight_scale(values, 0)
    assert scale == pytest.approx([0.01, 0.0001])
    assert rounded(values, scale, 0).reshape(2, 2).tolist() == [[127, -50], [127, 0]]
    assert weight_scale(np.zeros((1, 4), np.float32), 0).tolist() == [1.0]  # a dead channel


def test_a_range_is_not_spent_on_what_the_activation_cuts_off(net: LocalRecipe) -> None:
    graph = graph_of(net)
    assert clipped_range(graph, "c2", (-30.0, 5.0)) == (-7.0, 5.0)  # silu is 0 below -7
    assert clipped_range(graph, "r1", (-1.0, 5.0)) == (-1.0, 5.0)


def test_hard_swish_is_found_however_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "swish.onnx"
    onnx_models.save(
        path,
        [
            node("Conv", "x w", "c"),
            node("Add", "c three", "a"),
            node("Clip", "a zero six", "k"),
            node("Mul", "c k", "m"),
            node("Div", "m six", "y"),
        ],
        {"x": ("float32", (1, 3, 4, 4))},
        {"y": (1, 2, 4, 4)},
        w=RNG.normal(size=(2, 3, 1, 1)).astype(np.float32) * 3,
        three=np.float32(3),
        zero=np.float32(0),
        six=np.float32(6),
    )
    model = normalize(path)
    assert [n.op_type for n in model.graph.node] == ["Conv", "HardSigmoid", "Mul"]
    picture = {"x": RNG.normal(size=(1, 3, 4, 4)).astype(np.float32)}
    with OrtEngine(path, device="cpu") as engine:
        expected = engine.run(picture)["y"].copy()
    target = tmp_path / "tidy.onnx"
    onnx.save(model, target)
    with OrtEngine(target, device="cpu") as engine:
        assert engine.run(picture)["y"] == pytest.approx(expected, abs=1e-5)


def test_the_cpu_plan_keeps_bytes_from_layer_to_layer(net: LocalRecipe) -> None:
    graph = graph_of(net)
    spans = dict.fromkeys(graph.floats, (-1.0, 1.0))
    plan = plan_cpu(graph, spans)
    assert len(plan.layers) == 3
    assert not plan.float_layers
    assert plan.folded == {"c1": "r1"}  # the Relu is done by rounding
    assert set(plan.tensors) == {"x", "r1", "c2", "gate", "s", "c3"}
    model = apply_plan(graph, plan)
    onnx.checker.check_model(model)
    assert "Relu" not in {n.op_type for n in model.graph.node}
    kinds = {t.data_type for t in model.graph.initializer if t.name.endswith("zero")}
    assert {onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32} == kinds


def test_the_tensorrt_plan_is_symmetric_with_float_biases(net: LocalRecipe) -> None:
    graph = graph_of(net)
    spans = dict.fromkeys(graph.floats, (-1.0, 2.54))
    plan = plan_tensorrt(graph, spans)
    assert set(plan.tensors) == {"x", "r1", "s"}
    model = apply_plan(graph, plan)
    onnx.checker.check_model(model)
    zeros = [t for t in model.graph.initializer if t.name.endswith("zero")]
    assert {t.data_type for t in zeros} == {onnx.TensorProto.INT8}
    assert all(not onnx.numpy_helper.to_array(t).any() for t in zeros)
    quantized = {n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    assert quantized == {"x", "r1", "s"}
    scale = next(t for t in model.graph.initializer if t.name == "x scale")
    assert float(onnx.numpy_helper.to_array(scale)) == pytest.approx(0.02)


def test_what_is_kept_stays_float(net: LocalRecipe) -> None:
    graph = graph_of(net)
    spans = dict.fromkeys(graph.floats, (-1.0, 1.0))
    second = graph.layers()[1].name
    plan = plan_tensorrt(graph, spans, frozenset({second}))
    assert plan.float_layers == (second,)
    assert set(plan.tensors) == {"x", "s"}
    plan = plan_cpu(graph, spans, frozenset({"r1"}))
    assert "r1" not in plan.tensors
    assert len(plan.float_layers) == 2  # the layer that makes it and the one that reads it
    onnx.checker.check_model(apply_plan(graph, plan))


def test_a_pair_alone_rounds_one_activation(net: LocalRecipe, tmp_path: Path) -> None:
    graph = graph_of(net)
    model = insert_qdq(graph, {"s": asymmetric_scale((-1.0, 3.0))})
    assert sum(n.op_type == "QuantizeLinear" for n in model.graph.node) == 1
    onnx.checker.check_model(model)


def test_biases_take_off_what_rounding_moves(net: LocalRecipe, tmp_path: Path) -> None:
    """With all inputs at their mean the corrected layer gives exactly the float layer's mean."""
    graph = graph_of(net)
    first = graph.layers()[0]
    spans = dict.fromkeys(graph.floats, (0.0, 2.55))
    plan = plan_tensorrt(graph, spans, frozenset(n.name for n in graph.layers()[1:]))
    mean = np.array([0.5, 1.0, 1.5])
    model = apply_plan(graph, plan, ({"x": mean}, {"x": mean}))
    bias = next(
        onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name.startswith("bias of")
    )
    scale = weight_scale(W1, 0)
    back = rounded(W1, scale, 0) * scale.reshape(-1, 1, 1, 1)
    lost = ((W1 - back).sum((2, 3)) * mean).sum(1)
    assert bias == pytest.approx(np.linspace(-1, 1, 8) + lost, abs=1e-5)
    assert first.name in plan.layers


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
    assert found.sources == ("noise.mp4",)
    assert found.activation_ranges["x"][1] <= 1.0


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


def test_layers_that_hurt_stay_float_until_the_floor_holds(
    net: LocalRecipe, video: Path, tmp_path: Path
) -> None:
    """One activation's range is made absurd: it must be the first that is kept, and then the floor holds."""
    from edgevid.optimize.quantize.ranges import measure

    graph, selection = graph_of(net), select_frames(video, max_frames=20)
    found = measure(net, graph, selection.calibration, selection.sources)
    ranges = {**found.activation_ranges, "s": (-9000.0, 9000.0)}
    found = dataclasses.replace(found, activation_ranges=ranges)
    plain = tmp_path / "plain.onnx"
    onnx.save(graph.model, plain)
    evaluator = Evaluator(net, selection.held_out, plain)
    meter = DriftMeter(net, selection.held_out, plain)
    assert meter.drift(build(graph, found, "int8-cpu", frozenset())[0]) > 0.2
    for variant, blamed in (("int8-cpu", "s"), ("int8-trt", graph.layers()[2].name)):
        search = ExclusionSearch(graph, found, variant, meter, evaluator)
        search.rank()
        assert next(iter(search.sensitivities)) == blamed
        model = build(graph, found, variant, frozenset({blamed}))[0]
        assert meter.drift(model) < 0.05


def metrics(agreement: float, total: float) -> TaskMetrics:
    return TaskMetrics("classify", agreement, total, int(total), "frames", "", "", {})


def test_a_file_with_few_int8_layers_is_a_warning(
    net: LocalRecipe, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluator, "agreement", lambda *_, **__: metrics(0.5, 4))
    report = quantize(net, video, max_frames=5, variants=["int8-trt"], save_ranges=tmp_path / "r.toml")
    assert not report.files[0].plan.layers  # nothing reached the floor: all are excluded
    assert any("agrees on 50.0%, below the floor of 97.0%" in w for w in report.warnings)
    assert any("only 0 of 3 layers are INT8" in w for w in report.warnings)


@pytest.mark.parametrize(("ratio", "text"), [(0.6, "slower than"), (1.0, "no faster than"), (1.4, None)])
def test_a_cpu_file_without_a_gain_is_a_warning(
    net: LocalRecipe,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ratio: float,
    text: str | None,
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


def test_the_speedup_is_a_ratio_of_two_files_that_run(net: LocalRecipe) -> None:
    assert net.local is not None
    assert speedup(net, net.local) > 0


def test_no_frames_are_refused(net: LocalRecipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected frames like those that the model will run on, got none"):
        quantize(net)
    with pytest.raises(InputError, match="got none"):
        quantize(net, [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="expected images"):
        quantize(net, tmp_path / "empty")
    with pytest.raises(InputError, match="live source"):
        quantize(net, "rtsp://gate/1")


def test_wrong_choices_are_refused(net: LocalRecipe, video: Path, tmp_path: Path) -> None:
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


def test_ranges_of_another_model_are_refused(net: LocalRecipe, tmp_path: Path) -> None:
    ranges = tmp_path / "other.toml"
    write_ranges(calibration("0" * 64), ranges)
    with pytest.raises(
        InputError, match=r"expected the ranges of .*small.onnx .* got those of other.onnx with 000"
    ):
        quantize(net, ranges=ranges)


def calibration(sha256: str, **more: object) -> Calibration:
    return Calibration(
        "other", "other.onnx", sha256, "min-max", 1, "1" * 64, ("v.mp4",), {"onnx": "1"}, {"x": (0.0, 1.0)}
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[0.0, 1.0]", "[1.0, 0.0]", "two finite numbers, the lower first"),
        ("[0.0, 1.0]", "[1.0]", "a list of 2 numbers"),
        ("frames = 1", "frames = 0", "at least 1"),
        ("[measured]", "[mesured]", "measured"),
    ],
)
def test_mistakes_in_a_ranges_file_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "r.toml"
    text = calibration_text(calibration("0" * 64))
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(FileFormatError, match=message):
        read_ranges(path)


def test_a_quantized_model_is_not_quantized_again(net: LocalRecipe, video: Path, tmp_path: Path) -> None:
    report = quantize(
        net, video, max_frames=5, min_agreement=0.0, out=tmp_path / "q", save_ranges=tmp_path / "r.toml"
    )
    with pytest.raises(ModelError, match="is quantized already"):
        normalize(report.files[0].path)


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="expected an ONNX model"):
        normalize(path)


def test_a_model_without_an_image_input_cannot_be_calibrated(net: LocalRecipe, video: Path) -> None:
    with pytest.raises(InputError, match="has no image input"):
        quantize(dataclasses.replace(net, task="head", input=None), video, max_frames=5)


def test_frames_are_picked_evenly_and_held_out_apart(video: Path) -> None:
    selection = select_frames(video, max_frames=10)
    assert [f.index for f in selection.held_out] == [5, 15]
    assert [f.index for f in selection.calibration] == [1, 3, 7, 9, 11, 13, 17, 19]
    twice = select_frames([video, video], max_frames=30)
    assert len(twice.calibration) + len(twice.held_out) == 30


def test_a_real_detector_agrees_with_itself(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_the_command_lists_its_files_and_fails_below_the_floor(
    net: LocalRecipe, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    from edgevid.cli.quantize import command
    from edgevid.runtime.recipe_file import write_recipe

    write_recipe(net, tmp_path / "small.toml")
    arguments = {
        "data": [str(video)],
        "max_frames": 10,
        "out": tmp_path / "q",
        "save_ranges": tmp_path / "r.toml",
    }
    command(str(tmp_path / "small.onnx"), min_agreement=0.0, fp16_fallback=True, **arguments)
    printed = capsys.readouterr().out
    assert "agreement (min 0.0%)" in printed
    assert "8 frames of noise.mp4" in printed
    for variant in ("int8-cpu", "int8-trt", "int8-trt-fp16"):
        assert f"small.{variant}.onnx" in printed
        assert (tmp_path / "q" / f"small.{variant}.onnx").is_file()
    command(str(tmp_path / "small.onnx"), precision="fp16", out=tmp_path / "q")
    assert "operators in FP16" in capsys.readouterr().out
    with pytest.raises(InputError, match="--precision: expected int8 or fp16"):
        command(str(tmp_path / "small.onnx"), precision="int4")
    from edgevid.optimize.quantize import quantizer as module

    report = module.quantize(net, video, max_frames=10, out=tmp_path / "q", save_ranges=tmp_path / "r.toml")
    report.floor = Floor(1.1, "test")
    assert len(report.failed) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "quantize", lambda *_, **__: report)
        with pytest.raises(typer.Exit):
            command(str(tmp_path / "small.onnx"), **arguments)
