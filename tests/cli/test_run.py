"""`edgevid run` in a new user's hands: what is read stays, what is asked is done or refused."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brokers import Listener, broker, free_port
from web_server import file_server, serving

from edgevid import cli
from edgevid.cli.console import check_outputs
from edgevid.errors import EdgevidError, InputError, masked
from edgevid.output.records import read_events, read_jsonl
from edgevid.output.tables import read_database
from edgevid.types import Event, Reason
from edgevid.video.open import open_video
from edgevid.video.writer import VideoWriter

MODEL = ("--model", "street-nano", "--threads", "1")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten gray images, in which there is nothing to be seen."""
    path = tmp_path / "a clip.mp4"
    with VideoWriter(path, fps=10) as writer:
        for n in range(10):
            writer.write(np.full((64, 96, 3), 90, np.uint8), n / 10)
    return path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says where it ends with status 2."""
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_frames_that_need_no_detection_are_counted(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten images alike at 10 fps: detected in every half second. Of each third one, four."""
    for every, gated in (("auto", 8), ("3", 6)):
        record = clip.with_suffix(".jsonl")
        with pytest.raises(SystemExit):
            cli.main(["run", str(clip), "--detect-every", every, "--jsonl", str(record), "--force", *MODEL])
        assert f"{gated} frames that needed no detection" in capsys.readouterr().out
        assert sum(one.get("gated", False) for one in read_jsonl(record)) == gated
    assert "expected auto, a whole number of frames" in refused(
        ["run", str(clip), "--detect-every", "x", *MODEL], capsys
    )


@pytest.mark.parametrize("option", ["--out", "--jsonl", "--csv", "--mot"])
def test_the_recording_is_never_written_over(clip: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = clip.read_bytes()
    link = clip.with_name("link.mp4")
    link.symlink_to(clip)
    for name in (clip, link, clip.parent / "." / clip.name):
        assert "overwritten" in refused(["run", str(clip), option, str(name), *MODEL], capsys)
    assert clip.read_bytes() == before


def test_what_is_read_and_what_is_written_twice_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").touch()
    new, gate = tmp_path / "new.mp4", tmp_path / "gate.toml"
    check_outputs({"--out": (new, "MP4"), "--mot": (None, "MOT")}, [gate, None, "", "rtsp://gate/1"])
    with pytest.raises(InputError, match="overwritten"):
        check_outputs({"--out": (gate, "TOML")}, [gate], force=True)
    with pytest.raises(InputError, match="another output"):
        check_outputs({"--a": (tmp_path / "a", ""), "--b": (tmp_path / "b" / ".." / "a", "")})


def test_the_demo_does_not_write_over_what_it_shows(clip: Path) -> None:
    shown = clip.rename(clip.with_name("demo.mp4"))
    before = shown.read_bytes()
    with pytest.raises(SystemExit) as stop:
        cli.demo_main([str(shown), "--out", str(shown.parent), *MODEL])
    assert (stop.value.code, shown.read_bytes()) == (2, before)
    with pytest.raises(SystemExit) as stop:
        cli.demo_main([str(shown), "--out", str(shown), *MODEL])  # a file where a folder is wanted
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--unit", "furlong"], "expected one of km/h, mph, m/s"),
        (["--codec", "h246"], "codec: expected one of auto, h264, vp9"),
        (["--policy", "p.toml"], "--policy is that of one --actions or --recognize"),
        (["--policy", "p.toml", "--actions", "a", "--recognize", "b=c"], "name more of them in the site file"),
        (["--recognize", "emotion"], "--recognize: expected TASK=RECIPE, another task in each"),
        (["--recognize", "a=b", "--recognize", "a=c"], "another task in each, such as emotion=RECIPE, got a=b, a=c"),
        (["--save-abstained", "kept"], "saves abstained verdicts: give --actions or --recognize too"),
        (["--audit", "0.1"], "--audit and --save-below are those of --save-abstained"),
        (["--segment-s", "60"], "--segment-s splits outputs: give --out, --jsonl, --csv or --mot too"),
        (["--out", "seen.avi"], "ends in .mp4"),
        (["--events", "seen.txt"], "--events: expected a name that ends in .jsonl or .csv"),
        (["--sqlite", "none/a.db"], "the folder none does not exist; create it first"),
        (["--start", "noon"], "--start: expected a time such as 2026-01-31T12:00:00Z or 30d, got 'noon'"),
        (["--site", "nowhere.toml"], "there is no such file"),
        (["--calibration", "nowhere.toml"], "there is no such file"),
        (["--actions", "runs/nowhere.toml"], "there is no such file"),
        (["--model", "yolo.engine"], "TensorRT engine"),
    ],
)
def test_each_mistake_is_one_sentence(
    clip: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(clip.parent)
    Path("yolo.engine").touch()
    model = () if "--model" in arguments else MODEL
    assert said in " ".join(refused(["run", clip.name, *model, *arguments], capsys).split())


def test_a_video_without_objects_is_a_run_like_any_other(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = clip.with_suffix(".jsonl")
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(clip), "--jsonl", str(lines), "--precision", "fp16", *MODEL])
    assert stop.value.code == 0
    out, err = capsys.readouterr()
    assert re.search(r"objects +none", out)
    assert "health" not in out  # what did not run is not listed
    assert "runs in FP32" in err  # what was requested and not done is logged
    assert len(list(read_jsonl(lines))) == 10


