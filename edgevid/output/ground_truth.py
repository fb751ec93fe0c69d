"""The overlay of a rendered street: true speeds drawn next to the measured ones."""

from __future__ import annotations

from collections.abc import Sequence

from edgevid._opencv import cv2
from edgevid.output.overlay import FONT, INK, Overlay
from edgevid.synthetic.scene import Scene
from edgevid.types import KMH, Array, Frame, Result


class TruthOverlay(Overlay):
    """Draws results, and in white each object's true contact point and speed in km/h."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._scene = scene

    def draw(self, frame: Frame, result: Result, *, notes: Sequence[str] = ()) -> Array:
        """A copy of the frame with the results and the ground truth."""
        image = super().draw(frame, result, notes=(*notes, "white: ground truth"))
        truth = self._scene.at(frame.time)
        for box, speed in zip(truth.boxes, truth.speeds, strict=True):
            at, text = (int((box[0] + box[2]) / 2), int(box[3])), f"true {KMH * speed:.0f}"
            cv2.circle(image, at, 3, INK, -1, cv2.LINE_AA)
            for ink, thick in (((0, 0, 0), 3), (INK, 1)):
                cv2.putText(image, text, (at[0] + 6, at[1] + 12), FONT, 0.4, ink, thick, cv2.LINE_AA)
        return image
