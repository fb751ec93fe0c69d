"""Peers of the speed benchmark, each called from its own package, in its own process.

python benchmarks/speed_peers.py NAME runs.npz shown.npz

NAME is one of
  ultralytics   ultralytics.solutions.SpeedEstimator.process, whole, with its drawing; only `extract_tracks`
                is replaced, so that it is given the boxes and ids of the benchmark instead of a model's.
  roboflow      VelocityBlockV1.run of roboflow-workflows (smoothed_speed, its default smoothing).
  supervision   the method of the documented example (examples/speed_estimation): the package ships no speed
                code, so sv.Detections and get_anchors_coordinates are the package's, and the example's four
                lines (perspective transform, whole meters, a deque of one second, y only) are written here.

The first two take one number for the whole image (meters per pixel): the one with which they are best on the
same runs without noise, which is unknown in the field.
"""

from __future__ import annotations

import importlib.metadata
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable

import numpy as np

Shown = Callable[[int, int, float, np.ndarray], float]
"""Number of the run, frame, time and box to the speed in km/h that is shown (NaN: none)."""


def ultralytics(scale: float, fps: float) -> Shown:
    import torch
    from ultralytics.solutions import SpeedEstimator

    torch.set_num_threads(1)
    image = np.zeros((1080, 1920, 3), np.uint8)
    made = SpeedEstimator(
        model="yolov8n.yaml", fps=fps, meter_per_pixel=scale, max_speed=1000, verbose=False, show=False
    )

    def shown(run: int, frame: int, t: float, box: np.ndarray) -> float:
        made.frame_count = frame if len(made.trk_hist.get(run, ())) else made.frame_count
        if run in made.spd:
            return float(made.spd[run])  # locked: it never changes again

        def given(_: object) -> None:
            made.boxes, made.clss = torch.tensor(box[None]), [2]
            made.track_ids, made.confs = [run], [0.9]

        made.extract_tracks = given
        made.frame_count = frame
        return float(made.process(image).speed_dict.get(run, np.nan))

    return shown


def roboflow(scale: float, fps: float) -> Shown:
    import datetime

    import supervision as sv
    import torch

    # The block's package imports torchvision, whose kernels the CPU build of torch here does not have and
    # the block does not use: their names are declared so that the import passes.
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        for name in [n for n in sys.modules if n.startswith("torchvision")]:
            del sys.modules[name]
    from roboflow_workflows.core_steps.analytics.velocity.v1 import VelocityBlockV1
    from roboflow_workflows.execution_engine.entities.base import ImageParentMetadata, VideoMetadata, WorkflowImageData

    block, begin = VelocityBlockV1(), datetime.datetime(2024, 1, 1)
    pixels = np.zeros((4, 4, 3), np.uint8)

    def shown(run: int, frame: int, t: float, box: np.ndarray) -> float:
        meta = VideoMetadata(
            video_identifier="v", frame_number=frame + 1, fps=fps, comes_from_video_file=False,
            frame_timestamp=begin + datetime.timedelta(seconds=t),
        )  # fmt: skip
        image = WorkflowImageData(
            parent_metadata=ImageParentMetadata(parent_id="v"), numpy_image=pixels, video_metadata=meta
        )
        found = sv.Detections(xyxy=box[None], tracker_id=np.array([run]))
        done = block.run(image, found, smoothing_alpha=0.5, pixels_per_meter=1 / scale)
        first = ("v", run) not in started
        started.add(("v", run))
        return np.nan if first else float(done["velocity_detections"].data["smoothed_speed"][0]) * 3.6

    started: set[tuple[str, int]] = set()
    return shown


def supervision(scale: float, fps: float, corners: np.ndarray | None = None) -> Shown:
    import cv2
    import supervision as sv

    assert corners is not None
    width, length = 14, 45
    target = np.array([[0, 0], [width - 1, 0], [width - 1, length - 1], [0, length - 1]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), target)
    places: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=round(fps)))

    def shown(run: int, frame: int, t: float, box: np.ndarray) -> float:
        found = sv.Detections(xyxy=box[None], tracker_id=np.array([run]))
        points = found.get_anchors_coordinates(anchor=sv.Position.BOTTOM_CENTER)
        place = cv2.perspectiveTransform(points.reshape(-1, 1, 2).astype(np.float32), matrix)
        kept = places[run]
        kept.append(int(place[0, 0, 1]))
        if len(kept) < fps / 2:
            return np.nan
        return abs(kept[-1] - kept[0]) / (len(kept) / fps) * 3.6

    return shown


PACKAGES = {"ultralytics": "ultralytics", "roboflow": "roboflow-workflows", "supervision": "supervision"}


def scale_of(name: str, data: dict[str, np.ndarray]) -> float:
    """Meters per pixel with which a one-number method is best on the runs without noise."""
    if name == "supervision":
        return 1.0
    shown = play(globals()[name](1.0, 30.0), data, "clean")
    ratio = data["clean_kmh"] / np.where(shown > 0, shown, np.nan)
    ratio = np.sort(ratio[np.isfinite(ratio)])
    errors = [np.nanmean(np.abs(shown * r - data["clean_kmh"])) for r in ratio[:: max(1, len(ratio) // 200)]]
    return float(ratio[:: max(1, len(ratio) // 200)][int(np.argmin(errors))])


def play(shown: Shown, data: dict[str, np.ndarray], part: str) -> np.ndarray:
    """The speed that is shown in each frame; while the object is missed, the last one stays."""
    out = np.full(len(data[f"{part}_times"]), np.nan)
    runs, frames = data[f"{part}_run"], data[f"{part}_frame"]
    for n in range(len(out)):
        if data[f"{part}_seen"][n]:
            out[n] = shown(int(runs[n]), int(frames[n]), float(data[f"{part}_times"][n]), data[f"{part}_boxes"][n])
        elif n and runs[n] == runs[n - 1]:
            out[n] = out[n - 1]
    return out


def main() -> None:
    name, source, target = sys.argv[1:]
    data = dict(np.load(source))
    scale, made = scale_of(name, data), {}
    for part in data["parts"].tolist():
        fps = float(data[f"{part}_fps"])
        extra = {"corners": data["corners"]} if name == "supervision" else {}
        begin = time.perf_counter()
        made[part] = play(globals()[name](scale, fps, **extra), data, part)
        print(f"{name} {part}: {time.perf_counter() - begin:.1f} s", file=sys.stderr)
    np.savez(target, scale=scale, version=importlib.metadata.version(PACKAGES[name]), **made)


if __name__ == "__main__":
    main()
