"""The threshold of the gate, chosen on a camera's own video by what is lost against detection in every frame."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgevid.detect.gate import Gate
from edgevid.evaluate.boxes import overlaps
from edgevid.evaluate.events import same_events
from edgevid.evaluate.tracking import count_tracks
from edgevid.evaluate.tune.risk import certified
from edgevid.output.events import EventFinder
from edgevid.pipeline import DetectorLike, Pipeline
from edgevid.site.build import LoadedSite, build_zones
from edgevid.types import Array, Detections, Event, Frame, Header, Tracks

THRESHOLDS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)  # From strict to loose, as they are tested
SAME_EVENT_S = 1.0  # Events of both runs are the same within this time


@dataclass(frozen=True, slots=True)
class GateTrial:
    """What a threshold saves and loses against the run without a gate."""

    threshold: float
    inferred: float  # Share of the frames in which the detector ran
    lost: float  # Mean over the objects of the share of their detections that no gated box has an IoU of 0.5 with
    drawn: Array  # (N,) of each object, whether one of its detections, drawn at random, is such a one
    hota: float  # HOTA, 0 to 1, against the other run's tracks
    events: int  # Events of the other run: of zones and lines, and ends of tracks
    missed: int  # Those that the gated run lacks within SAME_EVENT_S

    def passes(self, max_loss: float, delta: float) -> bool:
        """Whether the mean loss of objects is at most `max_loss` with probability 1 - `delta`, and so many events are
        missed. A detection drawn of each object is lost with that probability: it is tested as an error of a policy."""
        sure = certified(int(self.drawn.sum()), len(self.drawn), max_loss, delta)
        return sure and self.missed <= max_loss * self.events


def try_gates(
    loaded: LoadedSite, detector: DetectorLike, frames: Iterable[Frame], size: tuple[int, int], *,
    thresholds: Sequence[float] = THRESHOLDS, on_frame: Callable[[], Any] = lambda: None,
) -> list[GateTrial]:  # fmt: skip
    """A trial of each threshold; the detector runs once a frame for all of them."""
    site, found = loaded.site, [Detections.empty()]
    known: Any = SimpleNamespace(names=detector.names, detect=lambda _: found[:])
    gates = [None, *(Gate(threshold=one, max_gap_s=site.max_gap_s) for one in thresholds)]
    pipelines = [Pipeline(known, site.track.build(site.score), detect_every=gate) for gate in gates]
    monitors = [build_zones(loaded, size) for _ in gates]
    tracks: list[list[Tracks]] = [[] for _ in gates]
    events: list[list[Event]] = [[] for _ in gates]
    finders = [EventFinder(Header(), some.append) for some in events]
    inferred = np.zeros(len(gates))
    for frame in frames:
        found[:] = detector.detect([frame])
        for n, (pipeline, zones) in enumerate(zip(pipelines, monitors, strict=True)):
            result = pipeline.process(frame)
            inferred[n] += not result.gated
            tracks[n].append(result.tracks)
            finders[n].update(frame, result, zones.update(result.tracks, result.time) if zones else ())
        on_frame()
    for finder in finders:
        finder.close()
    boxes = [[(one.ids, one.boxes) for one in run] for run in tracks]
    return [
        GateTrial(
            threshold, inferred[n] / inferred[0], *_losses(tracks[0], tracks[n]),
            count_tracks(boxes[0], boxes[n]).hota, len(events[0]),
            len(events[0]) - len(same_events(events[0], events[n], SAME_EVENT_S, utc=False)),
        )
        for n, threshold in enumerate(thresholds, 1)
    ]  # fmt: skip


def choose(trials: Iterable[GateTrial], max_loss: float, delta: float) -> GateTrial | None:
    """The last trial that passes, tested from strict to loose to the first failure, each at `delta`: as in
    `risk.fixed_sequence`, the promise then holds for all of them together."""
    return max(takewhile(lambda one: one.passes(max_loss, delta), trials), key=lambda one: one.threshold, default=None)


def _losses(plain: Sequence[Tracks], gated: Sequence[Tracks]) -> tuple[float, Array]:
    """`lost` and `drawn` of a trial."""
    lost, random = defaultdict[int, list[bool]](list), np.random.default_rng(0)
    for tracks, others in zip(plain, gated, strict=True):
        found = tracks[tracks.match >= 0]
        missing = overlaps(found.boxes, others.boxes).max(1, initial=0) < 0.5
        for i, one in zip(found.ids.tolist(), missing.tolist(), strict=True):
            lost[i].append(one)
    drawn = np.array([some[random.integers(len(some))] for some in lost.values()], bool)
    return float(np.mean([np.mean(some) for some in lost.values()])) if lost else 0.0, drawn
