"""Overlay, sinks and whole runs: nothing is lost, silence is written with its reason."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from edgevid import cli
from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.output.interop import to_supervision
from edgevid.output.overlay import Overlay, Style, color_of, contact_sheet, label_bitmap
from edgevid.output.records import as_json, read_jsonl
from edgevid.output.sinks import AnnotatedVideo, JsonLines, MotText
from edgevid.pipeline import Pipeline
from edgevid.run.loop import run
from edgevid.run.signals import ended_by_sigterm, uninterrupted
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.track import Tracker
from edgevid.types import Detections, Frame, Reason, Result, Scores, SpeedReport, Speeds, Tracks, Verdicts
from edgevid.video.open import open_video
from edgevid.zones import Line, ZoneMonitor


def a_result(n: int = 2, size: tuple[int, int] = (640, 360)) -> tuple[Frame, Result]:
    """n objects in a row: the first says all, the second is silent about all."""
    x = np.linspace(0.1, 0.8, n) * size[0]
    high = 0.5 * size[1]
    boxes = np.stack([x, np.full(n, 0.3 * size[1]), x + 0.1 * size[0], np.full(n, 0.3 * size[1] + high)], 1)
    zero, ids = np.zeros(n), np.arange(1, n + 1)
    tracks = Tracks.of(
        ids=ids, boxes=boxes, scores=zero + 0.9, labels=zero, match=np.arange(n), age=zero + 1, unseen=zero
    )
    silent = np.arange(n) % 2 == 1
    verdicts = Verdicts.of(
        ids=ids, labels=np.where(silent, -1, 1), confidence=zero + 0.8,
        reason=np.where(silent, Reason.TOO_SMALL, Reason.OK),
    )  # fmt: skip
    speeds = Speeds.of(
        ids=ids, mps=np.where(silent, np.nan, 10.0), sigma=np.where(silent, np.nan, 0.5), heading=zero + 90,
        time=zero + 0.16, reason=np.where(silent, Reason.OFF_PLANE, Reason.OK),
    )  # fmt: skip
    result = Result(
        frame_index=4, time=0.16, size=size, detections=Detections.empty(), tracks=tracks,
        speeds=SpeedReport(speeds, track_speeds=speeds[:1]), scores={"action": Scores.empty()},
        verdicts={"action": verdicts}, names={"class": ("person",), "action": ("walk", "run")},
        timings={"detect": 0.01},
    )  # fmt: skip
    return Frame(np.full((size[1], size[0], 3), 90, np.uint8), 0.16, 4), result


def test_json_says_values_and_reasons_and_never_nan() -> None:
    line = as_json(a_result()[1])
    first, second = line["objects"]
    assert first["speed"] == {
        "kind": "live", "mps": 10.0, "sigma_mps": 0.5, "heading_deg": 90.0, "age_s": 0.0,
    }  # fmt: skip
    assert first["verdicts"]["action"] == {"label": "run", "confidence": 0.8}
    assert second["speed"] == {"reason": "OFF_PLANE"}
    assert second["verdicts"]["action"] == {"reason": "TOO_SMALL", "confidence": 0.8}
    assert line["track_speeds"][0]["id"] == 1
    assert "NaN" not in json.dumps(line, allow_nan=False)


def test_lines_are_read_back_and_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    with JsonLines(path) as sink:
        for _ in range(3):
            sink.write(*a_result())
        assert len(path.read_text().splitlines()) == 3  # on disk before the sink is closed
    path.write_text(path.read_text() + '{"schema": "edgevid.res')
    assert [one["frame"] for one in read_jsonl(path)] == [4, 4, 4]


def test_a_damaged_or_foreign_record_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "seen.jsonl"
    path.write_text('{"schema": "other/1"}\n')
    with pytest.raises(FileFormatError, match=r"line 1: schema: expected edgevid\.result/2"):
        list(read_jsonl(path))
    path.write_text("nonsense\n")
    with pytest.raises(FileFormatError, match="line 1"):
        list(read_jsonl(path))


def test_mot_text_counts_frames_from_one_and_leaves_out_what_was_not_seen(tmp_path: Path) -> None:
    frame, result = a_result()
    result.tracks.match[1] = -1
    with MotText(tmp_path / "out.txt") as sink:
        sink.write(frame, result)
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["5", "1"]]
    assert lines[0].startswith("5,1,64.00,108.00,64.00,180.00,0.9000")


def test_a_place_that_cannot_be_written_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be written"):
        JsonLines(tmp_path / "no" / "out.jsonl")


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (3840, 2160)])
def test_the_overlay_draws_boxes_and_labels_at_every_size(size: tuple[int, int]) -> None:
    frame, result = a_result(3, size)
    drawn = Overlay().draw(frame, result)
    assert drawn.shape == frame.image.shape
    assert (frame.image == 90).all()  # the frame itself is untouched
    x1, y1, _, y2 = result.tracks.boxes[0].astype(int)
    edge = drawn[(y1 + y2) // 2, max(0, x1 - 1) : x1 + 2]
    assert (np.abs(edge.astype(int) - color_of(1)).sum(1) < 90).any()
    letters = Style.of(*size).text
    assert letters >= 0.36
    assert letters == pytest.approx(0.5 * min(size) / 720, rel=0.05) or size[1] == 480


def test_neighboring_ids_have_colors_that_tell_them_apart() -> None:
    colors = np.array([color_of(n) for n in range(1, 60)], float)
    steps = np.abs(np.diff(colors, axis=0)).sum(1)
    assert steps.min() > 60
    assert color_of(7) == color_of(7)
    luma = colors @ [0.299, 0.587, 0.114]
    assert np.ptp(luma) < 90  # equally light: none drowns


def test_labels_are_cached_and_trails_forget_the_gone() -> None:
    overlay = Overlay()
    frame, result = a_result()
    before = label_bitmap.cache_info().hits
    overlay.draw(frame, result)
    overlay.draw(frame, result)
    assert label_bitmap.cache_info().hits > before
    assert set(overlay._trails) == {1, 2}
    empty = a_result(0)[1]
    overlay.draw(frame, empty)
    assert overlay._trails == {}


def test_odd_boxes_do_not_break_the_drawing() -> None:
    frame, result = a_result()
    result.tracks.boxes[0] = [-500, -50, 9000, 9000]
    result.tracks.boxes[1] = [np.nan] * 4
    assert Overlay().draw(frame, result).shape == frame.image.shape
    with pytest.raises(InputError, match="unit"):
        Overlay(unit="knots")


def test_a_contact_sheet_puts_pictures_in_rows() -> None:
    pictures = [np.full((90, 160, 3), 40 * n, np.uint8) for n in range(5)]
    assert contact_sheet(pictures, columns=3, width=80).shape == (90, 240, 3)


def test_supervision_gets_the_tracks() -> None:
    pytest.importorskip("supervision", reason="supervision is not installed")
    found = to_supervision(a_result()[1])
    assert found.tracker_id.tolist() == [1, 2]


def rendered(frames: int) -> tuple[RenderedStreet, Pipeline]:
    source = RenderedStreet(seconds=frames / 25)
    return source, Pipeline(RenderedDetector(source), Tracker())


def test_a_run_writes_every_sink_and_counts(tmp_path: Path) -> None:
    source, pipeline = rendered(30)
    sinks = [AnnotatedVideo(tmp_path / "a.mp4", fps=25), JsonLines(tmp_path / "a.jsonl")]
    zones = ZoneMonitor(lines=[Line("across", (0, 400), (1280, 400))])
    summary = run(pipeline, source, sinks, zones=zones)
    assert summary.frames == 30
    assert len(summary.ids) > 3
    assert sum(1 for _ in open_video(tmp_path / "a.mp4")) == 30
    assert [one["frame"] for one in read_jsonl(tmp_path / "a.jsonl")] == list(range(30))


def test_ctrl_c_finishes_every_output(tmp_path: Path) -> None:
    source, pipeline = rendered(50)

    def stop(frame: Frame, result: Result) -> None:
        if frame.index == 9:
            raise KeyboardInterrupt

    sinks = [AnnotatedVideo(tmp_path / "a.mp4", fps=25), JsonLines(tmp_path / "a.jsonl")]
    summary = run(pipeline, source, sinks, on_result=stop)
    assert summary.interrupted
    assert sum(1 for _ in open_video(tmp_path / "a.mp4")) == 10
    assert len(list(read_jsonl(tmp_path / "a.jsonl"))) == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_two_outputs_leaves_the_frame_in_both(
    tmp_path: Path, number: signal.Signals
) -> None:
    class Signals(JsonLines):
        def write(self, frame: Frame, result: Result) -> None:
            super().write(frame, result)
            if frame.index == 4:
                signal.raise_signal(number)

    source, pipeline = rendered(20)
    sinks = [Signals(tmp_path / "a.jsonl"), JsonLines(tmp_path / "b.jsonl")]
    with ended_by_sigterm():
        summary = run(pipeline, source, sinks)
    assert summary.interrupted
    assert [len(list(read_jsonl(tmp_path / f"{name}.jsonl"))) for name in "ab"] == [5, 5]


def test_a_second_signal_does_not_wait() -> None:
    reached = []

    def twice() -> None:
        with uninterrupted():
            for number in range(3):
                reached.append(number)
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert reached == [0, 1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_demo_shows_a_rendered_street_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without network and mirror, as on the first run of a fresh machine."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SystemExit) as stop:
        cli.demo_main(["--rendered", "--max-frames", "20", "--out", str(tmp_path / "demo")])
    assert stop.value.code == 0
    assert "rendered street" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {"demo.mp4", "demo.jsonl", "contact-sheet.png"}


def test_real_people_are_followed_from_file_to_records(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    clip, out = shared_data / "videos" / "pets09_s2l1_vtest.avi", tmp_path / "seen.jsonl"
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(clip), "--jsonl", str(out), "--classes", "person", "--max-frames", "60"])
    assert stop.value.code == 0
    lines = list(read_jsonl(out))
    counts = [len(line["objects"]) for line in lines]
    ids = {one["id"] for line in lines for one in line["objects"]}
    assert np.median(counts) >= 4  # five to eight people cross the square in these six seconds
    assert len(ids) <= 14
    assert "person" in capsys.readouterr().out


def test_vehicles_on_a_calibrated_road_have_plausible_speeds(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    calibration = Path(__file__).resolve().parents[2] / "calibration" / "camera" / "gantry_road.toml"
    clip, out = shared_data / "videos" / "kraten_speedcheck_cars.mp4", tmp_path / "seen.jsonl"
    words = ["run", str(clip), "--jsonl", str(out), "--calibration", str(calibration), "--max-frames", "350"]
    with pytest.raises(SystemExit):
        cli.main([*words, "--model", "picodet-s-416", "--classes", "car,bus,truck"])
    track_speeds = [one for line in read_jsonl(out) for one in line.get("track_speeds", []) if "mps" in one]
    kmh = [3.6 * one["mps"] for one in track_speeds if one["mps"] > 1]
    assert len(kmh) >= 2
    assert all(20 < v < 80 for v in kmh)  # a city road; its limit is not known
    assert all(60 < one["heading_deg"] < 120 for one in track_speeds if one["mps"] > 1)  # along the lanes


def test_verdicts_of_people_are_said_or_silent_and_the_silent_are_kept(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    clip, out, kept = (
        shared_data / "videos" / "felix_exercise.avi",
        tmp_path / "seen.jsonl",
        tmp_path / "kept",
    )
    words = ["run", str(clip), "--classes", "person", "--actions", "emotion-mini-xception-64"]
    with pytest.raises(SystemExit):
        cli.main([*words, "--jsonl", str(out), "--save-abstained", str(kept), "--max-frames", "60"])
    verdicts = [o["verdicts"]["action"] for line in read_jsonl(out) for o in line["objects"]]
    said, silent = [v for v in verdicts if "label" in v], [v for v in verdicts if "reason" in v]
    assert len(said) + len(silent) == len(verdicts) > 100
    assert {v["reason"] for v in silent} <= {reason.name for reason in Reason}
    assert len(silent) > 0  # faces of 12 pixels: nobody can tell them all
    assert len(list(kept.glob("*.json"))) == len(list(kept.glob("*.jpg"))) > 0
    assert "abstained" in capsys.readouterr().out


def test_a_site_s_policy_decides_what_is_said_of_classes(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["person", "bicycle", "car", "motorcycle", "bus", "truck"]
    (tmp_path / "policy.toml").write_text(
        f'format = "edgevid-policy 1"\ntask = "class"\nnames = {names}\n'
        "[decide]\nthreshold = 0.9\nmin_observations = 3\n[speed]\nmax_sigma_kmh = 1.0\nmax_share = 0.02\n"
    )
    clip = shared_data / "videos" / "pets09_s2l1_vtest.avi"
    (tmp_path / "site.toml").write_text(
        f'source = "{clip}"\npolicy = "policy.toml"\n[detect]\nmodel = "street-nano"\n'
    )
    out = tmp_path / "seen.jsonl"
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "--site", str(tmp_path / "site.toml"), "--jsonl", str(out), "--max-frames", "40"])
    assert stop.value.code == 0
    verdicts = [o["verdicts"]["class"] for line in read_jsonl(out) for o in line["objects"]]
    assert {v.get("reason") for v in verdicts} & {"TOO_SHORT", "LOW_CONFIDENCE"}
    assert any(v.get("label") == "person" for v in verdicts)
    assert "class" in capsys.readouterr().out
