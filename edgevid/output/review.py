"""Keeps what will be reviewed later: a crop and a description of each silent or doubtful object."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgevid.errors import InputError, SourceError
from edgevid.types import Array, Frame, Reason, Result

REVIEWED = frozenset({Reason.LOW_CONFIDENCE, Reason.LOW_MARGIN, Reason.DISAGREEMENT})
"""Silences about which a person could say something; too small or too short to see is not among them."""


@dataclass(slots=True)
class _Candidate:
    """The clearest (largest) moment of one object's doubt so far."""

    area: float
    crop: Array
    about: dict[str, Any]


class ReviewSink:
    """One crop (JPEG) and one JSON file for each track and task that was left silent or doubtful.

    The crop is of the moment when the object was largest; it is written when the track ends, and only if
    its last verdict still was silent or doubtful. When the folder's own files pass `limit_bytes`, the
    oldest go. Use it as a context manager, or call `close`.
    """

    def __init__(
        self,
        folder: str | Path,
        limit_bytes: int = 200_000_000,
        *,
        doubtful: float = 0.0,
        tasks: Iterable[str] | None = None,
        reasons: Iterable[Reason] = REVIEWED,
        model_sha256: Mapping[str, str] | None = None,
        source: str = "",
        max_side_px: int = 512,
    ) -> None:
        """Said verdicts with a confidence below `doubtful` are kept too; `tasks` None: all.

        `model_sha256` by task and `source` go into the descriptions; crops are shrunk to `max_side_px`.
        """
        if limit_bytes <= 0 or max_side_px < 16 or not 0 <= doubtful <= 1:
            raise InputError(
                "ReviewSink: expected limit_bytes > 0, max_side_px >= 16 and doubtful 0 to 1, "
                f"got {limit_bytes}, {max_side_px} and {doubtful}"
            )
        self._folder, self._limit, self._doubtful = Path(folder), limit_bytes, doubtful
        self._tasks = None if tasks is None else frozenset(tasks)
        self._reasons, self._hashes = frozenset(reasons), dict(model_sha256 or {})
        self._source, self._side = source, max_side_px
        self._waiting: dict[tuple[str, int], _Candidate] = {}
        self._doubted: dict[tuple[str, int], bool] = {}
        self._run = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S%f")[:-3]
        self.kept = self.removed = 0
        """Pairs written, and pairs deleted for room."""
        self._open_folder()

    def __enter__(self) -> ReviewSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, frame: Frame, result: Result) -> None:
        """Takes in one frame and what was learned from it."""
        for task in result.verdicts:
            if self._tasks is None or task in self._tasks:
                self._take(task, frame, result)
        here = set(result.tracks.ids.tolist())
        for key in [k for k in self._doubted if k[1] not in here]:
            self._finish(key)

    def write(self, frame: Frame, result: Result) -> None:
        """As `update`: the keeper is a sink among the others."""
        self.update(frame, result)

    def close(self) -> None:
        """Writes what is still waiting."""
        for key in list(self._doubted):
            self._finish(key)

    reset = close

    def _take(self, task: str, frame: Frame, result: Result) -> None:
        verdicts, tracks = result.verdicts[task], result.tracks
        rows = {int(number): row for row, number in enumerate(tracks.ids)}
        for row, number in enumerate(verdicts.ids.tolist()):
            reason, confidence = Reason(int(verdicts.reason[row])), float(verdicts.confidence[row])
            doubted = reason in self._reasons or (reason == Reason.OK and confidence < self._doubtful)
            key = (task, number)
            if doubted or key in self._doubted:
                self._doubted[key] = doubted
            if not doubted or number not in rows:
                continue
            box = tracks.boxes[rows[number]]
            area = float((box[2] - box[0]) * (box[3] - box[1]))
            held = self._waiting.get(key)
            if held is None or area > 1.1 * held.area:  # each new crop costs a copy: not for a few pixels
                crop = self._crop(frame, box)
                if crop is not None:
                    held = self._waiting[key] = _Candidate(area, crop, {})
                    held.about |= {"time_s": frame.time, "frame": frame.index}
                    held.about |= {"box_xyxy": [round(float(v), 1) for v in box]}
            if held is not None:
                held.about |= self._describe(task, number, reason, row, result)

    def _describe(self, task: str, number: int, reason: Reason, row: int, result: Result) -> dict[str, Any]:
        verdicts = result.verdicts[task]
        about: dict[str, Any] = {
            "task": task,
            "track": number,
            "reason": reason.name,
            "label": int(verdicts.labels[row]),
            "confidence": round(float(verdicts.confidence[row]), 6),
            "names": list(result.names.get(task, ())),
            "model_sha256": self._hashes.get(task, ""),
            "source": self._source,
        }
        scores = result.scores.get(task)
        if scores is not None and (scores.ids == number).any():
            about["scores"] = [round(float(v), 6) for v in scores.values[scores.ids == number][-1]]
        return about

    def _crop(self, frame: Frame, box: Array) -> Array | None:
        x1, y1 = (int(np.clip(np.floor(v), 0, limit)) for v, limit in zip(box[:2], frame.size, strict=True))
        x2, y2 = (int(np.clip(np.ceil(v), 0, limit)) for v, limit in zip(box[2:], frame.size, strict=True))
        if x2 - x1 < 2 or y2 - y1 < 2:
            return None
        crop = frame.image[y1:y2, x1:x2]
        shrink = self._side / max(crop.shape[:2])
        if shrink < 1:
            size = max(1, round((x2 - x1) * shrink)), max(1, round((y2 - y1) * shrink))
            return np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA))
        return crop.copy()  # the frame's pixels may be overwritten

    def _finish(self, key: tuple[str, int]) -> None:
        doubted, held = self._doubted.pop(key), self._waiting.pop(key, None)
        if not doubted or held is None:
            return
        stem = f"{self._run}-{key[0]}-{key[1]:06d}"
        done, jpeg = cv2.imencode(".jpg", held.crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        text = json.dumps({**held.about, "crop": f"{stem}.jpg"}, ensure_ascii=False, indent=1).encode()
        if not done or len(jpeg) + len(text) > self._limit:
            return
        self._make_room(len(jpeg) + len(text))
        (self._folder / f"{stem}.jpg").write_bytes(jpeg.tobytes())
        (self._folder / f"{stem}.json").write_bytes(text)
        self._pairs[stem] = len(jpeg) + len(text)
        self.kept += 1

    def _make_room(self, expected: int) -> None:
        while self._pairs and sum(self._pairs.values()) + expected > self._limit:
            stem = next(iter(self._pairs))
            del self._pairs[stem]
            for suffix in (".jpg", ".json"):
                (self._folder / (stem + suffix)).unlink(missing_ok=True)
            self.removed += 1

    def _open_folder(self) -> None:
        """Makes the folder and counts what earlier runs left there: their files are bounded too."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(
                f"keep-abstained: expected a folder, {self._folder} is none ({error.strerror})"
            ) from error
        self._pairs: dict[str, int] = {}
        for about in sorted(self._folder.glob("????????T?????????-*.json")):
            crop = about.with_suffix(".jpg")
            if crop.exists():
                self._pairs[about.stem] = about.stat().st_size + crop.stat().st_size
