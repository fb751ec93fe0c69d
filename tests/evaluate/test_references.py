"""Metrics on random inputs against reference implementations and published definitions, to 1e-6. HOTA and its parts,
COCO's AP and scikit-learn's reports of classes have tests of their own next to the metrics."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from edgevid.evaluate.actions.metrics import ClassReport, SegmentReport
from edgevid.evaluate.tracking import evaluate
from edgevid.evaluate.tune import risk
from edgevid.types import Array

SEEDS = range(6)
METRICS = {"HOTA": "HOTA", "DetA": "DetA", "AssA": "AssA", "IDF1": "IDF1", "MOTA": "MOTA", "switches": "IDSW"}
MOT_KINDS = (1, 1, 1, 1, 2, 3, 7, 8, 12, 13)
KITTI_KINDS = ("Car", "Car", "Van", "Truck", "Pedestrian", "Pedestrian", "Person")


def random_scores(seed: int, rows: int = 300, classes: int = 5) -> tuple[Array, Array]:
    """Probabilities without ties, and labels that are theirs about half of the time."""
    rng = np.random.default_rng(seed)
    values = rng.dirichlet([0.5] * classes, rows)
    labels = np.where(rng.random(rows) < 0.4, values.argmax(1), rng.integers(0, classes, rows))
    return values, labels


@pytest.mark.parametrize("seed", SEEDS)
def test_risk_and_coverage_as_torch_uncertainty_defines_them(seed: int) -> None:
    """Trapezoids from coverage 1 / n to 1, divided by its width; the largest coverage of a risk; the risk of a
    coverage. edgevid's areas are the means over k (Geifman et al. 2019), which leave out nothing: the two ends are the
    whole difference."""
    values, labels = random_scores(seed)
    order, n = np.argsort(-values.max(1)), len(labels)
    errors = (values.argmax(1) != labels)[order]
    rates = np.cumsum(errors) / np.arange(1, n + 1)
    coverage = np.arange(1, n + 1) / n
    found = risk.curve(values.max(1), values.argmax(1) != labels)
    for ours, heights in ((found.aurc, rates), (found.augrc, rates * coverage)):
        area = sum((heights[k] + heights[k + 1]) / 2 / n for k in range(n - 1)) / (1 - 1 / n)
        assert (ours * n - (heights[0] + heights[-1]) / 2) / (n - 1) == pytest.approx(area, abs=1e-6)
        assert ours == pytest.approx(heights.mean(), abs=1e-6)
    best = np.cumsum(np.sort(errors)) / np.arange(1, n + 1)
    assert found.e_aurc == pytest.approx(rates.mean() - best.mean(), abs=1e-6)  # Geifman et al. 2019
    limit = risk.naive(found, 0.3)
    assert limit is None or found.at(limit)[0] / n == pytest.approx(coverage[rates <= 0.3].max(), abs=1e-6)
    emitted, wrong = found.at(risk.abstain_threshold(values.max(1), 0.2))
    assert wrong / emitted == pytest.approx(rates[int(np.ceil(0.8 * n)) - 1], abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_losses_and_reports_of_classes_are_those_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    values, labels = random_scores(seed)
    values = (values + 1e-6) / (1 + 5e-6)  # a probability of 0 counts as 1e-12 here
    assert risk.nll(values, labels) == pytest.approx(metrics.log_loss(labels, values, labels=range(5)), abs=1e-6)
    predicted = values.argmax(1)
    report = ClassReport.of(labels, predicted, 5)
    assert report.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted), abs=1e-6)
    each = metrics.precision_recall_fscore_support(labels, predicted, labels=range(5), zero_division=0)
    np.testing.assert_allclose((report.precision, report.recall, report.f1, report.support), each, atol=1e-6)
    np.testing.assert_array_equal(report.confusion, metrics.confusion_matrix(labels, predicted))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_calibration_error_is_that_of_its_definition(seed: int) -> None:
    """Guo et al. 2017: bins (low, high], the mean of |accuracy - confidence| by the share of rows."""
    values, labels = random_scores(seed)
    confidence, right, total = values.max(1), values.argmax(1) == labels, 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        total += abs(right[inside].sum() - confidence[inside].sum()) / len(labels)
    assert risk.reliability(confidence, right).ece == pytest.approx(total, abs=1e-6)


def segments(labels: list[int]) -> list[tuple[int, int, int]]:
    starts = [0] + [t for t in range(1, len(labels)) if labels[t] != labels[t - 1]]
    return [(labels[a], a, b) for a, b in zip(starts, [*starts[1:], len(labels)], strict=True)]


def ms_tcn(truths: list[list[int]], found: list[list[int]], background: set[int]) -> list[float]:
    """Frame accuracy, edit score and F1@10/25/50 by the definitions of Farha and Gall (2019), in percent."""
    edits, hits = [], np.zeros((3, 3))
    for truth, made in zip(truths, found, strict=True):
        known, guessed = ([s for s in segments(one) if s[0] not in background] for one in (truth, made))
        table = np.zeros((len(guessed) + 1, len(known) + 1))
        table[:, 0], table[0] = np.arange(len(guessed) + 1), np.arange(len(known) + 1)
        for i in range(1, len(guessed) + 1):
            for j in range(1, len(known) + 1):
                change = table[i - 1, j - 1] + (guessed[i - 1][0] != known[j - 1][0])
                table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, change)
        edits.append(100 * (1 - table[-1, -1] / max(len(guessed), len(known), 1)))
        for k, overlap in enumerate((0.1, 0.25, 0.5)):
            taken = set[int]()
            for label, start, end in guessed:
                ious = []
                for other, a, b in known:
                    shared = len(set(range(start, end)) & set(range(a, b)))
                    ious.append(shared / (max(end, b) - min(start, a)) * (label == other))
                best = int(np.argmax(ious)) if ious else -1
                right = bool(ious) and ious[best] >= overlap and best not in taken
                taken |= {best} if right else set()
                hits[k] += right, not right, 0
            hits[k, 2] += len(known) - len(taken)
    every = [(a, b) for truth, made in zip(truths, found, strict=True) for a, b in zip(truth, made, strict=True)]
    f1 = [100 * 2 * tp / max(2 * tp + fp + fn, 1e-9) for tp, fp, fn in hits.tolist()]
    return [100 * np.mean([a == b for a, b in every]), float(np.mean(edits)), *f1]


@pytest.mark.parametrize("seed", SEEDS)
def test_segmentation_is_that_of_ms_tcn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truths = [np.repeat(rng.integers(0, 4, 8), rng.integers(1, 20, 8)).tolist() for _ in range(5)]
    found = []
    for truth in truths:
        kept, other = np.repeat(rng.random(20), 8)[: len(truth)] < 0.6, np.repeat(rng.integers(0, 4, 23), 7)
        found.append(np.where(kept, truth, other[: len(truth)]).tolist())
    for background in (set[int](), {0}):
        assert SegmentReport.of(truths, found, background)[:5] == pytest.approx(ms_tcn(truths, found, background))


def paths_of(rng: np.random.Generator, objects: int, frames: int) -> list[tuple[int, int, Array]]:
    """(frame, object, x y w h) of objects that come and go."""
    start, way, size = rng.uniform(0, 400, (objects, 2)), rng.normal(0, 5, (objects, 2)), rng.uniform(20, 90, objects)
    lives = np.sort(rng.integers(0, frames, (objects, 2)), 1)
    return [(t, i, np.r_[start[i] + t * way[i], size[i], 1.3 * size[i]])
            for t in range(frames) for i in range(objects) if lives[i, 0] <= t <= lives[i, 1]]  # fmt: skip


def trackeval_of(dataset: object, names: list[str], kind: str) -> dict[str, float]:
    """The reference's metrics of one class of a dataset, all sequences together."""
    from trackeval import metrics

    made: dict[str, object] = {}
    for one in (metrics.HOTA(), metrics.CLEAR({"PRINT_CONFIG": False}), metrics.Identity({"PRINT_CONFIG": False})):
        each = {}
        for name in names:
            raw = dataset.get_raw_seq_data("ours", name)  # type: ignore[attr-defined]
            each[name] = one.eval_sequence(dataset.get_preprocessed_seq_data(raw, kind))  # type: ignore[attr-defined]
        made |= one.combine_sequences(each)
    return {ours: float(np.mean(made[theirs])) for ours, theirs in METRICS.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_files_of_motchallenge_are_preprocessed_as_by_trackeval(tmp_path: Path, seed: int) -> None:
    """With distractors, vehicles, reflections and rows marked 0."""
    datasets = pytest.importorskip("trackeval.datasets")
    rng, frames, names = np.random.default_rng(seed), 30, ["a", "b"]
    (tmp_path / "ours/data").mkdir(parents=True)
    for name in names:
        (tmp_path / "truth" / name / "gt").mkdir(parents=True)
        kinds, kept, rows = rng.choice(MOT_KINDS, 12), rng.random(12) < 0.85, paths_of(rng, 12, frames)
        text = [f"{t + 1},{i + 1},{','.join(f'{v:.2f}' for v in box)},{int(kept[i])},{kinds[i]},1"
                for t, i, box in rows]  # fmt: skip
        (tmp_path / "truth" / name / "gt/gt.txt").write_text("\n".join(text) + "\n")
        (tmp_path / "truth" / name / "seqinfo.ini").write_text(f"[Sequence]\nseqLength={frames}\n")
        text = [f"{t + 1},{i + 1 + 20 * (t > 15 and i < 4)},{','.join(f'{v:.2f}' for v in box + rng.normal(0, 3, 4))},"
                "0.9,-1,-1,-1" for t, i, box in rows if rng.random() < 0.8]  # fmt: skip
        (tmp_path / "ours/data" / f"{name}.txt").write_text("\n".join(text) + "\n")
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = datasets.MotChallenge2DBox({
            "GT_FOLDER": str(tmp_path / "truth"), "TRACKERS_FOLDER": str(tmp_path), "TRACKERS_TO_EVAL": ["ours"],
            "SKIP_SPLIT_FOL": True, "SEQ_INFO": dict.fromkeys(names, frames), "PRINT_CONFIG": False})  # fmt: skip
        expected = trackeval_of(dataset, names, "pedestrian")
    assert evaluate(tmp_path / "ours/data", tmp_path / "truth").values == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_files_of_kitti_are_preprocessed_as_by_trackeval(tmp_path: Path, seed: int) -> None:
    """With vans, sitting persons, occluded and truncated objects, DontCare areas and low boxes; each class alone."""
    datasets = pytest.importorskip("trackeval.datasets")
    rng, frames, names = np.random.default_rng(seed), 30, ["0000", "0001"]
    (tmp_path / "label_02").mkdir()
    (tmp_path / "ours/data").mkdir(parents=True)
    for name in names:
        kinds, rows = rng.choice(KITTI_KINDS, 14), paths_of(rng, 14, frames)
        corners = [(t, i, np.r_[box[:2], box[:2] + box[2:]]) for t, i, box in rows]
        shown = lambda box: " ".join(f"{v:.2f}" for v in box)  # noqa: E731
        text = [f"{t} {i} {kinds[i]} {rng.integers(0, 5) // 4} {rng.integers(0, 4)} -10 {shown(box)}" + " -1" * 7
                for t, i, box in corners]  # fmt: skip
        text += [f"{t} -1 DontCare -1 -1 -10 {shown(np.r_[c, c + 120])}" + " -1" * 7
                 for t in range(frames) for c in rng.uniform(0, 400, (2, 2))]  # fmt: skip
        (tmp_path / "label_02" / f"{name}.txt").write_text("\n".join(text) + "\n")
        text = [f"{t} {i + 20 * (t > 15 and i < 4)} {kinds[i]} -1 -1 -10 {shown(box + rng.normal(0, 3, 4))}"
                + " -1" * 7 + " 0.9" for t, i, box in corners if rng.random() < 0.8]  # fmt: skip
        text += [f"{t} {90 + n} Car -1 -1 -10 {shown(np.append(c, c + np.array([60, high])))}" + " -1" * 7 + " 0.5"
                 for t in range(frames) for n, c in enumerate(rng.uniform(0, 400, (2, 2)))
                 for high in [rng.uniform(10, 60)]]  # fmt: skip
        (tmp_path / "ours/data" / f"{name}.txt").write_text("\n".join(text) + "\n")
    lines = [f"{name} empty 000000 {frames:06d}" for name in names]
    (tmp_path / "evaluate_tracking.seqmap.training").write_text("\n".join(lines) + "\n")
    by_class = {
        row[0]: row[1:] for row in evaluate(tmp_path / "ours/data", tmp_path / "label_02").tables["By class"].rows
    }
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = datasets.Kitti2DBox({"GT_FOLDER": str(tmp_path), "TRACKERS_FOLDER": str(tmp_path),
                                       "TRACKERS_TO_EVAL": ["ours"], "PRINT_CONFIG": False})  # fmt: skip
        expected = {ours: trackeval_of(dataset, names, theirs)
                    for ours, theirs in (("car", "car"), ("person", "pedestrian"))}  # fmt: skip
    for name, values in expected.items():
        assert by_class[name] == pytest.approx(tuple(values.values()), abs=1e-6)
