"""The package installs everywhere: with a compiler or without, and each build in its own folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import edgevid
from edgevid.files.toml import read_toml

ROOT = Path(__file__).resolve().parents[1]
BUILD = "import sys; from scikit_build_core.build import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is built from, without what was compiled in place."""
    pytest.importorskip("scikit_build_core", reason="builds wheels: pip install 'edgevid[dev]'")
    if shutil.which("cmake") is None:
        pytest.skip("builds wheels with cmake, which is not installed")
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", "LICENSES.md", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    for name in ("edgevid", "engines"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


def build(source: Path, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if key != "EDGEVID_KERNELS"}
    return subprocess.run(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=source,
        env={**inherited, "CXX": "/no/such/compiler", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_compiler_the_wheel_has_the_numpy_kernels_and_prints_the_remedy(source: Path, tmp_path: Path) -> None:
    done = build(source, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Install a C++17 compiler" in done.stdout
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"edgevid-{edgevid.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(wheel).namelist()
    recipes = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("engines/*/recipe.toml")}
    assert {f"edgevid/{recipe}" for recipe in recipes} <= set(names)
    assert "edgevid/engines/street-nano/street_nano.onnx" in names
    assert any(name.endswith("licenses/LICENSES.md") for name in names)  # `edgevid doctor` refers to it
    assert "edgevid/kernels/reference/boxes.py" in names
    assert "edgevid/engines/build.py" not in names
    assert not [name for name in names if name.endswith((".so", ".cpp", ".hpp"))]


def test_native_kernels_that_are_required_and_do_not_compile_fail_the_build(source: Path, tmp_path: Path) -> None:
    assert build(source, tmp_path, EDGEVID_KERNELS="native").returncode != 0
    assert not list(tmp_path.glob("*.whl"))


def test_builds_share_no_folder_and_the_version_has_one_place() -> None:
    """Without build-dir, each build of scikit-build-core compiles in a temporary folder."""
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    assert not [line for line in lines if line.startswith(("build-dir", "version ="))]
    assert 'dynamic = ["version"]' in lines


def requirements() -> dict[str, list[Requirement]]:
    """The requirements of the core ("") and of each extra, but for the project itself, and those of its build."""
    read = read_toml(ROOT / "pyproject.toml")
    lists = {"": read["project"]["dependencies"], **read["project"]["optional-dependencies"]}
    lists["build system"] = read["build-system"]["requires"]
    return {extra: [Requirement(t) for t in lists[extra] if not t.startswith("edgevid[")] for extra in lists}


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    for extra, found in requirements().items():
        for one in found:
            assert {">=", "<"} == {bound.operator for bound in one.specifier}, f"{extra}: {one}"


def test_one_extra_brings_opencv_and_nothing_else_does() -> None:
    """Every OpenCV package installs the folder cv2: with two of them, removing one breaks the other."""
    opencv = {name: [r.name for r in found if r.name.startswith("opencv")] for name, found in requirements().items()}
    assert {extra: names for extra, names in opencv.items() if names} == {"opencv": ["opencv-python-headless"]}
