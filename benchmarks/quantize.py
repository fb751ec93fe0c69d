"""Accuracy, agreement and time of INT8 against FP32 for the real detectors: both files, one run.

    python benchmarks/quantize.py DATA [--models A,B] [--min-agreement 0.97] [--calibrator percentile]

DATA has images/, videos/ (and models/ where EDGEVID_MODELS_MIRROR names it). Calibrated on the photos without
labels and on frames of the videos; evaluated on the labeled photos, which the calibration does not use.

AP: person AP50 against human boxes, 101 recalls, in points. Agreement: as in edgevid/optimize/agreement.py,
all classes, FP32 against INT8, on all labeled photos. Time: processor time of the one thread that runs the
model, all three files taking turns in one process; ratio of the medians. A higher minimum excludes more
layers: slower and closer. int8-trt is run by ONNX Runtime too, as the reference for TensorRT: its time there
says nothing about TensorRT.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import numpy as np
from bench import RESULTS, conditions, save, table

from edgevid.detect.detector import Detector
from edgevid.kernels import iou
from edgevid.models.hub import resolve_model
from edgevid.optimize.agreement import FLOORS, match_boxes
from edgevid.optimize.quantize.evaluator import median_cpu_ms
from edgevid.optimize.quantize.quantizer import VARIANTS, QuantizedFile, quantize
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.processor import processor_features
from edgevid.runtime.recipe import LocalRecipe
from edgevid.types import Frame
from edgevid.video.images import read_image

MODELS = (
    "street-nano",
    "nanodet-m-320",
    "picodet-s-320",
    "yolox-nano-416",
    "fastestdet-352",
    "nanodet-m-416",
    "picodet-s-416",
)
ROUNDS = 40
INSTRUCTIONS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
Case = tuple[Frame, np.ndarray]


def photos(data: Path) -> tuple[list[Case], list[Path]]:
    """(Labeled photos with their person boxes, photos without labels)."""
    folder, labels = (data / "images" / "coco_val2017_100", data / "images" / "coco_val2017_100_person_kpt_labels")
    cases, free = [], []
    for path in sorted(folder.glob("*.jpg")):
        label = labels / f"{path.stem}.txt"
        if not label.is_file():
            free.append(path)
            continue
        image = read_image(path)
        assert image is not None
        rows = np.array([[float(v) for v in line.split()[1:5]] for line in label.read_text().splitlines()])
        rows, size = rows.reshape(-1, 4), np.array([image.shape[1], image.shape[0]] * 2)
        boxes = np.concatenate([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2], 1) * size
        cases.append((Frame(image, 0.0, 0), boxes.astype(np.float32)))
    return cases, free


def average_precision(detector: Detector, cases: list[Case]) -> float:
    """Person AP50 with 101 recalls."""
    label, scored, total = list(detector.names).index("person"), [], 0
    for frame, truth in cases:
        found = detector.detect([frame])[0]
        found = found[found.labels == label]
        total += len(truth)
        free = np.ones(len(truth), bool)
        for row in np.argsort(-found.scores, kind="stable"):
            match = np.where(free, iou(found.boxes[row : row + 1], truth)[0], 0.0)
            hit = bool(len(match) and match.max() >= 0.5)
            if hit:
                free[match.argmax()] = False
            scored.append((float(found.scores[row]), hit))
    hits = np.cumsum([hit for _, hit in sorted(scored, key=lambda s: -s[0])])
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    recall = hits / total
    return float(np.mean([precision[recall >= r].max(initial=0) for r in np.linspace(0, 1, 101)]))


def agreement(one: Detector, two: Detector, cases: list[Case]) -> tuple[int, int, int]:
    """Boxes that match on all photos, those of FP32, and those of INT8."""
    found = [(one.detect([frame])[0], two.detect([frame])[0]) for frame, _ in cases]
    matched = sum(len(match_boxes(a, b)[0]) for a, b in found)
    return matched, sum(len(a) for a, _ in found), sum(len(b) for _, b in found)


def measured(recipe: LocalRecipe, file: QuantizedFile, cases: list[Case], ms: list[float]) -> dict[str, Any]:
    """One quantized file; `ms` are the times of the float model and of this file."""
    off = file.variant == "int8-trt"
    plain = Detector(OrtEngine(recipe.local, device="cpu", threads=1), recipe)
    wide = Detector(plain.engine, recipe, score_threshold=0.02)
    engine = OrtEngine(file.path, device="cpu", threads=1, disable_optimizations=off)
    found = average_precision(Detector(engine, recipe, score_threshold=0.02), cases)
    matched, first, second = agreement(plain, Detector(engine, recipe), cases)
    return {
        "AP": found,
        "points": 100 * (found - average_precision(wide, cases)),
        "agreement": 2 * matched / max(first + second, 1),
        "boxes": [matched, first, second],
        "held out": file.agreement.agreement if file.agreement else None,
        "ms": ms[1],
        "faster": ms[0] / ms[1],
        "layers int8": len(file.plan.layers),
        "layers float": list(file.plan.float_layers),
        "excluded": list(file.excluded_nodes),
    }


def one_model(name: str, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one model."""
    cases, unlabeled = photos(data)
    recipe = resolve_model(name)
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "unlabeled.txt"
        listed.write_text("\n".join(str(p.resolve()) for p in unlabeled))
        begin = time.process_time()
        report = quantize(
            recipe,
            [listed, *sorted((data / "videos").iterdir())],
            calibrator=options.calibrator,
            max_frames=options.max_frames,
            min_agreement=options.min_agreement,
            out=options.out or folder,
            save_ranges=Path(options.out or folder) / f"{name}.toml",
        )
        spent = time.process_time() - begin
        plain = OrtEngine(recipe.local, device="cpu", threads=1)
        base = average_precision(Detector(plain, recipe, score_threshold=0.02), cases)
        frames = [frame for frame, _ in cases]
        files = [recipe.local, *(file.path for file in report.files)]
        first, *ms = median_cpu_ms(recipe, files, frames, runs=ROUNDS, warm_up=5)
        rows = {
            file.variant: measured(recipe, file, cases, [first, mine])
            for file, mine in zip(report.files, ms, strict=True)
        }
    return {
        "AP FP32": base,
        "ms FP32": first,
        "frames": report.calibration.measured.frames,
        "held-out frames": report.held_out,
        "processor seconds to quantize": spent,
        "settings": {"calibrator": options.calibrator, "count": options.max_frames, "floor": options.min_agreement},
        **rows,
    }


