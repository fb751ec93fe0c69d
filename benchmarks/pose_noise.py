"""What MoveNet does to joints: noise, outliers, drop-outs and swaps, from two looks at the same person.

    python benchmarks/pose_noise.py [--data ../shared/data] [--frames 60]

The clips have no true joints. So each person is shown to the model twice in the same frame, as it is and mirrored, a
little moved and larger; what differs between the looks is the model's doing. If the looks err alike and independently,
each has 1 / sqrt 2 of the difference; what both get wrong in the same way is not seen, so this is a lower bound. All
lengths are shares of the body's size. `edgevid.learn.actions.augment.MOVENET` has the figures printed here, rounded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from bench import conditions, save, table

from edgevid import Detector, Tracker
from edgevid.actions import ClipBuffer, ClipSpec, PoseExtractor, load_extractor
from edgevid.actions.features import COCO17, MIN_JOINT
from edgevid.actions.recognizer import newest_crops
from edgevid.types import Array
from edgevid.video.open import open_video

CLIPS = ("actions/clips/mmaction2_demo_skeleton.mp4", "actions/clips/pyskl_ntu_sample.avi", "videos/felix_exercise.avi",
         "actions/falls_gmdcsa24/s1_adl_10.mp4", "actions/falls_gmdcsa24/s2_fall_12.mp4",
         "actions/falls_gmdcsa24/s3_adl_18.mp4", "actions/falls_gmdcsa24/s3_fall_16.mp4")  # fmt: skip
FAR = 0.6  # A joint that two looks see so far apart is an outlier in one of them
RATE_HZ = 15.0  # Of the heads
RAYLEIGH = np.sqrt(2 * np.log(2))  # Median length of a two-dimensional normal vector of spread 1


def looks(
    path: Path, detector: Detector, pose: PoseExtractor, frames: int
) -> dict[int, list[tuple[float, Array, Array]]]:
    """By track the seconds of each step and the joints (17, 3) of both looks."""
    spec = ClipSpec(steps=1, rate_hz=RATE_HZ, width=192, height=192, stride_s=0.0)
    tracker, buffer, found = Tracker(), ClipBuffer(spec, labels=[0]), dict[int, list[tuple[float, Array, Array]]]()
    with open_video(path) as video:
        for count, frame in enumerate(video):
            clips = buffer.update(frame, tracker.update(detector(frame), frame.time))
            if count >= frames * 2:
                break
            if not len(clips):
                continue
            crops, times, boxes = newest_crops(clips)
            first = pose.keypoints(crops, boxes)
            mirrored = np.ascontiguousarray(np.roll(crops, 6, axis=1)[:, :-12, 12:][:, :, ::-1])
            side = boxes[:, 2:] - boxes[:, :2]
            part = np.concatenate((boxes[:, :2] + side * (12 / 192, -6 / 192), boxes[:, 2:] - side * (0, 18 / 192)), 1)
            second = pose.keypoints(mirrored, part)
            second[..., 0] = part[:, None, 0] + part[:, None, 2] - second[..., 0]
            second = second[:, COCO17.mirror]
            for row, id_ in enumerate(clips.ids.tolist()):
                found.setdefault(id_, []).append((float(times[row]), first[row], second[row]))
    return found


def measured(track: list[tuple[float, Array, Array]]) -> dict[str, Array]:
    """Columns of one track's steps and joints: distance, its change, and what is missing, far or swapped."""
    one, two = (np.array([step[k] for step in track]) for k in (1, 2))
    points, other = one[..., :2], two[..., :2]
    size = np.sqrt(np.square(points - points.mean(1, keepdims=True)).sum(-1).mean(1))[:, None]
    away = (points - other) / size[..., None]
    seen = (one[..., 2] >= MIN_JOINT) & (two[..., 2] >= MIN_JOINT)
    swapped = other[:, COCO17.mirror]
    apart = np.linalg.norm(points - points[:, COCO17.mirror], axis=-1) / size
    crossed = np.linalg.norm(points - swapped, axis=-1) / size < 0.5 * np.linalg.norm(away, axis=-1)
    crossed &= crossed[:, COCO17.mirror] & (apart > 0.3)
    return {"away": away, "seen": seen, "dropped": one[..., 2] < MIN_JOINT, "swapped": crossed & seen,
            "pairs": (apart > 0.3) & seen, "far": (np.linalg.norm(away, axis=-1) > FAR) & ~crossed & seen}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--frames", type=int, default=60, help="moments of each clip")
    options = parser.parse_args()
    detector, pose = Detector.load("picodet-s-416", score_threshold=0.3), load_extractor("movenet-lightning-192")
    assert isinstance(pose, PoseExtractor)
    tracks = []
    for clip in CLIPS:
        found = [
            measured(one) for one in looks(options.data / clip, detector, pose, options.frames).values() if len(one) > 9
        ]
        print(clip, sum(len(one["seen"]) for one in found), "steps", flush=True)
        tracks += found
    every = {key: np.concatenate([one[key] for one in tracks]) for key in tracks[0]}
    plain = every["seen"] & ~every["far"] & ~every["swapped"]
    lengths = np.linalg.norm(every["away"], axis=-1)
    clean = [one["seen"] & ~one["far"] & ~one["swapped"] for one in tracks]
    pairs = [
        (one["away"][1:][ok[1:] & ok[:-1]], one["away"][:-1][ok[1:] & ok[:-1]])
        for one, ok in zip(tracks, clean, strict=True)
    ]
    now, before = (np.concatenate([pair[k] for pair in pairs]).ravel() for k in (0, 1))
    stay = {
        key: (np.concatenate([one[key][1:][one[key][:-1]] for one in tracks])) for key in ("dropped", "far", "swapped")
    }
    figures = {
        "spread": float(np.median(lengths[plain]) / RAYLEIGH / np.sqrt(2)),
        "hold": float(np.corrcoef(now, before)[0, 1]),
        "outliers": float(every["far"].sum() / every["seen"].sum() / 2),
        "dropped": float(every["dropped"].mean()),
        "swapped": float(every["swapped"].sum() / max(every["pairs"].sum(), 1) / 2),
        "stays": float(np.concatenate(list(stay.values())).mean()),
    }
    names = [*COCO17.joints]
    joints = {
        name: float(np.median(lengths[:, n][plain[:, n]]) / RAYLEIGH / np.sqrt(2)) for n, name in enumerate(names)
    }
    print(table(["figure", "value"], [[key, f"{value:.3f}"] for key, value in figures.items()]))
    print(table(["joint", "spread"], [[key, f"{value:.3f}"] for key, value in joints.items()]))
    save(
        "pose_noise", {"clips": CLIPS, "steps": len(every["seen"]), "noise": figures, "joints": joints}, conditions({})
    )


if __name__ == "__main__":
    main()
