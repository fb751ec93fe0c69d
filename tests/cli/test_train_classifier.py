"""`edgevid train classifier`: from crops of a clip to verdicts of every object."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from onnx_models import node, save
from walk_through import DOCS, walk_through

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.actions import load_recognizer  # noqa: E402
from edgevid.cli import console, main  # noqa: E402
from edgevid.evaluate.actions.extract import crop_video  # noqa: E402
from edgevid.evaluate.recognition import evaluate, replay_crops  # noqa: E402
from edgevid.runtime.recipe import read_recipe  # noqa: E402
from edgevid.video.images import to_jpeg  # noqa: E402
from edgevid.video.open import open_video  # noqa: E402
from edgevid.video.writer import VideoWriter  # noqa: E402


def train(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit status, results and notes."""
    with pytest.raises(SystemExit) as stop:
        main(["train", "classifier", *map(str, words), "--threads", "1"])
    shown = capsys.readouterr()
    return int(stop.value.code or 0), " ".join(shown.out.split()), " ".join(shown.err.split())


def write_data(folder: Path, count: int = 24) -> Path:
    """A CSV with a byte order mark: images of one color with a bright upper or lower half, from four cameras."""
    rng, rows = np.random.default_rng(0), ["path,couleur,half,camera"]
    folder.mkdir(parents=True)
    for n in range(count):
        image = rng.integers(0, 60, (20, 30, 3)).astype(np.uint8)
        image[:, :, 2 * (n % 2)] += 120
        image[10 * (n // 2 % 2) :][:10] += 70
        (folder / f"é{n}.jpg").write_bytes(to_jpeg(image))
        half = "" if n == count - 1 else ("upper", "lower")[n // 2 % 2]
        rows.append(f"é{n}.jpg,{('rouge', 'bleu é')[n % 2]},{half},cam{n // 4 % 4}")
    (folder / "data.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    return folder / "data.csv"


def test_the_walk_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/classifier.md: crops, labels, describe, train, tune, run with verdicts and abstentions."""
    monkeypatch.chdir(tmp_path)
    described, trained, tuned, *_ = walk_through(DOCS / "classifier.md")
    assert "red" in described
    assert "split by group seed 0: compact" in trained
    assert "written: policy/color.toml" in tuned.replace("\n", "")
    verdicts = [
        one["verdicts"]["color"]
        for line in Path("street.jsonl").read_text().splitlines()
        for one in json.loads(line).get("objects", ())
        if "color" in one.get("verdicts", {})
    ]
    labels = {one["label"] for one in verdicts if "label" in one}
    assert len(labels) >= 2
    assert labels <= {"gray", "red", "blue or green"}
    assert {"LOW_CONFIDENCE", "UNLIKE_TRAINING"} & {one.get("reason") for one in verdicts}
    page = Path("runs/color/report.html").read_text()
    assert "Confusion" in page
    assert "recognized as" in page
    assert "validation loss" in page
    recipe = read_recipe(Path("runs/color"))
    assert (recipe.task, recipe.names) == ("classify", ("blue or green", "gray", "red"))
    scores = np.load("runs/color/scores.npz")
    assert scores["values"].shape == (len(scores["labels"]), 3)
    assert scores["typicality"].min() > 0


def test_each_attribute_of_a_csv_and_each_head_on_one_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(console, "LINE_EVERY_S", 0.0)
    data, bright = write_data(tmp_path / "dätä"), tmp_path / "halves"
    bright.mkdir()
    (bright / "recipe.toml").write_text(
        '[model]\nname = "halves"\ntask = "features"\nfile = "m.onnx"\n[input]\nwidth = 16\nheight = 16\n'
        'resize = "stretch"\n'
    )
    pool = node("AveragePool", "x", "f", kernel_shape=[8, 16], strides=[8, 16])
    nodes = [pool, node("Flatten", "f", "y")]
    save(bright / "m.onnx", nodes, {"x": ("float32", ("n", 3, 16, 16))}, {"y": ("n", 6)})
    words = (data, "--out", tmp_path / "out", "--group", "camera", "--size", 16, "--epochs", 3, "--patience", 0)
    heads = ("--heads", f"compact,{bright}", "--align", "stn", "--learning-curve")
    status, printed, progress = train(capsys, *words, *heads)
    assert status == 0
    assert printed.count("split by camera") == 4
    assert "class weights: bleu é 1.00, rouge 1.00" in printed
    assert printed.count("gradient norm: median") == printed.count("a power law through them expects") == 4
    assert "training, loss" in progress
    assert ": 2 of 3" in progress
    folders = [tmp_path / "out" / a / b for a in ("couleur", "half") for b in ("compact", "halves")]
    assert all(read_recipe(one / "recipe.toml").names for one in folders)
    assert not list((tmp_path / "out").rglob("*checkpoint*"))
    assert json.loads((folders[2] / "report.json").read_text())["parity"]["pipeline"] < 1e-4
    status, _, error = train(capsys, *words[:2], tmp_path / "out" / "half" / "compact", *words[3:])
    assert status == 2
    assert "report.json exists; --force overwrites it" in error
    held = [np.load(one / "scores.npz")["tracks"].tolist() for one in folders]
    assert held[0] == held[1]  # one split of an attribute
    assert ": 22 of 23" in progress  # a file without a half is left out


def test_ctrl_c_names_the_checkpoint_and_the_same_command_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgevid.learn.actions import fit as training

    data, save = write_data(tmp_path / "data"), training._Course.save

    def interrupted(self: training._Course, path: Path, key: str, *, first: bool = False) -> None:
        if not first:
            save(self, path, key)
        if first or len(self.history) == 2:
            raise KeyboardInterrupt

    words = (data, "--out", tmp_path / "out", "--group", "file", "--size", 16, "--epochs", 4)
    monkeypatch.setattr(training._Course, "save", lambda *_: interrupted(*_, first=True))
    assert train(capsys, *words)[0] == 130  # in the first epoch: there is nothing to continue from
    monkeypatch.setattr(training._Course, "save", interrupted)
    status, _, error = train(capsys, *words)
    assert status == 130
    assert "interrupted: the same command continues from" in error
    monkeypatch.setattr(training._Course, "save", save)
    status, printed, _ = train(capsys, *words)
    assert status == 0
    assert "ended by 4 epochs" in printed


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--heads", "compact,nothing-like-it"), "nothing-like-it"),
        (("--align", "landmarks", "--inside", "nothing-like-it"), "nothing-like-it"),
        (("--align", "up"), "expected one of 'none', 'landmarks', 'stn', 'stn-perspective', got 'up'"),
        (("--group", "color"), "known are group, camera, day and file"),
        (("--size", "wide"), "--size: expected pixels"),
    ],
)
def test_each_mistake_is_one_sentence(
    words: tuple[str, ...], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, error = train(capsys, write_data(tmp_path / "data"), "--out", tmp_path / "out", *words)
    assert status == 2
    assert text in error
    assert not (tmp_path / "out").exists()


def test_training_on_aligned_faces_is_what_runs(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two people, cut out of clips: YuNet finds and aligns their faces at training and, by the recipe alone, at run
    time; an image without a face is left out, and gets no scores."""
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data / "models"))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    clips = shared_data / "actions"
    people = {"one": (clips / "clips" / "mmaction2_S001C001P001R001A001_rgb.avi", (270, 740, 980, 1100)),
              "two": (clips / "falls_gmdcsa24" / "s3_adl_20.mp4", (70, 330, 130, 290))}  # fmt: skip
    for name, (clip, (top, bottom, left, right)) in people.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        with open_video(clip) as video:
            for frame in islice(video, 10, 58, 6):
                image = np.ascontiguousarray(frame.image[top:bottom, left:right])
                (tmp_path / "data" / name / f"{frame.index}.jpg").write_bytes(to_jpeg(image))
    (tmp_path / "data" / "two" / "999.jpg").write_bytes(to_jpeg(np.full((200, 100, 3), 90, np.uint8)))
    words = ("--out", tmp_path / "out", "--align", "landmarks", "--size", 48, "--group", "file", "--epochs", 2)
    status, _, error = train(capsys, tmp_path / "data", *words)
    assert status == 0, error
    assert "1 of 17 files are left out" in error
    assert "999.jpg: yunet finds nothing in it" in error
    assert json.loads((tmp_path / "out" / "report.json").read_text())["parity"]["pipeline"] < 1e-4
    assert read_recipe(tmp_path / "out").tables["clip"]["inside"] == "yunet"
    recognizer = load_recognizer(tmp_path / "out", device="cpu", threads=1)
    scores = [replay_crops(recognizer, *crop_video(tmp_path / "data" / "two" / name, recognizer.spec), 1)
              for name in ("999.jpg", "28.jpg")]  # fmt: skip
    assert scores[0] is None
    assert scores[1] is not None
    found = evaluate(str(tmp_path / "out"), tmp_path / "data").figures()
    assert found["coverage"].value < 1


def test_what_cannot_be_read_is_left_out_and_the_findings_are_printed_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Videos and images, gray, of 16 bits and with alpha; a CSV as a spreadsheet writes it, with semicolons."""
    cv2, rng = pytest.importorskip("cv2"), np.random.default_rng(0)
    write_data(tmp_path / "data")
    made = {"gray_1.png": rng.integers(0, 255, (20, 30), np.uint8),
            "deep_2.png": rng.integers(0, 65535, (20, 30, 3), np.uint16),
            "alpha_3.png": rng.integers(0, 255, (20, 30, 4), np.uint8)}  # fmt: skip
    for name, image in made.items():
        cv2.imwrite(str(tmp_path / "data" / name), image)
    with VideoWriter(tmp_path / "data" / "film_4.mp4", fps=10) as video:
        for n in range(8):
            video.write(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8), n / 10)
    (tmp_path / "data" / "broken_5.jpg").write_bytes(b"no image")
    names = [*(f"é{n}.jpg" for n in range(12)), *made, "film_4.mp4", "broken_5.jpg", "é0.jpg"]
    labels = ["a b", "c"] * 8 + ["a b", "c"]
    rows = ["path;Farbe", *(f"{name}; {label}" for name, label in zip(names, labels, strict=True))]
    (tmp_path / "data" / "labels.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    words = ("--out", tmp_path / "out", "--group", "file", "--size", 16, "--epochs", 1, "--patience", 0)
    status, printed, error = train(capsys, tmp_path / "data" / "labels.csv", *words)
    assert status == 0, error
    assert "1 of 18 files are left out" in error
    assert "broken_5.jpg" in error
    assert "data: files that are copies of one with another label: 1" in printed
    assert "data: files or lines that are left out: 1, such as" in printed
    assert printed.index("data: ") < printed.index("2 classes, ")
    assert read_recipe(tmp_path / "out").names == ("a b", "c")
    status, _, error = train(capsys, tmp_path / "data" / "film_4.mp4", *words[:1], tmp_path / "other")
    assert status == 2
    assert "of a video, crop the objects first and sort them into a folder per class" in error
