"""Learning: data and its splits, heads that stream as they train, the way from training to a camera."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx_models import node, save

from edgevid.actions import load_recognizer
from edgevid.actions.clips import ClipBuffer
from edgevid.errors import FileFormatError, InputError, ParityError
from edgevid.evaluate.actions.augment import Variation, resample, vary
from edgevid.evaluate.actions.data import (
    Corpus,
    Example,
    check,
    group_of,
    list_videos,
    official_splits,
    split_by_group,
    stitch,
)
from edgevid.types import Array, Frame, Tracks
from edgevid.video.writer import VideoWriter

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.evaluate.actions.robustness import spoil_pictures, spoil_poses  # noqa: E402
from edgevid.evaluate.actions.score import judge_rows  # noqa: E402
from edgevid.learn.actions.asformer import ASFormerHead, segmentation_loss  # noqa: E402
from edgevid.learn.actions.experiment import make_head, run  # noqa: E402
from edgevid.learn.actions.export import Deployment, check_parity, export_head  # noqa: E402
from edgevid.learn.actions.heads import Head, LinearHead, RecurrentHead  # noqa: E402
from edgevid.learn.actions.training import TrainOptions, fit, loss_weights, windows_of  # noqa: E402
from edgevid.learn.actions.transformer import TransformerHead  # noqa: E402

torch.set_num_threads(1)


def corpus(counts: tuple[int, ...] = (6, 6), groups: int = 3, length: int = 12, seed: int = 0) -> Corpus:
    """Four features: class 0 rises in the first one, class 1 falls."""
    rng = np.random.default_rng(seed)
    examples = []
    for label, count in enumerate(counts):
        for i in range(count):
            raw = rng.normal(0, 0.1, (length, 4)).astype(np.float32)
            raw[:, 0] += np.linspace(-1, 1, length) * (1 if label == 0 else -1)
            group = f"{label}-{i % groups}"
            examples.append(Example(f"{label}/{i}", group, raw, np.full(length, label)))
    return Corpus(("rise", "fall"), tuple(examples), 8.0)


SMALL = TrainOptions(window=12, rate_hz=8.0, epochs=12, batch=8, rate=5e-3)

CAUSAL = {
    "gru": lambda: RecurrentHead(4, 3, hidden=16, window=8),
    "lstm": lambda: RecurrentHead(4, 3, cell="lstm", hidden=16, layers=3, window=8),
    "transformer": lambda: TransformerHead(4, 3, width=16, heads=2, window=8),
    "asformer": lambda: ASFormerHead(4, 3, width=16, levels=3),
}
ALL = {
    **CAUSAL,
    "both ways": lambda: RecurrentHead(4, 3, hidden=16, bidirectional=True),
    "cls": lambda: TransformerHead(4, 3, width=16, heads=2, causal=False, pool="cls"),
    "asformer offline": lambda: ASFormerHead(4, 3, width=16, levels=3, causal=False),
}


def shaken(head: Head) -> Head:
    """With every weight moved, so that no zero initialization hides a fault."""
    torch.manual_seed(1)
    for p in head.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    return head.eval()


@pytest.mark.parametrize("kind", CAUSAL)
@torch.no_grad()
def test_streaming_equals_the_full_pass(kind: str) -> None:
    head = shaken(CAUSAL[kind]())
    x = torch.randn(3, 25, 4)  # longer than the window: what is forgotten must be forgotten alike
    states, steps = head.states(3), []
    for t in range(x.shape[1]):
        logits, states = head.step(x[:, t], states)
        steps.append(logits)
    whole = head(x, torch.ones(3, 25, dtype=torch.bool))
    said = torch.stack(steps, 1) if head.per_step else steps[-1]
    assert float((whole - said).abs().max()) < 1e-5


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("pad", [5, 12])
@torch.no_grad()
def test_left_padding_changes_nothing(kind: str, pad: int) -> None:
    head = shaken(ALL[kind]())
    x = torch.randn(2, 10, 4)
    valid = torch.ones(2, 10 + pad, dtype=torch.bool)
    valid[:, :pad] = False
    padded = head(torch.cat((torch.randn(2, pad, 4), x), 1), valid)
    plain = head(x, valid[:, pad:])
    assert float((padded[:, pad:] if head.per_step else padded).sub(plain).abs().max()) < 1e-5


@pytest.mark.parametrize("kind", ALL)
@torch.no_grad()
def test_a_batch_is_as_many_singles_and_padding_alone_is_no_nan(kind: str) -> None:
    head = shaken(ALL[kind]())
    x, valid = torch.randn(4, 9, 4), torch.ones(4, 9, dtype=torch.bool)
    together = head(x, valid)
    apart = torch.cat([head(x[i : i + 1], valid[i : i + 1]) for i in range(4)])
    assert float((together - apart).abs().max()) < 1e-5
    assert bool(torch.isfinite(head(x, torch.zeros_like(valid))).all())


@pytest.mark.parametrize("kind", ["both ways", "cls", "asformer offline"])
def test_a_head_that_sees_the_future_refuses_to_stream(kind: str) -> None:
    with pytest.raises(InputError, match="cannot be streamed"):
        ALL[kind]().states(1)


def test_recurrent_heads_want_two_layers() -> None:
    with pytest.raises(InputError, match="at least 2"):
        RecurrentHead(4, 3, layers=1)
    with pytest.raises(InputError, match="class token"):
        TransformerHead(4, 3, pool="cls", causal=True)
    with pytest.raises(InputError, match="gru, lstm"):
        make_head("rnn", 4, 2, window=8)


def test_segmentation_loss_by_hand() -> None:
    # Even logits: cross-entropy ln 2 at each step, no change between steps.
    logits, labels = torch.zeros(1, 2, 5, 2), torch.zeros(2, 5, dtype=torch.long)
    valid = torch.ones(2, 5, dtype=torch.bool)
    assert float(segmentation_loss(logits, labels, valid, torch.ones(2), 0.0)) == pytest.approx(np.log(2))
    logits[..., 3:, 0] = (
        50.0  # from step 2 to 3 the logarithm of class 0 rises by ln 2, of class 1 by far more than 4
    )
    loss = float(segmentation_loss(logits, labels, valid, torch.ones(2), 0.0))
    assert loss == pytest.approx(3 / 5 * np.log(2) + 0.15 * (np.log(2) ** 2 + 16) / 8, rel=1e-4)


# Data


def test_groups_never_stand_on_both_sides() -> None:
    data = corpus((12, 9))
    train, held = split_by_group(data, 0.3, seed=3)
    assert not {e.group for e in train.examples} & {e.group for e in held.examples}
    assert len(train) + len(held) == 21
    assert set(held.labels) == set(train.labels) == {0, 1}


def test_one_video_only_cannot_be_split() -> None:
    with pytest.raises(InputError, match="one video or scene only"):
        split_by_group(corpus(groups=1), 0.3)


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


def test_bad_data_is_answered_clearly(tmp_path: Path) -> None:
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
    with pytest.raises(FileFormatError, match="line 2"):
        list_videos(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="'fall' has no example"):
        check(corpus((4, 0)))
    broken = corpus()
    broken.examples[2].raw[3, 1] = np.nan
    with pytest.raises(InputError, match=r"'0/2' hold NaN"):
        check(broken)


def skeleton_file(path: Path, labels: list[str], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 20, len(labels))
    joints = rng.normal(size=(lengths.sum(), 15, 2)).astype(np.float32)
    np.savez(path, joints=joints, offsets=np.concatenate(([0], lengths.cumsum())), label=np.array(labels))


def test_official_splits_and_heads_of_other_classes(tmp_path: Path) -> None:
    skeleton_file(tmp_path / "GT_train_1.npz", ["run", "walk"] * 3)
    with pytest.raises(InputError, match=r"GT_test_1\.npz is missing"):
        official_splits(tmp_path)
    skeleton_file(tmp_path / "GT_test_1.npz", ["run", "walk"])
    train, test = official_splits(tmp_path)["1"]
    assert (train.names, len(train), len(test), train.joints) == (("run", "walk"), 6, 2, "jhmdb15")
    skeleton_file(tmp_path / "GT_test_1.npz", ["run", "fly"])
    with pytest.raises(InputError, match=r"'fly'.* unknown"):
        official_splits(tmp_path)


def test_short_clips_are_padded_on_the_left() -> None:
    data = corpus(length=5)
    features, valid, labels = windows_of(data, SMALL)
    assert features.shape == (12, 12, 4)
    assert valid[0].tolist() == [False] * 7 + [True] * 5
    assert not features[0, :7].any()
    assert labels[:, -1].tolist() == data.labels.tolist()


def test_stitched_sequences_keep_their_labels() -> None:
    made = stitch(corpus(), 4, seed=0, length=3)
    assert len(made) == 4
    assert all(len(e.raw) == len(e.labels) == 36 for e in made.examples)


def test_resampling_by_hand() -> None:
    rows = np.arange(6.0)[:, None]
    assert resample(rows, 2.5).ravel().tolist() == [0, 2.5, 5]
    assert resample(rows[:1], 2.0).ravel().tolist() == [0]


def test_a_variation_of_nothing_is_nothing() -> None:
    still = Variation(mirror=0, turn=0, stretch=0, noise=0, speed=0, lost=0, cut=0)
    rows = np.random.default_rng(0).normal(size=(9, 31)).astype(np.float32)
    rows[:, -1] = 1
    varied = vary(rows, "jhmdb15", 1e-9 + 1.0, still, np.random.default_rng(0))
    assert varied.shape[1] == 31
    inner = varied[1:-1, :-1]
    assert np.isfinite(inner).all()


def test_lost_moments_never_include_the_last() -> None:
    rows = np.ones((200, 31), np.float32)
    varied = vary(rows, "jhmdb15", 1.0, Variation(lost=1.0, cut=0), np.random.default_rng(0))
    assert (varied[:, -1] == 0).any()
    assert varied[-1, -1] == 1


def test_class_weights_give_every_class_the_same_say() -> None:
    weights = loss_weights(corpus((9, 3)), balanced=True).numpy()
    np.testing.assert_allclose(weights * [9, 3], [6, 6])


# Training to deployment


def test_training_learns_stops_early_and_keeps_the_best() -> None:
    train, held = split_by_group(corpus((12, 12), groups=4), 0.25)
    options = TrainOptions(window=12, rate_hz=8.0, epochs=40, batch=8, rate=5e-3, patience=3)
    fitted = fit(lambda: RecurrentHead(4, 2, hidden=16), train, held, options)
    assert len(fitted.history) <= 40
    losses = [e.validation_loss for e in fitted.history]
    assert losses[fitted.best_epoch] == min(losses)
    assert fitted.history[fitted.best_epoch].validation_accuracy == 1.0
    with pytest.raises(InputError, match="validation data"):
        fit(lambda: LinearHead(4, 2), train, None, options)


def test_a_seed_gives_the_same_head() -> None:
    heads = [fit(lambda: LinearHead(4, 2), corpus(), None, SMALL).head for _ in range(2)]
    for a, b in zip(heads[0].parameters(), heads[1].parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", ["gru", "transformer", "asformer"])
def test_from_training_to_the_deployed_recognizer(tmp_path: Path, kind: str) -> None:
    splits = {"1": (corpus((8, 8)), corpus((4, 4), seed=9))}
    told = Deployment(("rise", "fall"), _spec(), "../features", min_steps=3, stride=3)
    outcome = run(splits, kind, tmp_path, SMALL, told, seeds=2, stitched=2 if kind == "asformer" else 0)
    assert outcome.parity.window < 1e-4
    assert outcome.parity.stream < 1e-5
    assert outcome.parity.pipeline < 1e-4
    assert len(outcome.trials) == 2
    told_again = json.loads((tmp_path / "report.json").read_text())
    assert told_again["accuracy"]["mean"] == pytest.approx(outcome.accuracy().mean)
    assert (tmp_path / "curves.png").stat().st_size > 0
    assert (tmp_path / "confusion.png").stat().st_size > 0
    if kind != "asformer":
        judged = judge_rows(outcome.recipe, splits["1"][1])
        assert judged.report.accuracy == pytest.approx(outcome.trials[0].accuracy)
        assert judged.coverage == 1.0


def _spec() -> object:
    from edgevid.actions.clips import ClipSpec

    return ClipSpec(steps=1, rate_hz=8.0, width=8, height=8, stride_s=0.0, min_side=1)


def test_an_export_that_differs_is_refused(tmp_path: Path) -> None:
    head = shaken(TransformerHead(4, 2, width=16, heads=2, window=12))
    told = Deployment(("rise", "fall"), _spec(), "../features")  # type: ignore[arg-type]
    export_head(head, tmp_path, "test", SMALL, told)
    check_parity(head, tmp_path, corpus(), SMALL)
    head.outward.weight.data += 0.01
    with pytest.raises(ParityError, match="window path"):
        check_parity(head, tmp_path, corpus(), SMALL)


def video(path: Path, rising: bool, seed: int) -> None:
    """An image that grows brighter or darker over 2 s."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(exist_ok=True, parents=True)
    with VideoWriter(path, fps=8.0) as writer:
        for i in range(16):
            level = 60 + 8 * (i if rising else 15 - i) + int(rng.integers(0, 6))
            writer.write(np.full((48, 64, 3), level, np.uint8), i / 8)


