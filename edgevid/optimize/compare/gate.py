"""The parity gate: does an engine agree with the model it was made from? Decided on real frames. Both engines see the
same frames through the recipe's own preprocessing and decoding (the Detector's code). Two differences are measured: of
the raw outputs, and of what a user gets: boxes, classes, joints. The second decides. A page shows the report."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError, ParityError
from edgevid.files import fill_page, write_atomic
from edgevid.optimize import agreement
from edgevid.optimize.agreement import Floor, FramePair, OutputParity, OutputTally, TaskMetrics, TopClass, percent
from edgevid.optimize.compare.tasks import MIN_JOINT_SCORE, task_of
from edgevid.optimize.frames import NamedFrame
from edgevid.runtime import Engine, Precision, Recipe, TensorSpec
from edgevid.runtime.processor import as_rows
from edgevid.types import Array, Frame, as_frame
from edgevid.video.images import thumbnail

FEW_FRAMES, FEW_THINGS = 20, 100  # With fewer frames, or things compared, a report notes that it has little evidence


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How well a candidate engine agrees with its reference, on which frames, and whether that is enough."""

    model: str  # The recipe's name
    names: tuple[str, str]  # Names of the reference and of the candidate
    classes: tuple[str, ...]  # Class names by label
    precision: Precision  # The candidate's precision, which selects the floor
    frames: int  # Frames that both engines ran on
    identical_frames: int  # Frames on which they agree in everything
    task: TaskMetrics  # Agreement of what a user gets: boxes, classes or joints
    outputs: tuple[OutputParity, ...]  # Raw outputs, one row each; empty for models with different outputs
    floor: Floor  # The minimum `agreement` that passes, and who set it
    worst: tuple[FramePair, ...]  # The frames with the most differences, worst first, with their images
    notes: tuple[str, ...]  # What limits the evidence
    remedy: str = "use the next precision"  # What to do where it did not pass

    @property
    def agreement(self) -> float:
        """The metric that decides, 0 to 1 (`task.definition`); 0 where neither engine found anything."""
        return self.task.agreement

    @property
    def non_finite(self) -> int:
        """Output values that are finite in the reference and NaN or infinite in the candidate."""
        return sum(output.non_finite for output in self.outputs)

    @property
    def passed(self) -> bool:
        """Whether something was found, all values stayed finite, and the agreement reaches the floor."""
        return self.task.total > 0 and not self.non_finite and self.agreement >= self.floor.value

    def summary(self) -> str:
        """The result in one sentence: agreement, floor, and what to do where it failed."""
        a, b = self.names
        if not self.task.total:
            what = f"{b} is unverified: neither it nor {a} found any {self.task.unit} in {self.frames} frames"
            return f"{what}; give frames that show what the model detects"
        if self.non_finite:
            what = f"{b} has {self.non_finite} NaN or infinite values where {a} has finite ones (overflow)"
            return f"{what}; {self.remedy}"
        over = f" over {self.frames} frames" if self.task.unit != "frames" else ""
        things = f"{self.task.count} {self.task.unit}{self.task.condition}{over}"
        text = f"{b} agrees with {a} on {percent(self.agreement)} of {things} (floor {percent(self.floor.value)})"
        if self.passed:
            return text
        worst = f"{self.worst[0].frame.name} ({self.worst[0].difference})"
        return f"{text}: below the floor. Worst: {worst}. Lower --min-agreement, or {self.remedy}"

    def raise_if_failed(self) -> "ParityReport":
        """The report itself where it passed; ParityError with its summary otherwise."""
        if not self.passed:
            raise ParityError(self.summary())
        return self

    def as_dict(self) -> dict[str, Any]:
        """All metrics as plain values for JSON; the worst frames without their pixels."""
        return {"model": self.model, "reference": self.names[0], "candidate": self.names[1],
                "precision": self.precision, "passed": self.passed, "summary": self.summary(), "frames": self.frames,
                "identical_frames": self.identical_frames, "agreement": round(self.agreement, 6),
                "floor": self.floor.value, "floor_from": self.floor.source, "task": self.task.as_dict(),
                "outputs": [output.as_dict() for output in self.outputs],
                "worst": [pair.as_dict() for pair in self.worst], "notes": list(self.notes)}  # fmt: skip


