"""What the viewer shows: a site's own source and pipeline, or the rendered street."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.models import resolve_model
from edgevid.output.ground_grid import GridOverlay, TruthOverlay
from edgevid.site.build import load_site
from edgevid.site.file import Site
from edgevid.synthetic.render import RenderedStreet
from edgevid.synthetic.scene import Camera
from edgevid.types import Frame
from edgevid.video.open import open_video
from edgevid.video.writer import VideoWriter
from edgevid.viewer.config import (
    RENDERED_NOTE,
    SHIPPED_NOTE,
    ViewerConfig,
    build_config,
    build_street,
    make_overlay,
    rendered_calibration,
)
from edgevid.zones import Zone

CALIBRATION = Path(__file__).resolve().parents[2] / "calibration" / "camera" / "gantry_road.toml"


def clip(folder: Path, size: tuple[int, int] = (640, 360)) -> str:
    path = folder / "gate.mp4"
    with VideoWriter(path) as writer:
        for n in range(3):
            writer.write(np.full((size[1], size[0], 3), 90, np.uint8), n / 25)
    return str(path)


def opened(site: Site) -> ViewerConfig:
    loaded = load_site(site)
    return build_config(loaded, open_video(site.source), lambda: open_video(site.source), threads=1)


def test_the_calibration_of_a_rendered_camera_measures_what_was_rendered() -> None:
    camera = Camera(1280, 720, 930.0, 7.0, 16.0)
    calibration = rendered_calibration(camera)
    where = np.array([[1.5, 25.0], [-3.0, 40.0]])
    pixels = camera.project(np.concatenate([where, np.zeros((2, 1))], 1))
    assert np.allclose(calibration.to_ground(pixels), where, atol=1e-6)


def test_a_site_is_opened_with_its_source_calibration_and_zones(tmp_path: Path) -> None:
    zone = Zone("lane", [(0, 0), (3, 0), (3, 9)], ground=True)
    site = Site(source=clip(tmp_path), model="street-nano", calibration=CALIBRATION, zones=(zone,))
    config = opened(site)
    assert (config.title, config.model, config.notes) == ("gate.mp4", "street-nano", ())
    assert config.calibration is not None
    assert config.calibration.size == (640, 360)
    assert config.monitor is not None
    assert config.monitor.zones == (zone,)
    assert config.site is site
    with config.source as source:
        results = [result for _, result in config.pipeline.run(source)]
    assert len(results) == 3
    with config.reopen() as again:  # from its beginning
        assert next(iter(again)).index == 0
    overlay = make_overlay(config, "mph")
    assert type(overlay) is GridOverlay


def test_a_site_without_a_model_says_that_the_small_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = resolve_model("street-nano")
    monkeypatch.setattr("edgevid.site.build.resolve_model", lambda _: shipped)
    config = opened(Site(source=clip(tmp_path)))
    config.source.close()
    assert config.notes == (SHIPPED_NOTE.format("street-nano"),)
    assert (config.calibration, config.monitor) == (None, None)


def test_what_is_in_meters_is_not_drawn_in_another_view(tmp_path: Path) -> None:
    lane = Zone("lane", [(0, 10), (4, 10), (4, 30)], ground=True)
    config = opened(Site(source=clip(tmp_path), model="street-nano", calibration=CALIBRATION, zones=(lane,)))
    config.source.close()
    overlay = make_overlay(config, "km/h")
    for size, drawn in (((1280, 720), True), ((640, 480), False)):
        frame = Frame(np.zeros((size[1], size[0], 3), np.uint8), 0.0, 0)
        assert overlay.background(frame).any() == drawn


def test_the_rendered_street_states_that_it_is_rendered_and_shows_its_truth() -> None:
    config = build_street(RenderedStreet(seconds=1))
    assert (config.title, config.model, config.notes) == ("rendered street", "street-nano", (RENDERED_NOTE,))
    assert config.calibration is not None
    assert config.calibration.size == config.source.size
    assert config.reopen() is config.source
    assert type(make_overlay(config, "km/h")) is TruthOverlay
