"""A folder with a rendered street and its calibration, for programs that run where OpenCV is not."""

from __future__ import annotations

from pathlib import Path

from edgevid.speed.calibration_file import write_calibration
from edgevid.synthetic.render import RenderedStreet
from edgevid.video import VideoWriter
from edgevid.viewer.config import rendered_calibration

CORE_RUN = Path(__file__).with_name("core_run.py")
"""The program to run on the folder."""


def write_street(folder: Path) -> None:
    """Writes street.mp4 (25 frames of 1280 x 720) and street.toml."""
    street = RenderedStreet(seconds=2.5, fps=10)
    with VideoWriter(folder / "street.mp4", fps=10) as video:
        for frame in street:
            video.write(frame.image, frame.time)
    write_calibration(folder / "street.toml", rendered_calibration(street.scene.camera), "the scene's own")