def test_sigterm_ends_a_run_as_well_as_ctrl_c(street_clip: Path, tmp_path: Path) -> None:
    video, lines = tmp_path / "seen.mp4", tmp_path / "seen.jsonl"
    code = "import sys; from edgevid.cli import main; main(sys.argv[1:])"
    outputs = ["--out", str(video), "--jsonl", str(lines)]
    command = [sys.executable, "-c", code, "run", str(street_clip), *outputs, *MODEL]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as program:
        end = time.monotonic() + 60
        while time.monotonic() < end and not (lines.exists() and lines.stat().st_size > 20_000):
            time.sleep(0.05)
        program.send_signal(signal.SIGTERM)
        printed, _ = program.communicate(timeout=60)
    assert program.returncode == 128 + signal.SIGTERM
    assert "interrupted after" in printed
    with open_video(video) as written:  # all but the one in work, not all but the last two seconds
        assert abs(len(list(read_jsonl(lines))) - sum(1 for _ in written)) <= 1


def test_real_people_are_followed_from_file_to_records(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    clip, out = shared_data / "videos" / "pets09_s2l1_vtest.avi", tmp_path / "seen.jsonl"
    files = ["--jsonl", str(out), "--csv", str(out.with_suffix(".csv"))]
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(clip), *files, "--classes", "person", "--max-frames", "60"])
    assert stop.value.code == 0
    lines = list(read_jsonl(out))
    with out.with_suffix(".csv").open(newline="") as file:
        rows = [(int(row["frame"]), int(row["tracker_id"])) for row in csv.DictReader(file)]
    assert rows == [(line["frame"], one["id"]) for line in lines for one in line["objects"]]
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
    clip, out, kept = (shared_data / "videos" / "felix_exercise.avi", tmp_path / "seen.jsonl", tmp_path / "kept")
    words = ["run", str(clip), "--classes", "person", "--recognize", "emotion=emotion-mini-xception-64"]
    with pytest.raises(SystemExit):
        cli.main([*words, "--jsonl", str(out), "--save-abstained", str(kept), "--max-frames", "60"])
    verdicts = [o["verdicts"]["emotion"] for line in read_jsonl(out) for o in line["objects"]]
    said, silent = [v for v in verdicts if "label" in v], [v for v in verdicts if "reason" in v]
    assert len(said) + len(silent) == len(verdicts) > 100
    assert {v["reason"] for v in silent} <= {reason.name for reason in Reason}
    assert len(silent) > 0  # faces of 12 pixels: nobody can tell them all
    assert len(list(kept.glob("*.json"))) == len(list(kept.glob("*[0-9].jpg"))) > 0
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
    (tmp_path / "site.toml").write_text(f'source = "{clip}"\npolicy = "policy.toml"\n[detect]\nmodel = "street-nano"\n')
    out = tmp_path / "seen.jsonl"
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "--site", str(tmp_path / "site.toml"), "--jsonl", str(out), "--max-frames", "40"])
    assert stop.value.code == 0
    verdicts = [o["verdicts"]["class"] for line in read_jsonl(out) for o in line["objects"]]
    assert {v.get("reason") for v in verdicts} & {"TOO_SHORT", "LOW_CONFIDENCE"}
    assert any(v.get("label") == "person" for v in verdicts)
    assert "class" in capsys.readouterr().out


