"""What `edgevid compare` does: two models found and loaded, frames read, the gate asked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevid.errors import InputError
from edgevid.files.digest import sha256_of
from edgevid.models.hub import recipes, resolve_model
from edgevid.optimize.compare.gate import ParityReport, compare_engines
from edgevid.optimize.conditions import conditions
from edgevid.optimize.frames import read_frames
from edgevid.runtime import Engine, Recipe, load_engine, read_recipe
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.variants import FOR_TENSORRT, variant_of

FILES = (".onnx", ".engine", ".plan", ".trt")
"""Suffixes of models that are files without a name of their own."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: what was asked for, its recipe, and what it is called in reports."""

    asked: str
    recipe: Recipe | None
    """None for a bare file, which takes the other side's recipe."""
    file: Path
    precision: str
    title: str
    guessed: bool = False
    """Whether the recipe is a draft made from the file's shapes."""


def compare(
    a: str | Path,
    b: str | Path,
    frames: str | Path,
    *,
    count: int | None = 100,
    precision: str | None = None,
    floor: float | None = None,
    score: float | None = None,
    device: str = "auto",
    threads: int | None = None,
    keep_worst: int = 6,
    on_frame: Callable[[int], None] | None = None,
) -> tuple[ParityReport, dict[str, Any]]:
    """The report on candidate `b` against reference `a` on `count` frames, and the conditions it holds under.

    `a` and `b` are names of models, recipes, ONNX files or engines; a file without a recipe beside it takes
    the other's. A relative path that is not here is looked for beside the reference, as in its `build/`.
    `precision` is the candidate's: it chooses the floor and, for a model's name, the engine;
    None reads it from the file.
    """
    pictures = read_frames(frames, count)  # first: without frames nothing has to be loaded
    here = conditions()
    first = find(a, "fp32")
    second = find(_beside(first, b), precision)
    recipe = first.recipe or second.recipe
    if recipe is None:
        first = dataclasses.replace(first, recipe=_drafted(first), guessed=True)
        recipe = first.recipe
    assert recipe is not None
    other = second.recipe or recipe
    titles = _titles(first, second)
    with (
        _reference(first, recipe, device, threads) as reference,
        load(second, device, threads, recipe=other) as candidate,
    ):
        report = compare_engines(
            reference, candidate, recipe, pictures,
            precision=second.precision, floor=floor, candidate_recipe=other, score=score,
            keep_worst=keep_worst, names=titles, on_frame=on_frame,
        )  # fmt: skip
        found = {
            "reference": _described(first, reference),
            "candidate": _described(second, candidate),
            "frames": f"{report.frames} of {frames}, spread evenly",
            "score": _score(recipe, score),
            **here,
        }
    if first.guessed:
        said = f"no recipe was found: its decoding is a draft from the shapes of {first.file.name}"
        report = dataclasses.replace(report, notes=(*report.notes, said))
    return report, {key: value for key, value in found.items() if value}


def find(asked: str | Path, precision: str | None) -> Side:
    """The model behind a name or path, not loaded yet. InputError where there is none."""
    path = Path(asked)
    if path.suffix.lower() in FILES and not _known_beside(path):
        if not path.is_file():
            raise InputError(f"there is no file {path}; give a model's name or the path of a model")
        kind = precision or precision_of(path)
        return Side(str(asked), _maker(path), path, kind, path.name)
    recipe = resolve_model(asked if isinstance(asked, str) else str(asked))
    assert recipe.local is not None
    kind = precision or (precision_of(recipe.local) if path.suffix.lower() in FILES else "fp32")
    return Side(str(asked), recipe, recipe.local, kind, f"{recipe.name} {kind}")


def _beside(reference: Side, asked: str | Path) -> str | Path:
    """`asked`; where it is absent, the file of that relative path beside the reference."""
    path = Path(asked)
    there = reference.file.parent / path
    return there if path.suffix.lower() in FILES and not path.exists() and there.is_file() else asked


