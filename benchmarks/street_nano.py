"""Trains the detector that ships with edgevid: labels, training, export.

    python benchmarks/street_nano.py DATA OUT          (DATA: the test data folder, with images/ and videos/)

Resumes after an interruption. Labels come from an ensemble of three detectors, and from human annotators for
the labeled photos; one of the detectors labels every composed image again. The held-out clips and every
second labeled photo are never read. OUT gets train/ (images and labels), validation/ (a clip that is not
trained on, for the bias of the class logits), the checkpoint, the ONNX, its recipe, street_nano.json (the
options) and runs.jsonl (the durations). `--opencv FOLDER` adds photos of OpenCV's samples (Debian:
opencv-doc, usr/share/doc/opencv-doc/examples).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import cv2
import numpy as np
from logit_bias import SCORE_THRESHOLD, fit_logit_bias

from edgevid.detect.detector import Detector
from edgevid.kernels import iou
from edgevid.learn.detector.data import load
from edgevid.learn.detector.distributed import Task, train_detector
from edgevid.learn.detector.export import export_onnx, write_recipe
from edgevid.learn.detector.label import Ensemble, label_lines, write_clip
from edgevid.learn.detector.network import CLASSES, Deployed
from edgevid.learn.detector.rendered import write_rendered
from edgevid.learn.detector.train import Schedule
from edgevid.types import Array
from edgevid.video.images import read_image
from edgevid.video.open import open_video

LABELERS = ("picodet-s-416", "nanodet-m-416", "yolox-nano-416")
CLIPS = (
    ("videos/kraten_speedcheck_cars.mp4", 0.16),
    ("videos/pets09_s2l1_vtest.avi", 0.2),
    ("videos/felix_exercise.avi", 0.4),
    ("actions/clips/mmaction2_demo.mp4", 0.18),
    ("actions/clips/mmaction2_test.mp4", 0.2),
    ("actions/clips/mmaction2_demo_skeleton.mp4", 0.1),
    ("actions/clips/mmaction2_S001C001P001R001A001_rgb.avi", 0.18),
    ("actions/clips/pyskl_ntu_sample.avi", 0.2),
)
"""Training clips and the seconds between their labeled frames."""
VALIDATION = ("actions/clips/mmaction2_test_video_structuralize.mp4", 0.13)
OPENCV = (
    *(f"data/{n}" for n in ("basketball1.png", "messi5.jpg", "leuvenA.jpg", "leuvenB.jpg", "home.jpg")),
    *(f"data/{n}" for n in ("aero1.jpg", "building.jpg", "licenseplate_motion.jpg", "graf1.png")),
    "data/squirrel_cls.jpg",
    *(f"text/scenetext0{n}.jpg" for n in range(1, 7)),
)
"""Photos of OpenCV's samples: streets, signs, people, and images without any."""
PSEUDO_LABELS = "yolox-nano-416"
"""The detector that labels the composed images: the fastest of the three."""
AUGMENTATIONS: dict[str, Any] = {
    "mosaic": 0.5,
    "paste": 0.3,
    "photo_share": 0.6,
    "object_weight": 2.5,
    "zoom": (0.5, 3.0),
}
"""Options of the training images' composition; the experiments on validation images are in the card."""
STEPS, BATCH = 13_500, 16
"""68 minutes on one core and part of another."""
SUMMARY = "Ships with edgevid: people and vehicles, 448x256, trained by this project"
LONGEST = 960
"""Pixels of the longer side of a stored image."""


def human_boxes(data: Path, photo: Path, image: Array) -> Array | None:
    """Person boxes (G, 4) that annotators drew on a photo; None without annotations."""
    path = data / "images" / "coco_val2017_100_person_kpt_labels" / f"{photo.stem}.txt"
    if not path.exists():
        return None
    rows = np.array([[float(v) for v in line.split()[1:5]] for line in path.read_text().splitlines()])
    corners = np.concatenate([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2], 1)
    size = np.array([image.shape[1], image.shape[0]] * 2)
    return np.asarray(corners * size, np.float32)


