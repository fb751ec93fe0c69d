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
from edgevid.run import run
from edgevid.site.file import Site, read_site, write_zones
from edgevid.track import Tracker
from edgevid.types import Detections
from edgevid.video.images import ArraySource
from edgevid.video.writer import VideoWriter
from edgevid.viewer.config import ViewerConfig
from edgevid.viewer.playback import Playback, Rounds
from edgevid.zones import Zone

pytest.importorskip("starlette", reason="the extra viewer is not installed")


class Still:
    """A detector that finds one person in every frame."""

    names = ("person",)

    def detect(self, frames: Any) -> list[Detections]:
        return [Detections.of(boxes=[[10, 10, 40, 60]], scores=[0.9], labels=[0]) for _ in frames]


def play(*, once: bool, max_frames: int | None = None, frames: int = 5, on: Any = None) -> tuple[Any, Any]:
    """Summary and state of a run that is viewed."""
    from edgevid.viewer.config import View, viewing

    def source() -> Any:
        return ArraySource([np.zeros((80, 120, 3), np.uint8)] * frames, fps=100.0)

    first = source()
    first.size = (120, 80)
    given = ViewerConfig("test", first, source, Pipeline(Still(), Tracker()), "still")
    addresses: list[str] = []
    with viewing(given, View({"port": 0}, once=once), announce=addresses.append) as state:
        summary = run(given.pipeline, state.source, zones=state, size=(120, 80), max_frames=max_frames,
                      on_event=state.add_event, on_result=on or state.observe)  # fmt: skip
    assert addresses[0].startswith("http://127.0.0.1:")
    return summary, state


def test_a_file_begins_again_its_ids_too_and_its_times_go_on() -> None:
    results: list[Any] = []
    summary, state = play(once=False, max_frames=12, on=lambda _, result: results.append(result))
    assert summary.frames == 12
    assert set(summary.ids) == {1}
    times = [result.time for result in results]
    assert np.allclose(times, np.arange(12) / 100)
    assert [result.frame_index for result in results] == list(range(12))
    assert np.allclose(state.source.list, [(0, 0), (0.05, 0), (0.1, 0)])


def test_once_means_once() -> None:
    assert play(once=True)[0].frames == 5


def test_a_file_is_sought_in(tmp_path: Path) -> None:
    from edgevid.video.open import open_video

    with VideoWriter(tmp_path / "a.mp4", fps=10) as writer:
        for n in range(60):
            writer.write(np.full((48, 64, 3), 4 * n, np.uint8), n / 10)
    playback, shown = Playback(), []
    rounds = Rounds(open_video(tmp_path / "a.mp4"), playback, None, None)
    for frame in rounds:
        shown.append((round(frame.time, 2), round(float(frame.image.mean()) / 4)))
        if len(shown) == 3:
            playback.seek(5.5)
    assert [number for _, number in shown] == [0, 1, 2, 55, 56, 57, 58, 59]
    assert [time for time, _ in shown] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert np.allclose(rounds.list, [(0, 0), (0.3, 5.5)])


def test_a_new_site_file_can_be_run_as_it_is(tmp_path: Path) -> None:
    from edgevid.viewer.config import site_header

    clip, calibration, site = (tmp_path / "a clip.mp4", tmp_path / "cam" / "gate.toml", tmp_path / "site" / "gate.toml")
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
                    site=Site(source=str(clip), calibration=calibration))  # fmt: skip
    write_zones(site, (Zone("z", [(0, 0), (9, 0), (9, 9)]),), (), header=site_header(given, site))
    read = read_site(site)
    assert Path(read.source) == clip
    assert read.size == (120, 80)
    assert read.calibration is not None
    assert read.calibration.resolve() == calibration


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--unit", "knots"], "unit: expected"),
        (["--rendered", "--host", "0.0.0.0", "--token-file", "short.txt"], "token: expected at least"),
        (["--rendered", "--token-file", "missing.txt"], "missing.txt: expected a file with a token, got: No such file"),
        (["--rendered", "--tls-key", "short.txt"], "--tls-key: expected --tls-cert, too"),
        (["--rendered", "--tls-cert", "short.txt"], "--tls-cert: expected a certificate and its key"),
        (["missing.mp4"], "no such file"),
    ],
)
def test_mistakes_end_with_one_sentence(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short.txt").write_text("short\n")
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
