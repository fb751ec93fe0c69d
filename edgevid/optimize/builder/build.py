"""`edgevid build`: an engine of a model, proven against the model on real frames, or refused.

The graph that carries the precision is found (or made, for FP16), compared with the FP32 model, built,
compared again where a device can run the engine, and only then put in place with its manifest.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgevid.errors import InputError, ModelError, ParityError
from edgevid.files.atomic import move_into_place, write_atomic
from edgevid.files.digest import sha256, sha256_of
from edgevid.optimize.builder import engine as build_engine
from edgevid.optimize.builder import layers as build_layers
from edgevid.optimize.builder import verify as build_gate
from edgevid.optimize.builder.options import FALLBACK, BuildOptions, Shape
from edgevid.runtime.cuda.driver import Gpu, gpus
from edgevid.runtime.manifest import (
    TITLES,
    Manifest,
    engine_name,
    manifest_path,
    recipe_hash,
    write_manifest,
)
from edgevid.runtime.recipe import Recipe
from edgevid.runtime.variants import build_folder, find_variant, model_file, read_record, variant_path

log = logging.getLogger("edgevid")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Playback:
    """How an engine is to prove itself."""

    frames: str | Path | None = None
    """A video, a folder of images or a list; None leaves the engine unproven, and its manifest says so."""
    count: int = 100
    """Frames taken of it, spread evenly."""
    floor: float | None = None
    """Least agreement, 0 to 1; None: the recipe's, else the default of the precision."""
    fallback: bool = False
    """Whether the next precision is taken where one does not keep the floor."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a build would do, known without TensorRT."""

    model: Path
    name: str
    recipe: Recipe | None
    options: BuildOptions
    backend: str
    graph: Path
    variant: str
    """"fp32" for the model itself, else the variant's name."""
    missing: str
    """The command that makes the graph where it is not there; empty where it is or will be made."""
    engine: Path
    timing_cache: Path | None
    """None for a backend that keeps none."""
    gpu: Gpu | None

    def lines(self, gate: Playback) -> list[tuple[str, str]]:
        """What would be done, in pairs of a heading and a sentence."""
        installed = build_engine.installed_version(self.backend)
        made = "" if self.graph.is_file() else "  (not there yet)"
        where = self.gpu or ("none here: only TensorRT-RTX builds without one")
        cap = (
            f"at most {self.options.workspace_mb} MB" if self.options.workspace_mb else "all of the device's"
        )
        found = [
            ("model", str(self.model)),
            ("graph", f"{self.graph}{made}"),
            ("precision", self.options.precision),
            ("backend", f"{TITLES[self.backend]} {installed or '(not installed)'}"),
            ("device", str(where)),
            ("batch", "least {}, best {}, most {}".format(*self.options.batch)),
            ("workspace", cap),
            ("compatibility", self._compatibility()),
            ("timing cache", str(self.timing_cache or "none: this backend measures nothing")),
            ("parity gate", self._gate(gate)),
            ("engine", str(self.engine)),
            ("manifest", str(manifest_path(self.engine))),
        ]
        return [*found, ("first", self.missing)] if self.missing else found

    def _compatibility(self) -> str:
        if self.backend == "tensorrt-rtx":
            expected = ", ".join(self.options.targets) or "8.0 and more"
            return f"compute capability {expected}, this version"
        newer = "this and newer versions" if self.options.version_compatible else "this version"
        cards = {"none": "this device", "same-capability": "devices of the same compute capability"}
        return f"{newer}, {cards.get(self.options.hardware, 'every device from compute capability 8.0')}"

    def _gate(self, gate: Playback) -> str:
        if gate.frames is None:
            return "none: the engine is not proven"
        how = "graph and engine" if self.gpu else "graph (no device here runs the engine)"
        floor = "the recipe's or default floor" if gate.floor is None else f"floor {gate.floor:g}"
        return f"{how} against FP32 on {gate.count} frames of {gate.frames}, {floor}"


@dataclass(slots=True)
class Outcome:
    """A finished build."""

    engine: Path
    manifest: Manifest
    refused: list[ParityError] = field(default_factory=list)
    """What came before by --fallback: precisions below the floor."""
    warnings: list[str] = field(default_factory=list)
    """The builder's own."""


