"""CameraHealth: speeds abstain with CAMERA_MOVED once the camera no longer stands as it was calibrated. Two
detectors: the image against learned references (seconds; view_monitor.py), and the site's speeds against their
own history (dozens of vehicles; speed_drift.py). docs/health.md lists what each can and cannot detect."""

import dataclasses
import json
import os
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args
from weakref import finalize

import numpy as np

from edgevid._opencv import require_opencv
from edgevid.errors import InputError, log
from edgevid.files.atomic import atomic_path, claim, make_folder, quarantine, write_atomic
from edgevid.health.registration import Motion, Reference
from edgevid.health.speed_drift import SpeedDriftDetector
from edgevid.health.view_monitor import LearnedReference, State, ViewMonitor
from edgevid.speed.calibration import CameraCalibration
from edgevid.types import Closing, Frame, Reason, SpeedReport, Speeds, Tracks
from edgevid.types.event import CLOCK_SET_S

REMEDY = "check the camera; calibrate it again if it moved"
MAX_EVENTS = 100
STATE = "state.npz"
ACKNOWLEDGEMENT = "acknowledgement"  # Left by `edgevid health` for the running monitor, removed at its next check
FORMAT = 3
SET_S = 60.0  # A clock that is set by more has shown a wrong hour before
Kind = Literal["moved", "lost", "ratio", "speeds"]
"""What raises an alarm: the image moved, shows another view, far against near, all speeds."""
KINDS: tuple[Kind, ...] = get_args(Kind)
Acknowledgement = Literal["unchanged", "recalibrated"]  # It stands as it was calibrated, or was calibrated again


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why speeds are CAMERA_MOVED until a user acknowledges it."""

    kind: Kind
    message: str
    time: str  # Local time, ISO 8601


class HealthFolder:
    """Reads and writes one camera's folder: one file of what was learned, and an answer to the alarm."""

    def __init__(self, path: str | Path) -> None:
        """Makes the folder; SourceError where that fails."""
        self.path = Path(path)
        self.notes: list[str] = []  # What was damaged
        make_folder(self.path)

    def read(self) -> tuple[list[LearnedReference], dict[str, Any] | None, Alarm | None]:
        """References, statistics and the open alarm; empty where there is nothing yet or it is damaged."""
        if not (file := self.path / STATE).exists():
            return [], None, None
        try:
            with np.load(file) as held:
                state = json.loads(str(held["state"]))
                if state["format"] != FORMAT:
                    raise ValueError(f"expected format {FORMAT}, got {state['format']!r}")
                alarm = Alarm(**state["alarm"]) if state["alarm"] else None
                if alarm and alarm.kind not in KINDS:
                    raise ValueError(f"expected an alarm among {KINDS}, got {alarm.kind!r}")
                references = []
                for number, (dx, dy, rotation, scale, *size) in enumerate(state["offsets"]):
                    if not (np.isfinite([dx, dy, rotation, scale]).all() and min(scale, *size) > 0):
                        raise ValueError(f"the offset of a reference is {dx, dy, rotation, scale} on {size}")
                    offset = Motion(dx, dy, rotation, scale, (size[0], size[1]))
                    references.append(LearnedReference(Reference(held[str(number)], offset.size), offset, -1.0))
            return references, dict(state["statistics"]), alarm
        except Exception as error:  # whatever a damaged file provokes
            self.quarantine(f"{type(error).__name__}: {error}")
            return [], None, None

    def quarantine(self, why: str) -> None:
        """Renames a damaged file and notes it."""
        file = self.path / STATE
        quarantine(file, ".bad")
        self.notes.append(f"{file}: damaged ({why}); renamed to {STATE}.bad, and view and speeds are learned "
                          "again: make sure that the camera stands as it was calibrated")  # fmt: skip

    def write(self, references: list[LearnedReference], statistics: dict[str, Any], alarm: Alarm | None) -> None:
        """Writes everything; OSError where the disk cannot be written."""
        moved = [one.offset for one in references]
        state = {"format": FORMAT, "alarm": asdict(alarm) if alarm else None, "statistics": statistics,
                 "offsets": [(one.dx, one.dy, one.rotation_deg, one.scale, *one.size) for one in moved]}  # fmt: skip
        grays: dict[str, Any] = {str(number): one.reference.gray for number, one in enumerate(references)}
        with atomic_path(self.path / STATE) as new:
            np.savez_compressed(new, state=json.dumps(state), **grays)

    def put_acknowledgement(self, choice: Acknowledgement) -> None:
        """Leaves an answer to the alarm for the running monitor."""
        write_atomic(self.path / ACKNOWLEDGEMENT, choice)

    def pop_acknowledgement(self) -> Acknowledgement | None:
        """The answer to the alarm, once; None without one."""
        file, taken = self.path / ACKNOWLEDGEMENT, self.path / f".{ACKNOWLEDGEMENT}"
        try:
            file.replace(taken)  # one that comes now is the next one
            text = taken.read_bytes()
            taken.unlink()
        except OSError:
            return None
        return next((choice for choice in get_args(Acknowledgement) if choice.encode() == text), None)


