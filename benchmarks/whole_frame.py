"""What a 1080p frame with 50 objects costs beyond inference: edgevid's loop and Ultralytics' track mode.

    python benchmarks/whole_frame.py        (peer: pip install ultralytics)

Neither side runs a network: both get the same ready-made (1, 84, 8400) output tensors of 50 moving
objects, so everything that is measured is preprocessing, decoding, suppression, results and tracking.
Decoding of video and drawing are not counted. Ultralytics' side is what its predictor and its tracker
callback run, called from the package: LetterBox and tensor, non_max_suppression, Results, BYTETracker.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import cv2
import numpy as np
from bench import conditions, save, table
from tracker_peers import version

from edgevid.detect.detector import Detector
from edgevid.pipeline import Pipeline
from edgevid.runtime import TensorSpec
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.recipe import Decode, Recipe
from edgevid.track import Tracker
from edgevid.types import Frame

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests/support"))
from fake_engine import FakeEngine  # the tests' own

OBJECTS, FRAMES, ROUNDS = 50, 80, 3
NAMES = tuple(f"class {n}" for n in range(80))


def outputs(seed: int = 1) -> list[np.ndarray]:
    """The tensors of a scene: 50 objects that move, ten anchors on each, faint noise elsewhere."""
    random = np.random.default_rng(seed)
    noise = (random.random((80, 8400), np.float32) * 0.02).astype(np.float32)
    place, speed = random.uniform(40, 600, (OBJECTS, 2)), random.normal(0, 0.7, (OBJECTS, 2))
    place[:, 1] = 150 + place[:, 1] * 0.5
    size, kind = random.uniform(12, 30, (OBJECTS, 2)), random.integers(0, 5, OBJECTS)
    anchors = random.permutation(8400)[: OBJECTS * 10].reshape(OBJECTS, 10)
    made = []
    for n in range(FRAMES):
        out = np.zeros((1, 84, 8400), np.float32)
        out[0, 4:] = noise
        for k, rows in enumerate(anchors):
            out[0, :2, rows] = place[k] + n * speed[k] + random.normal(0, 0.4, (10, 2))
            out[0, 2:4, rows] = size[k]
            out[0, 4 + kind[k], rows] = random.uniform(0.6, 0.9, 10)
        made.append(out)
    return made


def frames() -> list[Frame]:
    """1080p images as a decoder returns them: YUV planes."""
    random = np.random.default_rng(0)
    y = random.integers(16, 235, (1080, 1920), np.uint8)
    u, v = (random.integers(90, 160, (540, 960), np.uint8) for _ in range(2))
    return [Frame.from_yuv420((np.roll(y, n, 1), u, v), n / 30, n, to_rgb=lambda f: f.image) for n in range(FRAMES)]


def ours(inputs: list[Frame], tensors: list[np.ndarray], stages: dict[str, list[float]]) -> list[float]:
    """Seconds of each frame through edgevid's Pipeline."""
    turn = iter(tensors)
    engine = FakeEngine(
        (TensorSpec("images", (1, 3, 640, 640), np.dtype(np.float32)),),
        (TensorSpec("output0", (1, 84, 8400), np.dtype(np.float32)),),
        lambda _: {"output0": next(turn)},
    )
    recipe = Recipe(
        name="benchmark", task="detect", file="", path=Path(), input=InputSpec(640, 640),
        decode=Decode(kind="yolo", nms_iou=0.7), names=NAMES,
    )  # fmt: skip
    pipeline = Pipeline(Detector(engine, recipe, score_threshold=0.25), Tracker())
    spent = []
    for frame in inputs:
        begin = time.perf_counter()
        result = pipeline.process(frame)
        spent.append(time.perf_counter() - begin)
        for stage, seconds in result.timings.items():
            stages.setdefault(stage, []).append(seconds)
    assert len(result.tracks) >= 0.9 * OBJECTS
    return spent


def ultralytics(images: list[np.ndarray], tensors: list[np.ndarray]) -> list[float]:
    """Seconds of each frame through the pieces of its track mode."""
    import torch
    from ultralytics.data.augment import LetterBox
    from ultralytics.engine.results import Results
    from ultralytics.trackers import BYTETracker
    from ultralytics.utils import ROOT, YAML, ops
    from ultralytics.utils.nms import non_max_suppression

    torch.set_num_threads(1)
    tracker = BYTETracker(SimpleNamespace(**YAML.load(ROOT / "cfg/trackers/bytetrack.yaml")))
    names, letterbox = dict(enumerate(NAMES)), LetterBox((640, 640), auto=False)
    spent = []
    for frame_image, tensor in zip(images, tensors, strict=True):
        ready = torch.from_numpy(tensor)
        begin = time.perf_counter()
        stacked = np.stack([letterbox(image=frame_image)])[..., ::-1].transpose((0, 3, 1, 2))
        image = torch.from_numpy(np.ascontiguousarray(stacked)).float() / 255
        found = non_max_suppression(ready, 0.25, 0.7)[0]
        found[:, :4] = ops.scale_boxes(image.shape[2:], found[:, :4], frame_image.shape)
        result = Results(frame_image, path="", names=names, boxes=found[:, :6])
        tracks = tracker.update(result.boxes.cpu().numpy(), frame_image)
        result.update(boxes=torch.as_tensor(tracks[:, :-1]))
        spent.append(time.perf_counter() - begin)
    assert len(tracks) >= 0.9 * OBJECTS
    return spent


def main() -> None:
    inputs, tensors = frames(), outputs()
    stages: dict[str, list[float]] = {}
    mine: list[float] = []
    theirs: list[float] = []
    missing = ""
    images = [np.ascontiguousarray(cv2.merge([f.planes[0]] * 3)) for f in inputs]
    for _ in range(ROUNDS):
        mine += ours(inputs, tensors, stages)[10:]
        try:
            theirs += ultralytics(images, tensors)[10:]
        except Exception as error:
            missing = f"{type(error).__name__}: {error}"[:120]
    a = 1000 * float(np.median(mine))
    rows = [["edgevid Pipeline", f"{a:.2f}", "1.0x"]]
    if theirs:
        b = 1000 * float(np.median(theirs))
        rows.append(["ultralytics track mode (ByteTrack)", f"{b:.2f}", f"{b / a:.1f}x"])
    else:
        rows.append(["ultralytics track mode (ByteTrack)", "not run", missing])
    head = ["1080p, 50 objects, beyond inference", "median ms", "of ours"]
    print(table(head, rows))
    split = {stage: 1000 * float(np.median(seconds)) for stage, seconds in stages.items()}
    print({stage: round(ms, 3) for stage, ms in split.items()})
    versions = {"ultralytics": version("ultralytics"), "numpy": np.__version__, "opencv": cv2.__version__}
    save("whole_frame", {"head": head, "rows": rows, "ours by stage, ms": split}, conditions(versions))


if __name__ == "__main__":
    main()
