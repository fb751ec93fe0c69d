"""edgevid's INT8 file for the CPU next to that of ONNX Runtime's own `quantize_static`, on the same frames.

    python benchmarks/quantize_static.py DATA [--models A,B]

DATA as of quantize.py. Both calibrate on the same preprocessed frames and are evaluated on the labeled
photos: agreement of all boxes with FP32 (edgevid/optimize/agreement.py), CPU time of one thread, in turns.
`quantize_static` gets what its documentation recommends: opset 13 or later, weights that are no graph inputs,
`quant_pre_process`, QDQ, uint8 activations, int8 weights, one scale per channel; on all operators, and on
Conv alone with each of its calibrators. Its row is that of the setting that agrees best on the very photos,
which favors it; the JSON has all settings. Excluding nodes by hand, its last step, is not tried.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench import RESULTS, save, table
from quantize import Case, agreement, photos, where

from edgevid.detect.detector import Detector
from edgevid.models.hub import resolve_model
from edgevid.optimize.frames import FrameRunner, select_frames
from edgevid.optimize.quantize.evaluator import median_cpu_ms
from edgevid.optimize.quantize.quantizer import quantize
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import LocalRecipe
from edgevid.runtime.variants import without_weight_inputs

MODELS = "street-nano,yolox-nano-416,picodet-s-320"
SETTINGS = (("MinMax", None), ("MinMax", "Conv"), ("Percentile", "Conv"), ("Entropy", "Conv"))
"""Calibrator, and the operators that are quantized (None: all)."""
ROUNDS = 20


def reader(recipe: LocalRecipe, frames: list[Any]) -> Any:
    """The calibration frames, preprocessed as the detector does."""
    runner = FrameRunner(recipe, OrtEngine(recipe.local, device="cpu", threads=1))
    inputs = iter([{name: array.copy() for name, array in runner.inputs(f).items()} for f in frames])
    return SimpleNamespace(get_next=lambda: next(inputs, None))


def theirs(recipe: LocalRecipe, frames: list[Any], folder: Path) -> dict[str, Path]:
    """A file of `quantize_static` per setting."""
    import onnx
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, made = folder / "prepared.onnx", {}
    model = onnx.load_from_string(without_weight_inputs(recipe.local.read_bytes()))
    if model.opset_import[0].version < 13:  # one scale per channel needs it
        model = onnx.version_converter.convert_version(model, 13)
    with contextlib.redirect_stdout(io.StringIO()):
        quant_pre_process(model, str(prepared))
        for calibrator, operators in SETTINGS:
            path = folder / f"{calibrator}-{operators}.onnx"
            q.quantize_static(
                str(prepared), str(path), reader(recipe, frames), quant_format=q.QuantFormat.QDQ,
                op_types_to_quantize=[operators] if operators else None, per_channel=True,
                activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8,
                calibrate_method=q.CalibrationMethod[calibrator],
            )  # fmt: skip
            made[f"{calibrator}, {operators or 'all operators'}"] = path
    return made


def one_model(name: str, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Agreement and time of both, and of every setting of theirs."""
    cases, unlabeled = photos(data)
    recipe = resolve_model(name)
    plain = Detector(OrtEngine(recipe.local, device="cpu", threads=1), recipe)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        listed = folder / "unlabeled.txt"
        listed.write_text("\n".join(str(path.resolve()) for path in unlabeled))
        sources = [listed, *sorted((data / "videos").iterdir())]
        frames = list(select_frames(sources, max_frames=options.max_frames).calibration)
        report = quantize(
            recipe, sources, calibrator=options.calibrator, max_frames=options.max_frames,
            min_agreement=options.min_agreement, out=folder, save_ranges=folder / "ranges.toml",
        )  # fmt: skip
        mine = next(file for file in report.files if file.variant == "int8-cpu")
        settings = theirs(recipe, frames, folder)
        shares = {key: share(plain, recipe, path, cases) for key, path in settings.items()}
        best = max(shares, key=lambda key: shares[key])
        files = [recipe.local, mine.path, settings[best]]
        ms = median_cpu_ms(recipe, files, [frame for frame, _ in cases], runs=ROUNDS, warm_up=5)
        ours = share(plain, recipe, mine.path, cases)
        return {
            "frames": len(frames), "edgevid": ours, "quantize_static": shares, "best": best,
            "ms FP32": ms[0], "ms edgevid": ms[1], "ms quantize_static": ms[2],
        }  # fmt: skip


def share(plain: Detector, recipe: LocalRecipe, path: Path, cases: list[Case]) -> float:
    return agreement(plain, Detector(OrtEngine(path, device="cpu", threads=1), recipe), cases).share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--calibrator", default="percentile", help="edgevid's")
    parser.add_argument("--max-frames", type=int, default=40)
    parser.add_argument("--min-agreement", type=float, default=0.985)
    options = parser.parse_args()
    conditions = where()
    conditions["command"] = "python benchmarks/quantize_static.py DATA"
    stored = RESULTS / "quantize_static.json"
    found = json.loads(stored.read_text())["models"] if stored.is_file() else {}
    for name in options.models.split(","):  # models may be run one at a time
        found[name] = one_model(name, options.data, options)
        save("quantize_static", {**summary(found), "models": found}, conditions)
    print(table(*summary(found).values()))


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Head and rows of the table."""
    head = ["model", "frames", "boxes agreed, edgevid", "quantize_static", "its best setting"]
    head += ["ms FP32", "edgevid", "quantize_static"]
    rows = []
    for name, one in found.items():
        shares = one["edgevid"], one["quantize_static"][one["best"]]
        row = [name, str(one["frames"]), *(f"{value:.1%}" for value in shares), one["best"]]
        rows.append(row + [f"{one[f'ms {of}']:.2f}" for of in ("FP32", "edgevid", "quantize_static")])
    return {"head": head, "rows": rows}


if __name__ == "__main__":
    main()