def make_plan(
    model: Recipe | str | Path,
    options: BuildOptions,
    *,
    out: Path | None = None,
    folder: Path | None = None,
) -> Plan:
    """What `build` would do. `out` names the engine file, `folder` where variants lie, both by default
    `build/` beside the model."""
    recipe = model if isinstance(model, Recipe) else _recipe(model)
    source: Recipe | Path = recipe if recipe is not None else Path(str(model))
    path = model_file(source)
    backend = build_engine.choose_backend(options.backend)
    options.for_backend(backend)
    graph, variant, missing = _graph(source, options, folder)
    place = folder or build_folder(source)
    engine = out or place / engine_name(path.stem, options.precision, backend)
    cache = options.timing_cache or place / f"timing.{build_engine.installed_version(backend) or 'new'}.cache"
    found = gpus()
    return Plan(
        model=path,
        name=recipe.name if recipe else path.stem,
        recipe=recipe,
        options=options,
        backend=backend,
        graph=graph,
        variant=variant,
        missing=missing,
        engine=engine,
        timing_cache=cache if backend == "tensorrt" else None,
        gpu=found[0] if found else None,
    )


def _recipe(model: str | Path) -> Recipe | None:
    """The recipe of a name or file; None for an ONNX file of which no recipe and no decoder is known."""
    from edgevid.models.hub import resolve_model

    try:
        return resolve_model(model)
    except ModelError as error:
        if not Path(model).is_file():
            raise
        log.info("%s: built as a bare graph (%s)", model, error)
        return None


def _graph(model: Recipe | Path, options: BuildOptions, folder: Path | None) -> tuple[Path, str, str]:
    """The file that carries a precision, its variant, and the command that makes it where it is absent.

    FP16 graphs are made by the build itself, INT8 ones need frames of the user's.
    """
    if options.precision == "fp32":
        return model_file(model), "fp32", ""
    if options.precision == "fp16":
        variant, needed = "fp16", "fp16"
    else:
        variant, needed = ("int8-trt-fp16" if options.rest == "fp16" else "int8-trt"), "int8-trt"
    path, missing = variant_path(model, variant, folder=folder), ""
    if options.precision == "int8" or path.is_file():
        try:
            find_variant(model, needed, folder=folder)
        except ModelError as error:
            missing = str(error)
    return path, variant, missing


def build(
    model: Recipe | str | Path,
    options: BuildOptions | None = None,
    *,
    gate: Playback | None = None,
    out: Path | None = None,
    folder: Path | None = None,
    progress: build_engine.Progress | None = None,
    say: Say = log.info,
) -> Outcome:
    """Builds the engine of a model and proves it; ParityError below the floor, ModelError for the rest.

    With `gate.fallback` the next precision (int8, fp16, fp32) is tried where one is refused.
    """
    options, gate = options or BuildOptions(), gate or Playback()
    refused: list[ParityError] = []
    while True:
        plan = make_plan(model, options, out=out, folder=folder)
        try:
            return _build(plan, gate, refused, folder, progress, say)
        except ParityError as error:
            following = FALLBACK.get(options.precision)
            if not gate.fallback or following is None:
                raise
            say(f"{error}. Falling back to {following}")
            refused.append(error)
            options = replace(options, precision=following)


def _build(
    plan: Plan,
    gate: Playback,
    refused: list[ParityError],
    folder: Path | None,
    progress: build_engine.Progress | None,
    say: Say,
) -> Outcome:
    if plan.missing:
        raise ModelError(plan.missing)
    build_engine.load_backend(plan.backend)  # an absent package is told before minutes of comparing
    _make_half(plan, gate, folder, say)
    judge = build_gate.Judge(plan.model, plan.recipe, plan.options.precision, gate)
    parity: dict[str, Any] = {"graph": judge.graph(plan.graph, plan.engine, say)}
    say(f"building {plan.engine.name} with {TITLES[plan.backend]}")
    started = time.monotonic()
    built = build_engine.build_engine(
        plan.graph,
        plan.options,
        plan.backend,
        sizes=_sizes(plan.recipe),
        timing_cache=_read(plan.timing_cache),
        progress=progress,
    )
    if plan.timing_cache and built.timing_cache:
        _write(plan.timing_cache, built.timing_cache)
    _heed_types(plan, built)
    part = plan.engine.with_name(plan.engine.name + ".part")
    _write(part, built.plan)
    manifest = _manifest(plan, built, time.monotonic() - started, _calibration_hash(plan, folder))
    try:
        parity["engine"] = judge.engine(part, manifest, plan.engine, say)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    parity["refused"] = [str(error) for error in refused]
    manifest = replace(manifest, parity=parity)
    manifest_path(plan.engine).unlink(missing_ok=True)  # never an old manifest beside a new engine
    move_into_place(part, plan.engine)
    write_manifest(manifest, manifest_path(plan.engine))
    return Outcome(plan.engine, manifest, refused, built.warnings)


