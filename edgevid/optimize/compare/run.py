"""`edgevid compare`: finds and loads two models, reads frames, and runs the parity gate."""

import dataclasses
import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from edgevid.errors import InputError, check_choice
from edgevid.models.hub import recipe_next_to, recipes, resolve_model
from edgevid.optimize import half
from edgevid.optimize.compare.gate import ParityReport, compare_engines
from edgevid.optimize.frames import read_frames
from edgevid.runtime import Engine, LoadedEngine, Precision, Recipe, load_engine, read_recipe
from edgevid.runtime.device import parse_device
from edgevid.runtime.kserve.engine import KServeEngine
from edgevid.runtime.load import open_onnx
from edgevid.runtime.onnxruntime.engine import OrtEngine, has_cuda
from edgevid.runtime.processor import conditions
from edgevid.runtime.variants import FOR_TENSORRT, model_digest, stores_half, variant_of

FILES = (".onnx", ".engine", ".plan", ".trt")  # Suffixes of model files that are given by their path


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """One of the two models: what was requested, its recipe, and its name in reports."""

    requested: str
    recipe: Recipe | None  # None for a file without one, which takes the other model's recipe
    file: Path
    precision: Precision
    title: str


def compare(a: str | Path, b: str | Path, data: str | Path, *, max_frames: int | None = 100,
            precision: Precision | None = None, min_agreement: float | None = None,
            score_threshold: float | None = None, device: str = "auto", threads: int | None = None, keep_worst: int = 6,
            on_frame: Callable[[int], None] | None = None) -> tuple[ParityReport, dict[str, Any]]:  # fmt: skip
    """The report on candidate `b` against reference `a`, and the conditions of the measurement.

    `a` and `b` are names of models, recipes, ONNX files or engines; a file without a recipe next to it takes the
    other's. A relative path that does not exist is searched next to the reference, as in its `build/`. `data` is a
    video, a folder or a list of images, of which `max_frames` are compared, spread evenly. `precision` is the
    candidate's: it selects the floor and, for a model's name, the engine; None reads it from the file."""
    frames = read_frames(data, max_frames)  # first: without frames nothing has to be loaded
    here = conditions()
    first = find_model(a, "fp32")
    there = first.file.parent / b  # where it does not exist here: next to the reference
    elsewhere = there.suffix.lower() in FILES and not Path(b).exists() and there.is_file()
    second = find_model(there if elsewhere else b, precision)
    if first.recipe is None and second.recipe is None and first.file.suffix.lower() != ".onnx":
        what = f"compare: neither model has a recipe, and none can be drafted from {first.file.name}"
        raise InputError(f"{what}; give the model's name as one of the two")
    recipe = first.recipe or second.recipe or resolve_model(first.file)
    other = second.recipe or recipe
    same = first.title == second.title
    titles = (f"{first.title} (A)", f"{second.title} (B)") if same else (first.title, second.title)
    with (
        _reference(first, recipe, device, threads) as reference,
        load_model(second, device, threads, recipe=other, as_on_device=True) as candidate,
    ):
        report = compare_engines(reference, candidate, recipe, frames, precision=second.precision,
                                 min_agreement=min_agreement, candidate_recipe=other, score_threshold=score_threshold,
                                 keep_worst=keep_worst, names=titles, on_frame=on_frame)  # fmt: skip
        found = {"reference": _described(first, reference), "candidate": _described(second, candidate)}
    found["frames"] = f"{report.frames} of {data}, spread evenly"
    if recipe.decode is not None:
        limit = recipe.decode.score_threshold if score_threshold is None else score_threshold
        found["score threshold"] = f"{limit:g} ({'the recipe' if score_threshold is None else '--score-threshold'})"
    more = [getattr(candidate, "assignment", ""), half.NOTE if _is_simulated(second, device) else ""]
    if first.recipe is None and second.recipe is None:
        more.append(f"no recipe was found: the decoding is a draft from the shapes of {first.file.name}")
    notes = (*report.notes, *(note for note in more if note))
    report = dataclasses.replace(report, notes=notes, remedy=_remedy(first, second, data, report.frames))
    return report, found | here


def _remedy(first: ComparedModel, second: ComparedModel, data: str | Path, frames: int) -> str:
    """The command that makes the candidate again, on these very frames."""
    if second.precision == "fp32":
        return "check that both are of one model"
    words = ["edgevid", "quantize", first.requested, "--data", str(data), "--max-frames", str(frames)]
    what = "make it again on these frames"
    if second.file.suffix.lower() != ".onnx":
        words[1] = "build"
        words += ["--precision", second.precision]
    elif second.precision == "fp16":
        words += ["--precision", "fp16"]
        what += ", which keeps operators that overflow in FP32"
    return f"{what}: {shlex.join(words)}"


