"""Makes the detector that ships with edgevid from the frames it was made of: labels, training, export.

    python benchmarks/street_nano.py DATA OUT          (DATA: the test data folder, with images/ and videos/)

Goes on where it was interrupted. Labels come from three teachers that must agree, and from people for the
labelled photos and for one clip on which the teachers do not agree. The held-out clips and every
second labelled photo are never read. OUT gets train/ (pictures and labels), validation/ (a clip and rendered
streets that are not learnt: the classes' offsets are computed from them), the checkpoint, the ONNX, its
recipe, street_nano.json (what was chosen) and runs.jsonl (how long it took). `--opencv FOLDER` adds photos
of OpenCV's samples (Debian: opencv-doc, usr/share/doc/opencv-doc/examples).

The weights in engines/street-nano are older: its card says what one run of this command gave, and why it does
not ship.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import cv2
import numpy as np
import torch
import torch.distributed as together
from detector_cases import eye

from edgevid.detect import Detector
from edgevid.kernels import iou
from edgevid.learn.detector import CLASSES, Deployed, Shape, StreetDetector
from edgevid.learn.detector_data import Composer, load
from edgevid.learn.detector_export import export, write_recipe
from edgevid.learn.detector_label import Ensemble, label_lines, write_clip
from edgevid.learn.detector_offsets import offsets
from edgevid.learn.detector_rendered import write_rendered
from edgevid.learn.detector_train import Schedule, Trainer
from edgevid.types import Array
from edgevid.video import open_video, read_image

TEACHERS = ("picodet-s-416", "nanodet-m-416", "yolox-nano-416")
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
"""Training clips and the seconds between their labelled frames."""
VALIDATION = ("actions/clips/mmaction2_test_video_structuralize.mp4", 0.13)
DRAWN = "intel_car-detection"
"""A training clip on which the teachers do not agree: its cars are labelled in benchmarks/labels/."""
OPENCV = (
    *(f"data/{n}" for n in ("basketball1.png", "messi5.jpg", "leuvenA.jpg", "leuvenB.jpg", "home.jpg")),
    *(f"data/{n}" for n in ("aero1.jpg", "building.jpg", "licenseplate_motion.jpg", "graf1.png")),
    "data/squirrel_cls.jpg",
    *(f"text/scenetext0{n}.jpg" for n in range(1, 7)),
)
"""Photos of OpenCV's samples: streets, signs, people, and pictures without any."""
UNSEEN = 900
"""Seed of the first rendered street of validation; those of training are 100 to 159, the demo's is 1."""
VIEWS: dict[str, Any] = {"mosaic": 0.5, "paste": 0.5, "photos": 0.5, "peopled": 2.0, "zoom": (0.5, 2.5)}
"""How the training pictures are composed; the experiments on validation pictures are in the card."""
STEPS = 18_000
"""Batches."""
SUMMARY = "Ships with edgevid: people and vehicles, 448x256, trained by this project"
LONGEST = 960
"""Pixels of the longer side of a stored picture."""


def human_boxes(data: Path, photo: Path, image: Array) -> Array | None:
    """Person boxes (G, 4) that people drew on a photo; None where nobody did."""
    path = data / "images" / "coco_val2017_100_person_kpt_labels" / f"{photo.stem}.txt"
    if not path.exists():
        return None
    rows = np.array([[float(v) for v in line.split()[1:5]] for line in path.read_text().splitlines()])
    corners = np.concatenate([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2], 1)
    size = np.array([image.shape[1], image.shape[0]] * 2)
    return np.asarray(corners * size, np.float32)


def corrected(text: str, human: Array | None) -> str:
    """Label lines with the people's boxes in place of the teachers' boxes of the same persons."""
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


