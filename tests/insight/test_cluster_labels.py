"""Clusters that were named label the tracks of a run as they end, with the features of the database."""

from __future__ import annotations

import json
import re
import sqlite3

import numpy as np
import pytest

from edgevid.cli.command_line import run_program
from edgevid.errors import InputError
from edgevid.insight import ClusterLabels, cluster, read_series
from edgevid.insight.sources import TRACK_FEATURES
from edgevid.output import SqliteSink
from edgevid.pipeline import Pipeline
from edgevid.run import run
from edgevid.types import Detections, Frame

pytest.importorskip("sklearn")
FPS, FRAMES, LANES = 10, 60, 8


def place(lane: int, moment: int, turns: int) -> tuple[float, float]:
    """Objects drive to the right; those of the last lanes turn back half way."""
    way = moment if lane < LANES - turns or moment < FRAMES // 2 else FRAMES - moment
    return 20.0 + (7.0 + 0.2 * lane) * way, 60.0 * lane + 40


class Street:
    """A detector that knows where the objects of `tracks` lanes are; a new set of them every 60 frames and a pause."""

    names = ("car",)

    def __init__(self, turns: int) -> None:
        self.turns = turns

    def __call__(self, frame: Frame) -> Detections:
        moment = frame.index % (FRAMES + 60)
        lanes = range(LANES) if moment < FRAMES else ()
        corners = [place(lane, moment, self.turns) for lane in lanes]
        noise = np.random.default_rng(frame.index).normal(0, 1, (len(corners), 4))
        boxes = np.array([(x, y, x + 40, y + 30) for x, y in corners], np.float32).reshape(-1, 4) + noise
        return Detections.of(boxes=boxes, scores=[0.9] * len(boxes), labels=[0] * len(boxes))


def drive(sinks: list[object], sets: int, turns: int) -> list[object]:
    image, events = np.zeros((540, 720, 3), np.uint8), []
    frames = (Frame(image, i / FPS, i) for i in range(sets * (FRAMES + 60)))
    run(Pipeline(Street(turns)), frames, sinks, on_event=events.append)
    return [event for event in events if event.kind == "track-ended"]


def named(tmp_path, turns=2, sets=8):
    """clusters.toml of a database in which those that turn back have a name."""
    ended = drive([SqliteSink(tmp_path / "street.db", records=True)], sets, turns)
    assert len(ended) == sets * LANES
    found = cluster(read_series(tmp_path / "street.db"), 3)
    straight = TRACK_FEATURES.index("straightness")
    (chunk,) = read_series(tmp_path / "street.db")
    back = int(np.bincount(found.labels[chunk.features[:, straight] < 0.5]).argmax())
    found.clusters.save(tmp_path / "clusters.toml")
    parts = (tmp_path / "clusters.toml").read_text().split('name = ""')
    parts[back] += 'name = "U-turn"'
    text = 'name = ""'.join(parts).replace('name = "U-turn"name = ""', 'name = "U-turn"')
    (tmp_path / "clusters.toml").write_text(text)
    return tmp_path / "clusters.toml", found.labels == back


def test_each_track_that_ends_has_the_label_that_its_series_has_in_the_database(tmp_path):
    path, turned = named(tmp_path)
    ended = drive([ClusterLabels(path)], 2, 2)
    assert {event.task for event in ended} == {"cluster"}
    by_track = {event.track: event for event in ended}
    (chunk,) = read_series(tmp_path / "street.db")
    truth = dict(zip((int(one.rpartition("/")[2]) for one in chunk.ids), turned.tolist(), strict=True))
    sure = [event for event in by_track.values() if not event.reason]
    assert len(sure) >= len(ended) - 2  # the limit leaves out one of a hundred where the clusters were made
    assert all((event.label == "U-turn") == truth[event.track] for event in sure)
    assert sum(event.label == "U-turn" for event in sure) >= 2


def test_a_track_unlike_all_of_them_or_too_short_has_a_reason(tmp_path):
    path, _ = named(tmp_path)
    far = path.read_text()
    path.write_text(re.sub(r"limit = [\d.]+", "limit = 0.0", far))
    ended = drive([ClusterLabels(path)], 1, 2)
    assert {(event.label, event.reason) for event in ended} == {("", "LOW_CONFIDENCE")}


def test_a_file_without_a_name_or_of_other_series_is_an_error(tmp_path):
    path, _ = named(tmp_path)
    text = path.read_text()
    path.write_text(text.replace("U-turn", ""))
    with pytest.raises(InputError, match="one of which has a name"):
        ClusterLabels(path)
    path.write_text(text.replace('"duration_s"', '"length"'))
    with pytest.raises(InputError, match="clusters of tracks"):
        ClusterLabels(path)


def test_the_page_links_the_clips_of_a_recording(tmp_path, monkeypatch):
    named(tmp_path, sets=6)
    with sqlite3.connect(tmp_path / "street.db") as base:
        base.execute("UPDATE events SET clip = 'clips/' || track || '.mp4' WHERE kind = 'track-ended'")
    monkeypatch.chdir(tmp_path)
    assert run_program("edgevid", ["cluster", "street.db", "-k", "3", "--out", "out"]) == 0
    text = (tmp_path / "out/clusters.html").read_text()
    cards = json.loads(text.split('id="data">')[1].split("</script>")[0])["cards"]
    nearest = [one for card in cards for one in card["nearest"]]
    assert len(nearest) > 9
    assert all(clip == f"../clips/{track.rpartition('/')[2]}.mp4" for track, clip in nearest)