class CameraHealth(Closing):
    """Monitors a pipeline's camera: pass it as `Pipeline(..., health=...)`. `update` passes a frame's speeds
    on, or invalidates them with CAMERA_MOVED: while the camera is suspected to have moved, and from an alarm on
    until `acknowledge` or `relearn`."""

    def __init__(self, folder: str | Path | None = None, *, view: ViewMonitor | None = None,
                 speed_drift: SpeedDriftDetector | None = None, calibration: CameraCalibration | None = None,
                 alarms: Sequence[Kind] = KINDS, start: datetime | None = None, save_s: float = 600.0,
                 on_alarm: Callable[[Alarm], None] | None = None) -> None:  # fmt: skip
        """`folder` keeps what is learned, and an open alarm, over restarts (None: nothing is kept).

        `view` and `speed_drift` are the two detectors (None: their defaults). With a `calibration`, an alarm
        states by what share speeds would be wrong. `alarms` are the kinds that invalidate speeds; the others
        are only reported in `events`. `start` is the local time of a recording's first frame (None: now, by a clock
        that may be set meanwhile). InUseError where another program monitors with the folder."""
        require_opencv("Camera health")
        if wrong := sorted(set(alarms) - set(KINDS)):
            raise InputError(f"camera health: expected alarms among {', '.join(KINDS)}, got {wrong[0]!r}")
        self.view, self.speed_drift = view or ViewMonitor(), speed_drift or SpeedDriftDetector()
        self.calibration = calibration
        self.alarm: Alarm | None = None
        self.events: list[str] = []  # Messages: alarms, acknowledgements, slow traffic, damaged files; the newest 100
        self._alarms, self._first, self._from_s = alarms, 0.0, -np.inf if start else CLOCK_SET_S
        self._start: float | None = start.timestamp() if start else None
        self._offset: float | None = None  # By how much the clock is ahead of a steady one
        self._save_s, self._save_at, self._on_alarm = save_s, -np.inf, on_alarm
        self._folder = HealthFolder(folder) if folder is not None else None
        if self._folder is not None:
            self._release = finalize(self, os.close, claim(self._folder.path))
            self.view.references, statistics, self.alarm = self._folder.read()
            try:
                if statistics is not None:
                    self.speed_drift.from_dict(statistics)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._folder.quarantine(f"statistics: {type(error).__name__}: {error}")
            if self.view.references:
                self.view.state, self.view.detail = State.UNKNOWN, "no check yet"
            for note in self._folder.notes:
                self._log(note)

    @property
    def state(self) -> State:
        """What the image shows now."""
        return self.view.state

    @property
    def invalidates(self) -> bool:
        """Whether speeds are CAMERA_MOVED now."""
        suspected = self.view.state in (State.SUSPECT, State.SHAKING) and "moved" in self._alarms
        return self.alarm is not None or suspected

    def update(self, frame: Frame, tracks: Tracks, speeds: SpeedReport) -> SpeedReport:
        """The speeds of this frame; all are CAMERA_MOVED while the camera is not as it was calibrated."""
        if self.view.update(frame):
            answer = self._folder.pop_acknowledgement() if self._folder is not None else None
            if answer is not None:  # what `edgevid health` left
                (self.acknowledge if answer == "unchanged" else self.relearn)()
            if self.view.state in (State.MOVED, State.LOST):
                kind: Kind = "moved" if self.view.state is State.MOVED else "lost"
                message, motion = f"the camera {self.view.state.value}: {self.view.detail}", self.view.motion
                if kind == "moved" and self.calibration is not None and motion is not None:
                    share = speed_error(self.calibration, motion)
                    if np.isfinite(share):
                        message += f" (speeds would be wrong by {100 * share:+.1f} %)"
                self._raise(kind, message, frame.time)
            if frame.time >= self._save_at:
                if np.isfinite(self._save_at):
                    self.save()
                self._save_at = frame.time + self._save_s
        now = self._now(frame.time)
        if not self.invalidates and now.timestamp() > self._from_s:  # else the hour of the week is unknown
            for finding in self.speed_drift.update(tracks, speeds.smoothed, speeds.track_speeds, now):
                # Slow traffic in front of an aligned camera is no fault of it.
                slow = finding.kind == "speeds" and finding.direction == "down"
                if slow and self.view.state is State.ALIGNED:
                    self._log(f"{now:%Y-%m-%d %H:%M}: {finding.message}; the image has not moved: traffic?")
                else:
                    self._raise(finding.kind, finding.message, frame.time)
        return self.hide(speeds)

    def hide(self, speeds: SpeedReport) -> SpeedReport:
        """`speeds`; all are CAMERA_MOVED while the camera is not as it was calibrated."""
        return speeds.map(invalidate) if self.invalidates else speeds

    def acknowledge(self) -> None:
        """A user checked the camera, it stands as calibrated: clears the alarm, accepts the current view."""
        self.view.accept()
        self.speed_drift.clear()
        self._clear("acknowledged: the camera stands as it was calibrated")

    def relearn(self) -> None:
        """The camera was calibrated again: clears the alarm and learns view and speeds again."""
        self.view.forget()
        self.speed_drift.forget()
        self._clear("calibrated again: view and speeds are learned again")

    def reset(self) -> None:
        """The stream starts again; what was learned, and an alarm, stay."""
        self.view.reset()
        self.speed_drift.reset()

    def close(self) -> None:
        """Saves the folder."""
        self.save()
        if self._folder is not None:
            self._release()

    def save(self) -> None:
        """Writes the folder; a full disk is logged and does not stop the pipeline."""
        if self._folder is None:
            return
        try:
            self._folder.write(self.view.references, self.speed_drift.to_dict(), self.alarm)
        except OSError as error:
            log.warning("camera health: %s cannot be written: %s", self._folder.path, error)

    def _now(self, time: float) -> datetime:
        """Local time of a moment of the stream. A clock that is set, and summer time, count from then on."""
        offset = clock.time() - clock.monotonic()
        if self._start is None:
            self._start, self._first, self._offset = clock.time(), time, offset
        if self._offset is not None and abs(step := offset - self._offset) > 1.0:
            self._start, self._offset = self._start + step, offset
            if abs(step) > SET_S:
                self.speed_drift.drop_hour()
        return datetime.fromtimestamp(self._start + time - self._first)

    def _raise(self, kind: Kind, message: str, time: float) -> None:
        if self.alarm is not None:
            return
        when = self._now(time).isoformat(timespec="seconds")
        if kind not in self._alarms:
            if not self.events or not self.events[-1].endswith(message):
                self._log(f"{when}: {message}")
            return
        self.alarm = Alarm(kind, message, when)
        self._log(f"{when}: ALARM, {message}; {REMEDY}")
        self.save()
        if self._on_alarm is not None:
            self._on_alarm(self.alarm)

    def _clear(self, message: str) -> None:
        self.alarm = None
        self._log(message)
        self.save()

    def _log(self, message: str) -> None:
        self.events = [*self.events[1 - MAX_EVENTS :], message]
        log.warning("camera health: %s", message)


