"""Trains classifiers on digits (scikit-learn) and on objects of ../shared/data/roads: with and without the spatial
transformer under the same rotations, with and without JPEG augmentation. Errors on held-out writers and sources.

    python benchmarks/classifier.py digits
    python benchmarks/classifier.py roads [EPOCHS]
"""

from __future__ import annotations

import csv
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import bench
import cv2
import numpy as np
import torch

from edgevid.actions.clip import ImageRecognizer
from edgevid.evaluate.recognition import crop_video
from edgevid.learn.actions.train import TrainConfig, train_actions
from edgevid.learn.classifier.network import ImageAugmentation, ImageOptions, warp
from edgevid.runtime import load_engine, read_recipe
from edgevid.types import Array, Clips

ROADS = Path(__file__).resolve().parents[2] / "shared" / "data" / "roads"
ANGLES = (-45, -30, -15, 0, 15, 30, 45)
MOST, LEAST_PX = 60, 28  # Crops of a class of one source, and their shorter side
CLASSES = ("car", "truck", "bus", "motorcycle", "person")


def digits(folder: Path) -> Path:
    """Digits of 8x8 in images of 32x32; each hundred is a group, as the set is sorted by writer."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    rows = [("path", "label", "group")]
    for n, (image, label) in enumerate(zip(images, labels, strict=True)):
        gray = np.clip(16 * image.reshape(8, 8), 0, 255).astype(np.uint8)
        large = cv2.copyMakeBorder(
            cv2.resize(gray, (24, 24), interpolation=cv2.INTER_CUBIC), *[4] * 4, cv2.BORDER_CONSTANT
        )
        cv2.imwrite(str(folder / f"{n}.png"), cv2.cvtColor(large, cv2.COLOR_GRAY2BGR))
        rows.append((f"{n}.png", f"digit {label}", f"writers {n // 100}"))
    return write(folder, rows)


def roads(folder: Path) -> Path:
    """Objects of the road images; a group is a source."""
    table = csv.DictReader((ROADS / "SOURCES.tsv").open(encoding="utf-8"), delimiter="\t")
    counts, rows = Counter(), [("path", "label", "group")]
    for one in table:
        label = ROADS / one["path"].replace("/images/", "/labels/").replace(".jpg", ".txt")
        if not label.is_file() or (image := cv2.imread(str(ROADS / one["path"]))) is None:
            continue
        for line in label.read_text().splitlines():
            kind, *box, weight = line.split()
            x1, y1, x2, y2 = (max(0, round(float(v))) for v in box)
            key = kind, one["source"]
            if kind not in CLASSES or float(weight) < 0.5 or min(x2 - x1, y2 - y1) < LEAST_PX or counts[key] >= MOST:
                continue
            counts[key] += 1
            cv2.imwrite(str(folder / f"{len(rows)}.png"), image[y1:y2, x1:x2])
            rows.append((f"{len(rows)}.png", *key))
    return write(folder, rows)


def write(folder: Path, rows: list[tuple[str, ...]]) -> Path:
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder / "data.csv"


def rotated(degrees: float) -> Callable[[Array], Array]:
    """Crops turned about their centers; edges repeat."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def turn(crops: Array) -> Array:
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        done = warp(images, torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]).expand(len(crops), 3, 3))
        return done.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()

    return turn


def coded(quality: int) -> Callable[[Array], Array]:
    """Crops after OpenCV's JPEG codec."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return lambda crops: np.stack([cv2.imdecode(cv2.imencode(".jpg", one, options)[1], 1) for one in crops])


def errors_of(out: Path, changes: dict[str, Callable[[Array], Array]]) -> dict[str, float]:
    """Share of wrong answers of a deployed classifier to its held-out images, after each change."""
    recipe, scores = read_recipe(out), np.load(out / "scores.npz")
    with load_engine(out / recipe.file, device="cpu", threads=1) as engine:
        recognizer = ImageRecognizer(engine, recipe, memory_s=0.0)
        crops = np.stack([crop_video(Path(str(name)), recognizer.spec)[0][0] for name in scores["tracks"]])
        ids, times, boxes = np.arange(len(crops)), np.zeros((len(crops), 1)), np.zeros((len(crops), 1, 4), np.float32)
        found = {what: recognizer.recognize(Clips(ids, change(crops)[:, None], times, boxes)).values
                 for what, change in changes.items()}  # fmt: skip
    return {what: float((scores["names"][v.argmax(1)] != scores["labels"]).mean()) for what, v in found.items()}


def main() -> None:
    name, where = sys.argv[1], bench.conditions({"torch": torch.__version__})
    side, epochs = {"digits": (32, 40), "roads": (48, 40)}[name]
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else epochs
    upright = {"rotation": 8.0, "flip": name == "roads"}
    turned = upright | {"rotation": 45.0}
    runs = {"plain": ("none", turned), "transformer": ("stn", turned), "without JPEG": ("none", upright),
            "with JPEG": ("none", upright | {"jpeg": True})}  # fmt: skip
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = {"digits": digits, "roads": roads}[name](Path(temporary))
        for title, (align, changes) in runs.items():
            out = Path(temporary, title)
            images = ImageOptions(side, side, 1.0, align, ImageAugmentation(**changes))
            config = TrainConfig(data, "compact", out, 1, epochs, rate_hz=4.0, window=1, extractor="", images=images,
                                 patience=0, test=0.3, threads=1)  # fmt: skip
            outcome = train_actions(config, report=print)
            tests = {f"{a} degrees": rotated(a) for a in ANGLES} | {f"JPEG {q}": coded(q) for q in (95, 20)}
            errors = errors_of(out, tests)
            errors["rotated, mean"] = float(np.mean([errors[f"{a} degrees"] for a in ANGLES]))
            errors |= {"parity": max(outcome.parity.window, outcome.parity.pipeline), "cpu_s": outcome.cpu_s}
            found[title] = errors | {"bytes": (out / "classifier.onnx").stat().st_size}
            print(title, json.dumps(found[title]), flush=True)
        held = len(np.load(out / "scores.npz")["labels"])
    ratio = found["transformer"]["rotated, mean"] / found["plain"]["rotated, mean"]
    result = {"data": name, "held out": held, "pixels": side, "epochs": epochs, "errors": found, "ratio": ratio}
    bench.save(f"classifier_{name}", result, where)
    rows = [(t, *(f"{100 * e[k]:.1f} %" for k in ("rotated, mean", "JPEG 95", "JPEG 20"))) for t, e in found.items()]
    print(bench.table(("training", "error, rotated by up to 45 degrees", "error, JPEG 95", "error, JPEG 20"), rows))
    print(f"transformer against plain, rotated: {ratio:.2f} (target 0.67)")


if __name__ == "__main__":
    main()
