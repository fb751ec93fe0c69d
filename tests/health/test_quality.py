"""Image quality: what is measured of rendered images, and the reasons that follow."""

import numpy as np
import pytest

from edgevid import Frame, Reason
from edgevid.errors import InputError
from edgevid.health.view_monitor import ImageQuality, Quality, measure

RNG = np.random.default_rng(0)
SCENE = np.kron(RNG.integers(40, 220, (45, 60)), np.ones((8, 8)))  # blocks of 8 pixels ...
SCENE = np.roll(SCENE, (3, 3), (0, 1)) + RNG.normal(0, 1, SCENE.shape)  # ... whose borders are not those of JPEG


def frame(gray: np.ndarray, time: float = 0.0) -> Frame:
    image = np.repeat(np.clip(gray, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    return Frame(image, time, int(time * 25))


def blurred(gray: np.ndarray, width: int = 13) -> np.ndarray:
    for axis in (0, 1, 0, 1):
        gray = sum(np.roll(gray, n, axis) for n in range(-(width // 2), width // 2 + 1)) / width
    return gray


def blocks(gray: np.ndarray) -> np.ndarray:
    """Each block of 8 by its mean, as JPEG at its worst, with a little of its own."""
    height, width = gray.shape
    means = gray.reshape(height // 8, 8, width // 8, 8).mean((1, 3))
    return np.kron(means, np.ones((8, 8))) + 0.05 * gray


CASES = {
    Reason.OK: SCENE, Reason.DARK: 0.1 * SCENE, Reason.BLURRED: blurred(SCENE),
    Reason.OVEREXPOSED: 3 * SCENE + 60, Reason.DAMAGED: blocks(SCENE),
}  # fmt: skip


@pytest.mark.parametrize("reason", CASES, ids=lambda reason: reason.name)
def test_an_image_has_the_reason_that_a_person_would_give(reason: Reason) -> None:
    assert ImageQuality().update(frame(CASES[reason])) is reason


def test_heavy_noise_is_damage_and_a_plain_image_shows_nothing() -> None:
    assert ImageQuality().update(frame(SCENE + RNG.normal(0, 40, SCENE.shape))) is Reason.DAMAGED
    assert ImageQuality().update(frame(np.full((240, 320), 128.0))) is Reason.BLURRED


def test_noise_is_measured_and_does_not_pass_for_sharpness() -> None:
    soft = blurred(SCENE)
    noisy = measure(frame(soft + RNG.normal(0, 6, soft.shape)))
    assert noisy.noise == pytest.approx(6, rel=0.15)
    assert noisy.sharpness < 0.18


def test_planes_of_video_luma_give_the_same_exposure_as_rgb() -> None:
    y = (16 + np.clip(SCENE, 0, 255) * 219 / 255).round().astype(np.uint8)
    half = np.full((y.shape[0] // 2, y.shape[1] // 2), 128, np.uint8)
    planes = Frame.from_yuv420((y, half, half), 0.0, 0, to_rgb=lambda frame: np.zeros((1, 1, 3), np.uint8))
    direct, video = measure(frame(SCENE)), measure(planes)
    assert video.bright == pytest.approx(direct.bright, abs=2)
    assert video.contrast == pytest.approx(direct.contrast, abs=3)


def test_the_state_changes_when_two_checks_agree_and_not_between_checks() -> None:
    quality, dark = ImageQuality(), 0.1 * SCENE
    assert quality.update(frame(SCENE, 0.0)) is Reason.OK
    assert quality.update(frame(dark, 0.5)) is Reason.OK  # no check is due
    assert quality.update(frame(dark, 1.0)) is Reason.OK  # one alone may be a flash
    assert quality.update(frame(dark, 2.0)) is Reason.DARK
    assert quality.update(frame(SCENE, 3.0)) is Reason.DARK
    assert quality.update(frame(SCENE, 4.0)) is Reason.OK
    assert quality.update(frame(dark, 0.0)) is Reason.DARK  # the stream began again


def test_a_camera_that_was_sharp_is_compared_with_itself() -> None:
    soft, quality = blurred(SCENE, 5), ImageQuality(Quality(sharpness=0.1), every_s=0.03)
    assert quality.update(frame(soft)) is Reason.OK
    quality.reset()
    for n in range(61):
        assert quality.update(frame(SCENE + RNG.normal(0, 1, SCENE.shape), n / 25)) is Reason.OK
    found = [quality.update(frame(soft, (61 + n) / 25)) for n in range(2)]
    assert found == [Reason.OK, Reason.BLURRED]


def test_limits_are_the_users_and_tiny_images_have_no_quality() -> None:
    assert ImageQuality(Quality(bright=10)).update(frame(0.2 * SCENE)) is Reason.OK
    tiny = frame(np.zeros((8, 8)))
    assert ImageQuality().update(tiny) is Reason.OK
    with pytest.raises(InputError, match="16x16"):
        measure(tiny)
