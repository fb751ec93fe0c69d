"""Every kind of recognizer, loaded and run in the pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recognizer_models import clip_model, feature_model, step_head, stream_model, window_head

from edgevid.actions import Recognizer, load_extractor, load_recognizer
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.errors import InputError
from edgevid.pipeline import Pipeline, RecognitionTask
from edgevid.types import Clips, Detections, Frame, Scores, Tracks, Verdicts


class StaticScene:
    """A detector and tracker of two objects that stand still; a policy that says the best class."""

    names = ("thing",)

    def detect(self, frames: list[Frame]) -> list[Detections]:
        return [Detections.of(boxes=[[0, 0, 8, 8], [8, 0, 16, 8]], scores=[1, 1], labels=[0, 0]) for _ in frames]

    def update(self, *given: object) -> Tracks | Verdicts:
        if isinstance(given[0], Scores):
            scores = given[0]
            n = len(scores)
            return Verdicts.of(
                ids=scores.ids, labels=scores.values.argmax(1), confidence=scores.values.max(1), reason=[0] * n
            )
        d = given[0]
        assert isinstance(d, Detections)
        return Tracks.of(
            ids=[1, 2], boxes=d.boxes, scores=d.scores, labels=d.labels, match=[0, 1], age=[0, 0], unseen=[0, 0]
        )

    def reset(self) -> None: ...


def make(kind: str, folder: Path) -> Recognizer:
    feature_model(folder / "features")
    makers = {
        "clip": lambda: clip_model(folder / "m", "NCTHW"),
        "stream": lambda: stream_model(folder / "m", 0),
        "window": lambda: window_head(folder / "m"),
        "step": lambda: step_head(folder / "m"),
    }
    return load_recognizer(makers[kind]())


@pytest.mark.parametrize("kind", ["clip", "stream", "window", "step"])
def test_every_recognizer_runs_in_the_pipeline(tmp_path: Path, kind: str) -> None:
    recognizer = make(kind, tmp_path)
    buffer = ClipBuffer(recognizer.spec)
    part = RecognitionTask(buffer, recognizer, StaticScene())  # type: ignore[arg-type]
    pipeline = Pipeline(StaticScene(), StaticScene(), recognitions={"light": part})  # type: ignore[arg-type]
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, 8:] = 255
    results = [pipeline.process(Frame(image, i / 8, i)) for i in range(5)]
    emitted = [r.verdicts["light"] for r in results if len(r.verdicts["light"])]
    assert emitted
    assert all(v.labels.tolist() == [1, 0] for v in emitted)  # the left one is dark, the right one bright
    assert results[0].names["light"] == ("bright", "dark")


def test_a_model_that_recognizes_nothing_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got 'features'"):
        load_recognizer(feature_model(tmp_path))
    with pytest.raises(InputError, match="features or pose"):
        load_extractor(clip_model(tmp_path / "c", "NTCHW"))


def test_the_emotion_model(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data / "models"))
    recognizer = load_recognizer("emotion-mini-xception-64", threads=1)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 1, 64, 64, 3), np.uint8)
    clips = Clips.of(ids=[1, 2], pixels=pixels, times=[[0.0], [0.0]], boxes=np.zeros((2, 1, 4)))
    np.testing.assert_allclose(recognizer.recognize(clips).values.sum(1), 1, atol=1e-4)
