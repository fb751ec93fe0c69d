"""Falls found by joints that a pose model estimates, judged as alarms; each subject by models of the others.

    python benchmarks/falls.py [--data ../shared/data/actions] [--cache runs/falls] [--pictures FOLDER]

A clip's person is detected (PicoDet-S 416), tracked, and shown to MoveNet at 15 Hz, as in the pipeline. A kernel
ridge model of the joints' features, as the second opinion of a head and `edgevid train actions --head ridge` are, says
of each window of 20 moments whether it is a fall. It is trained on windows that end 0.3 to 2.0 s after a fall of other
subjects began, against those that end before it and all of daily life, mirrored too. Three moments in a row make a
suspicion. It becomes the alarm, once for a track, where the hips came down far enough and stay down: by a share of the
body's size within 1.5 s, for some seconds without being observed higher (who bends keeps the hips up, who squats rises
again; a person whom the tracker loses while down was not observed to rise). Both are those of a grid with the
highest balanced accuracy on the clips of the other subjects and on JHMDB's 609 clips, of which none is a fall (they
sit, jump, pick, ...): nothing is chosen on the subject that judges it. `evaluate_alarms` counts: an alarm is right from
the begin of a fall to the end of its clip, each clip a camera.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
from bench import conditions, save, table

from edgevid import Detector, Tracker
from edgevid.actions import ClipBuffer, ClipSpec, PoseExtractor, Typicality, load_extractor
from edgevid.actions.features import COCO17, JHMDB15, DetectedPose, encode
from edgevid.actions.recognizer import newest_crops
from edgevid.evaluate.actions.data import read_skeletons
from edgevid.evaluate.events import evaluate_alarms
from edgevid.types import Array, Event, utc_text
from edgevid.video.open import open_video

RATE_HZ, WINDOW, MIN_STEPS, IN_A_ROW = 15.0, 20, 8, 3
LATEST = 2.0  # Seconds after its begin up to which a window shows the fall, not the person who lies
SURE = 0.3  # Seconds of a fall that a window must show
DESCENT_S, MEMORY_S = 1.5, 2.0  # Seconds in which hips come down, and for which a suspicion is remembered
GRID = [(drop, hold) for hold in (0.0, 0.2, 0.4, 0.6, 0.8) for drop in np.arange(0.3, 1.25, 0.05).round(2).tolist()]
Track = tuple[Array, Array]  # Seconds (T,) and key points (T, 17, 3)


def tracks_of(path: Path, cache: Path) -> list[Track]:
    """The key points of each track, from the cache where present."""
    file = cache / f"{path.stem}.npz"
    if not file.exists():
        pose, spec = (
            load_extractor("movenet-lightning-192"),
            ClipSpec(steps=1, rate_hz=RATE_HZ, width=192, height=192, stride_s=0.0),
        )
        assert isinstance(pose, PoseExtractor)
        detector, tracker, rows = Detector.load("picodet-s-416", score_threshold=0.15), Tracker(), []
        buffer = ClipBuffer(spec, labels=[detector.names.index("person")])
        with open_video(path) as video:
            for frame in video:
                clips = buffer.update(frame, tracker.update(detector(frame), frame.time))
                if len(clips):
                    crops, times, boxes = newest_crops(clips)
                    rows += zip(clips.ids, times, pose.keypoints(crops, boxes), strict=True)
        ids, times, points = (np.array(column) for column in zip(*rows, strict=True))
        np.savez(file, ids=ids, times=times, points=points)
    with np.load(file) as data:
        found = [data["ids"] == id_ for id_ in np.unique(data["ids"])]
        return [(data["times"][mine], data["points"][mine]) for mine in found]


def windows(track: Track) -> tuple[Array, Array, Array]:
    """Rows (M, W, R), valid steps (M, W) and the seconds (M,) at which they end, of each moment with enough steps."""
    times, points = track
    moments, rows = np.round(times * RATE_HZ).astype(int), DetectedPose(layout=JHMDB15).rows(points)
    raw = np.zeros((moments[-1] - moments[0] + WINDOW, rows.shape[1]), np.float32)
    there = np.zeros(len(raw), bool)
    at = moments - moments[0] + WINDOW - 1
    raw[at], there[at] = rows, True
    parts = [(raw[end - WINDOW + 1 : end + 1], there[end - WINDOW + 1 : end + 1]) for end in at]
    some, valid = (np.array(column) for column in zip(*parts, strict=True))
    enough = valid.sum(1) >= MIN_STEPS
    return some[enough], valid[enough], times[enough]


def descent(times: Array, points: Array, hips: list[int]) -> Array:
    """(T,) how far the hips of joints (T, J, 2) are below their highest place in the last seconds, in body sizes: the
    root mean square distance of the joints from their center, the largest of those seconds."""
    height = points[:, hips, 1].mean(1)
    size = np.sqrt(np.square(points - points.mean(1, keepdims=True)).sum(-1).mean(1))
    before = (times <= times[:, None]) & (times >= times[:, None] - DESCENT_S)
    return np.asarray((height - np.where(before, height, np.inf).min(1)) / np.where(before, size, 0).max(1))


def stays_down(times: Array, down: Array, drop: float, hold: float, *, lost: bool = True) -> list[float]:
    """Seconds at which a descent (T,) of at least `drop` has held for `hold` seconds; with `lost` also of a track that
    ends before it rises."""
    found, since = [], np.inf
    for time, far in zip(times.tolist(), (down >= drop).tolist(), strict=True):
        since = min(since, time) if far else np.inf
        if time >= since + hold:
            found.append(time)
    return found + ([since + hold] if lost and times[-1] < since + hold < np.inf else [])


def chosen(
    clips: list[tuple[float | None, list[tuple[Array, Array]]]], others: list[tuple[Array, Array]]
) -> tuple[float, float]:
    """The pair of `GRID` with the highest balanced accuracy on `clips`, each the begin of its fall and the descents of
    its tracks, and on `others`, of which none falls; both kinds of clips without a fall count the same."""

    def accuracy(pair: tuple[float, float]) -> float:
        first = [min((t for one in some for t in stays_down(*one, *pair)), default=np.inf) for _, some in clips]
        right = [begin <= at < np.inf for (begin, _), at in zip(clips, first, strict=True) if begin is not None]
        quiet = [at == np.inf for (begin, _), at in zip(clips, first, strict=True) if begin is None]
        apart = [not stays_down(*one, *pair, lost=False) for one in others]
        return float(np.mean(right) + (np.mean(quiet) + np.mean(apart)) / 2) / 2

    return max(GRID, key=accuracy)


def clips_without_falls(folder: Path) -> list[tuple[Array, Array]]:
    """Seconds and descents of JHMDB's clips."""
    found = []
    for path in sorted(folder.glob("GT_*_1.npz")):
        for example in read_skeletons(path).examples:
            points = JHMDB15.split(example.raw)[0][::2]
            times = np.arange(len(points)) / RATE_HZ
            found.append((times, descent(times, points, [5, 6])))
    return found


