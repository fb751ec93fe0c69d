"""What camera health remembers over a restart: a folder with state.json and the reference images.

Every file is written whole and put in place in one step. A damaged one is set aside with a sentence, and
its part is learned anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgevid.errors import InputError
from edgevid.files.atomic import quarantine, write_atomic
from edgevid.files.digest import sha256
from edgevid.health.registration import Motion, Reference
from edgevid.health.view_monitor import Known

STATE = "state.json"
ANSWER = "acknowledge.json"
"""Left by `edgevid health` for the program that watches; it is read within a check and removed."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Alarm:
    """Why speeds are silent until somebody has looked."""

    kind: str
    """"moved", "lost", "ratio" or "speeds"."""
    words: str
    when: str
    """Local time, ISO 8601."""


class HealthFolder:
    """Reads and writes one camera's folder."""

    def __init__(self, path: str | Path) -> None:
        """Makes the folder; InputError where that cannot be."""
        self.path = Path(path)
        self.notes: list[str] = []
        """What was damaged, in sentences."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"camera health: {path}: expected a folder to keep what is learned, it cannot be made "
                f"({error.strerror})"
            ) from None

    def read(self) -> tuple[list[Known], dict[str, Any] | None, Alarm | None]:
        """References, statistics and the open alarm; empty where there is nothing yet or it is damaged."""
        file = self.path / STATE
        if not file.exists():
            return [], None, None
        try:
            given = json.loads(file.read_text(encoding="utf-8"))
            if given["format"] != FORMAT:
                raise ValueError(f"format {given['format']!r} is not {FORMAT}")
            alarm = Alarm(**{k: str(given["alarm"][k]) for k in Alarm.__slots__}) if given["alarm"] else None
            size = (int(given["size"][0]), int(given["size"][1])) if given["size"] else (0, 0)
            listed = [(str(one["file"]), _motion(one, size)) for one in given["references"]]
            statistics = dict(given["statistics"])
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            self.quarantine(f"{type(error).__name__}: {error}")
            return [], None, None
        known = [self._reference(name, offset) for name, offset in listed]
        return [one for one in known if one is not None], statistics, alarm

    def quarantine(self, why: str) -> None:
        """Keeps a damaged state.json under another name and says so."""
        file = self.path / STATE
        quarantine(file, ".bad")
        self.notes.append(
            f"{file}: damaged ({why}); it is kept as {STATE}.bad, and view and speeds are learned anew: "
            "make sure that the camera stands as it was calibrated"
        )

    def write(self, known: list[Known], statistics: dict[str, Any], alarm: Alarm | None) -> None:
        """Puts all of it in place; OSError where the disk refuses."""
        rows = []
        for one in known:
            data = cv2.imencode(".png", one.reference.gray)[1].tobytes()
            name = f"reference-{sha256(data)[:12]}.png"
            if not (self.path / name).exists():
                self._put(name, data)
            o = one.offset
            rows.append(
                {"file": name, "dx": o.dx, "dy": o.dy, "rotation_deg": o.rotation_deg, "scale": o.scale}
            )
        state = {
            "format": FORMAT,
            "size": list(known[0].reference.size) if known else None,
            "alarm": {key: getattr(alarm, key) for key in Alarm.__slots__} if alarm else None,
            "references": rows,
            "statistics": statistics,
        }
        self._put(STATE, json.dumps(state, separators=(",", ":")).encode())
        named = {row["file"] for row in rows}
        for old in self.path.glob("reference-*.png"):
            if old.name not in named:
                old.unlink(missing_ok=True)

    def answer(self, choice: str) -> None:
        """Leaves an answer for the program that watches: "kept" or "recalibrated"."""
        self._put(ANSWER, json.dumps({"choice": choice}).encode())

    def pop_acknowledgement(self) -> str:
        """The answer that was left, once; "" without one."""
        file = self.path / ANSWER
        if not file.exists():
            return ""
        try:
            choice = json.loads(file.read_text(encoding="utf-8"))["choice"]
        except (OSError, ValueError, KeyError, TypeError):
            choice = ""
        file.unlink(missing_ok=True)
        return choice if choice in ("kept", "recalibrated") else ""

    def _put(self, name: str, data: bytes) -> None:
        write_atomic(self.path / name, data)

    def _reference(self, name: str, offset: Motion) -> Known | None:
        file = self.path / name
        data = file.read_bytes() if file.is_file() and file.parent == self.path else b""
        gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
        try:
            if gray is None:
                raise InputError("it is missing or does not decode")
            return Known(Reference(gray, offset.size), offset, -1.0)
        except InputError as error:
            self.notes.append(f"{file}: this reference is left out ({error}); it is learned anew")
            return None


def _motion(row: dict[str, Any], size: tuple[int, int]) -> Motion:
    values = [float(row[key]) for key in ("dx", "dy", "rotation_deg", "scale")]
    if not (np.isfinite(values).all() and values[3] > 0 and min(size) > 0):
        raise ValueError(f"a reference's place is {values} on {size}")
    return Motion(values[0], values[1], values[2], values[3], size)