def test_events_reach_every_output_of_the_command_line_and_of_the_site(
    street_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gate.toml").write_text(
        f'source = "{street_clip}"\n[detect]\nmodel = "street-nano"\n'
        '[[line]]\nname = "line 1"\nstart = [0, 400]\nend = [1280, 400]\n'
        '[[sink]]\ntype = "events"\npath = "site.csv"\n'
    )
    words = ["run", "--site", str(tmp_path / "gate.toml"), "--max-frames", "150"]
    files = {name: tmp_path / f"a.{name}" for name in ("jsonl", "sqlite")}
    words += [word for name, path in files.items() for word in (f"--{name}", str(path))]
    words += ["--events", str(tmp_path / "e.jsonl"), "--start", "2026-01-31T12:00:00Z", "--sync-s", "0"]
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 0
    found = list(read_events(tmp_path / "e.jsonl"))
    crossings = [event for event in found if event.kind == "cross"]
    assert crossings
    assert {event.place for event in crossings} == {"line 1"}
    assert {event.camera for event in found} == {"gate"}
    assert all("2026-01-31T12:00:00" <= event.utc < "2026-01-31T12:00:07" for event in found)
    assert list(read_events(files["jsonl"])) == found
    assert [row["id"] for row in read_database(files["sqlite"])] == [event.id for event in sorted_by_utc(found)]
    assert len((tmp_path / "site.csv").read_text().splitlines()) == len(found) + 1
    printed = " ".join(capsys.readouterr().out.split())
    forward = sum(event.direction == "forward" for event in crossings)
    assert f"line line 1: {forward} forward (" in printed
    assert f"net {2 * forward - len(crossings)}" in printed
    assert "written" in printed


def test_a_line_that_no_object_can_cross_is_reported_at_once(
    street_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(street_clip), "--model", "street-nano", "--max-frames", "2", "--line"]
    for line, warned in (("0,900,1280,900", True), ("0,0.5,1,0.5", False)):
        with pytest.raises(SystemExit) as stop:
            cli.main([*words, line])
        assert stop.value.code == 0
        printed = " ".join("".join(capsys.readouterr()).split())
        assert ("line 'line 1' lies outside of the image: reaches to (0, 900), the image is" in printed) == warned


def test_the_servers_of_a_site_get_what_its_files_get(
    street_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx", reason='needs httpx: pip install "edgevid[webhook]"')
    monkeypatch.setenv("EDGEVID_SPOOL", str(tmp_path / "spool"))
    port = free_port()
    with broker(port, tmp_path), Listener(port) as listener:
        (tmp_path / "gate.toml").write_text(
            f'source = "{street_clip}"\n[detect]\nmodel = "street-nano"\n'
            '[[line]]\nname = "line 1"\nstart = [0, 400]\nend = [1280, 400]\n'
            f'[[sink]]\ntype = "mqtt"\nurl = "mqtt://gate:hunter2@127.0.0.1:{port}/street"\n'
            '[[sink]]\ntype = "webhook"\nurl = "http://127.0.0.1:1/"\n'
            '[[sink]]\ntype = "events"\npath = "site.jsonl"\n'
        )
        with pytest.raises(SystemExit) as stop:
            cli.main(["run", "--site", str(tmp_path / "gate.toml"), "--max-frames", "150"])
        assert stop.value.code == 0
        found = [event.id for event in read_events(tmp_path / "site.jsonl")]
        assert [one["id"] for one in listener.at("street/events", len(found))] == found
        crossings = sum(one["kind"] == "cross" for one in listener.at("street/events"))
        places = {name for name, *_ in listener.messages if "/line 1/" in name}
        assert crossings == sum(listener.at(name)[-1]["count"] for name in places) > 0
    printed = capsys.readouterr()
    lines = " ".join(printed.out.split())
    assert f"webhook 127.0.0.1:1: {len(found)} events wait for the camera's next run" in lines
    assert "hunter2" not in printed.out + printed.err
    assert not [line for line in printed.out.splitlines() if line.startswith("written") and "mqtt" in line]


def sorted_by_utc(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: event.utc)


@pytest.mark.parametrize(
    "mistyped",
    ["rtsp:/admin:hunter2@gate/1", "RTSP://admin:hunter2@gate/1", "rtsp:admin:hunter2@gate", "https:/u:hunter2@x"],
)
def test_a_mistyped_address_shows_no_password_either(
    mistyped: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "hunter2" not in masked(mistyped)
    if mistyped.islower():
        with pytest.raises(EdgevidError) as caught:
            open_video(mistyped)
        assert "hunter2" not in str(caught.value)
    (tmp_path / "site.toml").write_text(f'source = ["{mistyped}"]')
    with pytest.raises(SystemExit):
        cli.main(["run", "--site", str(tmp_path / "site.toml")])
    printed = "".join(capsys.readouterr())
    assert "expected a stream" in printed
    assert "hunter2" not in printed


@pytest.mark.parametrize("name", ["2026-01-31T12:00:00.mp4", "100%d %03d.mp4", "-y.mp4", "кадр 日本 é.mp4"])
def test_any_name_is_an_output(
    clip: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clip.parent)
    records = Path(name).with_suffix(".jsonl")
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(clip), "--out", name, "--jsonl", str(records), *MODEL])
    assert stop.value.code == 0, capsys.readouterr().err
    assert sorted(path.name for path in clip.parent.iterdir()) == sorted([clip.name, name, records.name])
    with open_video(clip.parent / name) as written:
        assert sum(1 for _ in written) == len(list(read_jsonl(records))) == 10
    monkeypatch.setattr("edgevid.output.sinks.LATEST", 3)
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(clip), "--out", name, "--segment-s", "1", *MODEL])
    assert stop.value.code == 0
    assert any(path.name.startswith(Path(name).stem + "-2") for path in clip.parent.iterdir())


