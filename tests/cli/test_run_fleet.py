"""`edgevid run` of many cameras: one command, one database, one metrics page, one summary."""

from __future__ import annotations

import sqlite3
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from event_samples import an_event
from result_samples import sample_result
from typer.testing import CliRunner

from edgevid.cli import app
from edgevid.output.metrics import Metrics
from edgevid.run.loop import Summary
from edgevid.synthetic.render import RenderedStreet
from edgevid.types import Header
from edgevid.video.writer import VideoWriter


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEVID_SPOOL", str(tmp_path / "spool"))
    with VideoWriter(tmp_path / "street.mp4", fps=25) as video:
        for frame in RenderedStreet(seconds=0.16):
            video.write(frame.image, frame.time)
    folder = tmp_path / "sites"
    folder.mkdir()
    for name in ("gate", "dock"):
        (folder / f"{name}.toml").write_text('source = "../street.mp4"\n[detect]\nmodel = "street-nano"\n')
    return folder


def edgevid(*arguments: object) -> tuple[int, str]:
    ended = CliRunner().invoke(app(), ["run", *map(str, arguments)])
    return ended.exit_code, f"{ended.output} {ended.exception}"


def test_a_folder_of_sites_runs_into_one_database(sites: Path, tmp_path: Path) -> None:
    base = tmp_path / "street.db"
    status, text = edgevid("--site", sites, "--sqlite", base, "--weight", "gate=2")
    assert status == 0, text
    rows = {row.split()[0]: row.split()[1:3] for row in text.splitlines() if "ended" in row}
    assert rows == {"gate": ["ended", "4"], "dock": ["ended", "4"]}
    with sqlite3.connect(base) as opened:
        assert {camera for (camera,) in opened.execute("SELECT camera FROM runs")} == {"gate", "dock"}


def test_a_camera_that_fails_is_named_and_the_status_says_so(sites: Path) -> None:
    (sites / "bad.toml").write_text('source = "nothing.mp4"\n')
    status, text = edgevid("--site", sites / "gate.toml", "--site", sites / "bad.toml")
    assert status != 0
    assert "bad: " in text
    assert "there is no such file" in text
    assert "gate" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--jsonl", "a.jsonl"], "--jsonl is of one camera"),
        (["--weight", "gate"], "expected NAME=NUMBER"),
        (["--weight", "gate=-1"], "expected NAME=NUMBER"),
        (["--site", "absent.toml"], "absent.toml, which does not exist"),
    ],
)
def test_what_makes_no_sense_for_many_is_an_error(sites: Path, arguments: list[str], expected: str) -> None:
    status, text = edgevid("--site", sites, *arguments)
    assert status != 0
    assert expected in text


def test_cameras_share_a_page_of_metrics() -> None:
    pytest.importorskip("prometheus_client")
    frame, result = sample_result()
    with Metrics("127.0.0.1:0") as page:
        for n, name in enumerate(("gate", "dock"), 1):
            summary = Summary()
            one = Metrics("", SimpleNamespace(dropped=n), summary, page)
            one.open(Header(name))
            one.write(frame, result)
            summary.add(result)
            summary.add_event(an_event(n))
            one.close()
        text = urllib.request.urlopen(f"http://127.0.0.1:{page.port}/metrics").read().decode()
    assert text.count("# HELP edgevid_frames_total") == 1
    for line in ('edgevid_frames_total{camera="gate"} 1.0', 'edgevid_dropped_total{camera="dock"} 2.0',
                 'edgevid_stage_seconds_count{camera="dock",stage="detect"} 1.0'):  # fmt: skip
        assert line in text
