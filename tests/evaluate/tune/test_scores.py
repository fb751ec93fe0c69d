"""Score tables: CSV and NPZ read, every error named."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from score_tables import csv_of, drawn

from edgevid.actions.recognizer import softmax
from edgevid.errors import InputError
from edgevid.evaluate.tune import score_files
from edgevid.evaluate.tune.scores import ValueKind, make_table, read_scores


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
    assert read_scores(tmp_path / "s.npz", values="logits").values[0].tolist() == pytest.approx([0.5, 0.25, 0.25])
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
        ("walk;run\n0,5;0,5\n", "commas between the columns, got ';'"),
        ('track,walk,run\n"' + 300 * "a" + '",1,0\n', "line 2: track: .*quote left open"),
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


RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 3, 600)
LOGITS = RNG.normal(0, 1, (600, 3)) + 1.5 * np.eye(3)[TRUTH]
CLEAN = softmax(LOGITS)
NAMES = np.array(["walk", "run", "fall"])


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (CLEAN, "logits", "expected raw network outputs.*from 0 to 1"),
        (1 / (1 + np.exp(-LOGITS)), "logits", "expected raw network outputs.*from 0 to 1"),
        (100 * CLEAN, "logits", "these are percentages"),
        (100 * CLEAN, "auto", "these are percentages.*--values percent"),
        (np.rint(100 * CLEAN), "auto", "these are percentages.*--values percent"),
        (CLEAN, "percent", "rows that sum to 100"),
        (softmax(CLEAN), "auto", "softmax of probabilities.*--values probabilities"),
        (1 / (1 + np.exp(-LOGITS)), "auto", "as a sigmoid gives it"),
        ((1 / (1 + np.exp(-LOGITS))).round(2), "auto", "as a sigmoid gives it"),
        (np.rint(255 * CLEAN[:40]), "auto", "all rows sum to 25.*divide by that"),
        (LOGITS, "auto", "--logits"),
        (LOGITS, "probabilities", "--logits"),
        (CLEAN, "softmax", "expected one of auto, probabilities, percent, logits"),
    ],
)
def test_values_that_the_policy_will_not_see_are_asked_about(given: np.ndarray, kind: ValueKind, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        make_table({"values": given, "labels": TRUTH}, values=kind)
    assert ("--logits" in str(raised.value)) == (given is LOGITS or kind == "logits")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (CLEAN, "auto"),
        (LOGITS, "logits"),
        (np.log(CLEAN), "logits"),
        (100 * CLEAN, "percent"),
        (CLEAN.astype(np.float16), "auto"),
    ],
)
def test_what_the_values_are_is_stated(given: np.ndarray, kind: ValueKind) -> None:
    kept = given.copy()
    made = make_table({"values": given}, values=kind)
    np.testing.assert_allclose(made.values, CLEAN, atol=1e-3)
    np.testing.assert_array_equal(given, kept)
    assert made.decimals == 0


def test_a_flat_model_is_taken_once_it_is_stated() -> None:
    flat = softmax(CLEAN)
    np.testing.assert_allclose(make_table({"values": flat}, values="probabilities").values, flat, rtol=1e-5)


@pytest.mark.parametrize("decimals", [1, 2, 3, 4, 6])
def test_rounded_values_are_read_and_counted(decimals: int) -> None:
    made = make_table({"values": CLEAN.round(decimals)})
    assert made.decimals == (decimals if decimals <= 3 else 0)
    np.testing.assert_allclose(made.values.sum(1), 1, atol=1e-5)
    percent = make_table({"values": np.rint(100 * CLEAN)}, values="percent")
    assert percent.decimals == 2


MIXED = np.where(np.arange(600) % 2, NAMES[TRUTH], TRUTH.astype(str))
COUNTED = np.array(["1", "2", "3"])
LOW = TRUTH < 2


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (MIXED, NAMES, "names of classes in all rows, or indices.*'fall' and '0'"),
        (TRUTH.astype(str), COUNTED, "--labels names or indices.*'1' and '0'"),
        (np.where(LOW, COUNTED[TRUTH], "1"), COUNTED, "1 is the name of class 0 and the index of another"),
        (TRUTH.astype(float), NAMES, "one of the classes walk, run, fall.*'0.0'"),
        (np.where(LOW, "walk", "²"), NAMES, "one of the classes.*'²'"),
        (TRUTH - 1, NAMES, "one of the classes.*'-1'"),
        (np.where(LOW, "walk", "swim"), NAMES, "one of the classes.*'swim'"),
    ],
)
def test_labels_of_two_kinds_are_asked_about(labels: np.ndarray, names: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_table({"values": CLEAN, "labels": labels, "names": names})


def test_labels_are_names_or_indices() -> None:
    for labels, names, kind in (
        (NAMES[TRUTH], NAMES, "auto"),
        (TRUTH, NAMES, "auto"),
        (TRUTH.astype(str), NAMES, "auto"),
        (COUNTED[TRUTH], COUNTED, "auto"),
        (TRUTH.astype(str), COUNTED, "indices"),
        (COUNTED[TRUTH], COUNTED, "names"),
    ):
        made = make_table({"values": CLEAN, "labels": labels, "names": names}, labels=kind)  # type: ignore[arg-type]
        assert made.labels is not None
        assert made.labels.tolist() == TRUTH.tolist()


def test_a_csv_of_many_blocks_is_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_files, "ROWS", 7)
    lines = [f"{n % 9},{n},{n % 2},{n / 100},{1 - n / 100}" for n in range(100)]
    lines[50:50] = ["", ""]  # blank lines are skipped, and counted
    path = tmp_path / "s.csv"
    path.write_bytes(("\ufefftrack,time,label,walk,run\r\n" + "\r\n".join(lines)).encode())
    read = score_files.read_csv(path)
    assert read["values"][:, 0].tolist() == pytest.approx([n / 100 for n in range(100)])
    assert read["tracks"].tolist() == [n % 9 for n in range(100)]
    assert read["times"].tolist() == list(range(100))
    lines[80] = "1,2,0,x,1"
    path.write_text("track,time,label,walk,run\n" + "\n".join(lines))
    with pytest.raises(InputError, match="line 82: walk: expected a number, got 'x'"):
        read_scores(path)
    lines[80] = "07,2,0,0,1"
    path.write_text("track,time,label,walk,run\n" + "\n".join(lines))
    assert {"07", "7"} <= set(score_files.read_csv(path)["tracks"].tolist())  # two tracks, not one


def test_a_million_rows_take_few_bytes_each(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("track,walk,run\n" + "".join(f"{n},0.25,0.75\n" for n in range(50_000)))
    tracemalloc.start()
    columns = score_files.read_csv(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(columns["values"]) == 50_000
    assert peak < 50_000 * 120  # as lists of text: 500
