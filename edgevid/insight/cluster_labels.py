"""Named clusters as a rule that runs live: each track that ends gets the name of its cluster, or a reason for none."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgevid.errors import InputError
from edgevid.insight.cluster import read_clusters
from edgevid.insight.sources import LEAST, TRACK_FEATURES, track_series
from edgevid.types import Closing, Event, Frame, Reason, Result

MOST = 4096  # Moments that are kept of a track; of a longer one every second is left out


class ClusterLabels(Closing):
    """A sink that puts labels into the events "track-ended"; give it to `run` before the others. `task` is "cluster".
    The label is the name of the nearest cluster; LOW_CONFIDENCE is beyond the limit of all, TOO_SHORT below 8 frames,
    UNCERTAIN a motion that no object has. Tracks of unnamed clusters have no label."""

    def __init__(self, path: str | Path) -> None:
        """`path`: clusters.toml; InputError unless its clusters are of tracks and one has a name."""
        self._clusters = read_clusters(path)
        if self._clusters.features != TRACK_FEATURES or not any(self._clusters.names):
            raise InputError(f"{path}: expected clusters of tracks, one of which has a name, got none: take those that "
                             "edgevid cluster writes of a database, and type names")  # fmt: skip
        self._rows, self._steps = dict[int, list[tuple[float, ...]]](), dict[int, int]()

    def write(self, frame: Frame, result: Result) -> None:
        """Notes where each object is, and its speed."""
        speeds = {i: one.mps for i, one in result.display_speeds().items()}
        for i, (x1, y1, x2, y2) in zip(result.tracks.ids.tolist(), result.tracks.boxes.tolist(), strict=True):
            rows, step = self._rows.setdefault(i, []), self._steps.setdefault(i, 1)
            if result.frame_index % step == 0:
                rows.append((result.time, (x1 + x2) / 2, y2, y2 - y1, speeds.get(i, np.nan)))
            if len(rows) == MOST:
                self._rows[i], self._steps[i] = rows[::2], 2 * step

    def annotate(self, event: Event) -> Event:
        """The event, with a label where a track ended."""
        if event.kind != "track-ended" or event.track not in self._rows:
            return event
        self._steps.pop(event.track)
        times, x, y, height, speed = np.array(self._rows.pop(event.track), float).T
        found = track_series(times, np.column_stack([x, y]), height, speed)
        reason = Reason.TOO_SHORT if len(times) < LEAST else Reason.UNCERTAIN
        if not isinstance(found, str):
            ((cluster,), _) = self._clusters.assign(found[0][None])
            if cluster >= 0:
                return replace(event, task="cluster", label=self._clusters.names[cluster])
            reason = Reason.LOW_CONFIDENCE
        return replace(event, task="cluster", reason=reason.name)

    def close(self) -> None:
        """Nothing is left to do."""
