"""The parity gate: is an engine still the model it was made from? Judged on real frames, or refused.

Both engines see the same frames through the recipe's own preprocessing and decoding (the Detector's code,
no other). Two things are measured: how far their raw outputs lie apart, and how far apart what a user gets
lies: boxes, classes, joints. The second decides.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgevid.errors import InputError, ParityError
from edgevid.optimize.compare.outputs import OutputParity, OutputTally, Watched
from edgevid.optimize.compare.pair import Pair, TaskFigures
from edgevid.optimize.compare.tasks import Task, task_of
from edgevid.optimize.frames import NamedFrame
from edgevid.runtime import Engine, Recipe, TensorSpec
from edgevid.types import Array, Frame

FLOORS: Mapping[str, float] = {"fp32": 0.99, "fp16": 0.99, "int8": 0.97}
"""Least agreement where neither the caller nor the recipe states one."""
METRIC = "agreement"
"""The metric of a recipe's [precision.*] whose floor is one of agreement; others need labels."""
FEW_FRAMES, FEW_THINGS = 20, 100
"""Below so many frames, or things compared, a report says that it rests on little."""


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How well a candidate engine agrees with its reference, on which frames, and whether that is enough."""

    model: str
    """The recipe's name."""
    names: tuple[str, str]
    """What the reference and the candidate are called."""
    classes: tuple[str, ...]
    """Class names by label."""
    precision: str
    """The candidate's precision, which chooses the floor."""
    frames: int
    """Frames that both engines saw."""
    unchanged: int
    """Frames on which they agree in everything."""
    task: TaskFigures
    """What a user gets from both: boxes, classes or joints."""
    outputs: tuple[OutputParity, ...]
    """Raw outputs, one row each; empty for models of different outputs."""
    floor: float
    """Least `agreement` that passes, 0 to 1."""
    floor_from: str
    """Who set the floor: "given", the recipe, or the default of the precision."""
    worst: tuple[Pair, ...]
    """The frames with the most differences, worst first, with their images."""
    notes: tuple[str, ...]
    """What a reader should know before trusting the figures."""

    @property
    def agreement(self) -> float:
        """The figure that is judged, 0 to 1 (`task.meaning` defines it); 0 where nothing was seen."""
        return self.task.agreement

    @property
    def broken(self) -> int:
        """Output values that are numbers in the reference and NaN or infinite in the candidate."""
        return sum(output.broken for output in self.outputs)

    @property
    def passed(self) -> bool:
        """Whether something was seen, no number was lost, and the agreement reaches the floor."""
        return self.task.total > 0 and not self.broken and self.agreement >= self.floor

    def sentence(self) -> str:
        """The verdict in one sentence: figures, floor, and what to do where it failed."""
        a, b = self.names
        if not self.task.total:
            return (
                f"{b} is not proven: neither it nor {a} saw any {self.task.things} in {self.frames} frames; "
                "give frames that show what the model looks for"
            )
        over = f" over {self.frames} frames" if self.task.things != "frames" else ""
        said = (
            f"{b} agrees with {a} on {shown(self.agreement)} of {self.task.count} {self.task.things}"
            f"{self.task.how}{over} (floor {shown(self.floor)})"
        )
        if self.broken:
            return (
                f"{b} answers NaN or infinity {self.broken} times where {a} has numbers "
                "(overflow); keep those operations in fp32"
            )
        if self.passed:
            return said
        return (
            f"{said}: below the floor. Worst: {self.worst[0].name} "
            f"({self.worst[0].words}). Keep more layers in higher precision, take the next precision, or "
            "lower the floor if you can live with it"
        )

    def demand(self) -> ParityReport:
        """The report itself where it passed; ParityError with its sentence where not."""
        if not self.passed:
            raise ParityError(self.sentence())
        return self

    def as_dict(self) -> dict[str, Any]:
        """All figures as plain values for JSON; of the worst frames their names and figures, no pixels."""
        return {
            "model": self.model,
            "reference": self.names[0],
            "candidate": self.names[1],
            "precision": self.precision,
            "passed": self.passed,
            "sentence": self.sentence(),
            "frames": self.frames,
            "frames without a difference": self.unchanged,
            "agreement": round(self.agreement, 6),
            "floor": self.floor,
            "floor_from": self.floor_from,
            "task": self.task.as_dict(),
            "outputs": [output.as_dict() for output in self.outputs],
            "worst": [pair.as_dict() for pair in self.worst],
            "notes": list(self.notes),
        }


