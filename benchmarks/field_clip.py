"""Shared by the field scripts: a clip as numbered images for the camera, and how programs are started."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
CLIPS = REPOSITORY.parent / "shared" / "data" / "videos"
CLIP = "kraten_speedcheck_cars.mp4"
sys.path.insert(0, str(REPOSITORY / "tests" / "support"))  # the RTSP server is the tests' own

OUTSIDE = "import sys; sys.path[:] = [p for p in sys.path if p]\n"
"""Start of code for `python -c`, which would otherwise import the package of the working folder."""
EDGEVID = [sys.executable, "-c", OUTSIDE + "from edgevid.cli import main; main()"]
"""The command `edgevid`."""
CALIBRATION = REPOSITORY / "calibration" / "camera" / "gantry_road.toml"
"""Fits CLIP: both are the same gantry."""


def clip_or_street(name: str = CLIP) -> tuple[str, Any]:
    """The name and frames of a real clip; without the test data, a rendered street."""
    from edgevid.synthetic.render import RenderedStreet
    from edgevid.video.open import open_video

    path = CLIPS / name
    return (name, open_video(path)) if path.is_file() else ("rendered street", RenderedStreet(seconds=10))


def camera_images(folder: Path, count: int, size: tuple[int, int] | None = None) -> str:
    """Writes `count` numbered JPEG images for the server into `folder`; returns their source."""
    import cv2
    from rtsp_server import numbered

    title, video = clip_or_street()

    def images() -> Iterator[Any]:
        with video as frames:
            for frame in islice(frames, count):
                yield frame.image if size is None else cv2.resize(frame.image, size)

    assert numbered(images(), folder) > 20
    return title


def environment() -> dict[str, str]:
    """For programs started from here: threads that do not spin; the package of this process."""
    return {**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1"}
