"""Quality of action recognition on clips and on long videos; clips that a model was trained on are judged apart."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.actions.data import marks_of
from edgevid.evaluate.actions.metrics import ClassReport, Matches, edit_score, report_lines, segment_matches
from edgevid.evaluate.actions.score import Scored, measure, score
from edgevid.evaluate.evaluation import Evaluation, Plot, Table
from edgevid.models.hub import resolve_model
from edgevid.types import Array

OVERLAPS = (10, 25, 50)


def evaluate(model: str, truth: Path, *, clips_per_sequence: int = 0) -> Evaluation:
    """A deployed model on labeled clips that it was not trained on; a group is a scene.

    InputError where it was trained on all of them, or where the classes are others.
    """
    scored, notes = _held_out(model, truth, clips_per_sequence)
    if scored.segments is not None:
        return _segments([name for name, _ in scored.names], *zip(*scored.outcomes, strict=True), notes)
    groups = list(dict.fromkeys(group for _, group in scored.names))
    at = np.array([groups.index(group) for _, group in scored.names])
    classes = len(scored.report.names)
    cells = np.zeros((len(groups), classes * classes + 1))  # of each group its confusion, and its abstentions
    for group, (true, found) in zip(at, scored.outcomes, strict=True):
        cells[group, true[-1] * classes + found[-1] if found else -1] += 1

    def measure(counts: Array) -> dict[str, float]:
        confusion = ClassReport((counts @ cells[:, :-1]).reshape(classes, classes))
        emitted, abstained = float(confusion.confusion.sum()), float(counts @ cells[:, -1])
        shown = confusion.support > 0
        return {"accuracy": confusion.accuracy if emitted else math.nan, "macro F1": float(confusion.f1[shown].mean()),
                "coverage": emitted / max(emitted + abstained, 1)}  # fmt: skip

    report = scored.report
    heads = ("class", "precision %", "recall %", "F1 %", "clips")
    share = report.confusion / np.maximum(report.confusion.sum(1, keepdims=True), 1)
    return Evaluation("actions", groups, "scene", measure, notes=[*notes, f"chance is {1 / classes:.1%}"],
                      tables={"By class": Table(heads, report_lines(report))},
                      plots={"Confusion": Plot("", "", {}, share, report.names)})  # fmt: skip


def _held_out(model: str, truth: Path, clips_per_sequence: int) -> tuple[Scored, list[str]]:
    """Scores of the clips that the recipe was not trained on, and what else is to be said."""
    trained = set(resolve_model(model).tables.get("trained", {}).get("hashes", ()))
    scored = score(model, truth, clips_per_sequence=clips_per_sequence, keep=lambda one: not marks_of(one) & trained)
    if not trained:
        return scored, ["the recipe does not state what it was trained on: whether these clips were is unknown"]
    if not scored.left_out:
        return scored, []
    total = scored.left_out + len(scored.outcomes)
    said = f"{scored.left_out} of {total} clips were trained on, by their content or scene"
    if not scored.outcomes:
        raise InputError(f"{truth}: {said}: there is nothing to judge; give clips of other scenes")
    return scored, [f"{said}: they are left out"]


def evaluate_segments(results: str, truth: Path, *, background: Sequence[str] = ()) -> Evaluation:
    """Labels of every step of long videos, by the definitions of MS-TCN (Farha and Gall 2019); a group is a video.

    Two folders of text files of the same names, a label a line (or all in a line after one that begins with #).
    """
    found, known = read_labels(Path(results)), read_labels(truth)
    missing = sorted(set(known) - set(found))
    if missing or not known:
        raise InputError(f"{results}: expected {len(known)} files as in {truth}, {', '.join(missing[:4])} is missing")
    if other := sorted({n for v in found.values() for n in v} - {n for v in known.values() for n in v}):
        raise InputError(f"{results}: expected labels of the truth, got also {', '.join(other[:8])}")
    lengths = {name: (len(found[name]), len(labels)) for name, labels in known.items()}
    if bad := next((name for name, (a, b) in lengths.items() if a != b), ""):
        raise InputError(f"{bad}: expected {lengths[bad][1]} labels as in {truth}, got {lengths[bad][0]}")
    return _segments(list(known), [*known.values()], [found[name] for name in known], [], background)


def read_labels(folder: Path) -> dict[str, list[str]]:
    """By name of a file its labels, one a step."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of text files with a label a line")
    made = {}
    for path in sorted(folder.glob("*.txt")):
        try:
            lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except UnicodeDecodeError:
            raise FileFormatError(path, "the whole file", expected="text", got="other bytes") from None
        made[path.stem] = " ".join(line for line in lines if not line.startswith("#")).split()
    return made


def _segments(
    names: list[str], truths: Sequence[Any], found: Sequence[Any], notes: list[str], background: Sequence[str] = ()
) -> Evaluation:
    rows = []
    for one in zip(truths, found, strict=True):
        right = sum(a == b for a, b in zip(*one, strict=True))
        matches = (v for k in OVERLAPS for v in segment_matches([one[0]], [one[1]], k / 100, background))
        rows.append([right, len(one[0]), edit_score([one[0]], [one[1]], background) / 100, *matches])
    table = np.array(rows, float)

    def measure(counts: Array) -> dict[str, float]:
        right, steps, edit, *matches = (counts @ table).tolist()
        f1 = {f"F1@{k}": Matches(*matches[3 * n : 3 * n + 3]).f1 / 100 for n, k in enumerate(OVERLAPS)}  # type: ignore[arg-type]
        return {"accuracy": right / max(steps, 1), "edit": edit / max(float(counts.sum()), 1), **f1}

    named = f"without {', '.join(background)} in edit and F1" if background else "all classes count in edit and F1"
    return Evaluation("segmentation", names, "video", measure, notes=[*notes, named])


def evaluate_robustness(model: str, truth: Path, *, report: Callable[[str], None]) -> Evaluation:
    """Accuracy (abstentions are errors) under corruptions of images (JPEG, blur, noise, scale) or of poses."""
    found = measure(model, truth, report=report)
    rows = [(kind, strength, accuracy) for kind, pairs in found.items() for strength, accuracy in pairs]
    lines: Mapping[str, Any] = {kind: tuple(zip(*pairs, strict=True)) for kind, pairs in found.items()}
    worst = {kind: min(a for _, a in pairs) for kind, pairs in found.items()}
    return Evaluation("robustness", ["all"], "data set", lambda _: {"untouched": rows[0][2], **worst},
                      tables={"Accuracy": Table(("corruption", "strength", "accuracy %"), rows)},
                      plots={kind: Plot("strength", "accuracy", {kind: line}) for kind, line in lines.items()},
                      notes=["the least accuracy of each corruption"])  # fmt: skip
