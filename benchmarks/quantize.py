"""What INT8 costs the real detectors, and what it gains: accuracy, agreement, time; both files, one run.

    python benchmarks/quantize.py DATA [--models A,B] [--floor 0.97] [--calibrator percentile]

DATA holds images/, videos/ (and models/ where EDGEVID_MODELS_MIRROR names it). Calibrated on the photos that
nobody labeled and on frames of the videos; judged on the labeled photos, which calibration never sees.

AP: person AP50 against human boxes, 101 recalls, in points. Agreement: greedy one-to-one pairs of boxes of
the same class at IoU 0.5, all classes, at the recipe's score threshold: 2 M / (A + B), FP32 against INT8,
on all labeled photos. Time: processor time of the one thread that runs the model, all three files taking
turns in one process; ratio of the medians. A higher floor keeps more layers in
float: slower and closer. int8-trt is run by ONNX Runtime too, as the reference for TensorRT: its time there
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
from edgevid.optimize.compare.boxes import pair_boxes
from edgevid.optimize.quantize.quantizer import FLOOR, VARIANTS, quantize
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import Recipe
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
    folder, labels = (
        data / "images" / "coco_val2017_100",
        data / "images" / "coco_val2017_100_person_kpt_labels",
    )
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


def agreement(one: Detector, two: Detector, cases: list[Case]) -> tuple[float, int, int, int]:
    """2 M / (A + B), M, A, B."""
    both = first = second = 0
    for frame, _ in cases:
        a, b = one.detect([frame])[0], two.detect([frame])[0]
        both, first, second = both + len(pair_boxes(a, b)[0]), first + len(a), second + len(b)
    return 2 * both / max(first + second, 1), both, first, second


def times(paths: list[Path], recipe: Recipe, cases: list[Case]) -> list[float]:
    """Median processor milliseconds of one run of each file, on a photo, the files taking turns."""
    detectors = [Detector(OrtEngine(p, device="cpu", threads=1), recipe) for p in paths]
    spent: list[list[float]] = [[] for _ in paths]
    for turn in range(ROUNDS + 5):
        for detector, list_ in zip(detectors, spent, strict=True):
            inputs, _ = detector.preprocess([cases[turn % len(cases)][0]])
            begin = time.thread_time()
            detector.engine.run(inputs)
            if turn >= 5:
                list_.append(time.thread_time() - begin)
    return [1000 * float(np.median(s)) for s in spent]


def one_model(name: str, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one model."""
    cases, free = photos(data)
    recipe = resolve_model(name)
    assert recipe.local is not None
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "unlabeled.txt"
        listed.write_text("\n".join(str(p.resolve()) for p in free))
        begin = time.process_time()
        report = quantize(
            recipe,
            [listed, *sorted((data / "videos").iterdir())],
            calibrator=options.calibrator,
            count=options.count,
            floor=options.floor,
            out=options.out or folder,
            save_ranges=Path(options.out or folder) / f"{name}.toml",
        )
        spent = time.process_time() - begin
        plain = Detector(OrtEngine(recipe.local, device="cpu", threads=1), recipe)
        wide = Detector(OrtEngine(recipe.local, device="cpu", threads=1), recipe, score_threshold=0.02)
        base = average_precision(wide, cases)
        ms = times([recipe.local, *(m.path for m in report.made)], recipe, cases)
        rows = {}
        for made, mine in zip(report.made, ms[1:], strict=True):
            engine = OrtEngine(
                made.path, device="cpu", threads=1, disable_optimizations=made.variant == "int8-trt"
            )
            found = average_precision(Detector(engine, recipe, score_threshold=0.02), cases)
            share, both, first, second = agreement(plain, Detector(engine, recipe), cases)
            held = made.agreement
            rows[made.variant] = {
                "AP": found,
                "points": 100 * (found - base),
                "agreement": share,
                "boxes": [both, first, second],
                "held out": held.share if held else None,
                "ms": mine,
                "faster": ms[0] / mine,
                "layers int8": len(made.plan.layers),
                "layers float": list(made.plan.kept),
                "kept": list(made.kept),
            }
    return {
        "AP FP32": base,
        "ms FP32": ms[0],
        "frames": report.calibration.frames,
        "judged on": report.judged_on,
        "processor seconds to quantize": spent,
        "settings": {k: getattr(options, k) for k in ("calibrator", "count", "floor")},
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
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--floor", type=float, default=FLOOR)
    parser.add_argument("--out", type=Path, help="Keep the quantized files here.")
    options = parser.parse_args()
    for name in filter(None, options.models.split(",")):
        measured = one_model(name, options.data, options)
        print(table(*summary({name: measured})), flush=True)
        store({f"{name} @ {options.floor}": measured})
    print(table(*store({})))


def store(measured: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Adds to what earlier runs measured (models and floors may be run in parts); the table of all."""
    stored = RESULTS / "quantize.json"
    before = json.loads(stored.read_text()) if stored.is_file() else {"models": {}}
    found = {**before["models"], **measured}
    order = sorted(found, key=lambda k: (MODELS.index(k.split(" ")[0]), found[k]["settings"]["floor"]))
    found = {k: found[k] for k in order}
    head, rows = summary(found)
    save(
        "quantize",
        {"head": head, "rows": rows, "models": found},
        where() if measured else before["conditions"],
    )
    return head, rows


def where() -> dict[str, Any]:
    """Conditions, with the byte instructions that the processor has."""
    import onnxruntime

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    made = conditions({"onnxruntime": onnxruntime.__version__})
    made["command"] = "python benchmarks/quantize.py DATA --models MODEL --floor FLOOR --count 128"
    return made | {"instructions": [i for i in INSTRUCTIONS if i in flags]}


if __name__ == "__main__":
    main()
