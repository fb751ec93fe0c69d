"""The viewer from the command line to its end: rounds, summaries, a new site file, the extra."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgevid import cli
from edgevid.pipeline import Pipeline
from edgevid.site.file import Site, read_site, write_zones
from edgevid.track import Tracker
from edgevid.types import Detections
from edgevid.video.images import ArraySource
from edgevid.video.writer import VideoWriter
from edgevid.viewer.config import ViewerConfig
from edgevid.zones import Zone

pytest.importorskip("starlette", reason="the extra viewer is not installed")


class Still:
    """A detector that finds one person in every frame."""

    names = ("person",)

    def detect(self, frames: Any) -> list[Detections]:
        return [Detections.of(boxes=[[10, 10, 40, 60]], scores=[0.9], labels=[0]) for _ in frames]


def config(frames: int = 5) -> ViewerConfig:
    def source() -> Any:
        return ArraySource([np.zeros((80, 120, 3), np.uint8)] * frames, fps=100.0)

    first = source()
    first.size = (120, 80)
    return ViewerConfig("test", first, source, Pipeline(Still(), Tracker()), "still")


def play(given: ViewerConfig, **options: Any) -> Any:
    from edgevid.viewer.session import run_viewer

    addresses: list[str] = []
    summary = run_viewer(given, announce=addresses.append, server={"port": 0}, display={}, **options)
    assert addresses[0].startswith("http://127.0.0.1:")
    return summary


def test_a_file_begins_again_and_its_ids_too() -> None:
    summary = play(config(), max_frames=12)
    assert summary.frames == 12
    assert set(summary.ids) == {1}


def test_once_means_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevid.viewer.session.wait_for_stop", lambda: None)
    assert play(config(), once=True).frames == 5


def test_a_new_site_file_can_be_run_as_it_is(tmp_path: Path) -> None:
    from edgevid.viewer.session import site_header

    clip, calibration, site = (
        tmp_path / "a clip.mp4",
        tmp_path / "cam" / "gate.toml",
        tmp_path / "site" / "gate.toml",
    )
    with VideoWriter(clip, fps=10) as writer:
        writer.write(np.zeros((80, 120, 3), np.uint8), 0.0)
    calibration.parent.mkdir()
    site.parent.mkdir()
    points = "".join(
        f"[[points]]\npixel = [{x}, {y}]\nmeter = [{x / 10}, {y / 10}]\n"
        for x, y in ((0, 0), (100, 0), (100, 70), (0, 70))
    )
    calibration.write_text(f"image_size = [120, 80]\n{points}")
    given = ViewerConfig("a", SimpleNamespace(size=(120, 80)), lambda: None, Pipeline(Still(), Tracker()), "",
                    site=Site(source=str(clip), calibration=calibration), site_file=site)  # fmt: skip
    write_zones(site, (Zone("z", [(0, 0), (9, 0), (9, 9)]),), (), header=site_header(given))
    read = read_site(site)
    assert Path(read.source) == clip
    assert read.size == (120, 80)
    assert read.calibration is not None
    assert read.calibration.resolve() == calibration


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--unit", "knots"], "unit: expected"),
        (["--rendered", "--host", "0.0.0.0", "--token", "short"], "token: expected at least"),
        (["missing.mp4"], "no such file"),
    ],
)
def test_mistakes_end_with_one_sentence(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:    NONE\n")
    with pytest.raises(SystemExit) as stop:
        cli.demo_main(arguments)
    assert stop.value.code == 2
    assert expected in capsys.readouterr().err.replace("\n", " ")


def test_without_the_extra_the_pip_line_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(SystemExit) as stop:
        cli.demo_main(["--rendered"])
    assert stop.value.code == 2
    assert 'pip install "edgevid[viewer]"' in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_it_ends_cleanly_at_a_signal(how: str) -> None:
    import os
    import signal
    import subprocess

    code = (
        "import sys; sys.path[:] = [p for p in sys.path if p]\n"  # the installed package, not the checkout's
        "from edgevid.cli import demo_main; demo_main(['--rendered', '--port', '0', '--threads', '1'])"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert "http://127.0.0.1:" in program.stdout.readline()
        os.kill(program.pid, getattr(signal, how))
        output, errors = program.communicate(timeout=60)
    assert program.returncode == 128 + getattr(signal, how)
    assert "interrupted after" in output
    assert "Traceback" not in errors
