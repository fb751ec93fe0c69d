"""INT8 from one calibration: a file for ONNX Runtime on the CPU and a file for TensorRT, and their agreement.

Layer by layer the sensitivity is measured: how far rounding one activation (CPU) or one layer (TensorRT) moves the
model's answers. The most sensitive are excluded until the answers on frames that the calibration did not use agree
with the float model's to the floor."""

import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from edgevid.errors import InputError, ModelError, check_choice
from edgevid.files.atomic import check_file, check_folder, write_atomic
from edgevid.models.hub import resolve_model
from edgevid.optimize.agreement import Floor, TaskMetrics, floor_of, shortfall
from edgevid.optimize.frames import FEW_FRAMES, MAX_FRAMES, FrameSelection, FrameSources, select_frames
from edgevid.optimize.quantize.evaluator import DriftMeter, Evaluator, ExclusionSearch, build, speedup
from edgevid.optimize.quantize.graph import Graph, normalize, save_model
from edgevid.optimize.quantize.plan import Plan
from edgevid.optimize.quantize.ranges import Calibration, Calibrator, calibration_text, measure, read_ranges
from edgevid.runtime import LocalRecipe
from edgevid.runtime.processor import processor_features
from edgevid.runtime.variants import model_digest, record_path, variant_path
from edgevid.types import Progress

