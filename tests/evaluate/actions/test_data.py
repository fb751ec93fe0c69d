"""Labeled data: folders, CSV, groups, sequences, and every error named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from action_corpus import corpus

from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.actions.data import check, list_videos, read_poses, read_skeletons, resample
from edgevid.evaluate.items import group_of


def test_the_group_in_a_name() -> None:
    assert group_of(Path("v_Punch_g03_c02.avi")) == group_of(Path("v_Punch_g03_c07.avi"))
    assert group_of(Path("park_3.mp4")) == "park"


def test_folders_and_csv(tmp_path: Path) -> None:
    for name in ("a/x_1.mp4", "a/x_2.mp4", "b/y.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    names, found = list_videos(tmp_path)
    assert names == ("a", "b")
    assert [(v.label, v.group) for v in found] == [("a", "x"), ("a", "x"), ("b", "y")]
    (tmp_path / "list.csv").write_text("path,label,group\na/x_1.mp4,run,g1\nb/y.mp4,walk,\n")
    names, found = list_videos(tmp_path / "list.csv")
    assert [(v.label, v.group) for v in found] == [("run", "g1"), ("walk", "y")]
    (tmp_path / "excel.csv").write_bytes("\ufeffpath,label\r\na/x_1.mp4,run\r\nb/y.mp4,walk\r\n".encode())
    assert list_videos(tmp_path / "excel.csv")[0] == ("run", "walk")


def test_each_error_in_the_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder"):
        list_videos(tmp_path / "nothing")
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="holds no video"):
        list_videos(tmp_path)
    (tmp_path / "a" / "x.mp4").touch()
    with pytest.raises(InputError, match="at least 2 classes"):
        list_videos(tmp_path)
    (tmp_path / "bad.csv").write_text("file,class\nx,y\n")
    with pytest.raises(FileFormatError, match="path,label"):
        list_videos(tmp_path / "bad.csv")
    (tmp_path / "gone.csv").write_text("path,label\nnone.mp4,a\n")
    with pytest.raises(InputError, match="line 2"):
        list_videos(tmp_path / "gone.csv")
    (tmp_path / "short.csv").write_text("label,path\na\n")
    with pytest.raises(InputError, match="line 2"):
        list_videos(tmp_path / "short.csv")
    (tmp_path / "latin.csv").write_bytes("path,label\nx.mp4,caf\xe9\n".encode("latin-1"))
    with pytest.raises(FileFormatError, match="expected CSV text"):
        list_videos(tmp_path / "latin.csv")
    with pytest.raises(InputError, match="'fall' has no example"):
        check(corpus((4, 0)))
    broken = corpus()
    broken.examples[2].raw[3, 1] = np.nan
    with pytest.raises(InputError, match=r"'0/2' holds NaN"):
        check(broken)


def test_what_is_no_skeleton_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a_test_1.npz"
    for content in (b"", b"no archive", b"PK"):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="expected an NPZ of plain arrays"):
            read_skeletons(path, ("walk", "run"))
    for joints, error in (
        (np.zeros(4), FileFormatError),
        (np.zeros((4, 9, 2)), InputError),
        (np.zeros((4, 17, 4)), InputError),
    ):
        np.savez(path, joints=joints, offsets=[0, 4], label=["walk"])
        with pytest.raises(error, match=r"expected .*joints"):
            read_skeletons(path, ("walk", "run"))


def test_resampling_by_hand() -> None:
    rows = np.arange(6.0)[:, None]
    assert resample(rows, 2.5).ravel().tolist() == [0, 2.5, 5]
    assert resample(rows[:1], 2.0).ravel().tolist() == [0]


def test_skeletons_of_any_rate_by_their_times(tmp_path: Path) -> None:
    """10 Hz and missing joints become 30 Hz; a joint keeps its place while it is missing, without confidence."""
    joints = np.zeros((4, 15, 2))
    joints[:, 0, 0] = (0, 3, 6, 9)
    joints[2, 1] = np.nan
    path = tmp_path / "k.npz"
    np.savez(path, joints=joints, offsets=[0, 4], label=["run"], times=[5.0, 5.1, 5.2, 5.3], group=["anna"])
    (example,) = read_skeletons(path, ("run", "walk")).examples
    corpus = read_poses(path)
    assert corpus is not None
    assert (corpus.names, corpus.examples[0].group) == (("run",), "anna")
    assert read_poses(tmp_path) is None
    assert (len(example.raw), example.group) == (10, "anna")
    np.testing.assert_allclose(example.raw[:, 0], np.arange(10), atol=1e-5)
    np.testing.assert_allclose(example.raw[6, 31], 0, atol=1e-5)
    assert example.raw[9, 31] == pytest.approx(1)
    np.savez(path, joints=joints, offsets=[0, 4], label=["run"], times=[5.0, 5.0, 5.2, 5.3])
    with pytest.raises(InputError, match="rising times in seconds"):
        read_skeletons(path, ("run",))
