"""Images and arrays as sources."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import gray

from edgevid.errors import InputError, SourceError
from edgevid.types import Frame
from edgevid.video.images import ArraySource, read_image, resize_area, to_jpeg
from edgevid.video.open import open_video


def test_images_come_in_natural_order_and_damaged_ones_are_counted(tmp_path: Path) -> None:
    for n in (1, 2, 10):
        with av.open(str(tmp_path / f"shot_{n}.png"), "w", format="image2") as container:
            stream = container.add_stream("png", rate=1)
            stream.width, stream.height, stream.pix_fmt = 32 + n, 24, "rgb24"
            frame = av.VideoFrame.from_ndarray(np.full((24, 32 + n, 3), 10 * n, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    (tmp_path / "shot_3.png").write_bytes(b"no image")
    with open_video(tmp_path, fps=2) as source:
        frames = list(source)
    assert [int(f.image[0, 0, 0]) for f in frames] == [10, 20, 100]
    assert [f.time for f in frames] == [0.0, 0.5, 1.5]  # the damaged one still took its half second
    assert [f.index for f in frames] == [0, 1, 3]  # and its place in the numbering
    assert source.corrupted == 1
    with open_video(str(tmp_path / "shot_1*.png")) as source:
        assert source.frame_count == 2


def textured(seed: int, shift: int = 0) -> np.ndarray:
    """(120, 160, 3) RGB of blobs, moved by `shift` pixels."""
    blobs = np.random.default_rng(seed).integers(0, 256, (6, 12, 3)).astype(np.uint8)
    return np.roll(resize_area(np.repeat(np.repeat(blobs, 20, 0), 20, 1), (240, 120)), shift, 1)[:, :160]


def save(folder: Path, images: dict[str, np.ndarray]) -> Path:
    for name, image in images.items():
        (folder / name).write_bytes(to_jpeg(image))
    return folder


def test_photos_are_told_from_the_frames_of_a_scene(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (photos := tmp_path / "photos").mkdir()
    (scene := tmp_path / "scene").mkdir()
    save(photos, {f"p{n}.jpg": textured(n) for n in range(6)})  # of one size, and numbered
    save(scene, {f"p{n}.jpg": textured(0, 3 * n) for n in range(6)})  # a camera that pans
    with caplog.at_level("INFO", "edgevid"):
        assert open_video(photos).independent
        assert not open_video(scene).independent
    assert [record.message.split(": ", 1)[1] for record in caplog.records] == [
        "taken for unrelated photos; if not so: --images sequence",
        "taken for frames; if not so: --images independent",
    ]
    assert not open_video(photos, images="sequence").independent
    assert open_video(scene, images="independent").independent
    assert not open_video(photos / "p1.jpg").independent
    save(scene, {"p1.jpg": textured(0)[:90]})
    assert open_video(scene).independent  # sizes differ
    with pytest.raises(InputError, match="independent or sequence"):
        open_video(scene, images="both")


def test_a_pattern_of_numbers_names_images(tmp_path: Path) -> None:
    names = ["img_0002.jpg", "img_0010.jpg", "img_10000.jpg", "img_7.jpg", "img_0003.png", "0001.jpg"]
    save(tmp_path, {name: gray(0) for name in names if name.endswith("jpg")})

    def named(pattern: str) -> list[str]:
        with open_video(tmp_path / pattern) as source:
            assert len(list(source)) == source.frame_count
            return [path.name for path in source.paths]

    assert named("img_%04d.jpg") == ["img_0002.jpg", "img_0010.jpg", "img_10000.jpg"]
    assert named("img_%d.jpg") == ["img_0002.jpg", "img_7.jpg", "img_0010.jpg", "img_10000.jpg"]
    save(tmp_path, {"100%d.jpg": gray(0)})
    assert named("100%d.jpg") == ["100%d.jpg"]  # a file of that name
    with pytest.raises(SourceError, match="found none"):
        open_video(tmp_path / "shot_%04d.jpg")


def test_a_folder_without_images_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"expected images \(\.bmp"):
        open_video(tmp_path)
    with pytest.raises(InputError, match="fps"):
        open_video(tmp_path, fps=0)


def test_arrays_pairs_and_frames_are_sources() -> None:
    image = gray(0)
    given = [image, (0.5, image), Frame(image, 0.9, 7), (0.2, image)]
    with open_video(given, fps=10) as source:
        frames = list(source)
    assert [f.time for f in frames] == [0.0, 0.5, 0.9]
    assert source.dropped == 1  # its time went back


def test_a_jpeg_has_the_colors_of_its_image(tmp_path: Path) -> None:
    image = np.zeros((31, 47, 3), np.uint8)  # odd: half a chroma sample at the edges
    image[:, :24], image[:, 24:] = (200, 40, 90), (10, 180, 60)
    for qscale, off in ((1, 3), (3, 4)):
        (tmp_path / "one.jpg").write_bytes(to_jpeg(image, qscale=qscale))
        decoded = read_image(tmp_path / "one.jpg")
        assert decoded is not None
        np.testing.assert_allclose(decoded[:, [2, 44]].astype(int), image[:, [2, 44]].astype(int), atol=off)
    random = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert len(to_jpeg(random, qscale=8)) < len(to_jpeg(random)) / 2


def test_shrinking_averages_the_pixels_of_an_area() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    image[::2, :, 0], image[:, ::3, 1], image[..., 2] = 200, 240, 70
    small = resize_area(image[:, ::-1], (15, 10))
    assert small.shape == (10, 15, 3)
    np.testing.assert_allclose(small.reshape(-1, 3).mean(0), (100, 80, 70), atol=2)
    assert np.ptp(small.astype(int), axis=(0, 1)).max() <= 2


def test_bare_arrays_are_bgr_as_opencv_reads_them() -> None:
    blue = np.zeros((4, 6, 3), np.uint8)
    blue[..., 0] = 200
    rgb = Frame(np.ascontiguousarray(blue[..., ::-1]), 0.5, 2)
    found = [frame.image[0, 0].tolist() for frame in ArraySource([blue, (0.25, blue), rgb])]
    assert found == [[0, 0, 200]] * 3
    assert [frame.size for frame in open_video(blue)] == [(6, 4)]
    assert [frame.time for frame in open_video(np.stack([blue, blue]), fps=10)] == [0.0, 0.1]