def compare_engines(
    reference: Engine,
    candidate: Engine,
    recipe: Recipe,
    frames: Iterable[NamedFrame | Frame | Array],
    *,
    precision: str = "fp32",
    floor: float | None = None,
    candidate_recipe: Recipe | None = None,
    score: float | None = None,
    keep_worst: int = 6,
    names: tuple[str, str] = ("reference", "candidate"),
    on_frame: Callable[[int], None] | None = None,
) -> ParityReport:
    """Runs both engines over `frames` and reports how well they agree.

    `floor` is the least agreement that passes (default: the recipe's for `precision`, where its metric is
    "agreement", else FLOORS). `score` overrides the recipe's least confidence. `candidate_recipe` is for a
    candidate that is decoded in its own way, another model of the same classes. `on_frame` is called with
    the number of frames done. Nothing is raised for a failed gate: ask `passed`, or call `demand()`.

    Raises InputError where the two cannot be compared: no frames, other outputs, other classes.
    """
    if precision not in FLOORS:
        raise InputError(f"precision: expected one of {', '.join(FLOORS)}, got {precision!r}")
    least, said_by = floor_of(recipe, precision, floor)
    other = candidate_recipe or recipe
    check_comparable(reference, candidate, recipe, other)
    a, b = Watched(reference), Watched(candidate)
    task = task_of(a, b, recipe, other, score=score)
    tally = OutputTally(reference.outputs if same_outputs(reference, candidate) else ())
    worst: list[tuple[tuple[float, float], int, Pair]] = []
    done = unchanged = 0
    for done, given in enumerate(frames, start=1):
        pair = task.look(named(given, done))
        if a.last:  # a clip that is not full yet is not run
            tally.add(a.last, b.last)
        unchanged += pair.agreeing >= pair.total
        entry = (pair.severity, -done, pair)
        heapq.heappush(worst, entry)
        if len(worst) > keep_worst:
            heapq.heappop(worst)
        if on_frame:
            on_frame(done)
    if not done:
        raise InputError("compare: expected at least one real frame, got none; nothing can be proven without")
    kept = tuple(pair for _, _, pair in sorted(worst, key=lambda w: w[:2], reverse=True))
    figures = task.figures()
    return ParityReport(
        model=recipe.name,
        names=names,
        classes=recipe.names,
        precision=precision,
        frames=done,
        unchanged=unchanged,
        task=figures,
        outputs=tally.figures(),
        floor=least,
        floor_from=said_by,
        worst=kept,
        notes=tuple(_notes(task, figures, tally, done)),
    )


def floor_of(recipe: Recipe, precision: str, given: float | None = None) -> tuple[float, str]:
    """The least agreement that passes, and who said so."""
    if given is not None:
        if not 0 <= given <= 1:
            raise InputError(f"floor: expected 0 to 1 (0.97 is 97 %), got {given}")
        return given, "given"
    stated = recipe.precisions.get(precision)
    if stated is not None and stated.metric.casefold().startswith(METRIC):
        return stated.floor, f"the recipe of {recipe.name}"
    return FLOORS[precision], f"edgevid's default for {precision}"


def same_outputs(reference: Engine, candidate: Engine) -> bool:
    """Whether both give outputs of the same names."""
    return {s.name for s in reference.outputs} == {s.name for s in candidate.outputs}


def check_comparable(reference: Engine, candidate: Engine, recipe: Recipe, other: Recipe) -> None:
    """InputError where the two engines are not two forms of one model, or models of the same classes."""
    if recipe.task != other.task:
        raise InputError(
            f"compare: {recipe.name} is a model for {recipe.task!r}, {other.name} for {other.task!r}"
        )
    if recipe.names != other.names:
        raise InputError(
            f"compare: expected two models of the same classes; {recipe.name} knows {_few(recipe.names)}, "
            f"{other.name} knows {_few(other.names)}"
        )
    if _reads_alike(recipe, other) and not _fits(reference.outputs, candidate.outputs):
        raise InputError(
            "compare: expected two engines with the same outputs; the reference gives "
            f"{_listed(reference.outputs)}, the candidate {_listed(candidate.outputs)}. "
            "Another model needs its own recipe"
        )


def named(given: NamedFrame | Frame | Array, number: int) -> NamedFrame:
    """The frame with a name, made of what the caller gave."""
    if isinstance(given, NamedFrame):
        return given
    frame = given if isinstance(given, Frame) else Frame(given, float(number), number - 1)
    return NamedFrame(f"frame {number}", frame)


def shown(share: float) -> str:
    """A share as a percentage that never rounds up to a floor it misses.

    >>> shown(0.96999), shown(0.97), shown(1.0)
    ('96.9 %', '97.0 %', '100.0 %')
    """
    return f"{int(share * 1000 + 1e-6) / 10:.1f} %"


def _reads_alike(recipe: Recipe, other: Recipe) -> bool:
    return recipe is other or (recipe.decode == other.decode and recipe.outputs == other.outputs)


def _fits(a: tuple[TensorSpec, ...], b: tuple[TensorSpec, ...]) -> bool:
    """The same names, and sizes that agree wherever both are fixed (the batch axis may differ)."""
    shapes = {spec.name: spec.shape for spec in b}
    if {spec.name for spec in a} != set(shapes):
        return False
    pairs = [(spec.shape, shapes[spec.name]) for spec in a]
    return all(
        len(p) == len(q) and all(m == n or -1 in (m, n) for m, n in zip(p[1:], q[1:], strict=True))
        for p, q in pairs
    )


def _notes(task: Task, figures: TaskFigures, tally: OutputTally, frames: int) -> list[str]:
    notes = list(task.notes)
    if frames < FEW_FRAMES or 0 < figures.count < FEW_THINGS:
        held = f" with {figures.count} {figures.things}" if figures.things != "frames" else ""
        notes.append(
            f"{frames} frames{held} are little evidence: one more difference "
            f"moves the agreement by {shown(1 / max(figures.count, 1))}"
        )
    if tally.uncompared:
        notes.append(
            f"raw outputs had different shapes on {tally.uncompared} frames and were not compared there"
        )
    return notes


def _few(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"


def _listed(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(map(str, specs))
