"""Tuning: tables read or refused, targets reached or what can be reached, files, plots, the command."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgevid.abstain.file import read_policy
from edgevid.abstain.policy import NEVER, Policy, Settings
from edgevid.cli import app
from edgevid.errors import InputError, MissingExtraError
from edgevid.evaluate.tune import plots as tune_plots
from edgevid.evaluate.tune.calibration import temper
from edgevid.evaluate.tune.policy import Target, passes, tune
from edgevid.evaluate.tune.scores import ScoreTable, gather, make_table, read_scores
from edgevid.types import Array, Reason, Scores, Tracks

NAMES = np.array(["walk", "run", "fall"])


def drawn(
    tracks: int, *, frames: int = 1, seed: int = 0, sharpness: float = 2.0, flat: float = 0.4
) -> dict[str, Array]:
    """Honest probabilities of tracks, made too sure by `sharpness`; frames of a track are alike."""
    rng = np.random.default_rng(seed)
    honest = np.repeat(rng.dirichlet([flat] * 3, tracks), frames, axis=0)
    first = honest[::frames]
    labels = (first.cumsum(1)[:, :2] < rng.random((tracks, 1))).sum(1)
    noisy = temper(honest * rng.uniform(0.8, 1.2, honest.shape), 1 / sharpness)
    return {
        "values": noisy, "labels": np.repeat(labels, frames), "names": NAMES,
        "tracks": np.repeat(np.arange(tracks), frames), "times": np.tile(np.arange(frames) / 5, tracks),
    }  # fmt: skip


def table(tracks: int = 600, **how: float) -> ScoreTable:
    return make_table(drawn(tracks, **how))  # type: ignore[arg-type]


def spread(confidences: list[float], wrong: list[int], names: int = 3) -> ScoreTable:
    """Verdicts for class 0 with these confidences; the wrong ones have label 1."""
    rest = [[(1 - c) / (names - 1)] * (names - 1) for c in confidences]
    values = np.array([[c, *r] for c, r in zip(confidences, rest, strict=True)])
    return make_table({"values": values, "labels": np.array(wrong)})


def csv_of(path: Path, columns: dict[str, Array], *, labels: bool = True) -> Path:
    head = ["track", "time", *(["label"] if labels else []), *columns["names"]]
    lines = [",".join(head)]
    for row in range(len(columns["values"])):
        cells = [f"t{columns['tracks'][row]}", f"{columns['times'][row]:.3f}"]
        cells += [columns["names"][columns["labels"][row]]] if labels else []
        lines.append(",".join([*cells, *(f"{v:.9f}" for v in columns["values"][row])]))
    path.write_text("\n".join(lines) + "\n")
    return path


# Reading -------------------------------------------------------------------------------------------


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
        ("track,label,walk,run\na,walk,1,0\na,run,1,0\n", "one label a track.*walk and run"),
        ("time,walk,run\ninf,1,0\n", "finite seconds"),
    ],
)
def test_each_mistake_of_a_csv_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_scores(path)


def test_each_mistake_of_a_file_is_named(tmp_path: Path) -> None:
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


# Choosing ------------------------------------------------------------------------------------------


def test_the_optimum_of_a_constructed_set() -> None:
    """Ten tracks, errors at 0.55 and 0.60: refusing those two of ten removes all errors, and is the knee."""
    confidences = [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.62, 0.6, 0.55]
    report = tune(spread(confidences, [0] * 8 + [1, 1]), Target("knee"))
    assert report.settings.threshold == pytest.approx(0.62, abs=1e-6)
    assert (report.coverage, report.errors_gone, report.measured_risk) == (0.8, 1, 0)
    kept = tune(spread(confidences, [0] * 8 + [1, 1]), Target("max-errors-kept", 0.5))
    assert kept.settings.threshold == pytest.approx(0.6, abs=1e-6)
    joint = tune(spread(confidences, [0] * 8 + [1, 1]), Target("max-joint-risk", 0.19))
    assert joint.settings.threshold == pytest.approx(0.6, abs=1e-6)  # (1 + 1) / 11 = 0.18
    assert tune(spread(confidences, [0] * 10), Target("costs", 4)).settings.threshold == 0.75


def test_what_is_tuned_is_what_runs() -> None:
    """The share that a policy of the found settings says at run time is the share that was promised."""
    scores = table(400, frames=4)
    report = tune(scores, Target("max-errors-kept", 0.3))
    policy = Policy(scores.names, report.settings)
    ids = np.unique(scores.tracks)
    n, zero = len(ids), np.zeros(len(ids))
    tracks = Tracks.of(
        ids=ids, boxes=[[0, 0, 9, 9]] * n, scores=zero, labels=zero, match=zero, age=zero, unseen=zero
    )
    for step in range(4):
        rows = np.arange(step, len(scores.values), 4)
        given = Scores.of(ids=scores.tracks[rows], values=scores.values[rows], times=scores.times[rows])
        verdicts = policy.update(given, tracks, step / 5)
    whole = gather(scores, report.settings)
    assert (verdicts.reason == Reason.OK).tolist() == passes(whole, report.settings, scores.names).tolist()


def test_temperature_and_correlation_come_from_held_out_tracks() -> None:
    report = tune(table(3000, frames=4), Target("max-risk", 0.1))
    assert report.fitted_on == 900
    assert len(report.chosen_on.confidence) == 2100
    assert report.settings.temperature == pytest.approx(2, rel=0.25)  # made twice too sure
    assert report.settings.correlation > 0.8  # the frames of a track say the same
    assert report.before is not None
    assert report.after is not None
    assert report.after.ece < report.before.ece / 2
    assert report.guaranteed
    assert report.measured_risk < 0.1


def test_a_share_of_unlabeled_scores() -> None:
    columns = drawn(500)
    del columns["labels"]
    report = tune(make_table(columns), Target("abstain-rate", 0.2))
    assert report.coverage == pytest.approx(0.8, abs=1 / 500)
    assert report.curve is None
    assert "not certified" in report.warnings[-1]
    with pytest.raises(InputError, match=r"expected a label column for knee.*--abstain-rate"):
        tune(make_table(columns))


def test_production_is_compared_and_takes_the_share() -> None:
    ours, theirs = table(800), table(800, seed=1, flat=2.0)
    report = tune(ours, Target("abstain-rate", 0.25), production=theirs)
    assert report.shift is not None
    assert report.shift.alarm
    assert any("differ from the tuning set" in words for words in report.warnings)
    assert report.production is not None
    said = passes(report.production, report.settings, ours.names)
    assert said.mean() == pytest.approx(0.75, abs=0.01)
    assert report.policy().tuned.abstain_rate == pytest.approx(0.25, abs=0.01)
    calm = tune(ours, production=table(800, seed=2))
    assert calm.shift is not None
    assert not calm.shift.alarm


def test_a_threshold_for_each_class_with_enough_tracks() -> None:
    report = tune(table(1500), Target("max-errors-kept", 0.3), per_class=True)
    assert set(report.settings.per_class) == {"walk", "run", "fall"}
    assert report.errors_gone >= 0.7
    few = tune(table(200), Target("max-errors-kept", 0.3), per_class=True, fit=False)
    assert few.settings.per_class == {}
    assert any("too few verdicts" in words for words in few.warnings)


def test_a_class_that_cannot_be_trusted_is_never_said() -> None:
    right = spread([0.9] * 150 + [0.8] * 150, [0] * 300)
    assert right.labels is not None
    values = np.concatenate([right.values, np.roll(right.values[:150], 1, axis=1)])
    labels = np.concatenate([right.labels, np.zeros(150, int)])  # class 1 is always wrong
    mixed = make_table({"values": values, "labels": labels})
    report = tune(mixed, Target("max-risk", 0.05), per_class=True, fit=False)
    assert report.settings.per_class["1"] == NEVER
    assert report.wrong == 0
    assert any(words.startswith("1: never said") for words in report.warnings)


# What cannot be ------------------------------------------------------------------------------------


def test_unreachable_targets_say_what_can_be_reached() -> None:
    with pytest.raises(
        InputError, match=r"0.001 cannot be certified.*2995 tracks.*Reachable: 0\.\d+, answering"
    ):
        tune(table(900), Target("max-risk", 0.001))
    reached = tune(table(900), Target("max-risk", 0.2), fit=False)
    assert reached.guaranteed
    top = spread([0.9, 0.8, 0.7], [1, 0, 0])
    with pytest.raises(InputError, match=r"max-errors-kept 0 cannot be reached.*Reachable: 1\.0000"):
        tune(top, Target("max-errors-kept", 0))
    with pytest.raises(InputError, match=r"max-joint-risk 0.1 cannot be reached with 3 tracks"):
        tune(top, Target("max-joint-risk", 0.1))
    with pytest.raises(InputError, match=r"lowest measured risk is 0\.3333"):
        tune(top, Target("max-risk", 0.1, method="naive"))
    with pytest.raises(InputError, match=r"add tracks|Reachable"):
        tune(top, Target("max-risk", 0.1))


def test_the_reachable_risk_is_reached_when_asked_for() -> None:
    scores = table(900)
    with pytest.raises(InputError) as caught:
        tune(scores, Target("max-risk", 0.001))
    said = float(str(caught.value).split("Reachable: ")[1].split(",")[0])
    assert tune(scores, Target("max-risk", said)).coverage > 0


def test_no_errors_all_errors_one_label() -> None:
    clean = tune(spread(list(np.linspace(0.6, 0.99, 80)), [0] * 80))
    assert clean.settings.threshold == 0
    assert any("no errors among 80" in words for words in clean.warnings)
    assert any("all tracks have one label" in words for words in clean.warnings)
    assert tune(spread([0.9] * 70, [0] * 70), Target("max-risk", 0.05)).coverage == 1
    for kind, value in (("knee", 0.0), ("max-risk", 0.1), ("max-errors-kept", 0.2)):
        with pytest.raises(InputError, match="all 40 verdicts are wrong"):
            tune(spread([0.9] * 40, [1] * 40), Target(kind, value))


def test_too_few_tracks_fit_no_temperature() -> None:
    report = tune(table(60))
    assert report.settings.temperature == 1
    assert any("too few" in words for words in report.warnings)


def test_rules_that_silence_everything() -> None:
    with pytest.raises(InputError, match="leave all 60 tracks silent"):
        tune(table(60), settings=Settings(min_observations=2))


@pytest.mark.parametrize(
    "wrong",
    [
        ("magic", 0.1), ("max-risk", 0.0), ("max-risk", 1.0), ("abstain-rate", 1.5), ("costs", -1),
        ("max-errors-kept", float("nan")), ("max-risk", 0.1, 1.0), ("max-risk", 0.1, 0.9, "luck"),
    ],
)  # fmt: skip
def test_targets_that_cannot_be(wrong: tuple[str, float]) -> None:
    with pytest.raises(InputError, match="expected"):
        Target(*wrong)


def test_production_of_other_classes_and_bad_holdout() -> None:
    with pytest.raises(InputError, match="production"):
        tune(table(60), production=spread([0.9], [0]))
    with pytest.raises(InputError, match="holdout"):
        tune(table(60), holdout=1.0)


# The command ---------------------------------------------------------------------------------------


def ask(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app(), ["tune", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_writes_policy_and_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    model, out = tmp_path / "model.onnx", tmp_path / "out" / "policy.toml"
    model.write_bytes(b"weights")
    scores = csv_of(tmp_path / "s.csv", drawn(700))
    shifted = csv_of(tmp_path / "p.csv", drawn(700, seed=5, flat=2.0), labels=False)
    said = ask(
        scores,
        "--max-risk",
        "0.15",
        "--out",
        out,
        "--production",
        shifted,
        "--model",
        model,
        "--task",
        "action",
    )
    assert "guaranteed" in said
    assert "production scores differ" in said
    written = read_policy(out)
    assert (written.task, written.made["certified_risk"]) == ("action", 0.15)
    assert written.model_sha256 == hashlib.sha256(b"weights").hexdigest()
    plots = sorted(path.name for path in out.parent.glob("*.png"))
    assert plots == [f"policy-{name}.png" for name in ("reliability", "risk-coverage", "shift", "two-bars")]
    again = ask(shifted, "--abstain-rate", "0.3", "--base", out, "--out", tmp_path / "next.toml")
    assert "not certified" in again
    assert read_policy(tmp_path / "next.toml").settings.temperature == written.settings.temperature
    assert (tmp_path / "next-confidences.png").stat().st_size > 5000


def test_the_command_takes_one_target(tmp_path: Path) -> None:
    scores = csv_of(tmp_path / "s.csv", drawn(60))
    with pytest.raises(InputError, match="one target, got --max-risk, --abstain-rate"):
        ask(scores, "--max-risk", "0.1", "--abstain-rate", "0.1")
    with pytest.raises(InputError, match="--model"):
        ask(scores, "--model", tmp_path / "absent.onnx", "--out", tmp_path / "p.toml")


def test_without_matplotlib_the_policy_is_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    scores = csv_of(tmp_path / "s.csv", drawn(60))
    assert r"edgevid[plot]" in ask(scores, "--out", tmp_path / "p.toml")
    assert read_policy(tmp_path / "p.toml").names == ("walk", "run", "fall")
    with pytest.raises(MissingExtraError, match="plot"):
        ask(scores, "--out", tmp_path / "p.toml", "--plots", tmp_path)


def test_bars_fall_from_all_to_few() -> None:
    report = tune(table(500))
    assert report.curve is not None
    shown = report.curve.coverage[tune_plots.bar_rows(report.curve, 10)]
    assert shown[0] == 1
    assert (np.diff(shown) < 0).all()
