"""The valid files that field_fuzz.py damages: made from a short clip, or taken from the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from field_clip import REPOSITORY, clip_or_street


def seeds(folder: Path) -> dict[str, list[Path]]:
    """Valid files of each kind, made here from a short clip or taken from the repository."""
    made: dict[str, list[Path]] = {}
    frames = first_images(30)
    made["container"] = videos(frames, folder)
    made["image"] = images(frames[0], folder)
    made["model"] = [REPOSITORY / "engines" / "street-nano" / "street_nano.onnx"]
    made["recipe"] = sorted((REPOSITORY / "engines").glob("*/recipe.toml"))
    made["calibration"] = sorted((REPOSITORY / "calibration" / "camera").glob("*.toml"))
    made["calibration"].append(written(folder / "four.toml", CALIBRATION_TEXT))
    (folder / "gate.toml").write_text(CALIBRATION_TEXT)
    made["site"] = [written(folder / "site.toml", SITE_TEXT)]
    made["policy"] = [policy(folder / "policy.toml")]
    made["records"] = [records(folder / "seen.jsonl", frames)]
    return made


def written(path: Path, text: str) -> Path:
    """The path of a text, written."""
    path.write_text(text)
    return path


CALIBRATION_TEXT = """image_size = [640, 360]
provenance = "made up"
points = [
  { pixel = [100, 300], meter = [0, 0] }, { pixel = [540, 300], meter = [10, 0] },
  { pixel = [400, 100], meter = [10, 30] }, { pixel = [240, 100], meter = [0, 30] },
]
"""
SITE_TEXT = """source = "rtsp://user:secret@gate/1"
[detect]
model = "street-nano"
score = 0.4
classes = ["person", "car"]
[camera]
calibration = "gate.toml"
size = [640, 360]
[[recognize]]
task = "action"
model = "runs/actions/recipe.toml"
[[zone]]
name = "bay"
points = [[100, 100], [600, 100], [600, 300], [80, 300]]
dwell_s = 60
stopped_s = 10
direction = 90
[[zone]]
name = "lane"
points = [[0, 0], [3.5, 0], [3.5, 40], [0, 40]]
ground = true
[[line]]
name = "gate"
start = [300, 20]
end = [300, 350]
"""


def first_images(count: int) -> list[Any]:
    """(H, W, 3) RGB images of the clip, halved."""
    found = []
    with clip_or_street()[1] as video:
        for frame in video:
            found.append(np.ascontiguousarray(frame.image[::2, ::2][:178, :320]))
            if len(found) == count:
                return found
    return found


def videos(frames: list[Any], folder: Path) -> list[Path]:
    """The images in the containers and codecs that cameras and recorders write."""
    import av

    made = []
    forms = [
        ("a.mp4", "libx264", {}), ("b.mkv", "libx264", {}), ("c.avi", "mpeg4", {}),
        ("d.ts", "mpeg2video", {}),
        ("e.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}), ("f.avi", "mjpeg", {}),
        ("g.webm", "libvpx", {}), ("h.264", "libx264", {}), ("i.mov", "mpeg4", {}), ("j.flv", "flv", {}),
    ]  # fmt: skip
    for name, codec, options in forms:
        try:
            with av.open(str(folder / name), "w", container_options=options) as container:
                stream = container.add_stream(codec, rate=25)
                stream.height, stream.width = frames[0].shape[:2]
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                for frame in frames:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                container.mux(stream.encode())
        except (av.FFmpegError, ValueError):
            continue  # this FFmpeg does not write it
        made.append(folder / name)
    return made


def images(image: Any, folder: Path) -> list[Path]:
    """One image in each format that is read."""
    import cv2

    names = ["p.jpg", "p.png", "p.bmp", "p.webp", "p.tif"]
    return [folder / name for name in names if cv2.imwrite(str(folder / name), image[:90, :160, ::-1])]


def policy(path: Path) -> Path:
    """A policy as `edgevid tune` writes it."""
    from edgevid.abstain.file import PolicyFile, Tuned, write_policy
    from edgevid.abstain.policy import Settings
    from edgevid.speed.abstain import SpeedPolicy

    tuned = Tuned(quantiles=(0.1, 0.5, 0.9), abstain_rate=0.2, tracks=50)
    file = PolicyFile(("walk", "run"), Settings(), task="action", speed=SpeedPolicy(), tuned=tuned)
    write_policy(path, file)
    return path


def records(path: Path, frames: list[Any]) -> Path:
    """JSON lines of a run."""
    from edgevid.output.sinks import JsonLines
    from edgevid.pipeline import Pipeline
    from edgevid.run.loop import run
    from edgevid.synthetic.render import RenderedDetector, RenderedStreet
    from edgevid.track import Tracker

    street = RenderedStreet(seconds=2)
    run(Pipeline(RenderedDetector(street), Tracker()), street, [JsonLines(path)], max_frames=30)
    return path
