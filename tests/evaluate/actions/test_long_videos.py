"""Long videos: features as 50Salads comes, videos with labeled segments, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recognizer_models import IMAGE, clips_of, pose_model, recipe

from edgevid.actions import ClipSpec, load_extractor
from edgevid.actions.clip import extract_newest
from edgevid.actions.layout import LAYOUTS
from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.evaluate.actions.extract import folds, list_long_videos, read_features, read_long_videos, timed_rows
from edgevid.output.timeline import Span, write_timeline
from edgevid.video.writer import VideoWriter

onnx = pytest.importorskip("onnx", reason="the test models are written with onnx")
from onnx_models import node, save  # noqa: E402


def features(folder: Path, shapes: dict[str, tuple[int, int]], labels: int = 6) -> Path:
    for name in ("features", "groundTruth", "splits"):
        (folder / name).mkdir(parents=True)
    for name, shape in shapes.items():
        np.save(folder / "features" / f"{name}.npy", np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
        (folder / "groundTruth" / f"{name}.txt").write_text("cut\n" * 4 + "mix\n" * (labels - 4))
    (folder / "mapping.txt").write_text("0 mix\n\n1 cut\n\n")  # blank lines count for nothing
    return folder


def test_features_of_either_orientation(tmp_path: Path) -> None:
    data = read_features(features(tmp_path, {"rgb-01-1": (40, 6), "rgb-01-2": (6, 40), "rgb-02-1": (40, 5)}), 15.0)
    assert data.names == ("mix", "cut")
    assert [one.raw.shape for one in data.examples] == [(6, 40), (6, 40), (5, 40)]
    assert data.examples[0].raw[1, 0] == 1  # the second step's first feature of (D, T)
    assert data.examples[0].labels.tolist() == [1, 1, 1, 1, 0, 0]
    assert data.examples[2].labels.tolist() == [1, 1, 1, 1, 0]  # the longer one loses its end
    assert [one.group for one in data.examples] == ["rgb-01", "rgb-01", "rgb-02"]
    for half, names in (("train", "rgb-01-1.txt\nrgb-01-2.txt\n"), ("test", "rgb-02-1.txt\n")):
        (tmp_path / "splits" / f"{half}.split2.bundle").write_text(names)
    ((name, (train, test)),) = folds(tmp_path, data).items()
    assert (name, len(train), len(test)) == ("2", 2, 1)
    (tmp_path / "splits" / "test.split2.bundle").write_text("rgb-09-1.txt\n")
    with pytest.raises(InputError, match="names of labeled videos, got 'rgb-09-1'"):
        folds(tmp_path, data)


def test_what_is_wrong_with_features_is_named(tmp_path: Path) -> None:
    features(tmp_path, {"a": (40, 26)})
    with pytest.raises(FileFormatError, match=r"\(D, 6\) or \(6, D\)"):
        read_features(tmp_path, 15.0)
    (tmp_path / "mapping.txt").write_text("0 mix\n")
    with pytest.raises(InputError, match=r"expected labels of mapping.txt, got cut"):
        read_features(tmp_path, 15.0)
    (tmp_path / "mapping.txt").unlink()
    (tmp_path / "features" / "a.npy").unlink()
    with pytest.raises(InputError, match="expected the features of a video with labels"):
        read_features(tmp_path, 15.0)
    (tmp_path / "features" / "a.npy").touch()
    with pytest.raises(InputError, match="expected the features of a video with labels"):
        read_features(tmp_path, 15.0)


def video(path: Path, seconds: float = 2.0) -> Path:
    """8 fps; the gray level of frame k is 8 k."""
    with VideoWriter(path, fps=8.0) as writer:
        for k in range(round(8 * seconds)):
            writer.write(np.full((48, 48, 3), 8 * k, np.uint8), k / 8)
    return path


def test_videos_with_segments_in_a_csv_or_next_to_them(tmp_path: Path) -> None:
    for name in ("kitchen_1.mp4", "kitchen_2.mp4"):
        video(tmp_path / name, 0.5)
    assert list_long_videos(tmp_path) is None
    lines = "path,start,end,label,group\nkitchen_1.mp4,0,1,cut,a\nkitchen_2.mp4,0,9,mix,\nkitchen_1.mp4,0.5,2,mix,a\n"
    (tmp_path / "segments.csv").write_text(lines)
    names, (first, second) = list_long_videos(tmp_path / "segments.csv")  # type: ignore[misc]
    assert names == ("cut", "mix", "background")
    assert (first.group, second.group, len(first.spans)) == ("a", "kitchen", 2)
    assert first.labels(np.array([0, 0.49, 0.5, 1.99, 2.0]), names).tolist() == [0, 0, 1, 1, 2]
    write_timeline(tmp_path / "kitchen_1.eaf", [Span(0, 1, "cut")])
    with pytest.raises(InputError, match=r"kitchen_2.mp4: expected its segments next to it"):
        list_long_videos(tmp_path)
    write_timeline(tmp_path / "kitchen_2.vtt", [Span(0, 1, "mix", "hand")])
    assert list_long_videos(tmp_path)[0] == ("cut", "mix", "background")  # type: ignore[index]
    (tmp_path / "segments.csv").write_text("path,start,end,label\nkitchen_1.mp4,now,1,cut\n")
    with pytest.raises(FileFormatError, match=r"expected seconds, and a label, got .*now"):
        list_long_videos(tmp_path / "segments.csv")
    (tmp_path / "segments.csv").write_text("path,start,end,label\nkitchen_1.mp4,0,1,cut\ngone.mp4,0,1,cut\n")
    with pytest.raises(InputError, match="line 3: expected a label and an existing file"):
        list_long_videos(tmp_path / "segments.csv")
    (tmp_path / "clips.csv").write_text("path,label\nkitchen_1.mp4,cut\n")
    assert list_long_videos(tmp_path / "clips.csv") is None


def clip_features(folder: Path) -> Path:
    """Features of clips of 4 crops: the mean of each channel."""
    recipe(folder, "features", IMAGE, '[clip]\nsteps = 4\nlayout = "NTCHW"\n')
    nodes = [node("ReduceMean", "x", "f", axes=[1, 3, 4], keepdims=0)]
    save(folder / "model.onnx", nodes, {"x": ("float32", ("n", 4, 3, 8, 8))}, {"f": ("n", 3)})
    return folder


def test_a_row_of_a_clip_network_is_of_the_clip_that_ends_there(tmp_path: Path) -> None:
    extractor = load_extractor(clip_features(tmp_path / "f"))
    times, rows = extract_newest(extractor, clips_of([[0, 0, 255, 255], [np.nan, 255, 255, 255]], [1, 2]))
    np.testing.assert_allclose(rows, [[0.5] * 3, [1.0] * 3], atol=1e-6)
    assert times.tolist() == [0.375, 0.375]
    spec = ClipSpec(steps=4, rate_hz=8.0, width=8, height=8, stride_s=0.0)
    times, rows = timed_rows(video(tmp_path / "v.mp4"), extractor, spec)
    np.testing.assert_allclose(times, np.arange(16) / 8)
    levels = np.maximum(np.arange(16)[:, None] - np.arange(4), 0).mean(1) * 8 / 255
    np.testing.assert_allclose(rows[:, 0], levels, atol=0.02)  # a video codec is not exact


def test_rows_of_labeled_videos_have_the_class_at_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    video(tmp_path / "v.mp4")
    (tmp_path / "s.csv").write_text("path,start,end,label\nv.mp4,0.5,1,cut\nv.mp4,1,2,mix\n")
    extractor = load_extractor(clip_features(tmp_path / "f"))
    spec = ClipSpec(steps=4, rate_hz=8.0, width=8, height=8, stride_s=0.0)
    found = [read_long_videos(*list_long_videos(tmp_path / "s.csv"), extractor, spec) for _ in range(2)]  # type: ignore[misc]
    assert found[0].names == ("cut", "mix", "background")
    assert found[0].examples[0].labels.tolist() == [2] * 4 + [0] * 4 + [1] * 8
    np.testing.assert_array_equal(found[0].examples[0].raw, found[1].examples[0].raw)  # the second one from the cache
    (tmp_path / "s.csv").write_text("path,start,end,label\nv.mp4,0,1,cut\nv.mp4,1,2,mix\n")
    whole = read_long_videos(*list_long_videos(tmp_path / "s.csv"), extractor, spec)  # type: ignore[misc]
    assert whole.names == ("cut", "mix")
    (tmp_path / "v.mp4").write_bytes(b"no video")
    with pytest.raises(SourceError):
        read_long_videos(*list_long_videos(tmp_path / "s.csv"), extractor, spec)  # type: ignore[misc]


def test_rows_of_another_layout_are_not_those_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    video(tmp_path / "v.mp4")
    (tmp_path / "s.csv").write_text("path,start,end,label\nv.mp4,0,1,cut\nv.mp4,1,2,mix\n")
    folder, _ = pose_model(tmp_path / "pose")
    spec = ClipSpec(steps=1, rate_hz=8.0, width=8, height=8, stride_s=0.0)
    for name in ("jhmdb-15", "coco-17"):
        extractor = load_extractor(folder, layout=LAYOUTS[name])
        found = read_long_videos(*list_long_videos(tmp_path / "s.csv"), extractor, spec)  # type: ignore[misc]
        assert found.layout == LAYOUTS[name]
        assert found.examples[0].raw.shape[1] == LAYOUTS[name].row_width