def _make_half(plan: Plan, gate: Playback, folder: Path | None, say: Say) -> None:
    """The graph with half precision in it: FP16 where there is none, INT8's always from its newest form."""
    expected = plan.variant == "int8-trt-fp16" or (plan.variant == "fp16" and not plan.graph.is_file())
    if not expected:
        return
    from edgevid.optimize.fp16 import make_fp16, make_int8_fp16

    say(f"making {plan.graph.name} of {plan.model.name}")
    source = plan.recipe or plan.model
    if plan.variant == "fp16":
        make_fp16(source, gate.frames if plan.recipe else None, folder=folder)
    else:
        make_int8_fp16(source, folder=folder)


def _calibration_hash(plan: Plan, folder: Path | None) -> str:
    """SHA-256 of how the INT8 ranges were measured, as the graph's record tells it; empty for others."""
    if plan.options.precision != "int8":
        return ""
    record = read_record(variant_path(plan.recipe or plan.model, "int8-trt", folder=folder))
    told = json.dumps(record.get("calibration", {}), sort_keys=True)
    return sha256(told)


def _sizes(recipe: Recipe | None) -> dict[str, Shape]:
    """The image's shape as the recipe states it, the batch left open."""
    if recipe is None or recipe.input is None or not recipe.local:
        return {}
    from edgevid.detect.preprocess import input_shape
    from edgevid.runtime.onnxruntime.engine import OrtEngine

    name = recipe.input_name
    if not name:
        with OrtEngine(recipe.local, device="cpu", threads=1) as engine:
            name = engine.inputs[0].name
    return {name: (-1, *input_shape(recipe.input))}


def _heed_types(plan: Plan, built: build_engine.Built) -> None:
    """ModelError where no convolution computes in the precision that was asked for."""
    expected, counts = build_layers.asked_for(plan.options.precision), build_layers.tally(built.convolutions)
    told = sum(n for kind, n in counts.items() if kind != "?")
    if told and not counts.get(expected):
        raise ModelError(
            f"{plan.graph}: asked for {plan.options.precision}, but the builder's log shows no convolution "
            f"in {expected} (it shows {counts}); make the graph anew with `edgevid quantize`"
        )


def _manifest(plan: Plan, built: build_engine.Built, seconds: float, calibration: str) -> Manifest:
    from edgevid._version import __version__

    return Manifest(
        model=plan.name,
        onnx=plan.model.name,
        onnx_sha256=sha256_of(plan.model),
        graph=plan.graph.name,
        graph_sha256=sha256_of(plan.graph),
        precision=plan.options.precision,
        backend=plan.backend,
        version=built.version,
        engine_sha256=sha256(built.plan),
        engine_bytes=len(built.plan),
        gpu=plan.gpu.name if plan.gpu else "",
        capability=plan.gpu.capability if plan.gpu else "",
        targets=plan.options.targets,
        cuda=plan.gpu.cuda if plan.gpu else "",
        recipe_sha256=recipe_hash(plan.recipe) if plan.recipe else "",
        calibration_sha256=calibration,
        options=plan.options.told(),
        layers={"network": built.layers, "convolutions": build_layers.tally(built.convolutions)},
        made={
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": f"{seconds:.1f}",
            "edgevid": __version__,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
        },
    )


def _read(path: Path | None) -> bytes:
    try:
        return path.read_bytes() if path else b""
    except OSError:
        return b""


def _write(path: Path, data: bytes) -> None:
    """Writes a file in one step; InputError where its folder cannot be written."""
    try:
        write_atomic(path, data)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); name another place with --out"
        ) from error
