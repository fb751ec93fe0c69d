"""Images as the browser gets them."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.viewer.broadcast import encode_jpeg, limit_size


def test_large_images_are_made_smaller_and_small_ones_are_not() -> None:
    assert limit_size(np.zeros((1080, 1920, 3), np.uint8), 1280).shape == (720, 1280, 3)
    assert limit_size(np.zeros((1920, 1080, 3), np.uint8), 1280).shape == (1280, 720, 3)
    assert limit_size(np.zeros((288, 384, 3), np.uint8), 1280).shape == (288, 384, 3)


def test_colors_arrive_as_they_were() -> None:
    cv2 = pytest.importorskip("cv2")
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    back = cv2.imdecode(np.frombuffer(encode_jpeg(red, 90), np.uint8), cv2.IMREAD_COLOR)[8, 8]
    assert back[2] > 240  # OpenCV reads blue, green, red
    assert back[0] < 15