def load(side: Side, device: str, threads: int | None, *, recipe: Recipe | None = None) -> Engine:
    """The engine of a side: a file that was named itself and no other, a name as `load_engine` chooses.

    InputError where a name would run in another precision than was asked for: that would prove nothing.
    """
    recipe = recipe or side.recipe
    if Path(side.asked).suffix.lower() == ".onnx":
        reference = variant_of(side.file) in FOR_TENSORRT
        return OrtEngine(side.file, device=device, threads=threads, disable_optimizations=reference)
    if Path(side.asked).suffix.lower() in FILES or recipe is None:
        return load_engine(side.file, device=device, threads=threads)
    engine = load_engine(recipe, device=device, precision=side.precision, threads=threads)
    file = Path(getattr(engine, "path", side.file))
    if (given := precision_of(file)) != side.precision:
        engine.close()
        raise InputError(
            f"{side.title}: runs in {given} on this device ({file.name}); give the path of a file or an "
            f"engine in {side.precision}, or a device that has one"
        )
    return engine


def precision_of(path: Path) -> str:
    """The precision of a model file: from the manifest or record beside it, else from its operators."""
    said = _note(path).get("precision")
    if said in ("fp32", "fp16", "int8"):
        return str(said)
    if path.suffix.lower() != ".onnx":
        return "fp32"
    content = path.read_bytes()
    if b"DequantizeLinear" in content or b"QLinearConv" in content or b"ConvInteger" in content:
        return "int8"
    words = path.stem.casefold().replace("_", "-").replace(".", "-").split("-")
    return "fp16" if {"fp16", "half", "float16"} & set(words) else "fp32"


def _note(path: Path) -> dict[str, Any]:
    """The JSON beside a model file, empty where there is none to read."""
    for note in (path.with_name(path.name + ".json"), path.with_suffix(".json")):
        try:
            said = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(said, dict):
            return said
    return {}


def _known_beside(path: Path) -> bool:
    """Whether a recipe that names this file lies beside it."""
    for candidate in (path.with_suffix(".toml"), path.parent / "recipe.toml"):
        if candidate.is_file() and read_recipe(candidate).file == path.name:
            return True
    return False


def _reference(side: Side, recipe: Recipe, device: str, threads: int | None) -> Engine:
    """ONNX models are judged by ONNX Runtime on the CPU, whatever else could run them here."""
    if side.file.suffix.lower() == ".onnx" and side.precision == "fp32":
        return OrtEngine(side.file, device="cpu", threads=threads)
    return load(side, device, threads, recipe=recipe)


def _drafted(side: Side) -> Recipe:
    if side.file.suffix.lower() != ".onnx":
        raise InputError(
            f"compare: neither side names a recipe, and none can be drafted from {side.file.name}; "
            "give the model's name as one of the two"
        )
    return resolve_model(side.file)


def _maker(path: Path) -> Recipe | None:
    """The recipe of the model that a file was made of: by its manifest, or by the folder it lies in."""
    told = _note(path).get("model")
    names = [told] if isinstance(told, str) else []
    if path.absolute().parent.name == "build":
        beside = path.absolute().parent.parent / "recipe.toml"
        if beside.is_file() and path.name.startswith(Path(read_recipe(beside).file).stem + "."):
            return read_recipe(beside).with_local(path)
        names.append(path.absolute().parent.parent.name)
    known = recipes() if names else {}
    made = (known[name] for name in names if name in known)
    return next((r.with_local(path) for r in made if path.name.startswith(Path(r.file).stem + ".")), None)


def _titles(a: Side, b: Side) -> tuple[str, str]:
    """Two names that differ."""
    if a.title != b.title:
        return a.title, b.title
    return f"{a.title} (A)", f"{b.title} (B)"


def _described(side: Side, engine: Engine) -> str:
    file = Path(getattr(engine, "path", side.file))
    size, digest, device = file.stat().st_size, sha256_of(file), getattr(engine, "device", "")
    parts = [file.name, side.precision, f"{size / 1e6:.2f} MB", f"SHA-256 {digest[:16]}…"]
    return ", ".join([*parts, f"on {device}"] if device else parts)


def _score(recipe: Recipe, given: float | None) -> str:
    if recipe.decode is None:
        return ""
    limit = recipe.decode.score if given is None else given
    return f"boxes above {limit:g} count ({'given' if given is not None else 'the recipe'})"
