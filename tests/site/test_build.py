"""What is built from a loaded site."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.abstain.file import PolicyFile
from edgevid.abstain.policy import Settings
from edgevid.errors import FileFormatError, InputError
from edgevid.site.build import LoadedSite, build_pipeline, build_speed_estimator, build_zones, kept_classes, load_site
from edgevid.site.file import Site
from edgevid.speed.abstain import SpeedPolicy
from edgevid.types import Frame
from edgevid.zones import Zone


def test_zones_are_scaled_from_the_size_they_were_drawn_on() -> None:
    site = Site(zones=(Zone("z", [(0, 0), (9, 0), (9, 9)]),), size=(640, 360))
    monitor = build_zones(LoadedSite(site), (1280, 720))
    assert monitor is not None
    assert monitor.scale == (0.5, 0.5)
    with pytest.raises(InputError, match="drawn on 640x360, the stream is 640x480"):
        build_zones(LoadedSite(site), (640, 480))


def test_building_opens_none_of_the_site_s_files_again(tmp_path: Path) -> None:
    calibration = Path(__file__).resolve().parents[2] / "calibration" / "camera" / "gantry_road.toml"
    (tmp_path / "gate.toml").write_text(calibration.read_text())
    names = ["person", "bicycle", "car", "motorcycle", "bus", "truck"]
    (tmp_path / "policy.toml").write_text(
        f'format = "edgevid-policy 1"\ntask = "class"\nnames = {names}\n'
        "[decide]\nthreshold = 0.9\n[speed]\nmax_sigma_kmh = 3.6\nmax_share = 0.02\n"
    )
    (tmp_path / "site.toml").write_text(
        'policy = "policy.toml"\n[detect]\nmodel = "street-nano"\n[camera]\ncalibration = "gate.toml"\n'
        '[[zone]]\nname = "lane"\nground = true\npoints = [[0, 0], [3, 0], [3, 9]]\n'
    )
    loaded = load_site(tmp_path / "site.toml")
    for path in tmp_path.iterdir():
        path.unlink()
    pipeline, zones = build_pipeline(loaded, (640, 360), threads=1), build_zones(loaded, (640, 360))
    assert pipeline.class_policy is not None
    assert pipeline.speed_estimator is not None
    assert zones is not None
    assert loaded.drift_monitors() == {}
    estimator = build_speed_estimator(loaded, (1280, 720))
    assert estimator is not None
    assert (estimator.calibration.size, estimator._rules.policy) == ((1280, 720), SpeedPolicy(1.0, 0.02))
    with pytest.raises(InputError, match="aspect ratio"):
        build_pipeline(loaded, (640, 480), threads=1)


def test_a_policy_of_other_classes_is_rejected(tmp_path: Path) -> None:
    policy = PolicyFile(("walk", "run"), Settings(), task="class", path=tmp_path / "p.toml")
    loaded = LoadedSite(Site(model="street-nano"), policy=policy)
    with pytest.raises(FileFormatError, match=r"p\.toml: names: expected the recognizer's classes"):
        build_pipeline(loaded, (640, 360), threads=1)


def test_damaged_frames_are_predicted_in_or_processed_as_sound_ones() -> None:
    frame = Frame(np.zeros((360, 640, 3), np.uint8), 0.0, 0)
    frame.damaged = True
    loaded = load_site(Site(model="street-nano"))
    predicted = build_pipeline(loaded, (640, 360), threads=1).process(frame)
    processed = build_pipeline(loaded, (640, 360), threads=1, damaged="show").process(frame)
    assert (predicted.damaged, processed.damaged) == (True, False)
    assert set(predicted.timings) == {"track", "speed", "policy"}
    assert "detect" in processed.timings


def test_a_site_without_classes_keeps_people_and_vehicles_of_a_model_of_everything() -> None:
    everything = ("person", "bicycle", "car", "motorcycle", "airplane", "bus", "truck", "toilet")
    six = ("person", "bicycle", "car", "motorcycle", "bus", "truck")
    assert kept_classes((), everything) == six
    assert kept_classes(("all",), everything) is None
    assert kept_classes(("toilet",), everything) == ("toilet",)
    assert kept_classes((), six) is None  # all that the model has
    assert kept_classes((), ("person", "helmet")) is None  # a model of one's own
    assert kept_classes(("all",), ("all", "none")) == ("all",)


def test_relative_zones_are_those_of_the_stream() -> None:
    zone = Zone("bay", [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75)], relative=True)
    zones = build_zones(LoadedSite(Site(zones=(zone,))), (640, 480))
    assert zones is not None
    assert zones.zones[0].points[1] == (480.0, 120.0)
