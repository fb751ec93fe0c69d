"""supervision.Detections where that package is installed, else a stand-in with what edgevid uses of it."""

from __future__ import annotations

from typing import Any

import numpy as np

try:
    from supervision import Detections as TheirDetections
except ImportError:

    class TheirDetections:  # type: ignore[no-redef]
        """Columns that are selected together."""

        def __init__(self, xyxy: Any, **columns: Any) -> None:
            self.xyxy, self.data, self.metadata = xyxy, {}, {}
            self.confidence = self.class_id = self.tracker_id = None
            vars(self).update(columns)

        def __len__(self) -> int:
            return len(self.xyxy)

        def __getitem__(self, rows: Any) -> Any:
            columns = {n: c if c is None else c[rows] for n, c in vars(self).items() if n[-4:] != "data"}
            made = TheirDetections(**columns)
            made.data = {name: column[rows] for name, column in self.data.items()}
            return made


def theirs(boxes: Any, scores: Any = None, **columns: Any) -> Any:
    """Detections of class 0 in supervision's type."""
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    scores = np.full(len(boxes), 0.9) if scores is None else np.asarray(scores)
    return TheirDetections(xyxy=boxes, confidence=scores, class_id=np.zeros(len(boxes), int), **columns)
