"""The overlay of a rendered street: true speeds drawn next to the measured ones."""

from collections.abc import Sequence

from edgevid._opencv import cv2
from edgevid.output.ground_grid import GridOverlay
from edgevid.output.labels import INK, glyphs
from edgevid.output.overlay import Style
from edgevid.speed.calibration import CameraCalibration
from edgevid.synthetic.scene import Scene
from edgevid.types import KMH, Array, Frame, Result
from edgevid.zones import Line, Zone


class TruthOverlay(GridOverlay):
    """Draws results and shapes, and in white each object's true contact point and speed in km/h."""

    def __init__(
        self,
        scene: Scene,
        calibration: CameraCalibration | None = None,
        shapes: Sequence[Zone | Line] = (),
        scores: bool = False,
    ) -> None:
        super().__init__(calibration, shapes=shapes, scores=scores)
        self._scene = scene

    def draw(self, frame: Frame, result: Result, *, notes: Sequence[str] = (), counts: Sequence[str] = ()) -> Array:
        """A copy of the frame with the results and the ground truth."""
        image = super().draw(frame, result, notes=(*notes, "white: ground truth"), counts=counts)
        truth, style = self._scene.at(frame.time), Style.of(frame.width, frame.height)
        for box, speed in zip(truth.boxes, truth.speeds, strict=True):
            x, y = int((box[0] + box[2]) / 2), int(box[3])
            cv2.circle(image, (x, y), 3, INK, -1, cv2.LINE_AA)
            plate = glyphs(max(0.36, 0.8 * style.text), 1).plate([(f"true {KMH * speed:.0f}", INK)], INK)
            if self._covered.take(x + 6, y + 2, plate.shape[1], plate.shape[0]):
                image[y + 2 : y + 2 + plate.shape[0], x + 6 : x + 6 + plate.shape[1]] = plate
        return image
