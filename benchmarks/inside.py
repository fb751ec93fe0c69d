"""The second stage inside objects: how many faces YuNet finds inside people, and what it costs per object.

    python benchmarks/inside.py ../shared/data

Bars: a face is found in at least 80 % of the frames in which a face of 24 pixels or more is visible; at most 3 ms per
object due, with crops of 112 x 112 for the recognizer, in CPU time of one thread. FACES lists the frames: those of four
moments of each clip of people (112 frames) in which a person sees such a face, with its center. People are found by
picodet-s-416.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table

from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.actions.clip_spec import ClipSpec, crop_rectangles
from edgevid.actions.inside import InsideRecognizer
from edgevid.actions.recognizer import no_scores
from edgevid.detect.detector import Detector
from edgevid.detect.preprocess import crop
from edgevid.types import Clips, Frame, Scores, Tracks
from edgevid.video.open import open_video

SPEC = ClipSpec(steps=1, rate_hz=25, width=112, height=112, stride_s=0.0, context=1.0)
CLIPS, FALLS = "actions/clips/", "actions/falls_gmdcsa24/"
NTU = CLIPS + "mmaction2_S001C001P001R001A001_rgb.avi"
REPEATS = 5  # Of the comparison of costs
FACES: dict[str, dict[int, tuple[int, int]]] = {
    NTU: {10: (1039, 332), 36: (1039, 334), 61: (1039, 331), 87: (1048, 320)},
    CLIPS + "mmaction2_demo.mp4": {28: (31, 81), 98: (44, 40), 168: (32, 63)},
    CLIPS + "mmaction2_demo_skeleton.mp4": {7: (1026, 311), 25: (1024, 313), 43: (883, 351), 61: (919, 362)},
    CLIPS + "pyskl_ntu_sample.avi": {7: (1026, 311), 25: (1024, 312), 43: (883, 351), 61: (918, 360)},
    FALLS + "s1_adl_10.mp4": {5: (343, 54), 20: (439, 47), 35: (445, 48), 50: (388, 41)},
    FALLS + "s1_adl_16.mp4": {5: (218, 131), 18: (303, 216), 31: (253, 140), 45: (194, 128)},
    FALLS + "s1_fall_13.mp4": {6: (279, 73)},
    FALLS + "s1_fall_14.mp4": {8: (288, 144)},
    FALLS + "s1_fall_15.mp4": {9: (246, 134), 31: (166, 179), 54: (38, 290), 76: (40, 299)},
    FALLS + "s2_fall_12.mp4": {64: (256, 40), 110: (234, 59)},
    FALLS + "s2_fall_13.mp4": {13: (165, 83), 79: (421, 322), 113: (420, 328)},
    FALLS + "s2_fall_14.mp4": {16: (237, 55)},
    FALLS + "s3_adl_07.mp4": {5: (343, 69), 17: (344, 183), 30: (345, 60), 42: (344, 217)},
    FALLS + "s3_adl_19.mp4": {83: (209, 54)},
    FALLS + "s3_adl_20.mp4": {14: (210, 117), 49: (214, 117), 84: (215, 116), 119: (215, 117)},
    FALLS + "s3_fall_01.mp4": {5: (255, 200)},
    FALLS + "s3_fall_15.mp4": {8: (412, 46)},
    FALLS + "s3_fall_19.mp4": {8: (218, 58), 51: (194, 342), 73: (189, 339)},
}  # fmt: skip
LYING = {"s1_fall_15.mp4 54", "s1_fall_15.mp4 76", "s2_fall_13.mp4 79", "s2_fall_13.mp4 113", "s3_fall_19.mp4 51",
         "s3_fall_19.mp4 73"}  # fmt: skip


class Nothing:
    """A recognizer without a model: what remains is the cost of the second stage."""

    names, spec, reset = ("a", "b"), SPEC, lambda self: None

    def recognize(self, clips: Clips) -> Scores:
        return no_scores(self.names)


def faces(inside: InsideRecognizer, data: Path) -> dict[str, bool]:
    """By frame, whether some box found inside a person holds the face's center in its middle half."""
    people, found = Detector("picodet-s-416", classes=["person"], score_threshold=0.4), {}
    for clip, known in FACES.items():
        with open_video(data / clip) as video:
            for frame in video:
                if frame.index in known:
                    boxes = people.detect([frame])[0].boxes
                    boxes = np.asarray(boxes)[(boxes[:, 2:] - boxes[:, :2]).min(1) >= inside.spec.min_side]
                    shown = crop_rectangles(boxes, inside.spec)
                    _, places = inside.align(crop(frame, shown, (inside.spec.width, inside.spec.height), fill=114))
                    scale = (shown[:, 2:] - shown[:, :2]) / (inside.spec.width, inside.spec.height)
                    places = np.tile(shown[:, :2], 2) + places * np.tile(scale, 2)
                    middle, tall = (places[:, :2] + places[:, 2:]) / 2, places[:, 3] - places[:, 1]
                    near = np.hypot(*(middle - known[frame.index]).T) < tall / 2
                    found[f"{Path(clip).name} {frame.index}"] = bool(near.any())
    return found


def milliseconds(recognizer: Any, count: int, data: Path, turns: int = 60) -> float:
    """Median of a frame with `count` people due, clips included."""
    with open_video(data / NTU) as video:
        frame = next(iter(video))
    box, each = [980, 270, 1100, 740], range(count)
    tracks = Tracks.of(ids=[n + 1 for n in each], boxes=[box] * count, scores=[1] * count, labels=[0] * count,
                       match=list(each), age=[1] * count, unseen=[0] * count)  # fmt: skip
    clips, took = ClipBuffer(recognizer.spec), []
    for turn in range(turns):
        shown = Frame(frame.image, turn / SPEC.rate_hz, turn)
        start = time.process_time()
        recognizer.recognize(clips.update(shown, tracks))
        took.append(1e3 * (time.process_time() - start))
    return float(np.median(took[5:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="../shared/data")
    data = parser.parse_args().data
    os.environ["EDGEVID_MODELS_MIRROR"] = str(data / "models")
    where = conditions()
    inside = InsideRecognizer(Nothing(), Detector("yunet", threads=1))
    found = faces(inside, data)
    upright = [hit for name, hit in found.items() if name not in LYING]
    people, nothing, rows, cost = (1, 4, 16), Nothing(), [], {}
    for count in people:
        pairs = [[milliseconds(one, count, data) for one in (nothing, inside)] for _ in range(REPEATS)]
        each = [(both - alone) / count for alone, both in pairs]
        cost[count] = {"median": float(np.median(each)), "least": min(each), "largest": max(each)}
        rows.append((count, *(f"{v:.2f}" for v in (*np.median(pairs, axis=0), *cost[count].values()))))
    missed = ", ".join(name for name, hit in found.items() if not hit)
    print(f"faces found in {sum(found.values())} of {len(found)} frames; missed: {missed}")
    print(f"without people who lie: {sum(upright)} of {len(upright)}")
    heads = ("people due", "clips alone, CPU ms", "with the second stage", "added per object", "least", "largest")
    print(table(heads, rows))
    save("inside", {"frames": found, "share": sum(found.values()) / len(found), "upright": sum(upright) / len(upright),
                    "added_ms_per_object": cost, "searched": dataclasses.asdict(inside.spec)}, where)  # fmt: skip


if __name__ == "__main__":
    main()
