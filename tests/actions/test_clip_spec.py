"""The description of clips: rectangles by hand, and what it rejects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.actions.clip_spec import ClipSection, ClipSpec, crop_rectangles
from edgevid.errors import InputError
from edgevid.files.schema import vars_of
from edgevid.runtime import Recipe, read_recipe, write_recipe


def test_the_rectangle_by_hand() -> None:
    boxes = np.array([[10, 20, 30, 60]], np.float32)  # 20 wide, 40 high, center (20, 40)
    wide = ClipSpec(width=10, height=10, context=1.5)
    assert crop_rectangles(boxes, wide).tolist() == [[-10, 10, 50, 70]]  # 1.5 x 40 = 60 square
    stretch = ClipSpec(width=10, height=10, context=1.5, fit="stretch")
    assert crop_rectangles(boxes, stretch).tolist() == [[5, 10, 35, 70]]
    head = ClipSpec(width=10, height=10, context=1.0, region=(0.0, 0.0, 1.0, 0.5))
    assert crop_rectangles(boxes, head).tolist() == [[10, 20, 30, 40]]


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"rate_hz": 0}, {"policy": "boxes"}, {"min_steps": 9}, {"region": (1, 0, 0, 1)}, {"context": 0}],
)
def test_a_spec_that_cannot_be_cut_is_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        ClipSpec(**({"steps": 4} | wrong))  # type: ignore[arg-type]


def test_a_spec_survives_its_recipe(tmp_path: Path) -> None:
    expected = ClipSpec(steps=20, rate_hz=15, region=(0.1, 0, 0.9, 0.5), policy="union")
    section = ClipSection(**vars_of(expected), activation="none")
    path = tmp_path / "recipe.toml"
    write_recipe(Recipe("m", "head", "m.onnx", path, tables={"clip": vars_of(section)}), path)
    recipe = read_recipe(path)
    assert ClipSection.read(recipe) == section
    assert ClipSection.read(recipe).spec() == expected
    assert ClipSection.read(recipe).spec().digest == expected.digest
