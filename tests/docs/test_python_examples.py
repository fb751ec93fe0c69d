"""The Python examples of the pages on the pipeline, records, events and site files run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevid.output.tables import read_database
from edgevid.types import Frame
from edgevid.video.writer import VideoWriter

DOCS = Path(__file__).resolve().parents[2] / "docs"


def execute(page: str) -> dict[str, Any]:
    """The names that the page's Python blocks leave behind."""
    names: dict[str, Any] = {"__name__": page}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture
def road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clip of five gray frames in the current folder."""
    monkeypatch.chdir(tmp_path)
    with VideoWriter(tmp_path / "road.mp4", fps=10) as writer:
        for n in range(5):
            writer.write(np.full((64, 96, 3), 90, np.uint8), n / 10)
    return tmp_path / "road.mp4"


def test_a_detector_of_your_own_is_tracked() -> None:
    pipeline, image = execute("pipeline.md")["pipeline"], np.zeros((48, 64, 3), np.uint8)
    image[20, 30] = 255
    results = [pipeline.process(Frame(image, n / 10, n)) for n in range(5)]
    assert [(row.id, row.box) for row in results[-1].tracks] == [(1, (22.0, 12.0, 38.0, 28.0))]


def test_a_sink_of_your_own_gets_every_frame(road: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute("records.md")
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_events_reach_the_database_of_the_page(road: Path) -> None:
    names = execute("events.md")
    assert len(read_database(road.parent / "street.db", "SELECT * FROM runs")) == 1
    assert names["Printer"]().name == "printer"


def test_labeled_data_are_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute("data.md")["found"].values["items"] == 4


def test_the_columns_of_a_model_without_masks_are_empty() -> None:
    assert len(execute("models.md")["found"]) == 1


def test_a_site_is_loaded_built_and_run(road: Path) -> None:
    (road.parent / "gate.toml").write_text(
        f'source = "{road}"\n[detect]\nmodel = "street-nano"\n[[line]]\nname = "gate"\nstart = [0, 9]\nend = [9, 9]\n'
    )
    assert execute("site.md")["summary"].frames == 5


def test_the_cameras_of_a_fleet_run_to_their_ends(road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_SPOOL", str(road.parent / "spool"))
    for name in ("north", "south"):
        (road.parent / f"{name}.toml").write_text('source = "road.mp4"\n[detect]\nmodel = "street-nano"\n')
    assert {name: one.frames for name, one in execute("fleet.md")["summaries"].items()} == {"north": 5, "south": 5}


@pytest.mark.parametrize("page", ["concepts.md", "tracking.md"])
def test_what_a_page_asserts_holds(page: str) -> None:
    assert "tracks" in execute(page)


def test_the_first_program_tracks_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(execute("get_started.md")["result"].tracks) > 2
    assert "objects in view at the end" in capsys.readouterr().out
