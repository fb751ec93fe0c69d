"""Quality of action recognition on clips and on long videos; clips that a model was trained on are left out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.evaluate.actions.data import marks_of
from edgevid.evaluate.actions.metrics import OVERLAPS, ClassReport, SegmentReport, report_lines, segment_counts
from edgevid.evaluate.actions.score import Scored, score
from edgevid.evaluate.evaluation import Evaluation, Plot, Table, shown
from edgevid.models.hub import resolve_model
from edgevid.types import Array


def evaluate(model: str, truth: Path, *, clips_per_sequence: int = 0) -> Evaluation:
    """A deployed model on labeled clips that it was not trained on; a group is a scene. InputError where it was trained
    on all of them, or where the classes are others."""
    trained, notes = set(resolve_model(model).tables.get("trained", {}).get("hashes", ())), []
    scored = score(model, truth, clips_per_sequence=clips_per_sequence, keep=lambda one: not marks_of(one) & trained)
    if scored.left_out:
        total = scored.left_out + len(scored.names)
        notes = [f"{scored.left_out} of {total} clips were trained on, by their content or scene: they are left out"]
        if not scored.names:
            raise InputError(f"{truth}: {notes[0]}, and nothing remains; give clips of other scenes")
    elif not trained:
        notes = ["the recipe does not state what it was trained on: whether these clips were is unknown"]
    if scored.segments is not None:
        truths, made = zip(*scored.outcomes, strict=True)
        return _segments([name for name, _ in scored.names], truths, made, notes)
    return of_scored(scored, notes)


def of_scored(scored: Scored, notes: Sequence[str] = ()) -> Evaluation:
    """The quality of scored clips; a group is a scene."""
    groups, classes = list(dict.fromkeys(group for _, group in scored.names)), len(scored.report.names)
    cells = np.zeros((len(groups), classes * classes + 1))  # of each group its confusion, and its abstentions
    for (_, group), (true, found) in zip(scored.names, scored.outcomes, strict=True):
        cells[groups.index(group), true[-1] * classes + found[-1] if found else -1] += 1

    def measure(counts: Array) -> dict[str, float]:
        confusion, abstained = ClassReport((counts @ cells[:, :-1]).reshape(classes, classes)), counts @ cells[:, -1]
        emitted, some = float(confusion.confusion.sum()), confusion.support > 0
        f1 = float(confusion.f1[some].mean()) if emitted else math.nan
        return {"accuracy": confusion.accuracy if emitted else math.nan, "macro F1": f1,
                "coverage": emitted / max(emitted + float(abstained), 1)}  # fmt: skip

    tables, plots = class_views(scored.report)
    notes = [*notes, f"chance is {shown(1 / classes)}"]
    return Evaluation("actions", groups, "scene", measure, tables=tables, plots=plots, notes=notes)


def class_views(report: ClassReport) -> tuple[dict[str, Table], dict[str, Plot]]:
    """The table of the classes, and the confusion matrix in shares of its rows."""
    heads = ("class", "precision %", "recall %", "F1 %", "clips")
    share = report.confusion / np.maximum(report.confusion.sum(1, keepdims=True), 1)
    return {"By class": Table(heads, report_lines(report))}, {"Confusion": Plot("", "", {}, share, report.names)}


def evaluate_segments(
    results: Path, truth: Path, *, background: Sequence[str] = (), clips_per_sequence: int = 0
) -> Evaluation:
    """Labels of every step of long videos, by the definitions of MS-TCN (Farha and Gall 2019); a group is a video. Two
    folders of text files of the same names, a label a line (or all in a line after one that begins with #); or a
    recipe, and data for it. InputError for other names, labels or lengths."""
    if not results.is_dir() or (results / "recipe.toml").is_file():
        return evaluate(str(results), truth, clips_per_sequence=clips_per_sequence)
    found, known = read_labels(results), read_labels(truth)
    if missing := sorted(known.keys() - found.keys()) or not known:
        raise InputError(f"{results}: expected {len(known)} files *.txt as in {truth}, got none of {missing}")
    if other := sorted({n for v in found.values() for n in v} - {n for v in known.values() for n in v}):
        raise InputError(f"{results}: expected labels of the truth, got also {', '.join(other[:8])}")
    for name, labels in known.items():
        if len(labels) != len(found[name]):
            raise InputError(f"{name}: expected {len(labels)} labels as in {truth}, got {len(found[name])}")
    return _segments(list(known), [*known.values()], [found[name] for name in known], [], background)


def read_labels(folder: Path) -> dict[str, list[str]]:
    """By name of a file its labels, one a step; InputError for what is no text."""
    try:
        texts = {path.stem: path.read_text(encoding="utf-8-sig") for path in sorted(folder.glob("*.txt"))}
    except UnicodeDecodeError as error:
        raise InputError(f"{folder}: expected text files with a label a line, got {error}") from None
    return {name: " ".join(line for line in text.splitlines() if not line.startswith("#")).split()
            for name, text in texts.items()}  # fmt: skip


def _segments(
    names: list[str], truths: Sequence[Any], found: Sequence[Any], notes: list[str], background: Sequence[str] = ()
) -> Evaluation:
    table = np.array([segment_counts(*pair, background) for pair in zip(truths, found, strict=True)], float)

    def measure(counts: Array) -> dict[str, float]:
        shares = SegmentReport.of_counts(counts @ table, int(counts.sum()))[:5]
        names = ("accuracy", "edit", *(f"F1@{k}" for k in OVERLAPS))
        return {name: share / 100 for name, share in zip(names, shares, strict=True)}

    notes = [*notes, f"edit and F1 leave out {', '.join(background) or 'no class'}"]
    return Evaluation("segmentation", names, "video", measure, notes=notes)