def find_model(requested: str | Path, precision: Precision | None) -> ComparedModel:
    """The model of a name or path, not loaded yet. InputError where there is none."""
    check_choice(precision or "fp32", get_args(Precision), "--precision")
    path = Path(requested)
    if path.suffix.lower() in FILES and recipe_next_to(path) is None:
        if not path.is_file():
            raise InputError(f"there is no file {path}; give a model's name or the path of a model")
        kind = precision or precision_of(path)
        return ComparedModel(str(requested), _recipe_of_source(path), path, kind, path.name)
    recipe = resolve_model(str(requested))
    kind = precision or (precision_of(recipe.local) if path.suffix.lower() in FILES else "fp32")
    return ComparedModel(str(requested), recipe, recipe.local, kind, f"{recipe.name} {kind}")


def load_model(model: ComparedModel, device: str, threads: int | None, *, recipe: Recipe | None = None,
               as_on_device: bool = False) -> LoadedEngine:  # fmt: skip
    """The engine of a model: exactly the file that was given, or what `load_engine` selects for a name. `as_on_device`
    lets the CPU round FP16 as a device does, which takes longer than the file itself. InputError where a name would run
    in another precision than the requested one: that verifies nothing."""
    recipe = recipe or model.recipe
    if as_on_device and _is_simulated(model, device):
        return half.open_fp16(model.file, threads=threads)
    if parse_device(device)[0] == "server":
        return KServeEngine(device)  # and nothing else, whatever it costs: that would verify nothing
    if Path(model.requested).suffix.lower() == ".onnx":
        unchanged = variant_of(model.file) in FOR_TENSORRT
        return open_onnx(model.file, device=device, threads=threads, disable_optimizations=unchanged)
    if Path(model.requested).suffix.lower() in FILES or recipe is None:
        return load_engine(model.file, device=device, threads=threads)
    engine = load_engine(recipe, device=device, precision=model.precision, threads=threads)
    file = Path(getattr(engine, "path", model.file))
    own = model.precision == "fp32" and file == model.file  # whatever it stores its weights in
    if not own and (given := precision_of(file)) != model.precision:
        engine.close()
        what = f"{model.title}: runs in {given} on this device ({file.name})"
        raise InputError(f"{what}; give the path of a file or an engine in {model.precision}, or a device that has one")
    return engine


def _is_simulated(model: ComparedModel, device: str) -> bool:
    """Whether this is an FP16 file that would run on ONNX Runtime's CPU, which does not round as a device."""
    kind, _ = parse_device(device)
    on_cpu = kind == "cpu" or (kind == "auto" and not has_cuda())
    return on_cpu and Path(model.requested).suffix.lower() == ".onnx" and stores_half(model.file.read_bytes())


def precision_of(path: Path) -> Precision:
    """The precision of a model file: from the manifest or record next to it, else from its operators."""
    stated = _record(path).get("precision")
    if stated in get_args(Precision):
        return cast(Precision, stated)
    if path.suffix.lower() != ".onnx":
        return "fp32"
    content = path.read_bytes()
    if b"DequantizeLinear" in content or b"QLinearConv" in content or b"ConvInteger" in content:
        return "int8"
    if stores_half(content):
        return "fp16"
    words = path.stem.casefold().replace("_", "-").replace(".", "-").split("-")
    return "fp16" if {"fp16", "half", "float16"} & set(words) else "fp32"


def _record(path: Path) -> dict[str, Any]:
    """The JSON next to a model file, empty where there is none."""
    for file in (path.with_name(path.name + ".json"), path.with_suffix(".json")):
        with suppress(OSError, ValueError):
            if isinstance(record := json.loads(file.read_text(encoding="utf-8")), dict):
                return record
    return {}


def _reference(model: ComparedModel, recipe: Recipe, device: str, threads: int | None) -> LoadedEngine:
    """ONNX Runtime on the CPU for an FP32 ONNX model, whatever else could run it here."""
    if model.file.suffix.lower() == ".onnx" and model.precision == "fp32":
        return OrtEngine(model.file, device="cpu", threads=threads)
    return load_model(model, device, threads, recipe=recipe, as_on_device=True)


def _recipe_of_source(path: Path) -> Recipe | None:
    """The recipe of the model that a file was made from: by its manifest, or by its folder."""
    stated = _record(path).get("model")
    names = [stated] if isinstance(stated, str) else []
    if path.absolute().parent.name == "build":
        above = path.absolute().parent.parent / "recipe.toml"
        if above.is_file() and path.name.startswith(Path(read_recipe(above).file).stem + "."):
            return read_recipe(above).with_local(path)
        names.append(path.absolute().parent.parent.name)
    known = recipes() if names else {}
    made = (known[name] for name in names if name in known)
    return next((r.with_local(path) for r in made if path.name.startswith(Path(r.file).stem + ".")), None)


def _described(model: ComparedModel, engine: Engine) -> str:
    file = Path(getattr(engine, "path", model.file))
    size, digest, device = file.stat().st_size, model_digest(file), getattr(engine, "device", "")
    parts = [file.name, model.precision, f"{size / 1e6:.2f} MB", f"SHA-256 {digest[:16]}…"]
    return ", ".join([*parts, f"on {device}"] if device else parts)
