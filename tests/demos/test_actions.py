"""The demo of actions per person runs from a video to a video."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from recognizer_models import feature_model, step_head

from edgevid.video.open import open_video
from edgevid.video.writer import VideoWriter

DEMO = Path(__file__).parents[2] / "demos" / "actions_per_person.py"


def test_actions_are_drawn_next_to_each_person(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = next(p for p in sorted((shared_data / "images").rglob("*.jpg")) if p.stem == "000000000785")
    image = cv2.imread(str(photo))[..., ::-1].copy()  # a skier, alone
    height, width = (n // 2 * 2 for n in image.shape[:2])
    with VideoWriter(tmp_path / "in.mp4", fps=8.0) as writer:
        for i in range(6):
            writer.write(np.ascontiguousarray(image[:height, :width]), i / 8)
    feature_model(tmp_path / "features")
    step_head(tmp_path / "head")
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data / "models"))
    given = [str(tmp_path / "in.mp4"), "--head", str(tmp_path / "head"), "--model", "nanodet-m-320"]
    monkeypatch.setattr(sys, "argv", ["demo", *given, "--out", str(tmp_path / "out.mp4")])
    runpy.run_path(str(DEMO), run_name="__main__")
    with open_video(tmp_path / "out.mp4") as video:
        frames = list(video)
    assert len(frames) == 6
    changed = np.abs(frames[-1].image.astype(int) - image[:height, :width]) > 60
    assert changed.any(axis=2).sum() > 200  # a box and its words
