"""The file of activation ranges: each mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid.errors import FileFormatError, InputError
from edgevid.optimize.quantize.quantizer import quantize
from edgevid.optimize.quantize.ranges import Calibration, Measured, calibration_text, read_ranges
from edgevid.runtime.recipe import LocalRecipe


def calibration(sha256: str, **more: object) -> Calibration:
    measured = Measured("other", "other.onnx", sha256, "min-max", 1, "1" * 64, ("v.mp4",))
    return Calibration(measured, {"x": (0.0, 1.0)}, {"onnx": "1"})


def test_ranges_of_another_model_are_an_error(net: LocalRecipe, tmp_path: Path) -> None:
    ranges = tmp_path / "other.toml"
    ranges.write_text(calibration_text(calibration("0" * 64)))
    with pytest.raises(InputError, match=r"expected the ranges of .*small.onnx .* got those of other.onnx with 000"):
        quantize(net, ranges=ranges)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[0.0, 1.0]", "[1.0, 0.0]", "two finite numbers, the lower first"),
        ("[0.0, 1.0]", "[1.0]", "two finite numbers"),
        ("frames = 1", "frames = 0", "at least 1"),
        ("[measured]", "[mesured]", "measured"),
    ],
)
def test_mistakes_in_a_ranges_file_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "r.toml"
    text = calibration_text(calibration("0" * 64))
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(FileFormatError, match=message):
        read_ranges(path)