def test_the_walk_through_from_videos_to_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/actions.md: folders of videos, `edgevid train actions`, then the recognizer in a loop."""
    from edgevid.cli import main

    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    _brightness(tmp_path / "features")
    for i in range(4):
        video(tmp_path / "data" / "rise" / f"r{chr(97 + i)}.mp4", True, i)
        video(tmp_path / "data" / "fall" / f"f{chr(97 + i)}.mp4", False, i)
    arguments = ["train", "actions", str(tmp_path / "data"), "--head", "gru", "--rate", "8", "--window", "16"]
    arguments += ["--extractor", str(tmp_path / "features"), "--out", str(tmp_path / "run"), "--epochs", "60"]
    arguments += ["--seeds", "1", "--patience", "0", "--threads", "1"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert len(list((tmp_path / "cache" / "features").glob("*.npy"))) == 8
    recognizer = load_recognizer(tmp_path / "run" / "recipe.toml")
    video(tmp_path / "new.mp4", True, 77)
    assert _last(recognizer, tmp_path / "new.mp4") == "rise"
    video(tmp_path / "new2.mp4", False, 78)
    assert _last(recognizer, tmp_path / "new2.mp4") == "fall"


def _brightness(folder: Path) -> None:
    """An extractor of four features: mean brightness a, 1 - a, their difference, and a again."""
    folder.mkdir()
    (folder / "recipe.toml").write_text(
        '[model]\nname = "brightness"\ntask = "features"\nfile = "model.onnx"\n'
        "[input]\nwidth = 16\nheight = 16\n"
    )
    nodes = [
        node("ReduceMean", "x", "m", axes=[1, 2, 3], keepdims=0), node("Unsqueeze", "m at", "a"),
        node("Sub", "one a", "b"), node("Sub", "a b", "c"), node("Concat", "a b c a", "f", axis=1),
    ]  # fmt: skip
    inputs = {"x": ("float32", ("n", 3, 16, 16))}
    save(folder / "model.onnx", nodes, inputs, {"f": ("n", 4)}, at=np.int64([1]), one=np.float32(1))


def _last(recognizer: object, path: Path) -> str:
    from edgevid.evaluate.actions.features import whole_picture
    from edgevid.video.open import open_video

    recognizer.reset()  # type: ignore[attr-defined]
    buffer = ClipBuffer(recognizer.spec)  # type: ignore[attr-defined]
    label = ""
    with open_video(path) as frames:
        for frame in frames:
            scores = recognizer.recognize(buffer.update(frame, whole_picture(frame)))  # type: ignore[attr-defined]
            if len(scores):
                label = recognizer.names[int(scores.values[0].argmax())]  # type: ignore[attr-defined]
    return label


def test_whole_picture_is_one_object() -> None:
    from edgevid.evaluate.actions.features import whole_picture

    found: Tracks = whole_picture(Frame(np.zeros((48, 64, 3), np.uint8), 0.0, 0))
    assert found.boxes.tolist() == [[0, 0, 64, 48]]


# Robustness


def crops() -> Array:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (2, 32, 32, 3), np.uint8)


def test_spoiling_grows_with_its_strength() -> None:
    pytest.importorskip("kornia", reason="robustness needs kornia: pip install 'edgevid[train]'")
    clean = crops()
    for kind, weak, strong in (
        ("JPEG quality", 95, 10),
        ("blur, sigma px", 1, 3),
        ("noise, sigma of 255", 5, 40),
        ("scale", 0.75, 0.25),
    ):
        apart = [np.abs(spoil_pictures(clean, kind, s, 0).astype(int) - clean).mean() for s in (weak, strong)]
        assert 0 < apart[0] < apart[1]
    assert spoil_pictures(clean, "scale", 1, 0) is clean
    with pytest.raises(InputError, match="expected one of"):
        spoil_pictures(clean, "rain", 1, 0)


def test_spoiled_poses() -> None:
    rows = np.concatenate((np.random.default_rng(0).normal(size=(50, 30)), np.ones((50, 1))), axis=1).astype(
        np.float32
    )
    assert (spoil_poses(rows, "moments lost, %", 50, 0)[:, -1] == 0).sum() == pytest.approx(25, abs=12)
    np.testing.assert_array_equal(spoil_poses(rows, "joint noise, % of body size", 0, 0), rows)
    lost = spoil_poses(rows, "joints lost, %", 100, 0)
    np.testing.assert_array_equal(lost[:, :-1], np.broadcast_to(rows[0, :-1], (50, 30)))


def test_pictures_are_varied_alike_and_jpeg_is_near_the_real_one() -> None:
    pytest.importorskip("kornia", reason="augmentation needs kornia: pip install 'edgevid[train]'")
    cv2 = pytest.importorskip("cv2")
    from edgevid.evaluate.actions.augment import jpeg, vary_pictures

    still = np.repeat(crops()[:1], 3, axis=0)
    varied = vary_pictures(still, seed=4)
    assert varied.shape == still.shape
    np.testing.assert_array_equal(varied[0], varied[2])
    smooth = cv2.GaussianBlur(cv2.resize(crops()[0], (48, 40)), (0, 0), 3)
    _, data = cv2.imencode(".jpg", smooth[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    real = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    batch = torch.from_numpy(smooth.copy()).permute(2, 0, 1)[None].float() / 255
    batch.requires_grad_(True)
    mine = jpeg(batch, torch.tensor([60.0]))
    assert mine.shape == batch.shape  # sides that are no multiple of 16 come back as they were
    assert np.abs(mine.detach()[0].permute(1, 2, 0).numpy() * 255 - real).mean() < 3
    mine.sum().backward()
    assert bool(torch.isfinite(batch.grad).all())
    assert float(batch.grad.abs().sum()) > 0
