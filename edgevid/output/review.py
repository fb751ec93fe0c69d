"""Saves objects for review: abstained, of low confidence, or sampled; crops and a description of each."""

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.files import file_name, make_folder, sha256
from edgevid.types import Array, Closing, Frame, Header, Reason, Result, utc_text
from edgevid.video.images import resize_area, to_jpeg

REVIEWED = frozenset({Reason.LOW_CONFIDENCE, Reason.LOW_MARGIN, Reason.DISAGREEMENT, Reason.UNLIKE_TRAINING})
"""Reasons that a person can resolve by looking; an object too small to recognize is not among them."""
LARGER = 1.1  # A new crop costs a copy: only a box that grew by this factor in area gets one
FILM, FILM_PX, FILM_S = 12, 128, 0.4  # Crops of a film, their side, and the seconds between them at first
SUFFIXES = (".jpg", "-film.jpg", ".json")


@dataclass(slots=True)
class _Candidate:
    """The largest view of one object so far among those to review, and small ones over its time."""

    area: float
    crop: Array
    about: dict[str, Any]
    film: list[tuple[float, Array]] = field(default_factory=list)
    step_s: float = FILM_S


class ReviewSink(Closing):
    """A crop, a film and a JSON file for each track and task that abstained, had low confidence or was sampled.

    The crop shows the object where it was largest, the film up to 12 times, side by side in one JPEG. They are
    written when the track ends, by its last verdict. When the folder's own files pass `max_disk_bytes`, the oldest
    are deleted. Use it as a context manager, or call `close`."""

    def __init__(self, folder: str | Path, max_disk_bytes: int = 200_000_000, *, min_confidence: float = 0.0,
                 audit: float = 0.0, seed: int = 0, tasks: Iterable[str] | None = None,
                 model_sha256: Mapping[str, str] | None = None, source: str = "",
                 max_side_px: int = 512) -> None:  # fmt: skip
        """Emitted verdicts with a confidence below `min_confidence` are saved too; `tasks` None: all. So is a random
        sample of all emitted ones: each track with probability `audit`, whatever its verdict. `model_sha256` by task
        and `source` go into the descriptions; crops are downscaled to `max_side_px`."""
        if max_disk_bytes <= 0 or max_side_px < 16 or not (0 <= min_confidence <= 1 and 0 <= audit <= 1):
            raise InputError("ReviewSink: expected max_disk_bytes > 0, max_side_px >= 16, min_confidence and audit 0 "
                             f"to 1, got {max_disk_bytes}, {max_side_px}, {min_confidence} and {audit}")  # fmt: skip
        self._audit, self._seed, self._header = audit, seed, Header(run="-")
        self._folder, self._limit, self._min_confidence = Path(folder), max_disk_bytes, min_confidence
        self._tasks = None if tasks is None else frozenset(tasks)
        self._hashes, self._source, self._side = dict(model_sha256 or {}), source, max_side_px
        self._candidates: dict[tuple[str, int], _Candidate] = {}
        self._pending: dict[tuple[str, int], bool] = {}  # Whether a task and track's last verdict is to be reviewed
        self._run = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S%f")[:-3]
        self.saved = self.removed = 0  # Pairs of files that were saved, and old pairs that were deleted
        make_folder(self._folder)
        self._sizes: dict[str, int] = {}  # Bytes of each stem, of earlier runs too: the limit holds for them
        for about in sorted(self._folder.glob("????????T?????????-*.json")):
            sizes = [path.stat().st_size for end in SUFFIXES if (path := self._folder / (about.stem + end)).exists()]
            if about.with_suffix(".jpg").exists():
                self._sizes[about.stem] = sum(sizes)

    def open(self, header: Header) -> None:
        """The camera and the run go into the descriptions."""
        self._header = header

    def write(self, frame: Frame, result: Result) -> None:
        """Takes one frame and its result."""
        for task in result.verdicts:
            if self._tasks is None or task in self._tasks:
                self._take(task, frame, result)
        present = set(result.tracks.ids.tolist())
        for key in [k for k in self._pending if k[1] not in present]:
            self._finish(key)

    def close(self) -> None:
        """Saves what is still pending."""
        for key in list(self._pending):
            self._finish(key)

    def _take(self, task: str, frame: Frame, result: Result) -> None:
        tracks = result.tracks
        rows = {number: row for row, number in enumerate(tracks.ids.tolist())}
        for verdict in result.verdicts[task]:
            key = (task, verdict.id)
            low = verdict.reason is Reason.OK and verdict.confidence < self._min_confidence
            number = draw(f"{self._seed} {self._run} {task} {verdict.id}")
            sampled = verdict.reason is Reason.OK and number < self._audit
            review = verdict.reason in REVIEWED or low or sampled
            if review or key in self._pending:
                self._pending[key] = review
            if not review or verdict.id not in rows:
                continue
            self._update_crop(key, frame, tracks.boxes[rows[verdict.id]])
            if (found := self._candidates.get(key)) is not None:
                found.about |= self._describe(task, verdict, result)
                found.about["audit"] = {"rate": self._audit, "draw": number}

    def _update_crop(self, key: tuple[str, int], frame: Frame, box: Array) -> None:
        area = float((box[2] - box[0]) * (box[3] - box[1]))
        best = self._candidates.get(key)
        larger = best is None or area > LARGER * best.area
        due = best is None or not best.film or frame.time - best.film[-1][0] >= best.step_s
        if not (larger or due) or (crop := self._crop(frame, box)) is None:
            return
        if best is None:
            best = self._candidates[key] = _Candidate(area, crop, {})
        if larger:
            xyxy, utc = [round(float(v), 1) for v in box], utc_text(frame.time + self._header.start)
            best.area, best.crop = area, crop
            best.about |= {"time_s": frame.time, "frame": frame.index, "utc": utc, "box_xyxy": xyxy}
        if due:
            if len(best.film) == FILM:
                best.film, best.step_s = best.film[::2], 2 * best.step_s
            middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() / 2
            square = self._crop(frame, np.concatenate([middle - half, middle + half]))
            best.film.append((frame.time, resize_area(crop if square is None else square, (FILM_PX, FILM_PX))))

    def _describe(self, task: str, verdict: Any, result: Result) -> dict[str, Any]:
        about: dict[str, Any] = {"task": task, "track": verdict.id, "reason": verdict.reason.name,
                                 "label": verdict.label, "confidence": round(verdict.confidence, 6),
                                 "names": list(result.names.get(task, ())), "model_sha256": self._hashes.get(task, ""),
                                 "source": self._source, "camera": self._header.camera,
                                 "run": self._header.run}  # fmt: skip
        if (scores := result.scores.get(task)) is not None and (scores.ids == verdict.id).any():
            about["scores"] = [round(float(v), 6) for v in scores.values[scores.ids == verdict.id][-1]]
        return about

    def _crop(self, frame: Frame, box: Array) -> Array | None:
        edges = np.clip([*np.floor(box[:2]), *np.ceil(box[2:])], 0, [*frame.size, *frame.size])
        x1, y1, x2, y2 = edges.astype(int).tolist()
        if x2 - x1 < 2 or y2 - y1 < 2:
            return None
        crop = frame.image[y1:y2, x1:x2]
        if (shrink := self._side / max(crop.shape[:2])) < 1:
            return resize_area(crop, (max(1, round((x2 - x1) * shrink)), max(1, round((y2 - y1) * shrink))))
        return crop.copy()  # the frame's pixels may be overwritten

    def _finish(self, key: tuple[str, int]) -> None:
        review, candidate = self._pending.pop(key), self._candidates.pop(key, None)
        if not review or candidate is None:
            return
        stem = f"{self._run}-{file_name(key[0])}-{key[1]:06d}"
        jpeg = to_jpeg(candidate.crop)
        times, cells = zip(*candidate.film, strict=True)
        film = to_jpeg(np.concatenate(cells, 1), qscale=3) if len(cells) > 1 else b""
        about = candidate.about | {"crop": f"{stem}.jpg"}
        about |= {"film": f"{stem}-film.jpg", "film_times_s": times} if film else {}
        text = json.dumps(about, ensure_ascii=False, indent=1).encode()
        if (size := len(jpeg) + len(film) + len(text)) <= self._limit:
            self._remove_oldest(size)
            for suffix, data in zip(SUFFIXES, (jpeg, film, text), strict=True):
                if data:
                    (self._folder / (stem + suffix)).write_bytes(data)
            self._sizes[stem] = size
            self.saved += 1

    def _remove_oldest(self, needed: int) -> None:
        while self._sizes and sum(self._sizes.values()) + needed > self._limit:
            stem = next(iter(self._sizes))
            del self._sizes[stem]
            for suffix in SUFFIXES:
                (self._folder / (stem + suffix)).unlink(missing_ok=True)
            self.removed += 1


def draw(name: str) -> float:
    """The random number, 0 to 1, that a name always gets: a verdict is in the audit sample if it is below the rate."""
    return int(sha256(name)[:13], 16) / 16**13
