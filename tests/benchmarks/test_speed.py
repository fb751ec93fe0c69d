"""The speed benchmark itself: its floor against the study, its calibration from distances, its scores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from road_camera import ground_homography

from edgevid.speed import homography
from edgevid.synthetic.scene import LANES, Camera, Noise, drive

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Any:
    """The benchmark's modules, imported from their folder as its scripts do."""
    sys.path.insert(0, str(FOLDER))
    try:
        import speed
        import speed_brno
        import speed_scenes
    finally:
        sys.path.remove(str(FOLDER))
    return speed, speed_brno, speed_scenes


@pytest.mark.parametrize(("kmh", "white", "correlated"), [(15, 0.015, 0.042), (50, 0.09, 0.24), (130, 0.40, 0.89)])
def test_the_cramer_rao_floor_of_a_whole_pass(bench: Any, kmh: int, white: float, correlated: float) -> None:
    speed, _, scenes = bench
    mover = drive(1, kmh, towards=True, lane=LANES[1], near=15, far=60)
    run = scenes.watch("constant", mover, Noise(), 0, scenes.clock(mover.end))
    assert speed.floor(run, 0.0) == pytest.approx(white, rel=0.15)
    assert speed.floor(run, 0.8) == pytest.approx(correlated, rel=0.15)


def test_scenes_keep_to_the_road_and_miss_a_tenth(bench: Any) -> None:
    _, _, scenes = bench
    made = scenes.runs("accelerate", scenes.CORRELATED, 1)
    assert len(made) == 8
    for run in made:
        place = run.mover.state(float(run.times[-1]))[1]
        assert scenes.NEAR - 1 < place < scenes.FAR + 1
        assert np.diff(run.kmh).min() > 0
    assert 0.8 < np.concatenate([r.seen for r in made]).mean() < 0.97


def test_a_calibration_is_found_from_distances_and_lines(bench: Any) -> None:
    _, brno, _ = bench
    camera = Camera(height_m=8.0, pitch=18.0)

    def pixels(points: list[tuple[float, float]]) -> np.ndarray:
        return camera.project(np.column_stack([np.array(points, float), np.zeros(len(points))]))

    def line(a: tuple[float, float], b: tuple[float, float]) -> list[float]:
        p, q = np.column_stack([pixels([a, b]), np.ones(2)])
        normal = np.cross(p, q)
        return (normal / np.hypot(*normal[:2])).tolist()

    ends = [((-3.5, 16), (-3.5, 44), True), ((3.5, 17), (3.5, 45), True), ((-3.5, 16), (3.5, 16), False),
            ((-3.5, 45), (3.5, 45), False)]  # fmt: skip
    truth = {
        "distanceMeasurement": [
            {"p1": [*pixels([a])[0], 1.0], "p2": [*pixels([b])[0], 1.0], "toVP1": road,
             "distance": float(np.hypot(b[0] - a[0], b[1] - a[1]))} for a, b, road in ends
        ],
        "measurementLines": [line((-5, 16), (5, 16)), line((-5, 45), (5, 45))],
        "laneDivLines": [line((x, 16), (x, 45)) for x in (-3.5, 0, 3.5)],
    }  # fmt: skip
    calibration, rms = brno.calibration_of(truth)
    assert rms < 0.01
    places = calibration.to_ground(pixels([(-2, 20), (2, 20), (2, 40)]))
    assert np.hypot(*(places[1] - places[0])) == pytest.approx(4, abs=0.01)
    assert np.hypot(*(places[2] - places[1])) == pytest.approx(20, abs=0.02)
    fit = brno.PlaneFit(truth)
    exact = homography.normalized(np.linalg.inv(ground_homography(camera)), np.array([[0.0, 20.0]]))
    assert np.abs(fit.residuals(exact)).max() < 1e-6


def test_scores_count_emitted_values_and_interval_coverage(bench: Any) -> None:
    speed, _, scenes = bench
    run = scenes.Run("constant", np.arange(4) / 30, np.zeros((4, 4)), np.ones(4, bool), np.full(4, 50.0),
                     drive(1, 50, towards=True, lane=0.0))  # fmt: skip
    rows = np.array([[0, 51, 1, 0], [1 / 30, 49, 0.4, 1 / 30], [2 / 30, 50, 5, 2 / 30]])
    limited = speed.score([run], [rows], (2.0, 0.05))
    assert limited["mean"] == pytest.approx(1)
    assert limited["within 95"] == pytest.approx(0.5)
    assert limited["emitted"] == pytest.approx(0.5)
    assert limited["jitter"] == pytest.approx(2)
    assert speed.score([run], [rows], None)["mean"] == pytest.approx(2 / 3)
