"""What optical flow adds to pixels, next to joints: windows of falls, each subject by models of the others; its cost.

    python benchmarks/two_stream.py [--data ../shared/data/actions] [--extractor runs/backbone] [--cost]

GMDCSA24, 19 clips of three subjects, whole frames at 8 Hz as `edgevid train actions` cuts them. Pixels are the features
of the extractor, cut out of nanodet-m-320 where there is none, flow the histograms of `--flow hof`, joints MoveNet's.
Each is one kernel ridge model of windows of 1.4 s, as `--head ridge`: a window that ends 0.3 to 2.0 s after a fall of
the other subjects began shows one, those before it and all of daily life do not. Three windows in a row that say so are
an alarm. Balanced accuracy is of the windows of each held-out subject, the mean of three. `--cost` times one crop of
one object, in turns.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from actions import timed
from bench import conditions, save, table
from falls import IN_A_ROW, falls_of, labeled

from edgevid.actions import Typicality, load_extractor
from edgevid.actions.clip_spec import ClipSpec
from edgevid.actions.features import JHMDB15, encode
from edgevid.actions.flow import FlowHistograms
from edgevid.evaluate.actions.extract import timed_rows
from edgevid.types import Array

RATE_HZ, WINDOW = 8.0, 11


def windows(times: Array, rows: Array) -> tuple[Array, Array, Array]:
    """Windows (M, W, R), their valid steps (M, W) and the seconds (M,) at which they end."""
    at = np.arange(WINDOW - 1, len(rows))[:, None] + np.arange(1 - WINDOW, 1)
    return rows[at], np.ones(at.shape, bool), times[at[:, -1]]


def judged(clips: dict[str, tuple[Array, Array]], falls: dict[str, float | None], joints: bool) -> dict[str, Any]:
    """Balanced accuracy of windows, falls found, and clips with an alarm before a fall or without one."""
    parts, shares, found, false = {clip: windows(*one) for clip, one in clips.items()}, [], 0, 0
    for subject in sorted({clip.split("_")[0] for clip in falls}):
        mine = [clip for clip in falls if clip.startswith(f"{subject}_")]
        known = [part for clip in falls if clip not in mine for part in labeled([parts[clip]], falls[clip])]
        rows, valid, labels = (np.concatenate(column) for column in zip(*known, strict=True))
        model = Typicality.fit(*described(rows, valid, joints), labels, 2)
        right: list[tuple[int, bool]] = []
        for clip in mine:
            some, there, times = parts[clip]
            opinion = model.opinion(*described(some, there, joints))
            says = opinion[:, 1] > opinion[:, 0]
            ends = times[IN_A_ROW - 1 :][np.convolve(says, np.ones(IN_A_ROW), "valid") == IN_A_ROW]
            begin = np.inf if falls[clip] is None else falls[clip]
            found, false = found + bool((ends >= begin).any()), false + bool((ends < begin).any())
            ((kept, _, truth),) = labeled([(says, there, times)], falls[clip])
            right += zip(truth.tolist(), (kept == truth).tolist(), strict=True)
        truth, hits = np.array(right).T
        shares.append(np.mean([hits[truth == label].mean() for label in (0, 1)]))
    return {"balanced accuracy": float(np.mean(shares)), "falls": found, "false": false}


def described(rows: Array, valid: Array, joints: bool) -> tuple[Array, Array]:
    return encode(rows, valid, JHMDB15) if joints else (rows, valid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/actions"))
    parser.add_argument("--extractor", default="runs/backbone")
    parser.add_argument("--cache", type=Path, default=Path("runs/two_stream"))
    parser.add_argument("--cost", action="store_true")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if not Path(given.extractor).exists():
        cut = [sys.executable, "-m", "edgevid", "train", "backbone", "nanodet-m-320", "--out", given.extractor]
        subprocess.run(cut, check=True)
    both = load_extractor(given.extractor, flow="hof", threads=1)
    spatial, pose = both.streams[0], load_extractor("movenet-lightning-192", threads=1)  # type: ignore[union-attr]
    where = conditions({"opencv": cv2.__version__})
    side, width = both.recipe.input.width, spatial.width  # type: ignore[union-attr]
    if given.cost:
        crops = np.random.default_rng(0).integers(0, 255, (1, 2, side, side, 3), np.uint8)
        crops, boxes = np.stack([cv2.GaussianBlur(one, (0, 0), 5) for one in crops[0]])[None], np.zeros((1, 2, 4))
        ways = {"flow": lambda: FlowHistograms().extract(crops, boxes),
                "extractor": lambda: spatial.extract(crops[:, 1], boxes[:, 1]),
                "MoveNet": lambda: pose.extract(crops[:, 1], boxes[:, 1])}  # fmt: skip
        runs = [{name: timed(call, 20) for name, call in ways.items()} for _ in range(5)]
        cost = {name: float(np.median([run[name] for run in runs])) for name in ways}
        print(table(["of one object", "ms"], [[name, f"{ms:.2f}"] for name, ms in cost.items()]))
        save("two_stream_cost", {"extractor": both.recipe.name, "side": side, "ms": cost}, where)
        return
    given.cache.mkdir(parents=True, exist_ok=True)
    falls, rows = falls_of(given.data / "falls_gmdcsa24"), dict[str, dict[str, tuple[Array, Array]]]()
    for clip in falls:
        for name, extractor, size in (("both", both, side), ("joints", pose, 192)):
            file = given.cache / f"{clip}_{name}.npz"
            if not file.exists():
                spec = ClipSpec(steps=1, rate_hz=RATE_HZ, width=size, height=size, stride_s=0.0)
                times, made = timed_rows(given.data / "falls_gmdcsa24" / f"{clip}.mp4", extractor, spec)
                np.savez(file, times=times, rows=made)
            with np.load(file) as kept:
                rows.setdefault(name, {})[clip] = kept["times"], kept["rows"]
    columns = {"pixels": slice(None, width), "flow": slice(width, None), "pixels and flow": slice(None)}
    ways = {name: {clip: (t, r[:, part]) for clip, (t, r) in rows["both"].items()} for name, part in columns.items()}
    found = {
        name: judged(clips, falls, name == "joints") for name, clips in (ways | {"joints": rows["joints"]}).items()
    }
    total = sum(begin is not None for begin in falls.values())
    body = [[name, f"{one['balanced accuracy']:.1%}", f"{one['falls']} of {total}", f"{one['false']} of {len(falls)}"]
            for name, one in found.items()]  # fmt: skip
    print(table(["stream", "balanced accuracy of windows", "falls found", "clips with a false alarm"], body))
    save("two_stream", {"extractor": both.recipe.name, "streams": found}, where)


if __name__ == "__main__":
    main()
