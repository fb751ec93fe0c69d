"""Camera health: speeds are silent from the moment the camera no longer stands as it was calibrated.

Two watches: the image against learned references (seconds; health_image.py), and the site's speeds against
their own history (dozens of vehicles; health_speeds.py). docs/health.md says what each can and cannot see.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.health.registration import Motion
from edgevid.health.speed_drift import Finding, SpeedDriftDetector
from edgevid.health.store import Alarm, HealthFolder
from edgevid.health.view_monitor import State, ViewMonitor
from edgevid.speed.calibration import CameraCalibration
from edgevid.types import Frame, Reason, SpeedReport, Speeds, Tracks

log = logging.getLogger("edgevid")
KINDS = ("moved", "lost", "ratio", "speeds")
"""What can raise an alarm: the image moved, shows another view, far against near, all speeds."""
REMEDY = "check the camera; calibration it again if it moved"


class CameraHealth:
    """A pipeline's watch over its camera: pass it as `Pipeline(..., health=...)`.

    `update` takes the speeds of a frame and gives them back, voided with CAMERA_MOVED while the camera
    seems to have moved, and from an alarm on until `acknowledge` or `relearn`.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        view: ViewMonitor | None = None,
        speeds: SpeedDriftDetector | None = None,
        calibration: CameraCalibration | None = None,
        alarms: tuple[str, ...] = KINDS,
        start: datetime | None = None,
        save_s: float = 600.0,
        on_alarm: Callable[[Alarm], None] | None = None,
    ) -> None:
        """`folder` keeps what is learned, and an open alarm, over restarts (None: nothing is kept).

        `view` and `speeds` set the two watches. With the `calibration`, an alarm says what the motion would do to
        speeds. `alarms` names the kinds that silence speeds; the others are
        only told in `events`. `start` is the local time of a recording's first frame (None: now).
        """
        if wrong := sorted(set(alarms) - set(KINDS)):
            raise InputError(f"camera health: expected alarms among {', '.join(KINDS)}, got {wrong[0]!r}")
        self.view, self.statistics = view or ViewMonitor(), speeds or SpeedDriftDetector()
        self.calibration = calibration
        self.alarm: Alarm | None = None
        self.events: list[str] = []
        """Sentences: alarms, answers, slow traffic, damaged files; the newest 100."""
        self._alarms, self._start, self._first = alarms, start, 0.0
        self._save_s, self._save_at, self._on_alarm = save_s, -np.inf, on_alarm
        self._folder = HealthFolder(folder) if folder is not None else None
        if self._folder is not None:
            self._load(self._folder)

    @property
    def state(self) -> State:
        """What the image says now."""
        return self.view.state

    @property
    def silent(self) -> bool:
        """Whether speeds are voided now."""
        doubted = self.view.state in (State.SUSPECT, State.SHAKING) and "moved" in self._alarms
        return self.alarm is not None or doubted

    @property
    def words(self) -> str:
        """One line for a person."""
        if self.alarm is not None:
            return f"{self.alarm.words}; {REMEDY}"
        return f"camera {self.view.state.value} ({self.view.why})"

    def update(self, frame: Frame, tracks: Tracks, speeds: SpeedReport) -> SpeedReport:
        """The speeds of this frame; all are CAMERA_MOVED while the camera is not as it was calibrated."""
        if self.view.update(frame):
            self._answer()
            if self.view.state in (State.MOVED, State.LOST):
                kind = "moved" if self.view.state is State.MOVED else "lost"
                self._raise(
                    kind, f"the camera {self.view.state.value}: {self.view.why}{self._cost()}", frame.time
                )
            self._keep(frame.time)
        if self.alarm is None and not self.silent:
            for finding in self.statistics.update(tracks, speeds.smoothed, speeds.track_speeds, self._now(frame.time)):
                self._hear(finding, frame.time)
        return speeds.map(invalidate) if self.silent else speeds

    def acknowledge(self) -> None:
        """Somebody looked, the camera stands as calibrated: clears the alarm; the view of now is right."""
        self.view.accept()
        self.statistics.speeds.clear()
        self.statistics.ratio.clear()
        self._clear("acknowledged: the camera stands as it was calibrated")

    def relearn(self) -> None:
        """The camera was calibrated again: clears the alarm and learns view and speeds anew."""
        self.view.forget()
        self.statistics.forget()
        self._clear("calibrated again: view and speeds are learned anew")

    def reset(self) -> None:
        """The stream starts again; what was learned, and an alarm, stay."""
        self.view.reset()
        self.statistics.reset()

    def close(self) -> None:
        """Writes what was learned."""
        self.save()

    def save(self) -> None:
        """Writes the folder; a full disk is logged and does not stop the pipeline."""
        if self._folder is None:
            return
        try:
            self._folder.write(self.view.known, self.statistics.to_dict(), self.alarm)
        except OSError as error:
            log.warning("camera health: %s cannot be written: %s", self._folder.path, error)

    def _load(self, folder: HealthFolder) -> None:
        known, statistics, self.alarm = folder.read()
        try:
            if statistics is not None:
                self.statistics.from_dict(statistics)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            folder.quarantine(f"statistics: {type(error).__name__}: {error}")
        self.view.known = known
        if known:
            self.view.state, self.view.why = State.UNSURE, "not looked yet"
        for note in folder.notes:
            self._tell(note)

    def _now(self, time: float) -> datetime:
        if self._start is None:
            self._start, self._first = datetime.now(), time
        return self._start + timedelta(seconds=time - self._first)

    def _hear(self, finding: Finding, time: float) -> None:
        """A finding of the statistics: slow traffic before a camera in place is no fault of the camera."""
        if finding.kind == "speeds" and finding.way == "down" and self.view.state is State.OK:
            self._tell(
                f"{self._now(time):%Y-%m-%d %H:%M}: {finding.words}; the image has not moved: traffic?"
            )
            return
        self._raise(finding.kind, f"something has happened: {finding.words}", time)

    def _raise(self, kind: str, words: str, time: float) -> None:
        if self.alarm is not None:
            return
        when = self._now(time).isoformat(timespec="seconds")
        if kind not in self._alarms:
            if not self.events or not self.events[-1].endswith(words):
                self._tell(f"{when}: {words}")
            return
        self.alarm = Alarm(kind, words, when)
        self._tell(f"{when}: ALARM, {words}; {REMEDY}")
        self.save()
        if self._on_alarm is not None:
            self._on_alarm(self.alarm)

    def _cost(self) -> str:
        """What a motion would do to speeds, where the calibration is known."""
        if self.calibration is None or self.view.motion is None or self.view.state is not State.MOVED:
            return ""
        share = speed_error(self.calibration, self.view.motion)
        return "" if not np.isfinite(share) else f" (speeds would read {100 * share:+.1f} %)"

    def _answer(self) -> None:
        """Takes up what `edgevid health` was told."""
        choice = self._folder.pop_acknowledgement() if self._folder is not None else ""
        if choice == "kept":
            self.acknowledge()
        elif choice == "recalibrated":
            self.relearn()

    def _clear(self, words: str) -> None:
        self.alarm = None
        self._tell(words)
        self.save()

    def _keep(self, time: float) -> None:
        if time >= self._save_at:
            if np.isfinite(self._save_at):
                self.save()
            self._save_at = time + self._save_s

    def _tell(self, words: str) -> None:
        self.events = [*self.events[-99:], words]
        log.warning("camera health: %s", words)

    def __enter__(self) -> CameraHealth:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def speed_error(calibration: CameraCalibration, motion: Motion) -> float:
    """By what share speeds in the region are wrong when the image moved and the calibration did not.

    Of the two directions on the plane the one that errs more; NaN where the moved points lie off the plane.
    """
    calibration = calibration.scaled_to(motion.size)
    x1, y1, x2, y2 = calibration.region.bounds
    share = np.array([0.3, 0.5, 0.7])
    pixels = np.stack(np.meshgrid(x1 + share * (x2 - x1), y1 + share * (y2 - y1)), -1).reshape(-1, 2)
    here = calibration.to_ground(pixels)
    errors = []
    for step in ((0.5, 0.0), (0.0, 0.5)):
        ends = [calibration.to_image(here + sign * np.array(step)) for sign in (-1, 1)]
        seen = [calibration.to_ground(motion.apply(end)) for end in ends]
        errors.append(float(np.median(np.hypot(*(seen[1] - seen[0]).T))) - 1.0)
    return max(errors, key=abs)


def invalidate(speeds: Speeds) -> Speeds:
    """The same rows, all silent with CAMERA_MOVED."""
    nothing = np.full(len(speeds), np.nan)
    reason = np.full(len(speeds), Reason.CAMERA_MOVED, np.uint8)
    return dataclasses.replace(speeds, mps=nothing, heading=nothing.copy(), reason=reason)
