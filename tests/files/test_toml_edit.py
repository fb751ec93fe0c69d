"""Edits of TOML: what a person wrote stays, byte by byte, and only the keys that differ change."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from edgevid.errors import InputError
from edgevid.files.toml import _HEADER, edit_toml, parse_toml

TEXT = """\
# the gate of the yard
source = "rtsp://${USER}:${PASS}@gate/1"   # main stream

# where the lorries stand
[[zone]]  # the first
name = "dock"      # as on the plan
points = [
    [10, 20],      # at the lamp
    [30, 20], [30, 40.50],
]
dwell_s = 60

[camera]
size = [1920, 1080]   # of the plan

# people cross here
[[line]]
name = "gate"
start = [1, 2]
end = [3, 4]

# bicycles
[[zone]]
name = "rack"
points = [[1, 1], [9, 1], [9, 9]]
# not yet: direction = 90
"""
DOCK: dict[str, Any] = {"name": "dock", "points": [[10.0, 20.0], [30.0, 20.0], [30.0, 40.5]], "dwell_s": 60.0}
RACK: dict[str, Any] = {"name": "rack", "points": [[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]]}
GATE: dict[str, Any] = {"name": "gate", "start": [1.0, 2.0], "end": [3.0, 4.0]}


def edited(folder: Path, zones: list[dict[str, Any]], lines: list[dict[str, Any]], text: str = TEXT) -> str:
    path = folder / "a.toml"
    path.write_bytes(text.encode())
    return edit_toml(path, {"[zone]": zones, "[line]": lines})


def test_the_same_values_change_no_byte(tmp_path: Path) -> None:
    assert edited(tmp_path, [DOCK, RACK], [GATE]) == TEXT
    assert edited(tmp_path, [RACK, DOCK], [GATE]) == TEXT


def test_only_the_key_that_differs_changes(tmp_path: Path) -> None:
    new = edited(tmp_path, [DOCK | {"dwell_s": 90.0}, RACK], [GATE])
    assert new == TEXT.replace("dwell_s = 60", "dwell_s = 90.0")
    moved = RACK | {"points": [[1.0, 1.0], [9.0, 1.0], [9.0, 9.5]]}
    new = edited(tmp_path, [DOCK, moved], [GATE])
    assert new == TEXT.replace("[[1, 1], [9, 1], [9, 9]]", "[[1.0, 1.0], [9.0, 1.0], [9.0, 9.5]]")


def test_a_renamed_row_is_found_by_its_points(tmp_path: Path) -> None:
    new = edited(tmp_path, [DOCK | {"name": "bay"}, RACK], [GATE])
    assert new == TEXT.replace('name = "dock"', 'name = "bay"')


def test_a_deleted_row_takes_its_own_comments_only(tmp_path: Path) -> None:
    new = edited(tmp_path, [RACK], [GATE])
    assert "lorries" not in new
    assert "dock" not in new
    kept = TEXT[: TEXT.index("# where the lorries")] + TEXT[TEXT.index("[camera]") :]
    assert new == kept
    new = edited(tmp_path, [DOCK, RACK], [])
    assert "people cross" not in new
    assert "# bicycles\n[[zone]]" in new


def test_a_new_row_stands_after_the_last_of_its_kind(tmp_path: Path) -> None:
    new = edited(tmp_path, [DOCK, RACK], [GATE, {"name": "exit", "start": [5.0, 5.0], "end": [6.0, 6.0]}])
    added = '\n[[line]]\nname = "exit"\nstart = [5.0, 5.0]\nend = [6.0, 6.0]\n'
    assert new == TEXT.replace("end = [3, 4]\n", "end = [3, 4]\n" + added)


def test_a_first_row_stands_at_the_end(tmp_path: Path) -> None:
    new = edited(tmp_path, [RACK], [], 'source = "a.mp4"  # short')
    assert new.startswith('source = "a.mp4"  # short\n\n[[zone]]\nname = "rack"\n')
    assert edited(tmp_path, [], [], TEXT[TEXT.index("# people") : TEXT.index("# bicycles")]) == ""


def test_rows_written_inline_become_tables(tmp_path: Path) -> None:
    text = 'zone = [{name = "rack", points = [[1, 1], [9, 1], [9, 9]]}]\nsource = "a.mp4"  # short\n'
    new = edited(tmp_path, [RACK], [GATE], text)
    assert parse_toml(new) == {"source": "a.mp4", "zone": [RACK], "line": [GATE]}
    assert "# short" in new


def test_windows_lines_stay(tmp_path: Path) -> None:
    text = TEXT.replace("\n", "\r\n")
    assert edited(tmp_path, [DOCK, RACK], [GATE], text) == text
    new = edited(tmp_path, [DOCK, RACK, RACK | {"name": "x"}], [GATE], text)
    assert new.count("\n") == new.count("\r\n")


def test_single_tables_and_keys_of_the_top(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("size = [1, 2]  # px\nnote = 'x'\nother = 1\n\n[lens]  # wide\nk1 = 0.1\nfocal = 3\n")
    new = edit_toml(path, {"": [{"size": (1, 2), "note": None}], "lens": [{"k1": 0.2}], "[points]": [{"x": 1}]})
    assert new == "size = [1, 2]  # px\nother = 1\n\n[lens]  # wide\nk1 = 0.2\n\n[[points]]\nx = 1\n"
    assert edit_toml(path, {"": [{}], "lens": []}) == "size = [1, 2]  # px\nnote = 'x'\nother = 1\n\n"


def test_what_cannot_be_edited_is_left_to_the_user(tmp_path: Path) -> None:
    text = 'note = """\n[[zone]]\nname = 1\n"""\n'
    with pytest.raises(InputError, match=r"a\.toml: its tables cannot be edited in place; edit the file by hand"):
        edited(tmp_path, [RACK], [], text)


def test_a_long_line_that_is_no_header_is_read_in_linear_time() -> None:
    start = time.process_time()
    assert _HEADER.match("[" + "a." * 10_000 + "!") is None
    assert _HEADER.match('[[a . "b.c"]]  # d')
    assert time.process_time() - start < 1
