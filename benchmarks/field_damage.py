"""Damaged files: how many visibly wrong frames are handed on as sound, and how many sound ones are lost.

Bytes of the coded frames are flipped, at random places. A frame is visibly wrong where its luma has a PSNR of
less than 25 dB to the same frame of the whole file. "The rule" marks each frame from the first one that
FFmpeg finds an error in to the next key frame.

    python benchmarks/field_damage.py VIDEO ... [--seeds 5] [--json results.json]

The settings were chosen on the other clips of the data set and on clips encoded here; the three of the table
(pets09_s2l1_vtest.avi, ahmetozlu_pedestrian_surveillance.mp4, stuttgart_30fps.mp4) judge them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np

from edgevid.video.files import FileSource
from edgevid.video.packets import CHECKS

VISIBLE_DB = 25.0


def flipped(path: Path, count: int, seed: int) -> bytes:
    """The file with `count` bytes changed between its first and its last coded frame."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size]
    random = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    for at in random.integers(min(p for p, _ in places), max(p + size for p, size in places), count):
        data[at] ^= int(random.integers(1, 256))
    return bytes(data)


def luma(path: Path) -> dict[float, tuple[np.ndarray, bool]]:
    """The luma of each frame of a video by its time, and whether it is marked as damaged."""
    found = {}
    with FileSource(path) as source:
        for frame in source:
            plane = frame.image[..., 1] if frame.planes is None else frame.planes[0]
            found[round(frame.time, 4)] = plane.copy(), frame.damaged
    return found


def until_the_key_frame(path: Path) -> dict[float, bool]:
    """By time, whether a frame lies between the first error that FFmpeg finds and the next key frame."""
    found: dict[float, bool] = {}
    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        packets = container.demux(stream)
        stream.thread_type = "AUTO"
        checks = CHECKS.get(stream.codec_context.name)
        if checks:
            stream.codec_context.options = {"err_detect": checks}
        wrong, first = False, None
        while True:
            try:
                packet = next(packets)
                frames = packet.decode()
            except StopIteration:
                return found
            except (av.FFmpegError, IndexError):
                wrong, packets = True, container.demux(stream)
                continue
            for frame in frames:
                wrong = frame.is_corrupt or (wrong and not frame.key_frame)
                first = frame.time if first is None else first
                found[round(frame.time - first, 4)] = wrong


def measured(path: Path, count: int, seeds: int) -> dict[str, Any]:
    """The figures of one video with `count` bytes flipped, over `seeds` draws."""
    whole, figures = luma(path), dict.fromkeys(("frames", "wrong", "as sound", "wrong as sound"), 0)
    figures |= {"sound lost": 0, "sound lost by the rule": 0}
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / path.name
        for seed in range(seeds):
            broken.write_bytes(flipped(path, count, seed))
            rule = until_the_key_frame(broken)
            for time, (plane, damaged) in luma(broken).items():
                clean = whole.get(time)
                if clean is None:
                    continue
                error = np.square(plane.astype(np.float32) - clean[0]).mean()
                wrong = bool(error > 255**2 / 10 ** (VISIBLE_DB / 10))
                figures["frames"] += 1
                figures["wrong"] += wrong
                figures["as sound"] += not damaged
                figures["wrong as sound"] += wrong and not damaged
                figures["sound lost"] += damaged and not wrong
                figures["sound lost by the rule"] += rule.get(time, False) and not wrong
    marked_whole = sum(damaged for _, damaged in whole.values())
    return {"clip": path.name, "bytes": count, **figures, "false alarms on the whole file": marked_whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for path in options.videos:
        for count in (30, 400):
            row = measured(path, count, options.seeds)
            rows.append(row)
            print(", ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