def corrected(text: str, human: Array | None) -> str:
    """Label lines with the human boxes in place of the ensemble's boxes of the same persons."""
    if human is None:
        return text
    kept = []
    for line in text.splitlines(keepends=True):
        name, *numbers = line.split()
        box = np.array([numbers[:4]], np.float32)
        if name != "person" or iou(box, human).max() <= 0.5:
            kept.append(line)
    drawn = ["person " + " ".join(f"{v:.1f}" for v in box) + " 1.00\n" for box in human]
    return "".join(kept + drawn)


def write_photo(folder: Path, name: str, image: Array, text: str) -> None:
    """One photo, a clip of its own, and its labels."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "images" / f"{name}_0.jpg"), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    (folder / "labels" / f"{name}_0.txt").write_text(text)


def shrunk(image: Array) -> Array:
    scale = min(1.0, LONGEST / max(image.shape[:2]))
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def write_photos(data: Path, train: Path, ensemble: Ensemble) -> None:
    """The photos that are not held out."""
    labeled = sorted(p.stem for p in (data / "images" / "coco_val2017_100_person_kpt_labels").glob("*.txt"))
    for photo in sorted((data / "images" / "coco_val2017_100").glob("*.jpg")):
        if photo.stem in labeled[::2]:
            continue
        image = shrunk(read_image(photo))
        text = corrected(label_lines(ensemble.detect(image), CLASSES), human_boxes(data, photo, image))
        write_photo(train, f"coco{photo.stem}", image, text)


def prepare(data: Path, out: Path, opencv: Path | None) -> None:
    """Writes the labeled images, unless an earlier run did."""
    train, validation = out / "train", out / "validation"
    if (out / "prepared").exists():
        return
    ensemble = Ensemble([Detector.load(t, score_threshold=0.05, threads=1) for t in LABELERS], CLASSES)
    for folder, clips in ((train, CLIPS), (validation, (VALIDATION,))):
        for name, every in clips:
            path = data / name
            with open_video(path) as video:
                counts = write_clip(path.stem.replace("_", "-"), video, ensemble, folder, every_s=every)
            print(f"{name}: {dict(counts)}", flush=True)
    write_photos(data, train, ensemble)
    for name in OPENCV if opencv else ():
        image = shrunk(read_image(opencv / name))
        text = label_lines(ensemble.detect(image), CLASSES)
        write_photo(train, f"opencv{Path(name).stem.replace('_', '-')}", image, text)
    write_rendered(train)
    (out / "prepared").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--opencv", type=Path)
    parser.add_argument("--processes", type=int, default=1, help="processes of the distributed training")
    given = parser.parse_args()
    out = given.out
    out.mkdir(parents=True, exist_ok=True)
    prepare(given.data, out, given.opencv)
    schedule = Schedule(steps=given.steps, batch=BATCH, warmup_steps=300, weight_decay=0.04, seed=2)
    options: dict[str, Any] = {"augmentations": AUGMENTATIONS, "pseudo_labels": PSEUDO_LABELS}
    task = Task(out / "train", out / "checkpoint.pt", schedule, save_every=250, **options)
    begin = time.monotonic()
    network = train_detector(task, processes=given.processes)
    spent = round(time.monotonic() - begin, 1)
    with (out / "runs.jsonl").open("a") as log:  # one line each time that the command was run
        log.write(json.dumps({"to step": given.steps, "processes": given.processes, "seconds": spent}) + "\n")
    logit_bias = fit_logit_bias(Deployed(network).eval(), load(out / "validation", CLASSES))
    print(f"bias of the class logits: {logit_bias}")
    file = export_onnx(network, out / "street_nano.onnx", logit_bias=logit_bias)
    write_recipe(out, file.name, network, name="street-nano", summary=SUMMARY, nms_iou=0.5, score=SCORE_THRESHOLD)
    report = {"schedule": asdict(schedule), **options, "logit_bias": logit_bias}
    (out / "street_nano.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"written {file}")


if __name__ == "__main__":
    main()
