"""The choice of an encoder: hardware, BSD, GPL; and what each that works here writes can be read."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest
from video_clips import gray

from edgevid.errors import InputError, log_once
from edgevid.video import writer
from edgevid.video.open import open_video
from edgevid.video.writer import ENCODERS, VideoWriter, choose_encoder, encodes

SIZE = 64, 48


@pytest.mark.parametrize(
    ("codec", "working", "chosen"),
    [
        ("auto", "libx264 libvpx-vp9 libopenh264 h264_nvenc", "h264_nvenc"),
        ("auto", "libx264 libvpx-vp9 libopenh264 libsvtav1", "libopenh264"),
        ("auto", "libx264 libvpx-vp9 libsvtav1", "libvpx-vp9"),
        ("auto", "libx264 libsvtav1 mpeg4", "libx264"),
        ("auto", "mpeg4", "mpeg4"),
        ("h264", "libx264 libvpx-vp9", "libx264"),
        ("h264", "libx264 libopenh264", "libopenh264"),
        ("libx264", "h264_nvenc libx264 libvpx-vp9", "libx264"),
        ("x264", "h264_nvenc libx264 libvpx-vp9", "libx264"),
        ("av1", "libvpx-vp9 libsvtav1", "libsvtav1"),
    ],
)
def test_hardware_comes_first_then_bsd_and_gpl_only_where_it_is_alone_or_asked_for(
    monkeypatch: pytest.MonkeyPatch, codec: str, working: str, chosen: str
) -> None:
    monkeypatch.setattr(writer, "encodes", lambda name, *_: name in working.split())
    assert choose_encoder(codec, *SIZE) == chosen


def test_an_encoder_that_is_unknown_or_does_not_work_is_refused_with_those_that_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"codec: expected one of auto, .*; did you mean 'libx264'"):
        VideoWriter(tmp_path / "a.mp4", codec="libx265")
    monkeypatch.setattr(writer, "encodes", lambda name, *_: name in ("libx264", "mpeg4"))
    with pytest.raises(InputError, match=r"codec 'vp9': .*of this FFmpeg work libx264, mpeg4"):
        choose_encoder("vp9", *SIZE)


def test_an_encoder_works_if_it_encodes_a_frame_of_this_size() -> None:
    assert encodes("mpeg4", *SIZE)
    assert not encodes("mpeg4", 20_000, 16)  # its header has 13 bits for a width
    assert not encodes("h264_videotoolbox", 0, 0)


@pytest.mark.parametrize("name", ENCODERS)
def test_what_an_encoder_writes_can_be_read(name: str, tmp_path: Path) -> None:
    if not encodes(name, *SIZE):
        pytest.skip(f"{name} does not work here")
    shades, times = [40, 120, 200, 80], [0.0, 0.1, 0.25, 0.3]
    with VideoWriter(tmp_path / "x.mp4", fps=10, codec=name) as writer:
        for shade, time in zip(shades, times, strict=True):
            writer.write(np.full((48, 64, 3), shade, np.uint8), time)
    with av.open(str(tmp_path / "x.mp4")) as file:
        assert file.streams.video[0].codec_context.codec.id == av.Codec(ENCODERS[name].codec, "r").id
    with open_video(tmp_path / "x.mp4") as video:
        frames = list(video)
    assert [round(float(frame.image.mean()), -1) for frame in frames] == shades
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-4)


def test_the_writer_says_once_what_it_took(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log_once.cache_clear()
    with caplog.at_level(logging.INFO, "edgevid"):
        for name in ("a.mp4", "b.mp4"):
            with VideoWriter(tmp_path / name, codec="mpeg4") as writer:
                writer.write(gray(0), 0.0)
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("WARNING", "video is written as mpeg4 by mpeg4 (few browsers play it)")
    ]
