"""Clip, streaming, feature and skeleton recognizers through real ONNX files whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import node, save
from recognizer_models import (
    CLIP,
    NAMES,
    ONE_TEN,
    PICTURE,
    feature_model,
    recipe,
    step_head,
    two_logits,
    window_head,
)

from edgevid.actions import (
    ClipRecognizer,
    OnlineSegments,
    PoseExtractor,
    Recognizer,
    StateStore,
    load_extractor,
    load_recognizer,
)
from edgevid.actions.clip import fill_steps
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.actions.overlap import OverlapMean
from edgevid.actions.skeleton import COCO17, JHMDB15, coco_to_jhmdb, encode, mirror_order, width_of
from edgevid.errors import InputError, ModelError
from edgevid.pipeline import Pipeline, RecognitionTask
from edgevid.types import Array, Clips, Detections, Frame, Scores, Tracks, Verdicts


def sure(m: float) -> Array:
    """Probabilities of a mean brightness m in 0..1."""
    e = np.exp([10 * m, 10 - 10 * m])
    return np.asarray(e / e.sum())


def clips_of(values: list[list[float]], ids: list[int], rate: float = 8.0, start: float = 0.0) -> Clips:
    """Clips (M, T) of plain gray crops; NaN is a missing step."""
    gray = np.array(values, float)
    pixels = np.zeros((*gray.shape, 8, 8, 3), np.uint8)
    pixels[...] = np.nan_to_num(gray)[..., None, None, None]
    times = start + np.broadcast_to(np.arange(gray.shape[1]) / rate, gray.shape)
    return Clips.of(
        ids=ids, pixels=pixels, times=np.where(np.isnan(gray), np.nan, times),
        boxes=np.broadcast_to(np.float32([0, 0, 8, 8]), (*gray.shape, 4)),
    )  # fmt: skip


# Clip models


def clip_model(folder: Path, layout: str, batch: int | str = "n") -> Path:
    axes = {"NTCHW": (batch, 4, 3, 8, 8), "NCTHW": (batch, 3, 4, 8, 8), "NTHWC": (batch, 4, 8, 8, 3)}
    recipe(folder, "clip", PICTURE, CLIP, f'steps = 4\nlayout = "{layout}"\n', NAMES)
    nodes = [
        node("ReduceMean", "x", "m0", axes=[1, 2, 3, 4], keepdims=0),
        node("Unsqueeze", "m0 at", "m"),
        *two_logits("m"),
    ]
    inputs = {"x": ("float32", axes[layout])}
    save(folder / "model.onnx", nodes, inputs, {"logits": (batch, 2)}, at=np.int64([1]), **ONE_TEN)
    return folder


@pytest.mark.parametrize("layout", ["NTCHW", "NCTHW", "NTHWC"])
@pytest.mark.parametrize("batch", ["n", 2])
def test_clip_models_of_every_layout(tmp_path: Path, layout: str, batch: int | str) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, layout, batch))
    found = recognizer.recognize(clips_of([[255] * 4, [0] * 4, [0, 0, 255, 255]], [1, 2, 3]))
    np.testing.assert_allclose(found.values, [sure(1), sure(0), sure(0.5)], atol=1e-5)
    assert found.times.tolist() == [0.375] * 3


def test_missing_steps_repeat_their_neighbor(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    found = recognizer.recognize(clips_of([[np.nan, np.nan, 255, 255]], [1]))
    np.testing.assert_allclose(found.values, [sure(1)], atol=1e-5)
    assert fill_steps(np.array([[True, False, False, True]])).tolist() == [[0, 0, 3, 3]]


def test_overlapping_windows_of_a_track_are_averaged(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    recognizer.recognize(clips_of([[255] * 4], [1]))
    found = recognizer.recognize(clips_of([[0] * 4], [1], start=0.25))  # half a window later
    expected = (0.5 * sure(1) + sure(0)) / 1.5
    np.testing.assert_allclose(found.values, [expected], atol=1e-5)
    far = recognizer.recognize(clips_of([[0] * 4], [1], start=5.0))
    np.testing.assert_allclose(far.values, [sure(0)], atol=1e-5)


def test_a_clip_of_another_length_is_rejected(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    with pytest.raises(InputError, match=r"clips of 4 steps, got 3"):
        recognizer.recognize(clips_of([[0] * 3], [1]))


def test_a_recipe_of_another_shape_is_rejected(tmp_path: Path) -> None:
    clip_model(tmp_path, "NTCHW")
    path = tmp_path / "recipe.toml"
    path.write_text(path.read_text().replace("steps = 4", "steps = 5"))
    with pytest.raises(ModelError, match="5, 3, 8, 8"):
        load_recognizer(tmp_path)


# Streaming models


def stream_model(folder: Path, axis: int) -> Path:
    """State s' = 0.5 s + m: an average that forgets; logits of s'."""
    state: tuple[int | str, ...] = ("n", 1) if axis == 0 else (1, "n")
    recipe(
        folder, "stream", PICTURE, CLIP, NAMES, f'[stream]\nstates = ["s"]\nnext = ["t"]\naxes = [{axis}]\n'
    )
    turn = (
        []
        if axis == 0
        else [node("Transpose", "s", "sr", perm=[1, 0]), node("Transpose", "u", "t", perm=[1, 0])]
    )
    kept = "s" if axis == 0 else "sr"
    nodes = [
        node("ReduceMean", "x", "m0", axes=[1, 2, 3], keepdims=0), node("Unsqueeze", "m0 at", "m"),
        *turn[:1], node("Mul", f"{kept} half", "old"), node("Add", "old m", "u"),
        node("Identity", "u", "t") if axis == 0 else turn[1], *two_logits("u"),
    ]  # fmt: skip
    inputs = {"x": ("float32", ("n", 3, 8, 8)), "s": ("float32", state)}
    constants = {"at": np.int64([1]), "half": np.float32([[0.5]]), **ONE_TEN}
    save(folder / "model.onnx", nodes, inputs, {"logits": ("n", 2), "t": state}, **constants)
    return folder


@pytest.mark.parametrize("axis", [0, 1])
def test_states_follow_their_tracks(tmp_path: Path, axis: int) -> None:
    recognizer = load_recognizer(stream_model(tmp_path, axis))
    recognizer.recognize(clips_of([[255], [0]], [1, 2], start=0.0))
    found = recognizer.recognize(clips_of([[0], [255], [0]], [2, 3, 1], start=0.125))
    np.testing.assert_allclose(found.values, [sure(0), sure(1), sure(0.5)], atol=1e-5)


def test_a_track_after_a_gap_or_a_reset_is_fresh(tmp_path: Path) -> None:
    recognizer = load_recognizer(stream_model(tmp_path, 0))
    recognizer.recognize(clips_of([[255]], [1], start=0.0))
    np.testing.assert_allclose(
        recognizer.recognize(clips_of([[0]], [1], start=1.5)).values, [sure(0)], atol=1e-5
    )
    recognizer.recognize(clips_of([[255]], [1], start=1.6))
    recognizer.reset()
    np.testing.assert_allclose(
        recognizer.recognize(clips_of([[0]], [1], start=1.7)).values, [sure(0)], atol=1e-5
    )


def test_time_that_runs_back_starts_anew(tmp_path: Path) -> None:
    recognizer = load_recognizer(stream_model(tmp_path, 0))
    recognizer.recognize(clips_of([[255]], [1], start=9.0))
    np.testing.assert_allclose(
        recognizer.recognize(clips_of([[0]], [1], start=0.0)).values, [sure(0)], atol=1e-5
    )


def test_a_state_the_model_does_not_have_is_rejected(tmp_path: Path) -> None:
    stream_model(tmp_path, 0)
    path = tmp_path / "recipe.toml"
    path.write_text(path.read_text().replace('states = ["s"]', 'states = ["h"]'))
    with pytest.raises(ModelError, match="'h'"):
        load_recognizer(tmp_path)


def test_the_store_is_flat_and_evicts_the_least_recent() -> None:
    store = StateStore({"h": (2,)}, capacity=3)
    size = store.nbytes
    for i in range(10_000):
        rows, fresh = store.rows(np.array([i]), np.array([i / 8]))
        assert fresh.all()
        assert (store["h"][rows] == 0).all()
        store["h"][rows] = i + 1
    assert (len(store), store.nbytes) == (3, size)
    assert store.evicted == 9997
    store.forget(np.array([9999]))
    assert len(store) == 2
    with pytest.raises(InputError, match="at most 3"):
        store.rows(np.arange(4), np.zeros(4))


# Features and temporal heads


def test_windows_of_features_answer_every_stride(tmp_path: Path) -> None:
    feature_model(tmp_path / "features")
    recognizer = load_recognizer(window_head(tmp_path / "head"))
    answers = [
        recognizer.recognize(clips_of([[v]], [1], start=i / 8)) for i, v in enumerate([255, 255, 0, 0, 0])
    ]
    assert [len(a) for a in answers] == [1, 0, 1, 0, 1]
    # The window at moment 2 holds 255, 255, 0; half of the answer at moment 0 (255) is averaged in.
    share = np.array([0.5, 1.0]) / 1.5
    np.testing.assert_allclose(answers[2].values[0], share @ [sure(1), sure(2 / 3)], atol=1e-5)


def test_a_missed_moment_is_masked(tmp_path: Path) -> None:
    feature_model(tmp_path / "features")
    recognizer = load_recognizer(window_head(tmp_path / "head", "window = 4\nstride = 1\n"))
    recognizer.recognize(clips_of([[255]], [1], start=0.0))
    recognizer.reset()
    recognizer.recognize(clips_of([[255]], [1], start=10.0))
    found = recognizer.recognize(clips_of([[0]], [2], start=10.25))
    np.testing.assert_allclose(found.values, [sure(0)], atol=1e-5)


def test_a_step_head_carries_its_state(tmp_path: Path) -> None:
    feature_model(tmp_path / "features")
    recognizer = load_recognizer(step_head(tmp_path / "head"))
    recognizer.recognize(clips_of([[255], [0]], [1, 2], start=0.0))
    found = recognizer.recognize(clips_of([[0], [0]], [2, 1], start=0.125))
    np.testing.assert_allclose(found.values, [sure(0), sure(0.5)], atol=1e-5)


def test_a_batch_is_as_many_singles_in_any_order(tmp_path: Path) -> None:
    feature_model(tmp_path / "features")
    window_head(tmp_path / "head")
    rng = np.random.default_rng(0)
    values = rng.integers(0, 255, (6, 5)).astype(float)
    together, apart = (
        load_recognizer(tmp_path / "head"),
        [load_recognizer(tmp_path / "head") for _ in range(5)],
    )
    for moment, row in enumerate(values):
        order = rng.permutation(5)
        found = together.recognize(
            clips_of(row[order, None].tolist(), (order + 1).tolist(), start=moment / 8)
        )
        single = [
            r.recognize(clips_of([[v]], [i + 1], start=moment / 8))
            for i, (r, v) in enumerate(zip(apart, row, strict=True))
        ]
        for id_, value in zip(found.ids, found.values, strict=True):
            np.testing.assert_allclose(value, single[id_ - 1].values[0], atol=1e-6)


def test_a_head_of_other_features_or_crops_is_rejected(tmp_path: Path) -> None:
    feature_model(tmp_path / "features")
    window_head(tmp_path / "head")
    path = tmp_path / "head" / "recipe.toml"
    text = path.read_text()
    path.write_text(text.replace("features = 3", "features = 9"))
    with pytest.raises(ModelError, match="trained on 9 features"):
        load_recognizer(tmp_path / "head")
    path.write_text(text.replace('kind = "window"', 'clip_digest = "0123456789ab"\nkind = "window"'))
    with pytest.raises(ModelError, match="changed since training"):
        load_recognizer(tmp_path / "head")
    path.write_text(text.replace('kind = "window"', 'kind = "step"'))
    with pytest.raises(ModelError, match="expected the inputs"):
        load_recognizer(tmp_path / "head")


# Skeletons


def pose_model(folder: Path) -> tuple[Path, Array]:
    """Seventeen keypoints that lie at the same shares of every image."""
    rng = np.random.default_rng(1)
    points = rng.uniform(0.1, 0.9, (1, 1, 17, 3)).astype(np.float32)
    recipe(
        folder, "pose", '[input]\nwidth = 8\nheight = 8\nlayout = "NHWC"\ndtype = "int32"\nstd = [1, 1, 1]\n'
    )
    nodes = [
        node("Cast", "x", "xf", to=1), node("ReduceMean", "xf", "m", axes=[1, 2, 3], keepdims=1),
        node("Mul", "m zero", "z"), node("Add", "z points", "out"),
    ]  # fmt: skip
    inputs = {"x": ("int32", (1, 8, 8, 3))}
    save(folder / "model.onnx", nodes, inputs, {"out": (1, 1, 17, 3)}, zero=np.float32(0), points=points)
    return folder, points[0, 0]


def test_keypoints_return_to_frame_pixels(tmp_path: Path) -> None:
    folder, points = pose_model(tmp_path)
    extractor = load_extractor(folder)
    assert isinstance(extractor, PoseExtractor)
    found = extractor.keypoints(
        np.zeros((2, 8, 8, 3), np.uint8), np.float32([[0, 0, 8, 8], [100, 50, 180, 130]])
    )
    np.testing.assert_allclose(found[0, :, 0], points[:, 1] * 8, atol=1e-5)  # the model answers y, x, score
    np.testing.assert_allclose(found[1, :, 0], 100 + points[:, 1] * 80, atol=1e-4)
    np.testing.assert_allclose(found[1, :, 1], 50 + points[:, 0] * 80, atol=1e-4)
    np.testing.assert_allclose(found[1, :, 2], points[:, 2], atol=1e-6)


def test_a_skeleton_head_from_crops_to_scores(tmp_path: Path) -> None:
    pose_model(tmp_path / "features")
    width = width_of(15)
    recognizer = load_recognizer(
        _with(window_head(tmp_path / "head", features=width), "features = 3", f"features = {width}")
    )
    found = recognizer.recognize(clips_of([[9], [200]], [4, 5]))
    assert found.ids.tolist() == [4, 5]
    np.testing.assert_allclose(found.values.sum(1), 1, atol=1e-6)


def _with(folder: Path, old: str, new: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(path.read_text().replace(old, new))
    return folder


def test_skeleton_features_do_not_know_where_or_how_big() -> None:
    rng = np.random.default_rng(0)
    joints, valid = rng.normal(size=(6, 15, 2)), np.ones(6, bool)
    there = encode(joints, valid)
    np.testing.assert_allclose(encode(joints * 3 + [400, 200], valid), there, atol=1e-5)
    assert there.shape == (6, width_of(15))


def test_skeleton_features_look_only_back() -> None:
    rng = np.random.default_rng(0)
    joints, valid = rng.normal(size=(6, 15, 2)), np.ones(6, bool)
    np.testing.assert_array_equal(encode(joints[:4], valid[:4]), encode(joints, valid)[:4])


def test_skeleton_features_by_hand() -> None:
    joints = np.array([[[0, 0], [2, 0]], [[0, 0], [2, 2]]], float)  # two joints, two steps
    found = encode(joints, np.ones(2, bool))
    # Step 0: center (1, 0), size 1, distance 2. Step 1: center (1, 1), size sqrt 2, distance 2 sqrt 2.
    r = np.sqrt(2)
    np.testing.assert_allclose(found[0], [-1, 0, 1, 0, 2, *[0] * 9], atol=1e-6)
    np.testing.assert_allclose(
        found[1], [-1 / r, -1 / r, 1 / r, 1 / r, 2, 0, 0, 0, 2 / r, 0, 0, 0, 0, np.log(r)], atol=1e-6
    )


def test_skeleton_steps_that_are_missing_give_zeros() -> None:
    joints = np.random.default_rng(0).normal(size=(4, 15, 2))
    found = encode(joints, np.array([True, False, True, True]))
    assert not found[1].any()
    movement = slice(30 + 105, 30 + 105 + 30)
    assert not found[2, movement].any()  # its earlier step is missing
    assert found[3, movement].any()


def test_joint_sets() -> None:
    assert [JHMDB15[i] for i in mirror_order(JHMDB15)][3:5] == ["left shoulder", "right shoulder"]
    points = np.zeros((17, 2))
    points[COCO17.index("left shoulder")] = (2, 0)
    points[COCO17.index("left hip")] = (2, 10)
    points[COCO17.index("right hip")] = (0, 10)
    made = coco_to_jhmdb(points)
    # Neck n and hips at 10: n + 0.13 (10 - n) = 0 at the shoulders; the belly at n + 0.8 (10 - n).
    n = -1.3 / 0.87
    np.testing.assert_allclose(made[JHMDB15.index("neck")], [1, n])
    np.testing.assert_allclose(made[JHMDB15.index("belly")], [1, n + 0.8 * (10 - n)])


# Windows and segments


def test_overlap_mean_forgets_what_does_not_overlap() -> None:
    mean = OverlapMean(2, span_s=4.0)
    ids = np.array([7])
    mean.update(ids, np.array([[1.0, 0.0]]), np.array([0.0]))
    np.testing.assert_allclose(mean.update(ids, np.array([[0.0, 1.0]]), np.array([2.0])), [[1 / 3, 2 / 3]])
    np.testing.assert_allclose(mean.update(ids, np.array([[0.0, 1.0]]), np.array([4.0])), [[0, 1]], atol=1e-6)


def said(values: list[float], time: float) -> Scores:
    return Scores.of(ids=[1], values=[values], times=[time])


def test_segments_do_not_flicker() -> None:
    segments = OnlineSegments(confident=0.9, min_s=1.0)
    weak = [[0.6, 0.4], [0.4, 0.6], [0.6, 0.4], [0.4, 0.6]]
    labels = [int(segments.update(said(v, i / 10))[0][0]) for i, v in enumerate(weak)]
    assert labels == [0, 0, 0, 0]
    assert segments.update(said([0.05, 0.95], 0.5))[0].tolist() == [1]  # confident: at once
    _, ended = segments.update(said([0.6, 0.4], 1.6))  # weak, but the segment lasted long enough
    assert ended == [(1, 1, 0.5, 1.6)]
    assert segments.finish() == [(1, 0, 1.6, 1.6)]


def test_a_silent_object_ends_its_segment() -> None:
    segments = OnlineSegments(forget_after_s=2.0)
    segments.update(said([0.9, 0.1], 0.0))
    _, ended = segments.update(Scores.of(ids=[2], values=[[0.9, 0.1]], times=[3.0]))
    assert ended == [(1, 0, 0.0, 0.0)]


# Through the pipeline


class Still:
    """A detector and tracker of two objects that stand still; a policy that says the best class."""

    names = ("thing",)

    def detect(self, frames: list[Frame]) -> list[Detections]:
        return [
            Detections.of(boxes=[[0, 0, 8, 8], [8, 0, 16, 8]], scores=[1, 1], labels=[0, 0]) for _ in frames
        ]

    def update(self, *given: object) -> Tracks | Verdicts:
        if isinstance(given[0], Scores):
            scores = given[0]
            n = len(scores)
            return Verdicts.of(
                ids=scores.ids,
                labels=scores.values.argmax(1),
                confidence=scores.values.max(1),
                reason=[0] * n,
            )
        d = given[0]
        assert isinstance(d, Detections)
        return Tracks.of(
            ids=[1, 2],
            boxes=d.boxes,
            scores=d.scores,
            labels=d.labels,
            match=[0, 1],
            age=[0, 0],
            unseen=[0, 0],
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
    part = RecognitionTask(buffer, recognizer, Still())  # type: ignore[arg-type]
    pipeline = Pipeline(Still(), Still(), recognitions={"light": part})  # type: ignore[arg-type]
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, 8:] = 255
    results = [pipeline.process(Frame(image, i / 8, i)) for i in range(5)]
    spoken = [r.verdicts["light"] for r in results if len(r.verdicts["light"])]
    assert spoken
    assert all(v.labels.tolist() == [1, 0] for v in spoken)  # the left one is dark, the right one bright
    assert results[0].names["light"] == ("bright", "dark")


def test_a_model_that_recognizes_nothing_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got 'features'"):
        load_recognizer(feature_model(tmp_path))
    with pytest.raises(InputError, match="features or pose"):
        load_extractor(clip_model(tmp_path / "c", "NTCHW"))


def test_clip_recognizer_without_clips(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    assert isinstance(recognizer, ClipRecognizer)
    assert recognizer.recognize(Clips.empty()).values.shape == (0, 2)


def test_the_emotion_model_at_hand(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data / "models"))
    recognizer = load_recognizer("emotion-mini-xception-64", threads=1)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 1, 64, 64, 3), np.uint8)
    clips = Clips.of(ids=[1, 2], pixels=pixels, times=[[0.0], [0.0]], boxes=np.zeros((2, 1, 4)))
    np.testing.assert_allclose(recognizer.recognize(clips).values.sum(1), 1, atol=1e-4)