def mirrored(rows: Array) -> Array:
    points, confidence = JHMDB15.split(rows)
    return JHMDB15.rows(points[..., JHMDB15.mirror, :] * (-1, 1), confidence[..., JHMDB15.mirror])


def falls_of(folder: Path) -> dict[str, float | None]:
    """By clip the second at which its fall begins, None of daily life."""
    found = {}
    with (folder / "annotations.csv").open(newline="") as file:
        for row in csv.DictReader(file, skipinitialspace=True):
            begin = re.search(r"Fall[^\[]*\[([\d.]+) to", row["classes"])
            found[f"{row['clip_group']}_{Path(row['file']).stem}"] = float(begin[1]) if begin else None
    return {path.stem: found[path.stem] for path in sorted(folder.glob("*.mp4")) if path.stem in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/actions"))
    parser.add_argument("--cache", type=Path, default=Path("runs/falls"))
    parser.add_argument("--pictures", type=Path, help="folder for images with joints and scores")
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    folder = given.data / "falls_gmdcsa24"
    falls = falls_of(folder)
    tracks = {clip: tracks_of(folder / f"{clip}.mp4", given.cache) for clip in falls}
    down = {clip: [(t, descent(t, p[..., :2], [11, 12])) for t, p in some] for clip, some in tracks.items()}
    others, pairs = clips_without_falls(given.data / "jhmdb_skeleton"), {}
    parts = {clip: [windows(one) for one in some] for clip, some in tracks.items()}
    events, hours = list[Event](), 0.0
    scores: dict[str, list[tuple[Array, Array]]] = {}
    for subject in sorted({clip.split("_")[0] for clip in falls}):
        columns = [
            part for clip in falls if not clip.startswith(f"{subject}_") for part in labeled(parts[clip], falls[clip])
        ]
        pair = pairs[subject] = chosen(
            [(falls[clip], down[clip]) for clip in falls if not clip.startswith(f"{subject}_")], others
        )
        rows, valid, labels = (np.concatenate(column) for column in zip(*columns, strict=True))
        known = Typicality.fit(*encode(np.concatenate((rows, mirrored(rows))), np.tile(valid, (2, 1)), JHMDB15),
                               np.tile(labels, 2), 2)  # fmt: skip
        for clip in (one for one in falls if one.startswith(f"{subject}_")):
            for (some, there, times), descents in zip(parts[clip], down[clip], strict=True):
                if not len(times):
                    continue
                opinion = known.opinion(*encode(some, there, JHMDB15))
                score = opinion[:, 1] - opinion[:, 0]
                scores.setdefault(clip, []).append((times, score))
                run = np.convolve(score > 0, np.ones(IN_A_ROW), "valid") == IN_A_ROW
                suspected = times[IN_A_ROW - 1 :][run]
                held = stays_down(*descents, *pair)
                for time in [t for t in held if ((t - MEMORY_S <= suspected) & (suspected <= t)).any()][:1]:
                    events.append(Event(id=f"{clip}-{len(events)}", kind="fall", utc=utc_text(time), time_s=time,
                                        camera=clip, run=clip, confidence=float(score.max())))  # fmt: skip
            hours += max(times.max() for times, _ in tracks[clip]) / 3600
    lines, truth = given.cache / "alarms.jsonl", given.cache / "truth.csv"
    lines.write_text("".join(json.dumps(one.to_dict()) + "\n" for one in events))
    truth.write_text(
        "time,end,camera,kind\n" + "".join(f"{t},1000,{c},fall\n" for c, t in falls.items() if t is not None)
    )
    found = evaluate_alarms(lines, truth, tolerance_s=0, camera_days=hours / 24)
    figures = {name: [round(float(v), 4) for v in value] for name, value in found.figures().items()}
    body = [
        [
            clip,
            "" if begin is None else f"{begin:.1f}",
            ", ".join(f"{one.time_s:.1f}" for one in events if one.camera == clip),
        ]
        for clip, begin in falls.items()
    ]
    print(table(["clip", "fall begins, s", "alarms, s"], body))
    for name, value in found.figures().items():
        print(name, *(f"{v:.3g}" for v in value))
    quiet = sum(begin is None for begin in falls.values())
    false = sum(falls[one.camera] is None for one in events)
    early = sum((falls[one.camera] or 0) > one.time_s for one in events)
    print("descent and seconds for each subject:", pairs)
    print(f"false alarms in {quiet} clips of daily life: {false}; before a fall: {early}; {3600 * hours:.0f} s in all")
    if given.pictures:
        draw(folder, tracks, scores, falls, given.pictures)
    save("falls", {"figures": figures, "clips": {c: {"begins": b, "alarms": [round(e.time_s, 2) for e in events if
         e.camera == c]} for c, b in falls.items()}, "false alarms in daily life": false, "before a fall": early,
         "descent in body sizes and seconds it holds": pairs},
         conditions({"opencv": cv2.__version__}))  # fmt: skip


def labeled(parts: list[tuple[Array, Array, Array]], begin: float | None) -> list[tuple[Array, Array, Array]]:
    """Rows, valid steps and classes (1: fall) of the windows that train."""
    made = []
    for rows, valid, times in parts:
        since = times - (np.inf if begin is None else begin)
        fall, other = (since >= SURE) & (since <= LATEST), since < 0
        keep = fall | other
        made.append((rows[keep], valid[keep], fall[keep].astype(int)))
    return made


def draw(
    folder: Path, tracks: dict[str, list[Track]], scores: dict[str, list[tuple[Array, Array]]],
    falls: dict[str, float | None], out: Path,
) -> None:  # fmt: skip
    """One image a clip: six of its frames with joints and the score of a fall."""
    out.mkdir(parents=True, exist_ok=True)
    bones = [(a, b) for a, b in enumerate(COCO17.roots.tolist()) if a != b]
    for clip, some in tracks.items():
        begin, last = falls[clip], max(times.max() for times, _ in some)
        wanted = np.linspace(0, last, 6) if begin is None else np.clip(begin + np.arange(-0.5, 2.5, 0.5), 0, last)
        images = []
        with open_video(folder / f"{clip}.mp4") as video:
            frames = list(video)
        for second in wanted:
            frame = min(frames, key=lambda one, s=second: abs(one.time - s))  # type: ignore[misc]
            image = frame.image[..., ::-1].copy()
            for times, points in some:
                at = int(np.abs(times - frame.time).argmin())
                if abs(times[at] - frame.time) < 0.05:
                    for a, b in bones:
                        if min(points[at, [a, b], 2]) > 0.1:
                            cv2.line(image, *points[at, [a, b], :2].astype(int).tolist(), (0, 255, 0), 2)
            near = [s[int(np.abs(t - frame.time).argmin())] for t, s in scores.get(clip, ()) if
                    np.abs(t - frame.time).min() < 0.05]  # fmt: skip
            text = f"{clip} {frame.time:.1f} s" + "".join(f" fall {value:+.2f}" for value in near)
            cv2.putText(image, text, (6, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 255), 2)
            images.append(cv2.resize(image, (400, 300)))
        cv2.imwrite(str(out / f"{clip}.png"), np.vstack([np.hstack(images[:3]), np.hstack(images[3:])]))


if __name__ == "__main__":
    main()
