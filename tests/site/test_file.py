"""Site files: read, checked, and rewritten without losing what a person wrote."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevid.errors import FileFormatError, InputError
from edgevid.site.build import LoadedSite
from edgevid.site.file import Site, read_site, write_gate, write_zones
from edgevid.speed.abstain import SpeedPolicy
from edgevid.zones import Line, Zone

GOOD = """\
# the gate of the yard
source = "rtsp://gate"

[detect]
model = "yolox-nano-416"
score = 0.3
classes = ["person", "car"]

[[zone]]
name = "yard"
points = [[0, 0], [10, 0], [10, 10]]
dwell_s = 30
direction = 90

[[line]]
name = "gate"
start = [0, 5]
end = [10, 5]
"""


def site_file(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text)
    return path


def test_a_good_file_is_read(tmp_path: Path) -> None:
    site = read_site(site_file(tmp_path, GOOD))
    assert (site.source, site.model, site.score) == ("rtsp://gate", "yolox-nano-416", 0.3)
    assert site.classes == ("person", "car")
    assert site.zones == (Zone("yard", [(0, 0), (10, 0), (10, 10)], dwell_s=30, direction=90),)
    assert site.lines == (Line("gate", (0, 5), (10, 5)),)


def test_a_table_alone_is_a_site_of_defaults_and_an_empty_file_is_none(tmp_path: Path) -> None:
    site = read_site(site_file(tmp_path, "[detect]"))
    assert (site.model, site.zones, site.lines, site.calibration) == (None, (), (), None)
    with pytest.raises(FileFormatError, match=r"expected a site: source = .*, it is empty"):
        read_site(site_file(tmp_path, "# later\n"))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("score = 0.3", "score = 3", "detect.score"),
        ("score = 0.3", "scor = 0.3", "detect.scor"),
        ('["person", "car"]', '"person"', "detect.classes"),
        ("[10, 0], [10, 10]]", "[10, 0]]", "zone 1.points"),
        ("[10, 0], [10, 10]]", "[10]]", "zone 1.points"),
        ("end = [10, 5]", "end = [0, 5]", "line 1.end"),
        ("end = [10, 5]", 'end = "here"', "line 1.end"),
        ("dwell_s = 30", "dwell = 30", "zone 1.dwell"),
        ("[[line]]", "[line]", "line"),
        ('source = "rtsp://gate"', "source = 3", "source"),
        ("[detect]", '[camera]\ncalibration = "none.toml"\n[detect]', "camera.calibration"),
        ("score = 0.3", "score = ", "the whole file"),
    ],
)
def test_each_mistake_names_its_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert old in GOOD
    with pytest.raises(FileFormatError) as caught:
        read_site(site_file(tmp_path, GOOD.replace(old, new)))
    assert caught.value.key == key
    assert "site.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[10, 0], [10, 10]]",
            "[10, 0]]",
            "zone 1.points: expected at least 3 points [[x, y], ...], each at most 1e+06 from 0, got [[0, 0], [10, 0]]",
        ),
        ("end = [10, 5]", "end = [0, 5]", "line 1.end: expected a point other than the start, got (0.0, 5.0)"),
        (
            "dwell_s = 30",
            "dwel_s = 30",
            "zone 1.dwel_s: expected only anchor, debounce_s, direction, dwell_s, ground, holes, "
            "max_occupancy, name, "
            "points, relative, stopped_s, "
            "got an unknown key; did you mean 'dwell_s'?",
        ),
        (
            "end = [10, 5]",
            "ende = [10, 5]",
            "line 1.end: expected a point [x, y], each at most 1e+06 from 0, it is missing; found 'ende'; "
            "did you mean 'end'?",
        ),
    ],
)
def test_each_mistake_is_one_clean_sentence(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = site_file(tmp_path, GOOD.replace(old, new))
    with pytest.raises(FileFormatError) as caught:
        read_site(path)
    assert str(caught.value) == f"{path}: {message}"


def test_rewriting_the_zones_keeps_what_a_person_wrote_before_them(tmp_path: Path) -> None:
    path = site_file(tmp_path, GOOD)
    zones = (Zone('the "dock"', [(0, 0), (5, 0), (5, 5.25)], stopped_s=20, debounce_s=0.5),)
    lines = (Line("exit", (1, 2), (3, 4)),)
    write_zones(path, zones, lines)
    assert path.read_text().startswith("# the gate of the yard\n")
    again = read_site(path)
    assert (again.zones, again.lines, again.score) == (zones, lines, 0.3)
    assert [p.name for p in tmp_path.iterdir()] == ["site.toml"]


@pytest.mark.parametrize(("text", "every"), [('"auto"', "auto"), ("3", 3), ("0.2", 0.2), ('"0.2s"', 0.2), ("1.0", 1.0)])
def test_the_site_says_how_often_is_detected(tmp_path: Path, text: str, every: Any) -> None:
    read = read_site(site_file(tmp_path, f"[detect]\nevery = {text}\ngate_threshold = 6\nmax_gap_s = 1\n"))
    assert (read.every, type(read.every)) == (every, type(every))
    assert (read.gate_threshold, read.max_gap_s) == (6, 1)
    assert read_site(site_file(tmp_path, "[detect]\nscore = 0.4\n")).every is None


@pytest.mark.parametrize("text", ["0", "-1", "'often'", "0.0"])
def test_another_cadence_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = site_file(tmp_path, f"[detect]\nevery = {text}\n")
    with pytest.raises(FileFormatError) as caught:
        read_site(path)
    expected = 'expected auto, a whole number of frames such as 3, or seconds such as "0.2s"'
    assert str(caught.value) == f"{path}: detect.every: {expected}, got {text}"


def test_the_threshold_of_a_tuning_is_written(tmp_path: Path) -> None:
    path, classes = site_file(tmp_path, GOOD), 'classes = ["person", "car"]\n'
    write_gate(path, 6.0)
    assert path.read_text() == GOOD.replace(classes, classes + 'every = "auto"\ngate_threshold = 6.0\n')
    write_gate(tmp_path / "new.toml", 8.0)
    assert (read_site(tmp_path / "new.toml").every, read_site(tmp_path / "new.toml").gate_threshold) == ("auto", 8.0)


def test_the_site_sets_how_speeds_are_measured(tmp_path: Path) -> None:
    from edgevid.site.build import build_speed_estimator
    from edgevid.speed.calibration import make_calibration
    from edgevid.speed.estimator import CONTACTS

    path = tmp_path / "gate.toml"
    path.write_text('[camera]\nspeed_method = "displacement"\ncontact = "footprint"\nroad_deg = 45\n')
    site = read_site(path)
    assert (site.speed_method, site.contact, site.road_deg) == ("displacement", "footprint", 45.0)
    corners = np.array([(402, 903), (1498, 899), (1102, 402), (801, 399)])
    meters = np.array([(0, 0), (7, 0), (7, 30), (0, 30)])
    calibration = make_calibration(corners, meters, (1920, 1080))
    speed_estimator = build_speed_estimator(LoadedSite(site, calibration), (1920, 1080))
    assert speed_estimator is not None
    assert type(speed_estimator._core).__name__ == "DisplacementCore"
    assert speed_estimator._road_deg == 45.0
    path.write_text('[camera]\ncontact = "middle"\n')
    with pytest.raises(FileFormatError, match=CONTACTS[0]):
        read_site(path)


def test_the_speed_limits_of_a_policy_hold(tmp_path: Path) -> None:
    from edgevid.site.build import LoadedSite, build_speed_estimator, load_site
    from edgevid.speed.calibration import make_calibration

    corners = np.array([(402, 903), (1498, 899), (1102, 402), (801, 399)])
    calibration = make_calibration(corners, np.array([(0, 0), (7, 0), (7, 30), (0, 30)]), (1920, 1080))
    (tmp_path / "p.toml").write_text(
        'format = "edgevid-policy 1"\ntask = "class"\nnames = ["car"]\n'
        "[decide]\nthreshold = 0.5\n[speed]\nmax_sigma_kmh = 7.2\nmax_share = 0.2\n"
    )
    (tmp_path / "gate.toml").write_text('policy = "p.toml"\n')
    loaded = dataclasses.replace(load_site(tmp_path / "gate.toml"), calibration=calibration)
    assert build_speed_estimator(loaded, (1920, 1080))._rules.policy == SpeedPolicy(2.0, 0.2)  # type: ignore[union-attr]
    loaded = LoadedSite(Site(), calibration)
    assert build_speed_estimator(loaded, (1920, 1080))._rules.policy == SpeedPolicy()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[zone]]\nname = 'z'\npoints = true", "zone 1.points: expected at least 3 points"),
        ("[[zone]]\nname = 'z'\npoints = [[0, 0], [1e9, 0], [9, 9]]", "each at most 1e\\+06"),
        ("[[zone]]\nname = 'z'\npoints = [[0, 0], [nan, 0], [9, 9]]", "each at most 1e\\+06"),
        (f"[camera]\nsize = [{'9' * 400}, 1]", "more than 64 bits"),
        ("[camera]\nsize = [0, 9]", "camera.size: expected .width, height. in pixels"),
        (f"source = {'[' * 3000}", "expected TOML"),
    ],
)
def test_what_the_fuzzer_found_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(FileFormatError, match=expected):
        read_site(tmp_path / "site.toml")


def test_what_is_no_path_is_rejected() -> None:
    with pytest.raises(InputError, match="a TOML file: expected its path, got 3"):
        read_site(3)  # type: ignore[arg-type]


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("score = 0.3", "score = 3").replace("dwell_s = 30", "dwell = 30")
    path = site_file(tmp_path, text.replace("end = [10, 5]", "end = [10]") + "[camera]\ncontact = 'foot'\n")
    with pytest.raises(FileFormatError) as caught:
        read_site(path)
    assert [one.key for one in caught.value.mistakes] == [
        "detect.score", "zone 1.dwell", "line 1.end", "camera.contact",
    ]  # fmt: skip
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 4 mistakes"
    assert lines[1] == "  detect.score: expected a number from 0 to 1, got 3"


@pytest.mark.parametrize("shape", ["zone", "line"])
def test_shares_of_the_frame_are_not_taken_for_pixels(tmp_path: Path, shape: str) -> None:
    zone = "points = [[0.1, 0.2], [0.9, 0.2], [0.9, 0.9]]"
    keys = zone if shape == "zone" else "start = [0.1, 0.5]\nend = [1, 0.5]"
    path = site_file(tmp_path, f'[[{shape}]]\nname = "yard"\n{keys}\n')
    with pytest.raises(FileFormatError, match="expected frame pixels; relative = true for shares of the frame"):
        read_site(path)
    (tmp_path / "gate.toml").touch()
    path.write_text(f'camera.calibration = "gate.toml"\n{path.read_text()}ground = true\n')
    assert len(read_site(path).zones + read_site(path).lines) == 1


def test_two_zones_of_one_name_are_a_mistake_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace('name = "gate"', 'name = "yard"')
    with pytest.raises(FileFormatError, match="zones and lines with different names"):
        read_site(site_file(tmp_path, text))


def test_every_path_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    for name in ("base.mp4", "p.toml", "c.toml", "m.onnx"):
        (folder / name).touch()
    path = site_file(
        folder,
        'source = "base.mp4"\npolicy = "p.toml"\n[detect]\nmodel = "m.onnx"\n'
        '[camera]\ncalibration = "c.toml"\nhealth = "health"\n'
        '[[recognize]]\nmodel = "gone/recipe.toml"\npolicy = "p.toml"\n',
    )
    monkeypatch.chdir("/")
    site = read_site(path)
    assert site.source == str(folder / "base.mp4")
    assert site.model == str(folder / "m.onnx")
    assert (site.policy, site.calibration, site.health) == tuple(folder / n for n in ("p.toml", "c.toml", "health"))
    assert site.recognizers[0].model == str(folder / "gone" / "recipe.toml")
    assert site.recognizers[0].policy == folder / "p.toml"
    for source in ("rtsp://gate/1", "0", "/dev/video0", "file:///a.mp4"):
        assert read_site(site_file(folder, f'source = "{source}"')).source == source
    assert read_site(site_file(folder, 'source = "photos/*.jpg"')).source == str(folder / "photos/*.jpg")


def test_secrets_come_from_the_environment_and_are_never_written_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_PASSWORD", "hunter22")
    path = site_file(tmp_path, GOOD.replace("rtsp://gate", "rtsp://me:${GATE_PASSWORD}@gate/${WAY:-1}"))
    site = read_site(path)
    assert site.source == "rtsp://me:hunter22@gate/1"
    write_zones(path, (), site.lines)
    assert "${GATE_PASSWORD}@gate/${WAY:-1}" in path.read_text()
    assert "hunter22" not in path.read_text()
    path.write_text(path.read_text().replace("score = 0.3", 'score = "${GATE_PASSWORD}"'))
    with pytest.raises(FileFormatError, match=r"detect\.score: .* got '\$\{GATE_PASSWORD\}'"):
        read_site(path)
    monkeypatch.delenv("GATE_PASSWORD")
    with pytest.raises(FileFormatError, match="source: expected the environment variable 'GATE_PASSWORD'"):
        read_site(path)


def test_an_edit_keeps_comments_mode_and_the_symbolic_link(tmp_path: Path) -> None:
    text = GOOD.replace("dwell_s = 30", "dwell_s = 30  # half a minute").replace("[detect]", "# one\n[detect]  # two")
    (tmp_path / "real.toml").write_text(text)
    (tmp_path / "real.toml").chmod(0o640)
    path = tmp_path / "site.toml"
    path.symlink_to("real.toml")
    site = read_site(path)
    write_zones(path, site.zones, site.lines)
    assert path.read_text() == text
    write_zones(path, (dataclasses.replace(site.zones[0], dwell_s=45.0), *site.zones[1:]), site.lines)
    assert path.is_symlink()
    assert path.read_text() == text.replace("dwell_s = 30", "dwell_s = 45.0")
    assert (tmp_path / "real.toml").stat().st_mode & 0o777 == 0o640


def test_a_task_that_two_recognizers_have_is_a_mistake(tmp_path: Path) -> None:
    path = site_file(tmp_path, '[[recognize]]\nmodel = "a"\n[[recognize]]\nmodel = "b"\n')
    with pytest.raises(FileFormatError, match=r"recognize: expected another task in each, got \['action'\]"):
        read_site(path)


def test_zones_in_meters_name_the_calibration_that_is_missing(tmp_path: Path) -> None:
    path = site_file(tmp_path, '[[zone]]\nname = "a"\nground = true\npoints = [[0, 0], [9, 0], [9, 9]]\n')
    expected = "camera.calibration: expected a calibration, which zones and lines in meters need, it is missing"
    with pytest.raises(FileFormatError) as caught:
        read_site(path)
    assert str(caught.value) == f"{path}: {expected}"
