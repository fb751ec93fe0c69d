"""edgevid without OpenCV: the core runs, and what draws names the pip line; a broken OpenCV is told apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from street_folder import CORE_RUN, write_street

from edgevid import _opencv
from edgevid.errors import MissingExtraError
from edgevid.speed.calibration_file import read_calibration
from edgevid.video.images import to_jpeg

INSTALLED = "import sys; sys.path[:] = [p for p in sys.path if p]; sys.modules['cv2'] = None\n"
"""Takes the installed package, not the checkout's without kernels, and no OpenCV."""
NEEDS = {
    "Drawing": "from edgevid import Overlay; Overlay()",
    "Camera health": "from edgevid import CameraHealth; CameraHealth()",
    "The viewer": "from edgevid.viewer.serve import Server; Server(None)",
    "The page": "from edgevid.viewer.serve import Server; Server(None, purpose='The page')",
}
"""What names itself in the message, and a line that needs OpenCV."""


def without_opencv(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", INSTALLED + code, *arguments], capture_output=True, text=True, check=False
    )


def test_the_core_runs_without_opencv(tmp_path: Path) -> None:
    write_street(tmp_path)
    done = without_opencv(CORE_RUN.read_text(), str(tmp_path))
    assert done.stdout.strip() == "without OpenCV", done.stderr


def test_the_rendered_street_needs_no_opencv() -> None:
    code = "from edgevid.synthetic import RenderedStreet; print(RenderedStreet().render(1.0).shape)"
    done = without_opencv(code)
    assert done.stdout.strip() == "(720, 1280, 3)", done.stderr


def test_what_draws_names_the_pip_line() -> None:
    lines = [f"try:\n    {code}\nexcept EdgevidError as error:\n    print(error)" for code in NEEDS.values()]
    lines.insert(0, "from edgevid import EdgevidError")
    done = without_opencv("\n".join(lines))
    remedy = 'Add it with: pip install "edgevid[opencv]"'
    printed = done.stdout.splitlines()
    assert len(printed) == len(NEEDS), done.stderr
    for what, line in zip(NEEDS, printed, strict=True):
        assert line.startswith(f"{what} needs the package 'cv2', which is not installed. {remedy}")


COMMAND = "from edgevid.cli import main, demo_main; {}(sys.argv[1:])"


def test_the_demo_says_at_once_what_it_needs(tmp_path: Path) -> None:
    done = without_opencv(COMMAND.format("demo_main"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "edgevid-demo needs the package 'cv2'" in done.stderr
    assert "edgevid[opencv]" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_camera_is_calibrated_without_opencv_but_its_image_not_drawn(tmp_path: Path) -> None:
    (tmp_path / "gate.jpg").write_bytes(to_jpeg(np.full((540, 960, 3), 90, np.uint8)))
    corners = ("--rectangle", "200,450 750,450 550,200 400,200", "--width-m", "7", "--length-m", "30")
    calibrate = ("calibrate", str(tmp_path / "gate.jpg"), *corners)
    done = without_opencv(COMMAND.format("main"), *calibrate, "--out", str(tmp_path / "gate.toml"))
    assert done.returncode == 0, done.stderr
    assert read_calibration(tmp_path / "gate.toml").size == (960, 540)
    done = without_opencv(COMMAND.format("main"), *calibrate, "--image", str(tmp_path / "grid.png"))
    assert done.returncode == 2
    assert "--image needs the package 'cv2'" in done.stderr


ADD = 'pip install "edgevid[opencv]"'
GONE = ModuleNotFoundError("No module named 'cv2'", name="cv2")
NO_GL = ImportError("libGL.so.1: cannot open shared object file")


@pytest.mark.parametrize(
    ("fault", "listed", "message"),
    [
        (GONE, (), f"is not installed. Add it with: {ADD}"),
        (GONE, ("opencv-python",), "pip install --force-reinstall --no-deps opencv-python"),
        (None, ("opencv-python-headless",), "pip install --force-reinstall --no-deps opencv-python-headless"),
        (NO_GL, ("opencv-python",), f"fails to load ({NO_GL}). Add it with: pip uninstall -y opencv-python && {ADD}"),
    ],
)
def test_an_opencv_that_another_one_broke_is_reported_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, fault: ImportError | None, listed: tuple[str, ...], message: str
) -> None:
    def load(name: str) -> ModuleType:
        if fault is not None:
            raise fault
        return ModuleType(name)  # the folder is there, and its modules are not

    monkeypatch.setattr(_opencv, "importlib", SimpleNamespace(import_module=load))
    monkeypatch.setattr(_opencv, "_is_listed", lambda package: package in listed)
    with pytest.raises(MissingExtraError) as raised:
        _opencv.require_opencv("Drawing")
    assert str(raised.value).endswith(message)
