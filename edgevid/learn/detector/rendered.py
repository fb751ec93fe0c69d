"""Rendered street frames with exact boxes, as training images. Scenes of `edgevid.synthetic.render` from cameras of
many heights, tilts and focal lengths. Occluded and too small objects are ignored regions."""

from pathlib import Path

import numpy as np

from edgevid.learn.detector.data import write_image
from edgevid.synthetic.render import RenderedStreet
from edgevid.synthetic.scene import CLASSES, Camera, Truth, street
from edgevid.types import Array

MAX_OCCLUDED = 0.6  # Share of a box behind nearer boxes above which it is an ignored region
MIN_SIDE_PX = 12.0  # Longer side of a box, in pixels, from which it is a label


def random_camera(random: np.random.Generator) -> Camera:
    """A plausible street camera of 1280x720."""
    focal, height, pitch = (float(random.uniform(*ends)) for ends in ((600, 1500), (4, 12), (6, 28)))
    return Camera(1280, 720, focal=focal, height_m=height, pitch=pitch)


def occluded_share(truth: Truth) -> Array:
    """(N,) share of each box that is covered by boxes of nearer objects."""
    order = np.argsort(truth.positions[:, 1], kind="stable")
    share = np.zeros(len(order))
    boxes = np.round(truth.boxes).astype(int)
    mask = np.zeros((boxes[:, 3].max(initial=0) + 1, boxes[:, 2].max(initial=0) + 1), bool)
    for row in order:
        x1, y1, x2, y2 = boxes[row]
        place = mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
        share[row] = place.mean() if place.size else 1.0
        place[:] = True
    return share


def label_text(truth: Truth) -> str:
    """The label file of one rendered frame."""
    lines = []
    for row, occluded in enumerate(occluded_share(truth)):
        x1, y1, x2, y2 = truth.boxes[row]
        if occluded > 0.95:
            continue
        weight = -1.0 if occluded > MAX_OCCLUDED or max(x2 - x1, y2 - y1) < MIN_SIDE_PX else 1.0
        lines.append(f"{CLASSES[truth.labels[row]]} {x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f} {weight:.2f}\n")
    return "".join(lines)


def write_rendered(folder: Path, *, scenes: int = 60, frames: int = 6, seed: int = 100) -> int:
    """Writes frames of `scenes` rendered streets into a data folder; returns how many. Seeds count up from `seed`; seed
    8 is the street of `edgevid-demo`."""
    random = np.random.default_rng(seed)
    for scene in range(scenes):
        rendered = RenderedStreet(street(seed + scene, seconds=30, camera=random_camera(random)), seconds=30)
        for time in random.uniform(0, 30, frames):
            stem = f"rendered{scene:03d}_{int(time * 1000):05d}"  # a clip of its own
            labels = label_text(rendered.scene.at(float(time)))
            write_image(folder, stem, rendered.render(float(time)), labels)
    return scenes * frames
