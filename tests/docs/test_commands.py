"""Every command line and Python block of README and docs runs as it stands, in a folder with the files it names.

What needs a network, a device, a server or hours is marked in the Markdown, with its reason (see walk_through).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import pytest
import recognizer_models
import report_samples
import review_samples
import tiny_detector
from annotated_types import Ge
from walk_through import DOCS, invoke, steps, walk_through

import edgevid
from edgevid import Detector, Pipeline, Policy, SpeedEstimator, Tracker
from edgevid.files.toml import read_toml
from edgevid.models import find_recipe
from edgevid.synthetic import RenderedStreet
from edgevid.video import VideoWriter

ROOT = DOCS.parent
EXTRAS = set(read_toml(ROOT / "pyproject.toml")["project"]["optional-dependencies"])
PROGRAMS = ("edgevid", "pip", "make", "pre-commit")
"""pip and make are not run: the extras and targets that they name are checked; CI and `.ci/run` call them."""
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
TESTED = {
    "abstain.md": "docs/test_abstain.py",
    "archive.md": "docs/test_archive.py",
    "classifier.md": "cli/test_train_classifier.py",
    "coming_from.md": "docs/test_coming_from.py",
    "evaluate.md": "docs/test_evaluate.py",
}
"""Pages whose blocks another test runs, with more assertions."""
WALKED = [p for p in PAGES if p.name not in TESTED and any(not step.reason for step in steps(p))]
SITE = (
    'source = "{0}.mp4"\n[detect]\nmodel = "street-nano"\n[[line]]\nname = "gate"\nstart = [0, 90]\nend = [320, 90]\n'
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of the rendered street, five frames of 640x360."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, fps=5) as video:
        for frame in RenderedStreet(seconds=1, fps=5):
            video.write(frame.image[::2, ::2].copy(), frame.time)
    return path


def write_day(path: Path) -> None:
    """Events of forty cars."""
    day = report_samples.Day()
    for n in range(40):
        day.vehicle(n, 60.0 * n, 40.0 + n % 7)
    report_samples.write(path, day)


def prepare(page: Path, clip: Path) -> None:
    """What the page's commands read, in the current folder."""
    text = "\n".join(step.text for step in steps(page) if not step.reason)
    for name in {"road", *re.findall(r"\b(\w+)\.mp4\b", text)} - {"annotated", "boxes", "speeds", "street"}:
        shutil.copy(clip, f"{name}.mp4")
    for name in {*re.findall(r"--site (\w+)\.toml\b", text), *re.findall(r'"(gate|north|south)\.toml"', text)}:
        Path(f"{name}.toml").write_text(SITE.format("road"))
    Path("sites").mkdir()
    shutil.copy(clip, "sites")
    for name in ("gate", "dock"):
        Path("sites", f"{name}.toml").write_text(SITE.format("clip"))
    if page.name == "calibrate.md":  # its pixels are of a frame of 1920x1080
        with VideoWriter("gate.mp4", fps=5) as video:
            video.write(np.full((1080, 1920, 3), 90, np.uint8), 0.0)
        Path("pairs.csv").write_text(
            "u,v,X,Y\n402,903,0,0\n1498,899,7,0\n1102,402,7,30\n801,399,0,30\n950,560,3.5,12\n"
        )
    else:
        shutil.copytree(ROOT / "calibration", "calibration")
        shutil.copy("calibration/camera/gantry_road.toml", "calibration/camera/gate.toml")
    if page.name == "speed.md":
        shutil.copy("calibration/camera/gantry_road.toml", "gate.toml")
        Path("truth.csv").write_text(page.read_text().split("```\nid,")[1].split("```")[0].join(("id,", "")))
    if page.name == "data.md":
        for n in range(6):
            path = Path("data", ("cat", "dog")[n % 2], f"{n}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.random.default_rng(n).integers(0, 255, (64, 96, 3), np.uint8))
        Path("labels.csv").write_text("path,label\ndata/cat/0.jpg,cat\ndata/dog/1.jpg,dog\n")
    recognizer_models.feature_model(Path("runs/features"))
    recognizer_models.window_head(Path("runs/actions"))
    shutil.copy(ROOT / "engines/street-nano/street_nano.onnx", "my.onnx")
    for name in ("model", "runs/detector/recipe"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        tiny_detector.model(Path(f"{name}.onnx"), tiny_detector.PERSON, tiny_detector.CAR)
        Path(f"{name}.toml").write_text(tiny_detector.RECIPE.replace("tiny.onnx", Path(f"{name}.onnx").name))
    for name in re.findall(r"\b\w+\.(?:db|jsonl)\b", text) if page.name == "report.md" else ():
        write_day(Path(name))
    if page.name == "report.md":
        write_day(Path("street"))
        review_samples.write_folder(Path("crops"), 6)


def names(page: Path) -> dict[str, Any]:
    """What the text around a page's Python blocks has already."""
    known: dict[str, Any] = {"__name__": "walk_through"}
    if page.name in ("actions.md", "health.md"):
        calibration = edgevid.read_calibration("calibration/camera/gantry_road.toml")
        policy = Policy(("bright", "dark"))
        known |= {"detector": Detector("street-nano"), "tracker": Tracker(), "policy": policy, "Pipeline": Pipeline}
        known["speed_estimator"] = SpeedEstimator(calibration)
    if page.name == "recipes.md":
        known |= {"dataclass": dataclass, "Annotated": Annotated, "Ge": Ge, "recipe": find_recipe("street-nano")}
    if page.name == "speed.md":
        known["pixels"] = np.array([[300.0, 200.0]])
    return known


def lacks_model(line: str) -> bool:
    """Whether a command names a model that is neither in the wheel nor on a mirror."""
    downloaded = re.search(r"yolox|picodet|nanodet|yunet|movenet|emotion", line)
    return bool(downloaded) and not os.environ.get("EDGEVID_MODELS_MIRROR")


@pytest.mark.parametrize("page", WALKED, ids=lambda page: page.name)
def test_the_page_runs(page: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(page, clip)
    printed = []

    def run(line: str) -> str | None:
        line = re.split(r" [|>] ", line)[0]
        program, *words = shlex.split(line, comments=True)
        if program == "edgevid" and not lacks_model(line):
            printed.append(invoke(line) or "")
        assert program in PROGRAMS, f"{line}: mark it as not run, with its reason"
        if program == "make":
            made = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in words if "=" not in word} <= set(made)
        for extra in re.findall(r"edgevid\[([\w,]+)\]", line) if program == "pip" else ():
            assert set(extra.split(",")) <= EXTRAS, line
        return None

    before = set(Path().iterdir())
    walk_through(page, names(page), run)
    assert printed or set(Path().iterdir()) >= before
    assert len(printed) == len(
        [s for s in steps(page) if s.text.startswith("edgevid ") and not s.reason and not lacks_model(s.text)]
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_not_run_has_a_reason(page: Path) -> None:
    """And where another test covers it, there is such a test."""
    for step in steps(page):
        assert not step.reason or len(step.reason.split()) > 1
        for name in re.findall(r"tests/[\w/.]+", step.reason):
            assert (ROOT / name.rstrip(".")).exists(), f"{page.name}: {name}"


def test_the_pages_with_a_test_of_their_own_are_walked_there() -> None:
    for page, name in TESTED.items():
        text = (ROOT / "tests" / name).read_text()
        assert page in text, name
        assert "walk_through(" in text or "exec(" in text, name


def test_a_mark_covers_the_lines_it_names(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run (--view): serves -->\n```sh\nedgevid run a.mp4 --view 1 \\\n  --x\nedgevid doctor\n```\n\n"
        "```\nedgevid run b\nan output\n```\n<!-- not run: hours -->\n```python\n1 / 0\n```\n"
    )
    found = [(step.text.split()[:2], step.reason) for step in steps(page)]
    assert found == [
        (["edgevid", "run"], "serves"), (["edgevid", "doctor"], ""), (["edgevid", "run"], ""), (["1", "/"], "hours"),
    ]  # fmt: skip
    assert walk_through(page, run=lambda line: line.split()[1]) == ["doctor", "run"]
