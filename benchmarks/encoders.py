"""The encoders of the video writer on a real clip: time, size and error, at its own size and at 1080p.

    python benchmarks/encoders.py CLIP        such as stuttgart_30fps.mp4

The settings are VideoWriter's at its quality of 23. Time: CPU time of all threads per frame, conversion from
RGB included, the encoders in turns of 20 frames. dB: peak signal-to-noise ratio of the luma plane over all
frames. An encoder that this FFmpeg or this machine lacks says so.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from importlib import metadata
from pathlib import Path

import av
import numpy as np
from bench import conditions, save, table

from edgevid.video.writer import ENCODERS, VideoWriter, encodes

FRAMES, TURN = 100, 20


def read(path: Path, size: tuple[int, int] | None) -> tuple[list[np.ndarray], float]:
    """The first images of a clip, scaled to (width, height), and its frame rate."""
    images: list[np.ndarray] = []
    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        for frame in clip.decode(stream):
            width, height = size or (frame.width // 2 * 2, frame.height // 2 * 2)
            images.append(frame.reformat(width, height, "rgb24").to_ndarray())
            if len(images) == FRAMES:
                break
        return images, float(stream.average_rate)


def luma(frame: av.VideoFrame) -> np.ndarray:
    return frame.reformat(format="gray", dst_colorspace="ITU709").to_ndarray().astype(np.float32)


def decibels(images: list[np.ndarray], path: Path) -> float:
    with av.open(str(path)) as written:
        pairs = zip(images, written.decode(video=0), strict=True)
        errors = [np.mean((luma(av.VideoFrame.from_ndarray(a)) - luma(b)) ** 2) for a, b in pairs]
    return 10 * math.log10(255**2 / float(np.mean(errors)))


def measure(images: list[np.ndarray], fps: float, folder: Path) -> dict[str, tuple[float, float, float]]:
    """(ms/frame, kbit/s, dB) of each encoder that works here."""
    height, width = images[0].shape[:2]
    names = [name for name in ENCODERS if encodes(name, width, height)]
    writers = {name: VideoWriter(folder / f"{name}.mp4", fps=fps, codec=name) for name in names}
    spent = dict.fromkeys(names, 0.0)
    for first in range(0, len(images), TURN):
        for name, writer in writers.items():
            started = time.process_time()
            for n, image in enumerate(images[first : first + TURN], first):
                writer.write(image, n / fps)
            if first + TURN >= len(images):
                writer.close()
            spent[name] += time.process_time() - started
    seconds = len(images) / fps
    return {
        name: (
            1000 * spent[name] / len(images),
            writer.path.stat().st_size * 8 / seconds / 1000,
            decibels(images, writer.path),
        )
        for name, writer in writers.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    clip = parser.parse_args().clip
    where = conditions({"av": metadata.version("av")})
    where["command"] = f"python benchmarks/encoders.py {clip.name}"
    found = []
    for size in (None, (1920, 1080)):
        with tempfile.TemporaryDirectory() as folder:
            images, fps = read(clip, size)
            found.append(measure(images, fps, Path(folder)))
    own, large = found
    lines = f"{images[0].shape[0]}p"
    head = ["encoder", "writes", "license", *(f"{unit}, clip's size" for unit in ("ms/frame", "kbit/s", "dB"))]
    head += [f"{unit}, {lines}" for unit in ("ms/frame", "kbit/s", "dB")]
    rows = []
    for name, encoder in ENCODERS.items():
        row = [name, encoder.codec, encoder.kind]
        if name in own and name in large:
            ms, rate, db = own[name]
            row += [f"{ms:.1f}", f"{rate:.0f}", f"{db:.1f}"]
            ms, rate, db = large[name]
            rows.append([*row, f"{ms:.1f}", f"{rate:.0f}", f"{db:.1f}"])
        else:
            rows.append([*row, "not run", *[""] * 5])
    print(table(head, rows))
    print(save("encoders", {"head": head, "rows": rows}, where))


if __name__ == "__main__":
    main()