def summary(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table."""
    head = ["model, file", "floor", "int8 / all layers", "person AP50", "points", "boxes agreed"]
    head += ["ms FP32", "ms", "faster"]
    rows = []
    for key, one in found.items():
        for variant in VARIANTS:
            v = one[variant]
            row = [f"{key.split(' ')[0]}, {variant}", f"{one['settings']['floor']:.1%}"]
            row.append(f"{v['layers int8']} / {v['layers int8'] + len(v['layers float'])}")
            row += [f"{one['AP FP32']:.3f} -> {v['AP']:.3f}", f"{v['points']:+.2f}", f"{v['agreement']:.1%}"]
            speed = [f"{one['ms FP32']:.2f}", f"{v['ms']:.2f}", f"{v['faster']:.2f}x"]
            rows.append(row + (speed if variant == "int8-cpu" else ["", "", ""]))
    return head, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--calibrator", default="percentile")
    parser.add_argument("--max-frames", type=int, default=160)
    parser.add_argument("--min-agreement", type=float, default=FLOORS["int8"])
    parser.add_argument("--out", type=Path, help="Keep the quantized files here.")
    options = parser.parse_args()
    for name in filter(None, options.models.split(",")):
        found = one_model(name, options.data, options)
        print(table(*summary({name: found})), flush=True)
        store({f"{name} @ {options.min_agreement}": found})
    print(table(*store({})))


def store(new: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Adds to what earlier runs measured (models and floors may be run in parts); the table of all."""
    stored = RESULTS / "quantize.json"
    before = json.loads(stored.read_text()) if stored.is_file() else {"models": {}}
    found, now = {**before["models"], **new}, where() if new else before["conditions"]
    if new and before["models"].keys() - new.keys():  # rows of other days and machines stay: the caption names all
        now |= {key: ", ".join(dict.fromkeys([*before["conditions"][key].split(", "), now[key]]))
                for key in ("processor", "date")}  # fmt: skip
    order = sorted(found, key=lambda k: (MODELS.index(k.split(" ")[0]), found[k]["settings"]["floor"]))
    found = {k: found[k] for k in order}
    head, rows = summary(found)
    save("quantize", {"head": head, "rows": rows, "models": found}, now)
    return head, rows


def where() -> dict[str, Any]:
    """Conditions, with the byte instructions that the processor has."""
    import onnxruntime

    features = processor_features()
    made = conditions({"onnxruntime": onnxruntime.__version__})
    made["command"] = "python benchmarks/quantize.py DATA --models MODEL --min-agreement MIN --max-frames 128"
    return made | {"instructions": [i for i in INSTRUCTIONS if i in features]}


if __name__ == "__main__":
    main()