def compare_engines(reference: Engine, candidate: Engine, recipe: Recipe, frames: Iterable[NamedFrame | Frame | Array],
                    *, precision: Precision = "fp32", min_agreement: float | None = None,
                    candidate_recipe: Recipe | None = None, score_threshold: float | None = None, keep_worst: int = 6,
                    names: tuple[str, str] = ("reference", "candidate"),
                    on_frame: Callable[[int], None] | None = None) -> ParityReport:  # fmt: skip
    """Runs both engines over `frames` (a bare array: (H, W, 3), BGR) and reports how well they agree.

    `min_agreement` is the minimum agreement that passes (default: `floor_of` the recipe and `precision`).
    `score_threshold` overrides the recipe's. `candidate_recipe` is for a candidate with its own decoding, another model
    of the same classes. `on_frame` is called with the number of frames done. A failed gate raises nothing: see
    `passed`, or call `raise_if_failed()`.

    Raises InputError where the two cannot be compared: no frames, different outputs, different classes."""
    floor = agreement.floor_of(recipe, precision, min_agreement)
    other = candidate_recipe or recipe
    check_comparable(reference, candidate, recipe, other)
    a, b = agreement.RecordingEngine(reference), agreement.RecordingEngine(candidate)
    task = task_of(a, b, recipe, other, threshold=score_threshold)
    tally = OutputTally(reference.outputs if same_outputs(reference, candidate) else ())
    worst: list[FramePair] = []
    count = identical = 0
    for count, given in enumerate(frames, start=1):
        if not isinstance(given, NamedFrame):
            given = NamedFrame(f"frame {count}", as_frame(given, float(count), count - 1))
        pair = task.compare(given)
        if a.last:  # a clip that is not full yet is not run
            tally.add(a.last, b.last)
        identical += pair.agreeing >= pair.total
        # The sort is stable: of equally bad frames the first stays.
        worst = sorted([*worst, pair], key=lambda p: p.severity, reverse=True)[:keep_worst]
        if on_frame:
            on_frame(count)
    if not count:
        raise InputError("compare: expected at least one real frame, got none; nothing is verified without")
    metrics = task.metrics()
    notes = tuple(_notes(task.notes, metrics, tally, count))
    compared = count, identical, metrics, tally.metrics()
    return ParityReport(recipe.name, names, recipe.names, precision, *compared, floor, tuple(worst), notes)


def same_outputs(reference: Engine, candidate: Engine) -> bool:
    """Whether both give outputs of the same names."""
    return {s.name for s in reference.outputs} == {s.name for s in candidate.outputs}


def check_comparable(reference: Engine, candidate: Engine, recipe: Recipe, other: Recipe) -> None:
    """InputError where the two engines are not two forms of one model, or models of the same classes."""
    if recipe.task != other.task:
        raise InputError(f"compare: {recipe.name} is for {recipe.task!r}, {other.name} for {other.task!r}")
    if recipe.names != other.names:
        what = "compare: expected two models of the same classes"
        raise InputError(f"{what}; {recipe.name} has {_few(recipe.names)}, {other.name} has {_few(other.names)}")
    same_decoding = recipe.decode == other.decode and recipe.outputs == other.outputs
    if same_decoding and not _same_shapes(reference.outputs, candidate.outputs):
        first, second = (", ".join(map(str, engine.outputs)) for engine in (reference, candidate))
        what = f"compare: expected two engines with the same outputs; the reference has {first}, the candidate {second}"
        raise InputError(f"{what}. Another model needs its own recipe")


def _same_shapes(a: tuple[TensorSpec, ...], b: tuple[TensorSpec, ...]) -> bool:
    """The same names, and sizes that agree wherever both are fixed (the batch axis may differ)."""
    shapes = {spec.name: spec.shape for spec in b}
    return {spec.name for spec in a} == set(shapes) and all(
        len(p) == len(q) and all(m == n or -1 in (m, n) for m, n in zip(p[1:], q[1:], strict=True))
        for p, q in ((spec.shape, shapes[spec.name]) for spec in a)
    )


def _notes(found: Iterable[str], metrics: TaskMetrics, tally: OutputTally, frames: int) -> list[str]:
    notes = list(found)
    if frames < FEW_FRAMES or 0 < metrics.count < FEW_THINGS:
        found = f" with {metrics.count} {metrics.unit}" if metrics.unit != "frames" else ""
        what = f"{frames} frames{found} are little evidence"
        notes.append(f"{what}: one more difference moves the agreement by {percent(1 / max(metrics.count, 1))}")
    if tally.uncompared:
        notes.append(f"raw outputs had different shapes on {tally.uncompared} frames, and were not compared")
    return notes


def _few(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"


PAGE = Path(__file__).with_name("report.html")  # The template of the page, dark or light as the reader's system
SIDE = 960  # Longest side of the images in the page, in pixels
POINTS = 1500  # Most points of the plot of scores


def write_report(report: ParityReport, path: str | Path, found: Mapping[str, Any] | None = None) -> Path:
    """Writes the report as a page that loads nothing from elsewhere; `found` are the conditions of the measurement."""
    scores = report.task.scores if report.task.scores is not None else np.zeros((0, 2))
    values = report.as_dict() | {
        "classes": report.classes, "condition": report.task.condition, "figures": report.task.figures(),
        "heads": OutputParity.HEADS, "cells": [output.cells() for output in report.outputs],
        "conditions": list(as_rows(dict(found or {}))), "min_joint_score": MIN_JOINT_SCORE,
        "scores": scores[:: -(-len(scores) // POINTS) or 1].round(4).tolist(),
        "worst": [_shown(pair) for pair in report.worst if pair.severity > (0.0, 0.005)],
    }  # fmt: skip
    write_atomic(Path(path), fill_page(PAGE, f"{report.names[1]} against {report.names[0]}", values))
    return Path(path)


def _shown(pair: FramePair) -> dict[str, Any]:
    """The answers of both models to a frame, and its image."""
    both = (pair.reference, pair.candidate)
    return pair.as_dict() | {
        "size": pair.frame.frame.size,
        "image": b64encode(thumbnail(pair.frame.frame.image, SIDE, qscale=3)).decode(),
        "rows": pair.rows.tolist() if pair.rows is not None else [],
        "tops": [f"{one.name} {one.probability:.2f}" for one in both if isinstance(one, TopClass)],
        "joints": [one.tolist() for one in both if isinstance(one, np.ndarray)],
    }