def write_picture(folder: Path, name: str, image: Array, text: str) -> None:
    """One picture and its labels."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "images" / f"{name}.jpg"), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    (folder / "labels" / f"{name}.txt").write_text(text)


def shrunk(image: Array) -> Array:
    scale = min(1.0, LONGEST / max(image.shape[:2]))
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def write_photos(data: Path, train: Path, ensemble: Ensemble) -> None:
    """The photos that are not held out."""
    labelled = sorted(p.stem for p in (data / "images" / "coco_val2017_100_person_kpt_labels").glob("*.txt"))
    for photo in sorted((data / "images" / "coco_val2017_100").glob("*.jpg")):
        if photo.stem in labelled[::2]:
            continue
        image = shrunk(read_image(photo))
        text = corrected(label_lines(ensemble.look(image), CLASSES), human_boxes(data, photo, image))
        write_picture(train, f"coco{photo.stem}_0", image, text)


def write_drawn(data: Path, train: Path) -> None:
    """The frames of the clip that people labelled."""
    for case in eye(data, DRAWN):
        lines = [f"car {' '.join(f'{v:.1f}' for v in box)} 1.00\n" for box in case.truth]
        lines += [f"car {' '.join(f'{v:.1f}' for v in box)} -1.00\n" for box in case.neither]
        name = f"{DRAWN.replace('_', '-')}_{case.frame.index // 2:05d}"
        write_picture(train, name, case.frame.image, "".join(lines))


def prepare(data: Path, out: Path, opencv: Path | None) -> None:
    """Writes the labelled pictures, unless an earlier run did."""
    train, validation = out / "train", out / "validation"
    if (out / "prepared").exists():
        return
    ensemble = Ensemble([Detector.load(t, score=0.05, threads=1) for t in TEACHERS], CLASSES)
    for folder, clips in ((train, CLIPS), (validation, (VALIDATION,))):
        for name, every in clips:
            path = data / name
            with open_video(path) as video:
                counts = write_clip(path.stem.replace("_", "-"), video, ensemble, folder, every_s=every)
            print(f"{name}: {dict(counts)}", flush=True)
    write_drawn(data, train)
    write_photos(data, train, ensemble)
    for name in OPENCV if opencv else ():
        image = shrunk(read_image(opencv / name))
        text = label_lines(ensemble.look(image), CLASSES)
        write_picture(train, f"opencv{Path(name).stem.replace('_', '-')}_0", image, text)
    write_rendered(train)
    (out / "prepared").touch()


def write_unseen(validation: Path) -> None:
    """Rendered streets for validation, unless an earlier run wrote them."""
    if not (validation / "unseen").exists():
        write_rendered(validation, scenes=20, frames=3, seed=UNSEEN)
        (validation / "unseen").touch()


def train(out: Path, schedule: Schedule, workers: int) -> StreetDetector:
    """The averaged network at the end of the schedule; notes in runs.jsonl how long this run took."""
    (out / "meeting").unlink(missing_ok=True)
    torch.multiprocessing.spawn(learn, (out, schedule, workers), nprocs=workers)
    network = StreetDetector(Shape())
    network.load_state_dict(torch.load(out / "checkpoint.pt", weights_only=True)["average"])
    return network


def learn(rank: int, out: Path, schedule: Schedule, workers: int) -> None:
    """One of the processes that train together, each on one core and pictures of its own."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    together.init_process_group(
        "gloo", init_method=f"file://{out / 'meeting'}", rank=rank, world_size=workers
    )
    shape = Shape()
    seed = schedule.seed + 1000 * rank
    composer = Composer(load(out / "train", CLASSES), shape.width, shape.height, seed=seed, **VIEWS)
    trainer = Trainer(composer, replace(schedule, batch=schedule.batch // workers), shape)
    begin = time.monotonic()
    losses = trainer.run(out / "checkpoint.pt", save_every=250)
    spent = time.monotonic() - begin
    if rank == 0:
        note = {
            "batches": len(losses),
            "of": schedule.batch,
            "processes": workers,
            "seconds": round(spent, 1),
        }
        print(note, flush=True)
        with (out / "runs.jsonl").open("a") as log:  # one line each time that the command was run
            log.write(json.dumps(note) + "\n")
    together.destroy_process_group()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--steps", type=int, default=STEPS)
    options.add_argument("--opencv", type=Path)
    options.add_argument(
        "--workers", type=int, default=2, help="processes that train together, one core each"
    )
    given = options.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    prepare(given.data, given.out, given.opencv)
    write_unseen(given.out / "validation")
    schedule = Schedule(steps=given.steps, batch=32, warm_up=300, weight_decay=0.04, seed=2)
    network = train(given.out, schedule, given.workers)
    surer = offsets(Deployed(network).eval(), load(given.out / "validation", CLASSES))
    print(f"added to the classes' logits: {surer}")
    file = export(network, given.out / "street_nano.onnx", surer=surer)
    write_recipe(given.out, file.name, network, name="street-nano", summary=SUMMARY, nms_iou=0.5)
    report = {"schedule": asdict(schedule), "views": VIEWS, "offsets": surer}
    (given.out / "street_nano.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"written {file}")


if __name__ == "__main__":
    main()
