"""The folder of camera health: read back as written, damage quarantined, nothing read outside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from health_views import VIEW, moved

from edgevid.errors import SourceError
from edgevid.health.monitor import ACKNOWLEDGEMENT, FORMAT, STATE, Alarm, HealthFolder
from edgevid.health.registration import Motion, Reference
from edgevid.health.view_monitor import LearnedReference

SIZE = (640, 360)
ALARM = Alarm("moved", "the image shifted by 6 pixels", "2026-03-02T08:00:00")


def reference(image: np.ndarray = VIEW, dx: float = 0.0) -> LearnedReference:
    gray = np.ascontiguousarray(image[:, :, 0])
    return LearnedReference(Reference(gray, SIZE), Motion(dx, -1.5, 0.25, 1.01, SIZE), 7.0)


def damaged(folder: Path, **changes: Any) -> HealthFolder:
    """The folder after these values of its state were replaced."""
    made = HealthFolder(folder)
    made.write([reference()], {"n": 1}, ALARM)
    with np.load(folder / STATE) as held:
        state, images = json.loads(str(held["state"])), {"0": held["0"]}
    images |= {key: changes.pop(key) for key in ("0",) if key in changes}
    np.savez_compressed(folder / STATE, state=json.dumps({**state, **changes}), **images)
    return made


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    HealthFolder(tmp_path / "gate").write([reference(), reference(moved(6, 0), 6.0)], {"n": [1, 2]}, ALARM)
    folder = HealthFolder(tmp_path / "gate")
    references, statistics, alarm = folder.read()
    assert (statistics, alarm, folder.notes) == ({"n": [1, 2]}, ALARM, [])
    assert [one.offset for one in references] == [
        Motion(0.0, -1.5, 0.25, 1.01, SIZE),
        Motion(6.0, -1.5, 0.25, 1.01, SIZE),
    ]
    np.testing.assert_array_equal(references[1].reference.gray, moved(6, 0)[:, :, 0])
    assert references[1].reference.size == SIZE


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    folder = HealthFolder(tmp_path)
    assert folder.read() == ([], None, None)
    folder.write([], {}, None)
    assert folder.read() == ([], {}, None)
    assert folder.notes == []


def test_what_is_learned_is_one_file(tmp_path: Path) -> None:
    folder = HealthFolder(tmp_path)
    folder.write([reference(), reference(moved(6, 0))], {}, None)
    folder.write([reference(moved(6, 0))], {}, None)
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    assert len(folder.read()[0]) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"PK\x03\x04", b"\x93NUMPY", "cut", "flipped"])
def test_a_damaged_state_is_quarantined(tmp_path: Path, damage: bytes | str) -> None:
    HealthFolder(tmp_path).write([reference()], {}, None)
    whole = (tmp_path / STATE).read_bytes()
    half = len(whole) // 2
    flipped = whole[:half] + bytes(255 - value for value in whole[half : half + 99]) + whole[half + 99 :]
    damage = {"cut": whole[:half], "flipped": flipped}.get(damage, damage)  # type: ignore[arg-type,assignment]
    (tmp_path / STATE).write_bytes(damage)  # type: ignore[arg-type]
    folder = HealthFolder(tmp_path)
    assert folder.read() == ([], None, None)
    assert (tmp_path / f"{STATE}.bad").read_bytes() == damage
    assert not (tmp_path / STATE).exists()
    (note,) = folder.notes
    assert "damaged" in note
    assert "make sure that the camera stands as it was calibrated" in note


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": FORMAT + 1}, f"expected format {FORMAT}, got {FORMAT + 1}"),
        ({"alarm": {"kind": "fire", "message": "", "time": ""}}, "got 'fire'"),
        ({"offsets": [[0, 0, 0, 1, 0, 360]]}, "the offset of a reference"),
        ({"offsets": [[0, 0, 0, 0, 640, 360]]}, "the offset of"),
        ({"offsets": [[1e999, 0, 0, 1, 640, 360]]}, "the offset of"),
        ({"offsets": [[0, 0, 0, 1, 640, 360]] * 2}, "KeyError"),
        ({"0": np.zeros((9, 9), np.uint8)}, "expected a gray image of at least"),
        ({"statistics": None}, "TypeError"),
    ],
)
def test_each_damaged_value_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = damaged(tmp_path, **changes)
    assert folder.read() == ([], None, None)
    assert words in folder.notes[0]


def test_an_acknowledgement_is_taken_once(tmp_path: Path) -> None:
    folder = HealthFolder(tmp_path)
    assert folder.pop_acknowledgement() is None
    folder.put_acknowledgement("unchanged")
    folder.put_acknowledgement("recalibrated")
    assert HealthFolder(tmp_path).pop_acknowledgement() == "recalibrated"
    assert folder.pop_acknowledgement() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"choice": "later"}', '{"choice": ["unchanged"]}'])
def test_a_damaged_acknowledgement_is_none_and_goes(tmp_path: Path, text: str) -> None:
    (tmp_path / ACKNOWLEDGEMENT).write_text(text)
    assert HealthFolder(tmp_path).pop_acknowledgement() is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="is a file, not a folder"):
        HealthFolder(tmp_path / "file" / "gate")
