"""Trains classifiers on digits (scikit-learn) and on objects of ../shared/data/roads: with and without the spatial
transformer under the same rotations, with and without JPEG augmentation. Errors on held-out writers and sources.

    python benchmarks/classifier.py digits
    python benchmarks/classifier.py roads

Each seed has its own split into training and held-out groups, and its own initial weights. Nothing is chosen by the
held-out images: the last epoch is evaluated, and all trainings have the settings of the command. Bars: the median over
the seeds of the transformer's error over the plain network's, with rotated images, at most 0.67; with JPEG
augmentation, quality 20 costs at most 3 points against quality 95. Results are kept after each seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench
import cv2
import numpy as np
import torch

from edgevid.actions.clip import ImageRecognizer
from edgevid.evaluate.actions.extract import crop_video
from edgevid.learn.actions.train import TrainConfig, train_actions
from edgevid.learn.classifier.network import ImageAugmentation, ImageOptions, warp
from edgevid.runtime import load_engine, read_recipe
from edgevid.types import Array, Clips

ROADS = Path(__file__).resolve().parents[2] / "shared" / "data" / "roads"
ANGLES = (-45, -30, -15, 0, 15, 30, 45)
MOST, LEAST_PX = 60, 28  # Crops of a class of one source, and their shorter side
CLASSES = ("car", "truck", "bus", "motorcycle", "person")
RUNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": ("none", {"rotation": 45.0}),
    "transformer": ("stn", {"rotation": 45.0}),
    "without JPEG": ("none", {"rotation": 8.0}),
    "with JPEG": ("none", {"rotation": 8.0, "jpeg": True}),
}
JPEG = ("without JPEG", "with JPEG")


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
    """Objects of the road images; a group is a source. An image is only read for the crops that it gives."""
    table = csv.DictReader((ROADS / "SOURCES.tsv").open(encoding="utf-8"), delimiter="\t")
    counts, rows = Counter(), [("path", "label", "group")]
    for one in table:
        label, image = ROADS / one["path"].replace("/images/", "/labels/").replace(".jpg", ".txt"), None
        for line in label.read_text().splitlines() if label.is_file() else ():
            kind, *box, weight = line.split()
            x1, y1, x2, y2 = (max(0, round(float(v))) for v in box)
            key = kind, one["source"]
            if kind not in CLASSES or float(weight) < 0.5 or min(x2 - x1, y2 - y1) < LEAST_PX or counts[key] >= MOST:
                continue
            if image is None:
                image = cv2.imread(str(ROADS / one["path"]))
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


def train(data: Path, title: str, seed: int, epochs: int, side: int, *, mirrored: bool) -> dict[str, float]:
    """Errors of one training of RUNS on what its split holds out."""
    align, changes = RUNS[title]
    with tempfile.TemporaryDirectory() as temporary:
        images = ImageOptions(side, side, 1.0, align, ImageAugmentation(**{"flip": mirrored, **changes}))
        config = TrainConfig(data, "compact", Path(temporary), 1, epochs, rate_hz=4.0, window=1, extractor="",
                             images=images, patience=0, test=0.3, threads=1, seed=seed)  # fmt: skip
        outcome = train_actions(config)
        tests = {f"{a} degrees": rotated(a) for a in ANGLES} | {f"JPEG {q}": coded(q) for q in (95, 20)}
        errors = errors_of(config.out, tests)
        errors["rotated, mean"] = float(np.mean([errors[f"{a} degrees"] for a in ANGLES]))
        parity = max(outcome.parity.window, outcome.parity.pipeline)
        held = len(np.load(config.out / "scores.npz")["labels"])
        size = (config.out / "classifier.onnx").stat().st_size
        return errors | {"parity": parity, "cpu_s": outcome.cpu_s, "bytes": size, "held out": held}


def summary(found: dict[int, dict[str, dict[str, float]]]) -> dict[str, tuple[float, float, float]]:
    """Median, least and largest over the seeds of what the bars are about."""
    each = found.values()
    values = {
        "ratio": [e["transformer"]["rotated, mean"] / e["plain"]["rotated, mean"] for e in each],
        **{f"{t}, rotated": [e[t]["rotated, mean"] for e in each] for t in ("plain", "transformer")},
        **{f"{t}, JPEG {q}": [e[t][f"JPEG {q}"] for e in each] for t in JPEG for q in (95, 20)},
        **{f"{t}, loss by JPEG 20": [e[t]["JPEG 20"] - e[t]["JPEG 95"] for e in each] for t in JPEG},
        "size": [e["transformer"]["bytes"] / e["plain"]["bytes"] for e in each],
    }
    return {name: (float(np.median(v)), min(v), max(v)) for name, v in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=("digits", "roads"))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3, help="trainings, each with a split of its own")
    options = parser.parse_args()
    side, where = {"digits": 32, "roads": 48}[options.data], bench.conditions({"torch": torch.__version__})
    found: dict[int, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        data = {"digits": digits, "roads": roads}[options.data](Path(temporary))
        for seed in range(options.seeds):
            found[seed] = {}
            for title in RUNS:
                found[seed][title] = train(data, title, seed, options.epochs, side, mirrored=options.data == "roads")
                print(seed, title, json.dumps(found[seed][title]), flush=True)
            result = {"data": options.data, "pixels": side, "epochs": options.epochs, "by seed": found}
            bench.save(f"classifier_{options.data}", result | {"median, least, largest": summary(found)}, where)
    print(bench.table(("", "median", "least", "largest"),
                      [(name, *(f"{v:.3f}" for v in three)) for name, three in summary(found).items()]))  # fmt: skip


if __name__ == "__main__":
    main()
