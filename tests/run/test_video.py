"""edgevid.process: a video in, a drawn video out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.run.video import process
from edgevid.types import Frame, Result
from edgevid.video.open import open_video

GRAY = [np.full((48, 64, 3), 90, np.uint8)] * 6


def box(image: Any) -> Any:
    return np.array([[8, 8, 24, 24, 0.9, 0]])


def test_a_callback_draws_on_bgr_images_and_gets_the_result(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def callback(image: Any, result: Result) -> Any:
        seen.append((result.frame_index, len(result)))
        image[...] = (255, 0, 0)  # blue
        return image

    summary = process(GRAY, tmp_path / "out.mp4", callback, pipeline=box)
    assert (summary.frames, seen) == (6, [(n, 1) for n in range(6)])
    frames = list(open_video(tmp_path / "out.mp4"))
    assert len(frames) == 6
    red, _, blue = frames[3].image[20, 30].tolist()
    assert (red < 40, blue > 200) == (True, True)


def test_a_callback_that_draws_in_place_need_not_return(tmp_path: Path) -> None:
    process(GRAY, tmp_path / "out.mp4", lambda image, result: image.fill(250), pipeline=box, max_frames=2)
    frames = list(open_video(tmp_path / "out.mp4"))
    assert (len(frames), int(frames[0].image.min()) > 200) == (2, True)


def test_without_a_target_callback_and_sinks_get_every_frame() -> None:
    counts: list[object] = []

    def sink(frame: Frame, result: Result) -> None:
        counts.append(frame.size)

    process(GRAY, callback=lambda image, result: counts.append(image.shape), pipeline=box, sinks=[sink])
    assert counts == [(64, 48), (48, 64, 3)] * 6


def test_a_callback_that_returns_something_else_is_answered(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"callback\(image, result\) returns the drawn BGR image: .*got 3"):
        process(GRAY, tmp_path / "out.mp4", lambda image, result: 3, pipeline=box)


def test_without_a_callback_the_overlay_draws(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    process(GRAY, tmp_path / "out.mp4", pipeline=box)
    assert int(list(open_video(tmp_path / "out.mp4"))[-1].image.max()) > 120


def test_the_source_is_not_overwritten_and_the_names_of_supervision_are_taken(tmp_path: Path) -> None:
    first, link = tmp_path / "out.mp4", tmp_path / "link.mp4"
    process(GRAY, first, pipeline=box)
    link.symlink_to(first)
    before = first.read_bytes()
    with pytest.raises(InputError, match=r"link\.mp4 is the source, too"):
        process(source_path=str(first), target_path=link, pipeline=box)
    assert first.read_bytes() == before
    assert process(source_path=first, target_path=tmp_path / "two.mp4", pipeline=box).frames == 6
