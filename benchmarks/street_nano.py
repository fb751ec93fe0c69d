"""Trains the detectors that ship with edgevid, street-nano and street-small: labels, training, export.

    python benchmarks/street_nano.py DATA OUT [--size street-small] [--steps N] [--start CHECKPOINT]

DATA is the test data folder, with roads/, videos/ and actions/. Resumes after an interruption and prints a line a
minute. Learns only from pictures whose license allows it: roads/train and roads/proposals (their SOURCES.tsv says
which license each has), the clips of CLIPS (MIT, Apache-2.0) and rendered streets. People drew most boxes of vehicles
in roads/train; what they left out, and the clips, are labeled by larger detectors beforehand, so that none runs
during training, unless `--teacher` asks for YOLOX-nano's scores of each composed image. OUT gets train/ (images and
labels), teachers/ (their detections), NOTICE.txt (whose pictures they are), and for each size a folder with the
checkpoint, those at a quarter, half and three quarters of the schedule, the ONNX, its recipe and its options.
`roads/val` chooses the temperature, the bias and the thresholds of the classes, nothing else.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import textwrap
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import numpy as np
import torch
from detector_calibration import calibrated, fit, judge_all, thresholds
from detector_teacher import Distilling

from edgevid.detect.detector import Detector
from edgevid.kernels import iou
from edgevid.learn.detector.data import Composer, Sample, load, read_labels, write_image
from edgevid.learn.detector.distributed import Task, train_detector
from edgevid.learn.detector.export import export_onnx, read_onnx, write_recipe
from edgevid.learn.detector.label import detect_fused, write_clip, write_rendered
from edgevid.learn.detector.network import CLASSES, Block, Shape, StreetDetector
from edgevid.learn.detector.train import Schedule, Trainer
from edgevid.types import Detections, Progress
from edgevid.video.images import read_image
from edgevid.video.open import open_video

LABELERS = ("picodet-s-416", "yolox-nano-416")
FALLS = ("s1_adl_10", "s1_adl_16", "s1_fall_13", "s2_adl_23", "s2_fall_13", "s3_adl_07", "s3_adl_18", "s3_adl_20",
         "s3_fall_16")  # fmt: skip
"""People in rooms, of three homes."""
CLIPS = (
    ("videos/pets09_s2l1_vtest.avi", 1.0),
    ("videos/felix_exercise.avi", 1.6),
    ("actions/clips/mmaction2_demo.mp4", 0.8),
    ("actions/clips/mmaction2_test.mp4", 0.6),
    ("actions/clips/mmaction2_demo_skeleton.mp4", 0.5),
    ("actions/clips/mmaction2_test_video_structuralize.mp4", 0.6),
    ("actions/clips/mmaction2_S001C001P001R001A001_rgb.avi", 0.6),
    ("actions/clips/pyskl_ntu_sample.avi", 0.6),
    *((f"actions/falls_gmdcsa24/{name}.mp4", 1.0) for name in FALLS),
)
"""Training clips and the seconds between their labeled frames."""
SHAPES = {"street-nano": Shape(), "street-small": Shape(512, 288, (16, 32, 72, 160, 256), (2, 3, 4), 64, context=True)}
AUGMENTATIONS: dict[str, Any] = {
    "mosaic": 0.5,
    "paste": 0.4,
    "weather": 0.12,
    "zoom": (0.4, 3.0),
    "shares": {
        **{"nepal": 0.2, "oi": 0.32, "coco": 0.14, "rendered": 0.06},
        **{"felix": 0.02, "mmaction2": 0.05, "pyskl": 0.01, "pets09": 0.03},  # people
        **{"s1-": 0.02, "s2-": 0.02, "s3-": 0.02},  # people in rooms
    },
}
"""Of the composition; the rest of the views are of clips and fixed cameras."""
NOTICE_HEAD = """The weights of street-nano and street-small were learned from the pictures below, which are not
distributed with them, from frames of PETS 2009 S2.L1 (OpenCV's samples, Apache-2.0), of felixchenfy's exercise clip
(MIT), of clips of MMAction2 and PYSKL (Apache-2.0), of GMDCSA24 (MIT, Copyright (c) 2024 Ekram Alam), and from
rendered streets of this project. Pictures were
cropped, scaled, joined and recolored. The weights are under Apache-2.0."""
TEACHER_SCORE = 0.25
"""Score from which the teachers' box of what people left out is learned; its weight is 1.5 times the score."""
TEACHER_SURE = 0.5
"""Score from which such a box is an object for the thresholds."""
LEFT_OUT = ("singapore",)
"""Sources of pictures whose far queues no teacher sees: unlabeled, they would be learned as background."""
STEPS, BATCH = {"street-nano": 6_000, "street-small": 5_000}, 16
SIZES = {"street-nano": ((320, 192),), "street-small": ((320, 192), (448, 256))}
NMS_IOU = 0.5
SUMMARY = "Ships with edgevid: people and vehicles, {}x{}, trained by this project"


def taught(image_path: Path, teachers: list[Detector], kept: Path) -> Detections:
    """The teachers' detections of one image, read from `kept` where they are there."""
    file = kept / f"{image_path.stem}.npz"
    if not file.exists():
        kept.mkdir(parents=True, exist_ok=True)
        found = detect_fused(teachers, read_image(image_path))
        np.savez(file, b=found.boxes, s=found.scores, l=found.labels)
    held = np.load(file)
    return Detections(boxes=held["b"], scores=held["s"], labels=held["l"])


def completed(path: Path, found: Detections, whole: bool) -> str:
    """A label file with the teachers' boxes of what its people left out, weighted by their scores.

    `whole`: people labeled every object, so that nothing is added. An ignored place in which the teachers see an
    object is no longer ignored: it counts as much as they believe.
    """
    boxes, labels, weights = read_labels(path, CLASSES)
    found = found[found.scores >= TEACHER_SCORE]
    sure = weights > 0
    if whole:
        found = found[:0]
    elif sure.any() and len(found):
        found = found[iou(found.boxes, boxes[sure]).max(1) < 0.5]
    stay = sure.copy()
    stay[~sure] = iou(boxes[~sure], found.boxes).max(1) < 0.5 if len(found) else True
    rows = [(labels[n], boxes[n], weights[n]) for n in np.flatnonzero(stay)]
    rows += [(row.label, row.box, min(1.0, 1.5 * row.score)) for row in found]
    return "".join(f"{CLASSES[k]} {' '.join(f'{v:.1f}' for v in box)} {weight:.2f}\n" for k, box, weight in rows)


def write_roads(roads: Path, out: Path, teachers: list[Detector]) -> None:
    """roads/train and roads/proposals, with the teachers' labels added."""
    with (roads / "SOURCES.tsv").open(encoding="utf-8", newline="") as file:
        sources = [row for row in csv.DictReader(file, delimiter="\t") if row["tier"] in "AB"]
    for row in sources:
        if row["path"].startswith("val/") or row["source"] in LEFT_OUT:
            continue
        picture = roads / row["path"]
        image, folder = read_image(picture), picture.parents[1]
        text = completed(
            folder / "labels" / f"{picture.stem}.txt",
            taught(picture, teachers, out / "teachers"),
            row["source"] == "coco",
        )
        if (doubt := folder / "ignore" / f"{picture.stem}.txt").exists():  # center x, y, width, height in shares
            high, wide = image.shape[:2]
            for line in doubt.read_text().splitlines():
                x, y, w, h = (float(v) * side for v, side in zip(line.split()[:4], (wide, high) * 2, strict=True))
                text += f"car {x - w / 2:.1f} {y - h / 2:.1f} {x + w / 2:.1f} {y + h / 2:.1f} -1.00\n"
        write_image(out / "train", picture.stem, image, text)


def write_notice(roads: Path, path: Path) -> None:
    """Whose pictures the detectors learned from, grouped by attribution and license; one name for each picture where
    the attribution is for each."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    with (roads / "SOURCES.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if not row["path"].startswith("val/") and row["source"] not in LEFT_OUT:
                author, _, address = row["attribution"].partition(" http")
                name = f"http{address}" if address else Path(row["path"]).stem.removeprefix("oi").partition("_")[0]
                groups.setdefault((row["source"], row["licence"], author), []).append(name)
    lines = [NOTICE_HEAD]
    for (source, licence, author), names in groups.items():
        lines += ["", *textwrap.wrap(f"{source}, {len(names)} pictures: {author}. License: {licence}", 118)]
        if source in ("coco", "openimages"):
            lines += textwrap.wrap(" ".join(names), 116, initial_indent="  ", subsequent_indent="  ")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def prepare(data: Path, out: Path) -> None:
    """Writes the labeled images, unless an earlier run did."""
    if (out / "prepared").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    write_notice(data / "roads", out / "NOTICE.txt")
    teachers = [Detector.load(t, score_threshold=0.05, threads=1) for t in LABELERS]
    write_roads(data / "roads", out, teachers)
    for name, every in CLIPS:
        path = data / name
        with open_video(path) as video:
            counts = write_clip(path.stem.replace("_", "-"), video, teachers, out / "train", every_s=every)
        print(f"{name}: {dict(counts)}", flush=True)
    write_rendered(out / "train", scenes=50)
    (out / "prepared").touch()


def grown(network: StreetDetector, shape: Shape) -> StreetDetector:
    """The network with as many blocks as `shape` has: the new ones begin as additions of zero, the function stays."""
    for stage, channels, blocks in zip(network.stages, shape.channels[2:], shape.blocks, strict=True):
        for n in range(sum(isinstance(layer, Block) for layer in stage), blocks):
            stage.insert(1 + n, block := Block(channels))
            torch.nn.init.zeros_(block.expand[1].weight)
    network.shape = shape
    return network


def thawed(path: Path, shape: Shape, data: Path, checkpoint: Path) -> Path:
    """A checkpoint of the network of a shipped ONNX, grown to `shape`. There, batch normalization is folded into the
    weights; here it has the statistics of composed images again, and the network is the same function to train on."""
    if not checkpoint.exists():
        network = grown(read_onnx(path), shape)
        composer = Composer(load(data, CLASSES), shape.width, shape.height, seed=9, **AUGMENTATIONS)
        images = torch.from_numpy(np.stack([composer.compose().image for _ in range(96)])).permute(0, 3, 1, 2)
        norms = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
        seen: dict[torch.nn.Module, torch.Tensor] = {}
        for norm in norms:
            norm.register_forward_pre_hook(lambda norm, inputs: seen.update({norm: inputs[0]}) or None)
        with torch.no_grad():
            network.eval()(images.float() / 255)
            for norm in norms:
                mean, var = seen[norm].mean((0, 2, 3)), seen[norm].var((0, 2, 3))
                scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
                norm.bias += (mean - norm.running_mean) * scale
                norm.weight.copy_(scale * (var + norm.eps).sqrt())
                norm.running_mean.copy_(mean)
                norm.running_var.copy_(var)
        torch.save({"average": network.state_dict(), "step": 0}, checkpoint)
    return checkpoint


def judged_images(val: Path, kept: Path) -> list[Sample]:
    """The labeled images of `val`. What its people left out and the teachers are sure of counts neither way: it is not
    wrong to find it."""
    teachers = [Detector.load(t, score_threshold=0.05, threads=1) for t in LABELERS]
    samples = load(val, CLASSES)
    for sample, path in zip(samples, sorted((val / "images").glob("*.jpg")), strict=True):
        image = read_image(path)
        found = taught(path, teachers, kept)
        boxes = found.boxes[found.scores >= TEACHER_SURE] * (sample.image.shape[0] / image.shape[0])
        left_out = boxes[iou(boxes, sample.boxes).max(1) < 0.5] if len(sample.boxes) and len(boxes) else boxes
        sample.boxes = np.concatenate([sample.boxes, left_out]).astype(np.float32)
        sample.labels = np.concatenate([sample.labels, np.zeros(len(left_out), np.int64)])
        sample.weights = np.concatenate([sample.weights, np.full(len(left_out), -1, np.float32)])
    return samples


def export(network: StreetDetector, samples: list[Sample], folder: Path, name: str) -> None:
    """The ONNX and the recipe, calibrated on labeled images."""
    shape, path = network.shape, folder / f"{name.replace('-', '_')}.onnx"
    settings = {"name": name, "summary": SUMMARY.format(shape.width, shape.height), "nms_iou": NMS_IOU}
    recipe = write_recipe(folder, export_onnx(network, path).name, network, **settings)
    detector = Detector.load(recipe, score_threshold=0.05, threads=1)
    judged = judge_all(detector, samples)
    temperature, bias = fit(judged)
    scores = calibrated(judged.scores, temperature, bias)
    chosen = thresholds(judged._replace(scores=scores), len(CLASSES))
    export_onnx(network, path, temperature=temperature, logit_bias=bias)
    write_recipe(folder, path.name, network, **settings, score=min(chosen), class_thresholds=tuple(chosen))
    found = {"temperature": temperature, "bias": bias, "thresholds": dict(zip(CLASSES, chosen, strict=True))}
    (folder / "calibration.json").write_text(json.dumps(found, indent=1) + "\n")
    print(f"written {path}: {found}", flush=True)


def a_line_a_minute(name: str = "") -> Progress:
    """Progress of a training: prints a line each minute and at the end, with the images a second since its begin."""
    begin = told = time.monotonic()
    first = 0

    def report(step: int, total: int, text: str) -> None:
        nonlocal told, first
        now, first = time.monotonic(), first or step
        if now - told >= 60 or step == total:
            told = now
            rate = (step - first) * BATCH / (now - begin)
            print(f"{time.strftime('%H:%M:%S')} {name}{step}/{total} {text} {rate:.0f} images/s", flush=True)

    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=SHAPES, default="street-nano")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--start", type=Path, help="checkpoint or shipped ONNX of this size to go on from")
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate with --start")
    parser.add_argument("--blocks", help="others than the detector's at strides 8, 16 and 32, as 2,5,4")
    parser.add_argument("--teacher", action="store_true", help="learn YOLOX-nano's scores of each cell, too")
    parser.add_argument("--processes", type=int, default=2, help="processes of the distributed training")
    given = parser.parse_args()
    prepare(given.data, given.out)
    name, shape, folder = given.size, SHAPES[given.size], given.out / given.size
    folder.mkdir(parents=True, exist_ok=True)
    if given.blocks:
        shape = replace(shape, blocks=tuple(map(int, given.blocks.split(","))))
    steps = given.steps or STEPS[name]
    schedule = Schedule(steps=steps, batch=BATCH, warmup_steps=300, weight_decay=0.04, seed=2, sizes=SIZES[name])
    if given.start:
        schedule = replace(schedule, learning_rate=given.rate, warmup_steps=100, seed=5)
        if given.start.suffix == ".onnx":
            given.start = thawed(given.start, shape, given.out / "train", folder / "start.pt")
    checkpoint = folder / "checkpoint.pt"
    task = Task(given.out / "train", checkpoint, schedule, shape, augmentations=AUGMENTATIONS, start=given.start,
                save_every=250, trainer=Distilling if given.teacher else Trainer)  # fmt: skip
    begin, report = time.monotonic(), a_line_a_minute()

    def progress(step: int, total: int, text: str) -> None:
        report(step, total, text)
        quarter, before = (n * 4 // total for n in (step, step - task.save_every))
        if step % task.save_every == 0 and before < quarter < 4:
            shutil.copy(checkpoint, folder / f"at_{round(100 * step / total)}.pt")

    network = train_detector(task, processes=given.processes, progress=progress)
    export(network, judged_images(given.data / "roads" / "val", given.out / "teachers"), folder, name)
    seconds = round(time.monotonic() - begin, 1)
    report = {"schedule": asdict(schedule), "shape": asdict(shape), "augmentations": AUGMENTATIONS, "seconds": seconds}
    (folder / "training.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