def speed_error(calibration: CameraCalibration, motion: Motion) -> float:
    """By what share speeds in the region are wrong when the image moved and the calibration did not. Of the two
    directions on the plane the one with the larger error; NaN where the moved points lie off it."""
    calibration = calibration.scaled_to(motion.size)
    x1, y1, x2, y2 = calibration.region.bounds
    share = np.array([0.3, 0.5, 0.7])
    pixels = np.stack(np.meshgrid(x1 + share * (x2 - x1), y1 + share * (y2 - y1)), -1).reshape(-1, 2)
    meters = calibration.to_ground(pixels)
    errors = []
    for step in (np.array([0.5, 0.0]), np.array([0.0, 0.5])):
        ends = [calibration.to_image(meters + sign * step) for sign in (-1, 1)]
        start, end = (calibration.to_ground(motion.apply(pixels)) for pixels in ends)
        errors.append(float(np.median(np.hypot(*(end - start).T))) - 1.0)
    return max(errors, key=abs)


def invalidate(speeds: Speeds) -> Speeds:
    """The same rows, all CAMERA_MOVED."""
    nothing, reason = np.full(len(speeds), np.nan), np.full(len(speeds), Reason.CAMERA_MOVED, np.uint8)
    return dataclasses.replace(speeds, mps=nothing, heading=nothing.copy(), reason=reason)
