"""The folder of camera health: read back as written, damage quarantined, nothing read outside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from health_views import VIEW, moved

from edgevid.errors import InputError
from edgevid.health.monitor import ACKNOWLEDGEMENT, FORMAT, STATE, Alarm, HealthFolder
from edgevid.health.registration import Motion, Reference
from edgevid.health.view_monitor import LearnedReference

SIZE = (640, 360)
ALARM = Alarm("moved", "the image shifted by 6 pixels", "2026-03-02T08:00:00")

ROW = {"file": "a.png", "dx": 0, "dy": 0, "rotation_deg": 0, "scale": 1}


def reference(image: np.ndarray = VIEW, dx: float = 0.0) -> LearnedReference:
    gray = np.ascontiguousarray(image[:, :, 0])
    return LearnedReference(Reference(gray, SIZE), Motion(dx, -1.5, 0.25, 1.01, SIZE), 7.0)


def images(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.png"))


def damaged(folder: Path, **changes: Any) -> HealthFolder:
    """The folder after these values of its state were replaced."""
    made = HealthFolder(folder)
    made.write([reference()], {"n": 1}, ALARM)
    state = json.loads((folder / STATE).read_text())
    (folder / STATE).write_text(json.dumps({**state, **changes}))
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


def test_images_are_written_once_and_removed_with_their_reference(tmp_path: Path) -> None:
    folder = HealthFolder(tmp_path)
    folder.write([reference()], {}, None)
    (first,) = images(tmp_path)
    before = (tmp_path / first).stat().st_mtime_ns
    folder.write([reference(), reference(moved(6, 0))], {}, None)
    assert (tmp_path / first).stat().st_mtime_ns == before
    assert len(images(tmp_path)) == 2
    folder.write([reference(moved(6, 0))], {}, None)
    assert len(images(tmp_path)) == 1
    assert first not in images(tmp_path)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "null", '{"format": 1}', '{"format": 2, "alarm": null, "size": null, "references": [{}]}']
)
def test_a_damaged_state_is_quarantined(tmp_path: Path, damage: str) -> None:
    (tmp_path / STATE).write_text(damage)
    folder = HealthFolder(tmp_path)
    assert folder.read() == ([], None, None)
    assert (tmp_path / f"{STATE}.bad").read_text() == damage
    assert not (tmp_path / STATE).exists()
    (note,) = folder.notes
    assert "damaged" in note
    assert "make sure that the camera stands as it was calibrated" in note


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": FORMAT + 1}, f"expected format {FORMAT}, got {FORMAT + 1}"),
        ({"alarm": {"kind": "fire", "message": "", "time": ""}}, "got 'fire'"),
        ({"size": [0, 360]}, "the offset of a reference"),
        ({"references": [{"file": "a", "dx": 0, "dy": 0, "rotation_deg": 0, "scale": 0}]}, "the offset of"),
        ({"references": [{"file": "a", "dx": 1e999, "dy": 0, "rotation_deg": 0, "scale": 1}]}, "the offset of"),
        ({"statistics": None}, "TypeError"),
    ],
)
def test_each_damaged_value_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = damaged(tmp_path, **changes)
    assert folder.read() == ([], None, None)
    assert words in folder.notes[0]


@pytest.mark.parametrize("name", ["../outside.png", "/outside.png", "gone.png", "state.json"])
def test_a_reference_that_is_no_image_of_the_folder_is_left_out(tmp_path: Path, name: str) -> None:
    made = HealthFolder(tmp_path / "gate")
    made.write([reference()], {"n": 1}, ALARM)
    (image,) = images(made.path)
    (made.path / image).rename(tmp_path / "outside.png")
    name = str(tmp_path / "outside.png") if name.startswith("/") else name
    rows = json.loads((made.path / STATE).read_text())["references"]
    folder = damaged(made.path, references=[{**rows[0], "file": name}])
    assert folder.read() == ([], {"n": 1}, ALARM)  # the rest is kept
    assert "this reference is left out" in folder.notes[0]


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
    with pytest.raises(InputError, match=r"cannot be made \(Not a dir"):
        HealthFolder(tmp_path / "file" / "gate")
