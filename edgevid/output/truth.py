"""The overlay of a rendered street: true speeds drawn next to the measured ones."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from edgevid.output.overlay import Overlay
from edgevid.synthetic.scene import Scene, Truth
from edgevid.types import KMH, Array, Frame, Result


class TruthOverlay(Overlay):
    """Draws results, and the ground truth of the scene in white."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._scene = scene

    def draw(self, frame: Frame, result: Result, *, notes: Sequence[str] = ()) -> Array:
        """A copy of the frame with the results and the ground truth."""
        image = super().draw(frame, result, notes=(*notes, "white: ground truth"))
        return draw_truth(image, self._scene.at(frame.time))


def draw_truth(image: Array, truth: Truth) -> Array:
    """Marks each object's true contact point and true speed (km/h) in white, into `image`."""
    for box, speed in zip(truth.boxes, truth.speeds, strict=True):
        x, y = int((box[0] + box[2]) / 2), int(box[3])
        cv2.circle(image, (x, y), 3, (255, 255, 255), -1, cv2.LINE_AA)
        text = f"true {KMH * speed:.0f}"
        for ink, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(image, text, (x + 6, y + 12), cv2.FONT_HERSHEY_DUPLEX, 0.4, ink, thick, cv2.LINE_AA)
    return image
