"""Photos and videos that state how they are to be shown: turned and mirrored, in each kind of source."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from video_clips import exif, set_rotation, with_exif

from edgevid.types import Array
from edgevid.video.frames import EXIF, exif_matrix, matrix_of
from edgevid.video.images import read_image, to_jpeg
from edgevid.video.open import FrameSeeker, open_video

SHOWN = {
    1: ("TL", "BL"),
    2: ("TR", "BR"),
    3: ("BR", "TR"),
    4: ("BL", "TL"),
    5: ("TL", "TR"),
    6: ("TR", "TL"),
    7: ("BR", "BL"),
    8: ("BL", "BR"),
}
"""Where the red and the green quarter are shown, by EXIF's orientation: stored top left and bottom left."""


def stored() -> Array:
    """(48, 80, 3) RGB: red at the top left, green at the bottom left, gray at the right."""
    image = np.full((48, 80, 3), 90, np.uint8)
    image[:24, :40], image[24:, :40] = (220, 20, 20), (20, 200, 20)
    return image


def quarters(image: Array) -> tuple[str, str]:
    """Where red and green are in an image."""
    found = []
    for color, other in ((0, 1), (1, 0)):
        y, x = np.nonzero((image[..., color] > 150) & (image[..., other] < 110))
        top, left = y.mean() < image.shape[0] / 2, x.mean() < image.shape[1] / 2
        found.append(("T" if top else "B") + ("L" if left else "R"))
    return found[0], found[1]


@pytest.mark.parametrize("orientation", SHOWN)
def test_a_photo_is_upright_in_a_folder_alone_and_as_a_still(tmp_path: Path, orientation: int) -> None:
    data = with_exif(to_jpeg(stored()), exif(orientation, "<>"[orientation % 2]))
    (photo := tmp_path / "photo.jpg").write_bytes(data)
    size = (80, 48) if orientation < 5 else (48, 80)
    for where in (tmp_path, photo, tmp_path / "*.jpg"):
        with open_video(where) as source:
            frame = next(iter(source))
            assert source.size == frame.size == size
        assert quarters(frame.image) == SHOWN[orientation]
    with FrameSeeker(photo) as still:  # the calibration page reads its image so
        assert quarters(still.at(0).image) == SHOWN[orientation]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_every_format_of_photos_may_state_its_orientation(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    _, coded = cv2.imencode(suffix, stored()[..., ::-1])
    data = coded.tobytes()
    if suffix == ".tiff":  # its table of entries again, at the end, with one more
        at = int.from_bytes(data[4:8], "little")
        count = int.from_bytes(data[at : at + 2], "little")
        entries = [data[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(count)]
        assert data[:2] == b"II"
        entries.append(exif(6)[10:22])
        entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
        table = len(entries).to_bytes(2, "little") + b"".join(entries) + bytes(4)
        data = data[:4] + len(data).to_bytes(4, "little") + data[8:] + table
    else:
        data = with_exif(data, exif(6))
    path.write_bytes(data)
    image = read_image(path)
    assert image is not None
    assert quarters(image) == SHOWN[6]


@pytest.mark.parametrize("orientation", SHOWN)
def test_a_video_is_shown_by_its_display_matrix(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 80, 48, "yuv420p", 4_000_000
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored(), format="rgb24")))
        container.mux(stream.encode())
    set_rotation(path, EXIF[orientation])
    with open_video(path) as source, FrameSeeker(path) as stills:
        frames = [*source, stills.at(0.04)]
    assert len(frames) == 4
    assert all(quarters(frame.image) == SHOWN[orientation] for frame in frames)


@pytest.mark.parametrize(
    "data", [b"", b"Exif\0\0", exif(0), exif(9), exif(6)[:12], b"II*\0" + b"\xff" * 9, b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_states_nothing(data: bytes) -> None:
    assert exif_matrix(data) is None


def test_a_frame_without_a_display_matrix_is_upright() -> None:
    assert matrix_of(av.VideoFrame(16, 16, "yuv420p")) == EXIF[1]
