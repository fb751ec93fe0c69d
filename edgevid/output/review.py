"""Saves abstained objects for review: a crop and a description of each, within a limit on disk use."""

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.files.atomic import make_folder
from edgevid.types import Array, Frame, Reason, Result
from edgevid.types.closing import Closing
from edgevid.video.images import resize_area, to_jpeg

REVIEWED = frozenset({Reason.LOW_CONFIDENCE, Reason.LOW_MARGIN, Reason.DISAGREEMENT})
"""Reasons that a person can resolve by looking; an object too small to recognize is not among them."""
LARGER = 1.1  # A new crop costs a copy: only a box that grew by this factor in area gets one


@dataclass(slots=True)
class _Candidate:
    """The largest view of one object so far among those to review."""

    area: float
    crop: Array
    about: dict[str, Any]


class ReviewSink(Closing):
    """One crop (JPEG) and one JSON file for each track and task that abstained or had low confidence.

    The crop shows the object where it was largest; it is written when the track ends, and only if its last
    verdict still was abstained or of low confidence. When the folder's own files pass `max_disk_bytes`, the
    oldest are deleted. Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        folder: str | Path,
        max_disk_bytes: int = 200_000_000,
        *,
        min_confidence: float = 0.0,
        tasks: Iterable[str] | None = None,
        model_sha256: Mapping[str, str] | None = None,
        source: str = "",
        max_side_px: int = 512,
    ) -> None:
        """Emitted verdicts with a confidence below `min_confidence` are saved too; `tasks` None: all.

        `model_sha256` by task and `source` go into the descriptions; crops are downscaled to `max_side_px`.
        """
        if max_disk_bytes <= 0 or max_side_px < 16 or not 0 <= min_confidence <= 1:
            raise InputError(
                "ReviewSink: expected max_disk_bytes > 0, max_side_px >= 16 and min_confidence 0 to 1, "
                f"got {max_disk_bytes}, {max_side_px} and {min_confidence}"
            )
        self._folder, self._limit, self._min_confidence = Path(folder), max_disk_bytes, min_confidence
        self._tasks = None if tasks is None else frozenset(tasks)
        self._hashes, self._source, self._side = dict(model_sha256 or {}), source, max_side_px
        self._candidates: dict[tuple[str, int], _Candidate] = {}
        self._pending: dict[tuple[str, int], bool] = {}
        """Whether the last verdict of a track and task still is to be reviewed."""
        self._run = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S%f")[:-3]
        self.saved = self.removed = 0  # Pairs of files that were saved, and old pairs that were deleted
        self._open_folder()

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
            review = verdict.reason in REVIEWED or low
            if review or key in self._pending:
                self._pending[key] = review
            if not review or verdict.id not in rows:
                continue
            self._update_crop(key, frame, tracks.boxes[rows[verdict.id]])
            if key in self._candidates:
                self._candidates[key].about |= self._describe(task, verdict, result)

    def _update_crop(self, key: tuple[str, int], frame: Frame, box: Array) -> None:
        area = float((box[2] - box[0]) * (box[3] - box[1]))
        before = self._candidates.get(key)
        if before is not None and area <= LARGER * before.area:
            return
        if (crop := self._crop(frame, box)) is not None:
            xyxy = [round(float(v), 1) for v in box]
            about = {"time_s": frame.time, "frame": frame.index, "box_xyxy": xyxy}
            self._candidates[key] = _Candidate(area, crop, about)

    def _describe(self, task: str, verdict: Any, result: Result) -> dict[str, Any]:
        about: dict[str, Any] = {
            "task": task, "track": verdict.id, "reason": verdict.reason.name, "label": verdict.label,
            "confidence": round(verdict.confidence, 6), "names": list(result.names.get(task, ())),
            "model_sha256": self._hashes.get(task, ""), "source": self._source,
        }  # fmt: skip
        scores = result.scores.get(task)
        if scores is not None and (scores.ids == verdict.id).any():
            about["scores"] = [round(float(v), 6) for v in scores.values[scores.ids == verdict.id][-1]]
        return about

    def _crop(self, frame: Frame, box: Array) -> Array | None:
        edges = np.clip([*np.floor(box[:2]), *np.ceil(box[2:])], 0, [*frame.size, *frame.size])
        x1, y1, x2, y2 = edges.astype(int).tolist()
        if x2 - x1 < 2 or y2 - y1 < 2:
            return None
        crop = frame.image[y1:y2, x1:x2]
        if (shrink := self._side / max(crop.shape[:2])) < 1:
            size = max(1, round((x2 - x1) * shrink)), max(1, round((y2 - y1) * shrink))
            return resize_area(crop, size)
        return crop.copy()  # the frame's pixels may be overwritten

    def _finish(self, key: tuple[str, int]) -> None:
        review, candidate = self._pending.pop(key), self._candidates.pop(key, None)
        if not review or candidate is None:
            return
        stem = f"{self._run}-{key[0]}-{key[1]:06d}"
        jpeg = to_jpeg(candidate.crop)
        text = json.dumps({**candidate.about, "crop": f"{stem}.jpg"}, ensure_ascii=False, indent=1).encode()
        size = len(jpeg) + len(text)
        if size <= self._limit:
            self._remove_oldest(size)
            (self._folder / f"{stem}.jpg").write_bytes(jpeg)
            (self._folder / f"{stem}.json").write_bytes(text)
            self._sizes[stem] = size
            self.saved += 1

    def _remove_oldest(self, needed: int) -> None:
        while self._sizes and sum(self._sizes.values()) + needed > self._limit:
            stem = next(iter(self._sizes))
            del self._sizes[stem]
            for suffix in (".jpg", ".json"):
                (self._folder / (stem + suffix)).unlink(missing_ok=True)
            self.removed += 1

    def _open_folder(self) -> None:
        """Creates the folder and counts the files of earlier runs: the limit holds for them too."""
        make_folder(self._folder)
        self._sizes: dict[str, int] = {}
        for about in sorted(self._folder.glob("????????T?????????-*.json")):
            crop = about.with_suffix(".jpg")
            if crop.exists():
                self._sizes[about.stem] = about.stat().st_size + crop.stat().st_size
