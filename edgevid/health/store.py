"""What camera health keeps over a restart: a folder with state.json and the reference images.

Every file is replaced in one step. A damaged one is quarantined with a message and learned again.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from edgevid._opencv import cv2
from edgevid.errors import InputError
from edgevid.files.atomic import quarantine, write_atomic
from edgevid.files.digest import sha256
from edgevid.health.registration import Motion, Reference
from edgevid.health.view_monitor import LearnedReference

STATE = "state.json"
ACKNOWLEDGEMENT = "acknowledgement.json"
"""Left by `edgevid health` for the running monitor, which removes it at its next check."""
FORMAT = 2
OFFSET = ("dx", "dy", "rotation_deg", "scale")
Kind = Literal["moved", "lost", "ratio", "speeds"]
"""What raises an alarm: the image moved, shows another view, far against near, all speeds."""
Acknowledgement = Literal["unchanged", "recalibrated"]
"""The camera stands as it was calibrated, or was calibrated again."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why speeds are CAMERA_MOVED until a user acknowledges it."""

    kind: Kind
    message: str
    time: str
    """Local time, ISO 8601."""


class HealthFolder:
    """Reads and writes one camera's folder."""

    def __init__(self, path: str | Path) -> None:
        """Makes the folder; InputError where that fails."""
        self.path = Path(path)
        self.notes: list[str] = []  # What was damaged
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"camera health: {path} cannot be made ({error.strerror})") from None

    def read(self) -> tuple[list[LearnedReference], dict[str, Any] | None, Alarm | None]:
        """References, statistics and the open alarm; empty where there is nothing yet or it is damaged."""
        file = self.path / STATE
        if not file.exists():
            return [], None, None
        try:
            state = json.loads(file.read_text(encoding="utf-8"))
            if state["format"] != FORMAT:
                raise ValueError(f"expected format {FORMAT}, got {state['format']!r}")
            alarm = None
            if row := state["alarm"]:
                if row["kind"] not in get_args(Kind):
                    raise ValueError(f"expected an alarm among {get_args(Kind)}, got {row['kind']!r}")
                alarm = Alarm(row["kind"], str(row["message"]), str(row["time"]))
            size = (int(state["size"][0]), int(state["size"][1])) if state["size"] else (0, 0)
            offsets = []
            for row in state["references"]:
                values = [float(row[key]) for key in OFFSET]
                if not (np.isfinite(values).all() and values[3] > 0 and min(size) > 0):
                    raise ValueError(f"the offset of a reference is {values} on {size}")
                offsets.append((str(row["file"]), Motion(values[0], values[1], values[2], values[3], size)))
            statistics = dict(state["statistics"])
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            self.quarantine(f"{type(error).__name__}: {error}")
            return [], None, None
        references = [self._reference(name, offset) for name, offset in offsets]
        return [one for one in references if one is not None], statistics, alarm

    def quarantine(self, why: str) -> None:
        """Renames a damaged state.json and notes it."""
        file = self.path / STATE
        quarantine(file, ".bad")
        self.notes.append(
            f"{file}: damaged ({why}); renamed to {STATE}.bad, and view and speeds are learned again: "
            "make sure that the camera stands as it was calibrated"
        )

    def write(self, references: list[LearnedReference], statistics: dict[str, Any], alarm: Alarm | None) -> None:
        """Writes everything; OSError where the disk cannot be written."""
        rows = []
        for one in references:
            data = cv2.imencode(".png", one.reference.gray)[1].tobytes()
            name = f"reference-{sha256(data)[:12]}.png"
            if not (self.path / name).exists():
                write_atomic(self.path / name, data)
            rows.append({"file": name} | {key: getattr(one.offset, key) for key in OFFSET})
        state = {
            "format": FORMAT,
            "size": list(references[0].reference.size) if references else None,
            "alarm": asdict(alarm) if alarm else None,
            "references": rows,
            "statistics": statistics,
        }
        write_atomic(self.path / STATE, json.dumps(state, separators=(",", ":")))
        named = {row["file"] for row in rows}
        for old in self.path.glob("reference-*.png"):
            if old.name not in named:
                old.unlink(missing_ok=True)

    def put_acknowledgement(self, choice: Acknowledgement) -> None:
        """Leaves an answer to the alarm for the running monitor."""
        write_atomic(self.path / ACKNOWLEDGEMENT, json.dumps({"choice": choice}))

    def pop_acknowledgement(self) -> Acknowledgement | None:
        """The answer to the alarm, once; None without one."""
        file = self.path / ACKNOWLEDGEMENT
        if not file.exists():
            return None
        try:
            choice = json.loads(file.read_text(encoding="utf-8"))["choice"]
        except (OSError, ValueError, KeyError, TypeError):
            choice = None
        file.unlink(missing_ok=True)
        return choice if choice in get_args(Acknowledgement) else None

    def _reference(self, name: str, offset: Motion) -> LearnedReference | None:
        file = self.path / name
        data = file.read_bytes() if file.is_file() and file.parent == self.path else b""
        gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
        try:
            if gray is None:
                raise InputError("it is missing or does not decode")
            return LearnedReference(Reference(np.asarray(gray, np.uint8), offset.size), offset, -1.0)
        except InputError as error:
            self.notes.append(f"{file}: this reference is left out ({error}); it is learned again")
            return None