RANKING_FRAMES = 4  # Calibration frames with the most boxes, on which sensitivities are measured
Variant = Literal["int8-cpu", "int8-trt"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
FOLDER = Path("calibration/int8")
MIN_SPEEDUP = 1.05  # Less than this is no noticeable gain


@dataclass(frozen=True, slots=True)
class QuantizedFile:
    """One quantized file."""

    variant: Variant
    path: Path
    sha256: str
    plan: Plan
    agreement: TaskMetrics | None  # On the held-out frames; None where it was made from stored ranges
    excluded_nodes: tuple[str, ...]  # Names of activations and layers that are not quantized, the most sensitive first
    sensitivities: Mapping[str, float]  # Drift from rounding each activation or layer alone, the largest first
    speedup: float | None  # Speed relative to FP32 on this processor, one thread; None for TensorRT's file


@dataclass(slots=True)
class Report:
    """The result of `quantize`."""

    recipe: LocalRecipe
    calibration: Calibration
    ranges: Path
    floor: Floor
    files: list[QuantizedFile] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    held_out: int = 0  # Frames on which the agreement was measured

    @property
    def failed(self) -> list[QuantizedFile]:
        """The files below the floor, or unverified because no frame showed anything."""
        return [file for file in self.files if self.shortfall(file)]

    def shortfall(self, file: QuantizedFile) -> str:
        """Why a file does not pass; empty where it does."""
        remedy = "do not use it before frames, calibrator or floor are changed"
        return shortfall(file.variant, file.agreement, self.floor, remedy)


def quantize(model: LocalRecipe | str | Path, data: FrameSources | None = None, *, ranges: str | Path | None = None,
             calibrator: Calibrator = "percentile", max_frames: int = MAX_FRAMES, min_agreement: float | None = None,
             reduce_range: bool = False, variants: Sequence[Variant] = VARIANTS, out: str | Path | None = None,
             save_ranges: str | Path | None = None, progress: Progress | None = None) -> Report:  # fmt: skip
    """Quantizes a model on real frames, or again from the ranges of an earlier calibration.

    `data` is a video, a folder, a glob, a list file or several of them; `out` the folder of the files (`build/` next
    to the model), `save_ranges` the file of the calibration (calibration/int8/<model>.toml). `reduce_range` makes
    the CPU file's weights 7-bit, so that x86 processors without VNNI cannot saturate. Raises InputError without
    frames, for ranges of another model and for a model that is quantized already."""
    recipe = model if isinstance(model, LocalRecipe) else resolve_model(model)
    floor = floor_of(recipe, "int8", min_agreement)
    for variant in variants:
        check_choice(variant, VARIANTS, "--variant")
    if ranges is not None and data is not None:
        raise InputError("quantize: expected --data to measure or --ranges to repeat, got both")
    if out is not None:
        check_folder(Path(out))
    if ranges is not None:
        return _repeat(recipe, Path(ranges), floor, variants, out)
    target = Path(save_ranges) if save_ranges is not None else FOLDER / f"{recipe.name}.toml"
    check_file(target)
    selection = select_frames(data, max_frames=max_frames, head=recipe)
    graph = Graph(normalize(recipe.local))
    if not graph.layers():
        raise ModelError(f"{recipe.local}: has no layers with constant weights to quantize; run it in FP32")
    found = measure(recipe, graph, selection.calibration, selection.sources, calibrator, reduce_range=reduce_range,
                    progress=progress)  # fmt: skip
    report = Report(recipe, found, target, floor, held_out=len(selection.held_out))
    report.warnings += _frame_warnings(report, selection)
    _quantize_variants(report, graph, selection, variants, out, progress)
    write_atomic(target, calibration_text(report.calibration))
    for file in report.files:
        _write_record(report, file)
    return report


def _quantize_variants(report: Report, graph: Graph, selection: FrameSelection, variants: Sequence[Variant],
                       out: str | Path | None, progress: Progress | None) -> None:  # fmt: skip
    """Searches what each variant excludes, and writes its file."""
    recipe = report.recipe
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "float.onnx"
        save_model(graph.model, reference)
        evaluator = Evaluator(recipe, selection.held_out or selection.calibration, reference)
        meter = DriftMeter(recipe, selection.calibration, reference, RANKING_FRAMES)
        for variant in variants:
            search = ExclusionSearch(graph, report.calibration, variant, meter, evaluator, progress)
            if recipe.task == "detect" and variant == "int8-cpu":
                search.always = output_layers(graph)
            excluded, agreement = search.run(report.floor.value)
            nodes = {**report.calibration.excluded, variant: excluded}
            report.calibration = dataclasses.replace(report.calibration, excluded=nodes)
            report.files.append(_write(report, graph, variant, out, agreement, search.sensitivities))
    report.warnings += [report.shortfall(file) for file in report.failed]
    for file in report.files:
        count, total = len(file.plan.layers), len(file.plan.layers) + len(file.plan.float_layers)
        if 2 * count < total:
            what = f"{file.variant}: only {count} of {total} layers are INT8, which gains little"
            report.warnings.append(f"{what}: use FP16 on a GPU, FP32 on a CPU, or a lower --min-agreement")


def _repeat(recipe: LocalRecipe, path: Path, floor: Floor, variants: Sequence[Variant],
            out: str | Path | None) -> Report:  # fmt: skip
    """The files of stored ranges, with the same bytes as before."""
    found = read_ranges(path)
    if (given := model_digest(recipe.local)) != found.measured.sha256:
        ours, got = f"{recipe.local} with SHA-256 {given}", f"{found.measured.file} with {found.measured.sha256}"
        raise InputError(f"{path}: expected the ranges of {ours}, got those of {got}; measure this model with --data")
    graph = Graph(normalize(recipe.local))
    report = Report(recipe, found, path, floor)
    for variant in variants:
        report.files.append(_write(report, graph, variant, out, None, {}))
        _write_record(report, report.files[-1])
    return report


def _frame_warnings(report: Report, selection: FrameSelection) -> list[str]:
    warnings, count = [], len(selection.calibration)
    if count < FEW_FRAMES:
        what = f"{count} frames are few to calibrate on: ranges converge from about {FEW_FRAMES}"
        warnings.append(f"{what}; give more with --data")
    if not report.calibration.measured.reduce_range and lacks_vnni():
        what = "this processor has no VNNI: its sums of byte products may saturate"
        warnings.append(f"{what}; where the agreement is low, try --reduce-range")
    if not selection.held_out:
        warnings.append("only one frame: the agreement is measured on the frame of the calibration")
    return warnings


def lacks_vnni() -> bool:
    """Whether this is an x86 processor without VNNI, as far as Linux reports it."""
    features = processor_features()
    return "avx2" in features and not features & {"avx512_vnni", "avx_vnni"}


def output_layers(graph: Graph) -> tuple[str, ...]:
    """Layers without another layer behind them: a detector's boxes and scores, too coarse in 256 steps."""
    inside = graph.feeding_layers()
    return tuple(n.name for n in graph.layers() if n.output[0] not in inside)


def _write(report: Report, graph: Graph, variant: Variant, out: str | Path | None, agreement: TaskMetrics | None,
           sensitivities: Mapping[str, float]) -> QuantizedFile:  # fmt: skip
    excluded = report.calibration.excluded.get(variant, ())
    model, plan = build(graph, report.calibration, variant, frozenset(excluded))
    path = variant_path(report.recipe, variant, folder=out)
    sha256 = save_model(model, path)
    ratio = speedup(report.recipe, path) if variant == "int8-cpu" and report.recipe.input else None
    if ratio is not None and ratio < MIN_SPEEDUP:
        how = "slower" if ratio < 1 / MIN_SPEEDUP else "no faster"
        what = f"{variant} is {how} than FP32 on this processor ({ratio:.2f}x its speed)"
        report.warnings.append(f"{what}: use FP32 here, and measure with edgevid bench where it will run")
    return QuantizedFile(variant, path, sha256, plan, agreement, excluded, sensitivities, ratio)


def _write_record(report: Report, file: QuantizedFile) -> None:
    """The JSON next to a file that states how it was made."""
    found, how = report.calibration.measured, ("calibrator", "frames", "frames_sha256", "sources")
    record = {"variant": file.variant, "sha256": file.sha256, "model": report.recipe.name, "source": found.file,
              "source_sha256": found.sha256, "precision": "int8", "scheme": SCHEMES[file.variant],
              "reduce_range": file.plan.reduce_range,
              "calibration": {"ranges": report.ranges.name, **{key: getattr(found, key) for key in how}},
              "versions": dict(report.calibration.versions), "int8_layers": len(file.plan.layers),
              "float_layers": list(file.plan.float_layers), "excluded_nodes": list(file.excluded_nodes),
              "floor": report.floor.value, "floor_from": report.floor.source,
              "agreement": file.agreement.as_dict() if file.agreement else None, "held_out_frames": report.held_out,
              "speedup": round(file.speedup, 2) if file.speedup is not None else None,
              "sensitivities": {k: round(v, 6) for k, v in file.sensitivities.items()},
              "warnings": report.warnings}  # fmt: skip
    write_atomic(record_path(file.path), json.dumps(record, indent=1, ensure_ascii=False) + "\n")


SCHEMES: Mapping[Variant, str] = {
    "int8-cpu": "U8S8: activations uint8 with a zero point, weights int8 per channel, biases int32",
    "int8-trt": "S8S8: inputs of layers int8 symmetric, weights int8 per channel, biases float",
}
