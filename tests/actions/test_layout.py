"""Layouts of skeletons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.actions.layout import LAYOUTS, JointLayout, find_layout
from edgevid.errors import FieldError, InputError


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_known_layout_is_a_tree_whose_mirror_keeps_bones(name: str) -> None:
    layout = LAYOUTS[name]
    assert len(layout.joints) == int(name.rpartition("-")[2])
    assert layout.mirror[layout.mirror].tolist() == list(range(len(layout.joints)))
    bones = {tuple(sorted(pair)) for pair in enumerate(layout.roots.tolist())}
    mirrored = {tuple(sorted((int(layout.mirror[a]), int(layout.mirror[b])))) for a, b in bones}
    assert mirrored == bones
    at = np.arange(len(layout.joints))
    for _ in layout.joints:
        at = layout.roots[at]
    assert (layout.roots[at] == at).all()  # every bone chain ends at a root
    assert len(set(at.tolist())) == 1


def test_rows_hold_coordinates_and_confidences() -> None:
    layout = JointLayout(("neck", "left hip", "right hip"), ("neck", "neck", "neck"), 3)
    points = np.arange(18.0).reshape(2, 3, 3)
    points[1, 2, 0] = np.nan
    rows = layout.rows(points, np.full((2, 3), 0.5))
    assert rows.shape == (2, layout.row_width) == (2, 12)
    found, confidence = layout.split(rows)
    np.testing.assert_array_equal(found[0], points[0])
    assert confidence.tolist() == [[0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    with pytest.raises(InputError, match="3 joints in 3-D and their confidences, 12 values, got 11"):
        layout.split(rows[:, :-1])


def test_layouts_are_found_by_name_by_count_and_in_a_file(tmp_path: Path) -> None:
    assert find_layout("kinect-20", joints=20, dims=3).dims == 3
    assert find_layout(joints=25) is not None
    path = tmp_path / "own.toml"
    path.write_text('joints = ["head", "left hand", "right hand"]\nparents = ["head", "head", "head"]\n')
    assert find_layout(path, joints=3).mirror.tolist() == [0, 2, 1]
    for wrong in ({"name": "kinect"}, {"name": "kinect-20", "joints": 15}, {"joints": 19}, {"joints": 15, "dims": 4}):
        with pytest.raises(InputError, match="jhmdb-15"):
            find_layout(**wrong)
    with pytest.raises(FieldError, match="both sides, so also right hand"):
        JointLayout(("head", "left hand"), ("head", "head"))
