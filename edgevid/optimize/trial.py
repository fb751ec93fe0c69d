"""A detector tried on frames: its boxes drawn, and what no good detector shows named."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgevid.detect.detector import MAX_DETECTIONS, Detector
from edgevid.errors import ModelError
from edgevid.output.overlay import Overlay
from edgevid.runtime.recipe import LocalRecipe
from edgevid.track import with_instances
from edgevid.types import Array, Detections, Frame, Result, Tracks

WHOLE = 0.9  # A box over this share of the frame covers the whole of it
ENOUGH = 10  # Boxes from which on one class, or boxes of the whole frame, are no chance


@dataclass(frozen=True, slots=True)
class Trial:
    """What a detector found on frames."""

    images: tuple[Array, ...]  # (H, W, 3) uint8 RGB of each frame with its boxes
    objects: tuple[tuple[str, int], ...]  # Class names and how many boxes they have, the most first
    findings: tuple[str, ...]  # What no good detector shows; empty where all looks right


def try_out(recipe: LocalRecipe, frames: Iterable[Frame]) -> Trial:
    """The detector of `recipe` on `frames`; outputs that cannot be read are findings, not errors."""
    detector, overlay = Detector(recipe, device="cpu"), Overlay(show_status=False, trail_s=0)
    images, found, sizes = [], [], []
    for frame in frames:
        try:
            (one,) = detector.detect([frame])
        except ModelError as error:
            return Trial((), (), (str(error),))
        found.append(one)
        sizes.append(frame.size)
        images.append(overlay.draw(frame, _as_result(frame, one, recipe.names)))
    counts = np.bincount(np.concatenate([one.labels for one in found]), minlength=len(recipe.names))
    best = [k for k in np.argsort(-counts, kind="stable") if counts[k]]
    objects = tuple((recipe.names[k], int(counts[k])) for k in best)
    return Trial(tuple(images), objects, tuple(_findings(recipe, detector, found, sizes, objects)))


def _as_result(frame: Frame, found: Detections, names: tuple[str, ...]) -> Result:
    """The detections as if each were a track, for the overlay."""
    count = len(found)
    tracks = Tracks.of(ids=np.arange(1, count + 1), boxes=found.boxes, scores=found.scores, labels=found.labels,
                       match=np.arange(count), age=np.zeros(count), unseen=np.zeros(count))  # fmt: skip
    return Result(frame.index, frame.time, frame.size, found, with_instances(tracks, found), names={"class": names})


def _findings(recipe: LocalRecipe, detector: Detector, found: Sequence[Detections], sizes: Sequence[tuple[int, int]],
              objects: tuple[tuple[str, int], ...]) -> Iterable[str]:  # fmt: skip
    total, frames = sum(n for _, n in objects), len(found)
    if not total:
        why = "they show none of its classes, or color, mean, std or the decoder are not those of the training"
        yield f"nothing was found on {frames} frames above a score of {detector.score_threshold:g}: either {why}"
        return
    areas = [(one.boxes[:, 2:] - one.boxes[:, :2]).prod(axis=1) for one in found]
    whole = sum(int((area > WHOLE * w * h).sum()) for area, (w, h) in zip(areas, sizes, strict=True))
    if whole > max(frames // 2, total // 2):
        yield f"{whole} of {total} boxes cover the whole frame: [decode] box, normalized or kind are wrong"
    if len(objects) == 1 and len(recipe.names) > 2 and total >= ENOUGH:
        what = f"all {total} boxes are of the class {objects[0][0]!r}, of {len(recipe.names)}"
        yield f"{what}: unless the frames show nothing else, the class values are read wrongly"
    if all(len(one) >= MAX_DETECTIONS for one in found):
        yield f"each frame has {MAX_DETECTIONS} boxes, the most that are kept: scores or nms_iou are wrong"
    scores = np.concatenate([one.scores for one in found])
    if total >= ENOUGH and float(np.ptp(scores)) < 1e-4:
        yield f"all {total} scores are {float(scores[0]):.3g}: another value is read as the score"
