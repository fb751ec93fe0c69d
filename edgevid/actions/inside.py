"""A second stage inside each object: a detector finds its face, plate or helmet, which is aligned by its key points,
where the detector gives some, and then recognized."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgevid._opencv import cv2
from edgevid.actions.clip_spec import ClipSection, ClipSpec, SearchSpec, crop_rectangles
from edgevid.actions.recognizer import Recognizer
from edgevid.detect import Detector, crop
from edgevid.files import vars_of
from edgevid.types import F32, U8, Array, Clips, Frame, Scores

FACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
                 [70.7299, 92.2041]]) / 112  # fmt: skip
"""Where eyes, nose and corners of the mouth lie in an aligned face, in shares of the crop (J. Deng et al., "ArcFace",
arXiv 1801.07698)."""


class Aligner:
    """Crops of what a detector finds in images, aligned as a recognizer is trained on them."""

    def __init__(self, detector: Detector, spec: ClipSpec, *, template: Array = FACE) -> None:
        """`spec` states the size and the context of the crops. Five (K) key points are moved to `template` (K, 2), in
        shares of a crop; of a detector with another number of them the box is cropped, upright. `searched` is how
        objects are cropped for the detector: the table [clip] of its recipe states which part, and its size."""
        self.detector, self.template = detector, template * (spec.width, spec.height)
        self.spec, own = replace(spec, region=(0.0, 0.0, 1.0, 1.0)), ClipSection.read(detector.recipe)
        keys = ("width", "height", "region", "context", "fit", "min_side", "pad")
        taken = {"policy": "box"} | {key: getattr(own, key) for key in keys}
        self.searched = SearchSpec(**vars_of(spec, ClipSpec) | taken)

    def __call__(self, images: Sequence[U8] | U8) -> tuple[U8, F32]:
        """(N, h, w, 3) crops of the best find in each of N images (H, W, 3) RGB, and its box (N, 4) in pixels
        of the image; NaN, and a black crop, where nothing is found."""
        size, pad = (self.spec.width, self.spec.height), self.spec.pad
        crops, boxes = np.zeros((len(images), *size[::-1], 3), np.uint8), np.full((len(images), 4), np.nan, np.float32)
        frames = [Frame(image, 0.0, 0) for image in images]
        for row, (frame, found) in enumerate(zip(frames, self.detector.detect(frames), strict=True)):
            if not len(found):
                continue
            best = int((found.scores * (found.boxes[:, 2:] - found.boxes[:, :2]).prod(1)).argmax())
            boxes[row] = found.boxes[best]
            if found.keypoints.shape[1] == len(self.template):
                matrix = similarity(found.keypoints[best, :, :2], self.template)
                crops[row] = cv2.warpAffine(frame.image, matrix, size, borderValue=(pad, pad, pad))
            else:
                crops[row] = crop(frame, crop_rectangles(boxes[row : row + 1], self.spec), size, fill=pad)[0]
        return crops, boxes


class InsideRecognizer:
    """A recognizer of what a detector finds inside each object; an object in which nothing is found gets no scores, so
    that its verdict is NOT_MEASURED, or STALE where the policy limits the age of observations."""

    def __init__(self, recognizer: Recognizer, detector: Detector, *, template: Array = FACE) -> None:
        """The recognizer's table [clip] states when it runs, and its crops; `template` is that of `Aligner`."""
        self.recognizer, self.names, self.recipe = recognizer, recognizer.names, getattr(recognizer, "recipe", None)
        self.align = Aligner(detector, recognizer.spec, template=template)
        self.spec = self.align.searched

    def recognize(self, clips: Clips) -> Scores:
        """The recognizer's probabilities of the objects in which something is found; one batch of the detector where
        its model takes one, then one of the recognizer."""
        held, own = ~np.isnan(clips.times), self.align.spec
        pixels = np.zeros((*held.shape, own.height, own.width, 3), np.uint8)
        times, boxes = clips.times.copy(), clips.boxes.copy()
        pixels[held], found = self.align(clips.pixels[held])
        times[held] = np.where(np.isnan(found[:, 0]), np.nan, times[held])
        corner, scale = boxes[held][:, :2], (boxes[held][:, 2:] - boxes[held][:, :2]) / clips.pixels.shape[3:1:-1]
        boxes[held] = np.nan_to_num(np.tile(corner, 2) + found * np.tile(scale, 2))
        return self.recognizer.recognize(Clips(clips.ids, pixels, times, boxes)[~np.isnan(times).all(1)])

    def reset(self) -> None:
        """Forgets every track."""
        self.recognizer.reset()


def similarity(points: Array, target: Array) -> Array:
    """(2, 3) the rotation, scale and shift that moves points (K, 2) to `target` (K, 2) with the least squared error
    (Umeyama 1991), by complex numbers.

    >>> similarity(np.array([[0, 0], [1, 0]]), np.array([[5, 5], [5, 7]])).round(6).tolist()
    [[0.0, -2.0, 5.0], [2.0, 0.0, 5.0]]
    """
    a, b = (np.asarray(some, float) @ (1, 1j) for some in (points, target))
    middle, around = b.mean(), a - a.mean()
    turn = np.vdot(around, b - middle) / max(np.vdot(around, around).real, 1e-12)
    shift = middle - turn * a.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
