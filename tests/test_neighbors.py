"""The installed package: small and complete alone, and next to ultralytics, supervision and trackers.

Installs from the package registry, into environments of its own: by `make neighbors`, not by `make test`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from street_folder import CORE_RUN, write_street

pytestmark = pytest.mark.neighbors

ROOT = Path(__file__).resolve().parents[1]
PEERS = {"ultralytics": "8.4.190", "supervision": "0.31.2", "trackers": "2.6.1"}
CORE_MB = 340
"""Most that the core environment takes on disk, without pip and setuptools."""

BOXES = """
import numpy as np, supervision as sv
boxes = sv.Detections(xyxy=np.array([[10.0, 20, 60, 90]]), confidence=np.array([0.9]), class_id=np.array([0]))
image = np.full((192, 320, 3), 90, np.uint8)
"""
PROGRAMS = {
    "supervision": BOXES + "assert (sv.BoxAnnotator().annotate(image.copy(), boxes) != image).any()",
    "trackers": BOXES
    + "from trackers import ByteTrackTracker\n"
    + "tracker = ByteTrackTracker()\n"
    + "assert [tracker.update(boxes).tracker_id.tolist() for _ in range(4)][-1] == [0]",
    # Without its warm-up, which imports torchvision: the registry's does not load next to every torch.
    "ultralytics": """
import numpy as np
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionPredictor
predictor = DetectionPredictor(overrides={"imgsz": 320, "conf": 1e-4, "mode": "predict", "verbose": False})
predictor.setup_model(YOLO("yolo11n.yaml").model, verbose=False)
predictor.done_warmup = True
assert predictor(np.full((192, 320, 3), 90, np.uint8))[0].plot().shape == (192, 320, 3)
""",
    "edgevid": "from edgevid.cli import demo_main; demo_main('--rendered --max-frames 3 --out demo'.split())",
}
NEEDS = {"trackers": {"supervision"}}
"""A package, and what it depends on itself."""


class Environment:
    """A virtual environment in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, folder / "venv/bin/python"
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        (self.packages,) = (folder / "venv/lib").glob("python*/site-packages")

    def run(self, *arguments: object) -> str:
        """What python prints; fails with what it printed. Without the checkout, on the NumPy kernels."""
        inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "EDGEVID_KERNELS")}
        done = subprocess.run(
            [self.python, *arguments], cwd=self.folder, text=True, capture_output=True, check=False,
            env={**inherited, "YOLO_CONFIG_DIR": str(self.folder), "YOLO_OFFLINE": "1"},
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def pip(self, *arguments: object) -> None:
        self.run("-m", "pip", "--quiet", *arguments)

    def install(self, *requirements: object, compiled: bool = False) -> None:
        """Modules are compiled here, as by default, or when they are first imported."""
        self.pip("install", "--compile" if compiled else "--no-compile", *requirements)

    def opencvs(self) -> list[str]:
        """The OpenCV packages that are installed."""
        return sorted({found.name for found in metadata.distributions(path=[str(self.packages)])
                       if found.name.startswith("opencv")})  # fmt: skip

    def megabytes(self) -> float:
        """What the packages take on disk, without pip and setuptools."""
        tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
        found = [p for top in self.packages.iterdir() if not top.name.startswith(tools)
                 for p in (top, *top.rglob("*"))]  # fmt: skip
        return sum(path.lstat().st_blocks for path in found) * 512 / 2**20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package without compiled kernels, which takes seconds to build."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, ROOT],
        env={**os.environ, "EDGEVID_KERNELS": "numpy"},
        check=True,
    )
    (made,) = out.glob("*.whl")
    return made


def test_the_core_environment_is_small_complete_and_without_opencv(tmp_path: Path, wheel: Path) -> None:
    core = Environment(tmp_path)
    core.install(wheel, compiled=True)
    size = core.megabytes()
    print(f"core environment: {size:.0f} MB")
    assert size <= CORE_MB
    assert core.opencvs() == []
    write_street(tmp_path)
    assert core.run(CORE_RUN, tmp_path).strip() == "without OpenCV"
    core.run("-m", "pip", "check")


def test_every_neighbor_comes_and_goes_and_the_others_run(tmp_path: Path, wheel: Path) -> None:
    together = Environment(tmp_path)
    link_torch(together.packages)
    install = {"edgevid": str(wheel), **{name: f"{name}=={version}" for name, version in PEERS.items()}}
    together.install(*install.values())
    run_all(together, set(install))
    for name, requirement in install.items():
        together.pip("uninstall", "-y", name)
        run_all(together, {one for one in install if name not in {one} | NEEDS.get(one, set())})
        together.install(requirement)
        run_all(together, {name, *(other for other, needed in NEEDS.items() if name in needed)})
    run_all(together, set(install))
    together.run("-m", "pip", "check")


def run_all(together: Environment, names: set[str]) -> None:
    shutil.rmtree(together.folder / "demo", ignore_errors=True)
    for name in sorted(names):
        together.run("-c", PROGRAMS[name])
    assert together.opencvs() == ["opencv-python"]  # the neighbors' own


def link_torch(packages: Path) -> None:
    """The torch of this environment, as hard links: it is too large to install again."""
    for name in ("torch", "torchvision"):
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:
            pytest.skip(f"ultralytics needs {name}, which is not installed here")
        home = Path(str(metadata.distribution(name).locate_file("")))
        for top in sorted({file.parts[0] for file in files} - {".."}):
            if not (packages / top).exists() and (home / top).is_dir():
                shutil.copytree(home / top, packages / top, copy_function=link_or_copy)


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)