def test_a_recording_by_http_is_written_once_and_ends(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "seen.jsonl"
    with serving(file_server(clip.read_bytes())) as address, pytest.raises(SystemExit) as stop:
        cli.main(["run", f"{address}/clip.mp4", "--jsonl", str(out), *MODEL])
    assert stop.value.code == 0
    assert [line["frame"] for line in read_jsonl(out)] == list(range(10))
    printed = capsys.readouterr()
    assert "ended" in printed.err
    assert "10 frames" in printed.out


@pytest.mark.parametrize(
    ("source", "said"),
    [("97", r"no such device: /dev/video97; `ls /dev/video\*`"), ("{}/no.mp4", "404 .*; check the path")],
)
def test_what_is_not_there_is_said_at_once_with_what_to_do(
    source: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(lambda handler: handler.send_error(404)) as address:
        assert re.search(said, refused(["run", source.format(address), *MODEL], capsys))


def test_no_password_is_in_the_journal_and_giving_up_is_a_choice(capsys: pytest.CaptureFixture[str]) -> None:
    address = "rtsp://admin:12/S3cret@127.0.0.1:9/cam"
    said = refused(["run", address, "--give-up-s", "0.3", *MODEL], capsys)
    assert "rtsp://***:***@127.0.0.1:9/cam: no frame for 0.3 s" in said
    assert "S3cret" not in said


@pytest.mark.parametrize("layout", ["coco", "yolo"])
def test_frames_with_their_boxes(tmp_path: Path, layout: str) -> None:
    with VideoWriter(tmp_path / "a.mp4") as writer:
        for n in range(30):
            writer.write(np.zeros((120, 160, 3), np.uint8), n / 10)
    call = ["run", str(tmp_path / "a.mp4"), "--model", "street-nano", "--threads", "1"]
    with pytest.raises(SystemExit, match="0"):
        cli.main([*call, f"--{layout}", str(tmp_path / "out"), "--frames-every-s", "2"])
    assert len(list((tmp_path / "out" / "images").iterdir())) == 2
    assert (tmp_path / "out" / {"coco": "annotations.json", "yolo": "data.yaml"}[layout]).exists()


def test_a_run_is_recorded_under_the_name_that_its_events_have(tmp_path: Path) -> None:
    clip = tmp_path / "gate.mp4"
    with VideoWriter(clip, fps=10) as writer:
        for n in range(30):
            writer.write(np.full((96, 128, 3), 8 * n, np.uint8), n / 10)
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(clip), "--model", "street-nano", "--record", str(tmp_path / "rec"), "-q"])
    assert stop.value.code == 0
    assert [path.suffix for path in (tmp_path / "rec" / "gate").iterdir()] == [".mp4"]
    runs = read_database(tmp_path / "rec" / "events.db", "SELECT * FROM runs")
    assert [row["camera"] for row in runs] == ["gate"]
