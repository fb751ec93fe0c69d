"""A rendered street and its ground truth."""

from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.synthetic.scene import CLASSES, Camera, Mover, Noise, Scene, Truth, drive, street

__all__ = [
    "CLASSES", "Camera", "Mover", "Noise", "RenderedDetector", "RenderedStreet", "Scene", "Truth",
    "drive", "street",
]  # fmt: skip
