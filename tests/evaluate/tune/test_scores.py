"""Score tables: CSV and NPZ read, every error named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from score_tables import csv_of, drawn

from edgevid.errors import InputError
from edgevid.evaluate.tune.scores import read_scores


def test_csv_and_npz_hold_the_same(tmp_path: Path) -> None:
    columns = drawn(20, frames=3)
    np.savez(tmp_path / "s.npz", **columns)  # type: ignore[arg-type]
    one, two = read_scores(csv_of(tmp_path / "s.csv", columns)), read_scores(tmp_path / "s.npz")
    np.testing.assert_allclose(one.values, two.values, atol=1e-6)
    assert one.names == two.names == ("walk", "run", "fall")
    assert one.labels is not None
    assert two.labels is not None
    assert one.labels.tolist() == two.labels.tolist()
    assert [len(set(t.tracks.tolist())) for t in (one, two)] == [20, 20]
    assert len(one.sha256) == 64


def test_logits_go_through_a_softmax(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", values=np.log([[0.5, 0.25, 0.25]]) + 3)
    assert read_scores(tmp_path / "s.npz", logits=True).values[0].tolist() == pytest.approx([0.5, 0.25, 0.25])
    with pytest.raises(InputError, match="--logits"):
        read_scores(tmp_path / "s.npz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header line"),
        ("walk,run\n", "at least one row"),
        ("track,label\n1,a\n", "a column for each class"),
        ("walk\n1\n", "at least two classes"),
        ("walk,walk\n0.5,0.5\n", "different column names"),
        ("walk,run\n0.5\n", "line 2: expected 2 values"),
        ("walk,run\n0.5,x\n", "line 2: run: expected a number, got 'x'"),
        ("walk,run\n0.5,0.5\nnan,0.5\n", "row 2: expected finite scores"),
        ("walk,run\n0.5,0.5\n0.9,0.5\n", "row 2: expected probabilities that sum to 1"),
        ("walk,run\n1.5,-0.5\n", "sum to 1"),
        ("label,walk,run\nwalk,0.5,0.5\n,0.5,0.5\n", "line 3: label"),
        ("label,walk,run\nswim,0.5,0.5\n", "one of the classes walk, run.*'swim'"),
        ("label,walk,run\n7,0.5,0.5\n", "class indices 0 to 1"),
        ("track,label,walk,run\na,walk,1,0\na,run,1,0\n", "one label per track.*walk and run"),
        ("time,walk,run\ninf,1,0\n", "finite seconds"),
    ],
)
def test_each_error_of_a_csv_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_scores(path)


def test_each_error_of_a_file_is_named(tmp_path: Path) -> None:
    values = np.array([[0.5, 0.5]])
    with pytest.raises(InputError, match=r"absent\.csv"):
        read_scores(tmp_path / "absent.csv")
    (tmp_path / "s.txt").write_text("x")
    with pytest.raises(InputError, match=r"\.csv or \.npz"):
        read_scores(tmp_path / "s.txt")
    (tmp_path / "s.npz").write_bytes(b"PK no")
    with pytest.raises(InputError, match="NPZ"):
        read_scores(tmp_path / "s.npz")
    for columns, message in (
        ({"scores": values}, "arrays"),
        ({"values": values[0]}, "values"),
        ({"values": values[:0]}, "at least one row"),
        ({"values": values, "labels": [0, 1]}, "labels"),
        ({"values": values, "tracks": [0, 1]}, "tracks"),
        ({"values": values, "names": ["a"]}, "names"),
    ):
        np.savez(tmp_path / "s.npz", **columns)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=message):
            read_scores(tmp_path / "s.npz")
