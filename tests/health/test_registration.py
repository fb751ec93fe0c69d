"""Registration: motions are measured, light and traffic are none, darkness is unknown."""

from __future__ import annotations

import numpy as np
import pytest
from health_views import SIZE, VIEW, moved, view_image

from edgevid.errors import InputError
from edgevid.health.registration import GradientImage, Motion, Reference, thumbnail
from edgevid.types import Frame


@pytest.mark.parametrize(
    ("dx", "dy", "turn", "zoom"),
    [(0, 0, 0, 1), (0.6, 0, 0, 1), (-3, 2, 0, 1), (7, 11, 0.5, 1), (-40, 25, 0, 1), (0, 0, -1, 1.02), (90, 0, 0, 1)],
)
def test_a_motion_is_measured(dx: float, dy: float, turn: float, zoom: float) -> None:
    reference = Reference(thumbnail(Frame(VIEW, 0, 0)), SIZE)
    found = reference.register(GradientImage(thumbnail(Frame(moved(dx, dy, turn, zoom), 0, 0))))
    assert found.motion is not None
    assert (found.motion.dx, found.motion.dy) == pytest.approx((dx, dy), abs=0.25)
    assert found.motion.rotation_deg == pytest.approx(turn, abs=0.05)
    assert found.motion.scale == pytest.approx(zoom, abs=0.001)


def test_light_and_noise_are_no_motion() -> None:
    reference = Reference(thumbnail(Frame(VIEW, 0, 0)), SIZE)
    noise = np.random.default_rng(1).normal(0, 8, VIEW.shape)
    ramp = np.linspace(0.4, 1.2, 640)[None, :, None]  # a low sun from one side
    for lit in (VIEW * 0.35 + noise, VIEW * ramp + noise, 255 * (VIEW / 255.0) ** 0.5 + noise):
        found = reference.register(GradientImage(thumbnail(Frame(np.clip(lit, 0, 255).astype(np.uint8), 0, 0))))
        assert found.motion is not None
        assert found.motion.max_displacement() < 0.3


def test_traffic_over_a_third_of_the_image_is_no_motion() -> None:
    reference = Reference(thumbnail(Frame(VIEW, 0, 0)), SIZE)
    crowded = VIEW.copy()
    crowded[:, 200:410] = view_image(7)[:, 200:410]
    found = reference.register(GradientImage(thumbnail(Frame(crowded, 0, 0))))
    assert found.motion is not None
    assert found.motion.max_displacement() < 0.3


def test_motions_compose_as_their_matrices_do() -> None:
    one, two = Motion(3.0, -2.0, 1.5, 1.01, SIZE), Motion(-8.0, 5.0, -0.7, 0.99, SIZE)
    points = np.array([[10.0, 20.0], [600.0, 300.0]])
    np.testing.assert_allclose(two.after(one).apply(points), two.apply(one.apply(points)), atol=1e-9)
    assert Motion(3.0, 4.0, 0.0, 1.0, SIZE).max_displacement() == pytest.approx(5.0)
    assert Motion(-3.0, 4.0, 0.5, 1.01, SIZE).describe() == (
        "shifted by 5.0 px (3.0 left, 4.0 down), rotated by +0.50 degrees, zoomed by +1.0 %"
    )


def test_dark_and_plain_images_are_unknown() -> None:
    reference = Reference(thumbnail(Frame(VIEW, 0, 0)), SIZE)
    found = reference.register(GradientImage(np.full((288, 512), 9, np.uint8)))
    assert found.motion is None
    assert found.image_tiles == 0
    with pytest.raises(InputError, match="gray image"):
        Reference(np.zeros((20, 20), np.uint8), (20, 20))
    with pytest.raises(InputError, match="got \\(100, 100\\)"):
        reference.register(GradientImage(np.zeros((100, 100), np.uint8)))
