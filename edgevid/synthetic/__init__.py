"""A rendered street and its ground truth."""

from edgevid.synthetic.render import RenderedDetector, RenderedStreet, motion_actions
from edgevid.synthetic.scene import ACTIONS, CLASSES, Camera, Mover, Noise, Scene, Truth, drive, street

__all__ = ["ACTIONS", "CLASSES", "Camera", "Mover", "Noise", "RenderedDetector", "RenderedStreet", "Scene", "Truth",
           "drive", "motion_actions", "street"]  # fmt: skip
