"""`edgevid build`: a TensorRT engine, verified against its ONNX model on real frames, or rejected. The graph of the
precision is found (or made, for FP16), compared with the FP32 model, built, compared again where a device can run the
engine, and only then moved into place with its manifest."""

import json
import platform
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgevid._version import __version__
from edgevid.errors import ModelError, ParityError, log
from edgevid.files import move_into_place, sha256, write_atomic
from edgevid.optimize.builder import engine as build_engine
from edgevid.optimize.builder.options import FALLBACK, BuildOptions, Report, Shape, Verification, Verifier
from edgevid.optimize.fp16 import find_recipe, make_fp16, make_int8_fp16
from edgevid.runtime import LocalRecipe, input_shape, variants
from edgevid.runtime.device import Gpu, gpus
from edgevid.runtime.manifest import TITLES, Backend, Manifest, engine_name, manifest_path, recipe_hash, write_manifest
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.types import Progress


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a build will do, known without TensorRT."""

    model: Path
    name: str
    recipe: LocalRecipe | None
    options: BuildOptions
    backend: Backend
    graph: Path
    variant: str  # "fp32" for the model itself, else the variant's name
    missing: str  # The error with the command that makes the graph; empty where the graph exists or will be made
    engine: Path
    timing_cache: Path | None  # None for a backend without one
    gpu: Gpu | None

    def lines(self, how: Verification) -> list[tuple[str, str]]:
        """What would be done, as (heading, text) pairs."""
        installed = build_engine.installed_version(self.backend)
        missing = "" if self.graph.is_file() else "  (does not exist yet)"
        where = self.gpu or "none here: only TensorRT-RTX builds without one"
        limit, checks = self.options.workspace_mb, "skipped"
        if how.data is not None:
            what = "graph and engine" if self.gpu else "graph (no device here runs the engine)"
            floor = "the recipe's or the default" if how.min_agreement is None else f"{how.min_agreement:g}"
            checks = f"{what} against FP32 on {how.max_frames} frames of {how.data}, minimum {floor}"
        found = [("model", str(self.model)), ("graph", f"{self.graph}{missing}"), ("precision", self.options.precision),
                 ("backend", f"{TITLES[self.backend]} {installed or '(not installed)'}"), ("device", str(where)),
                 ("batch", "MIN {}, OPT {}, MAX {}".format(*self.options.batch)),
                 ("workspace", f"at most {limit} MB" if limit else "all of the device's memory"),
                 ("compatibility", self._compatibility()),
                 ("timing cache", str(self.timing_cache or "none: this backend measures no tactics")),
                 ("verification", checks), ("engine", str(self.engine)),
                 ("manifest", str(manifest_path(self.engine)))]  # fmt: skip
        return [*found, ("first", self.missing)] if self.missing else found

    def _compatibility(self) -> str:
        if self.backend == "tensorrt-rtx":
            expected = ", ".join(self.options.compute_capabilities) or "8.0 and higher"
            return f"compute capability {expected}, this version"
        newer = "this and newer versions" if self.options.version_compatible else "this version"
        devices = {"none": "this device", "same-capability": "devices of the same compute capability",
                   "ampere+": "every device from compute capability 8.0"}  # fmt: skip
        return f"{newer}, {devices[self.options.hardware_compatibility]}"


@dataclass(slots=True)
class BuildResult:
    """A finished build."""

    engine: Path
    manifest: Manifest
    rejected: list[ParityError] = field(default_factory=list)  # Precisions tried before, below the floor (`try_next`)
    warnings: list[str] = field(default_factory=list)  # The builder's own


def make_plan(model: LocalRecipe | str | Path, options: BuildOptions, *, out: Path | None = None) -> Plan:
    """What `build` would do. `out` names the engine file, by default in `build/` next to the model."""
    recipe = model if isinstance(model, LocalRecipe) else find_recipe(model)
    source: LocalRecipe | Path = recipe if recipe is not None else Path(str(model))
    path = variants.model_file(source)
    backend = build_engine.choose_backend(options.backend)
    options.check_backend(backend)
    graph, variant, missing = _graph(source, options)
    place = variants.build_folder(source)
    engine = out or place / engine_name(path.stem, options.precision, backend)
    cache = options.timing_cache or place / f"timing.{build_engine.installed_version(backend) or 'new'}.cache"
    found = gpus()
    return Plan(model=path, name=recipe.name if recipe else path.stem, recipe=recipe, options=options, backend=backend,
                graph=graph, variant=variant, missing=missing, engine=engine,
                timing_cache=cache if backend == "tensorrt" else None, gpu=found[0] if found else None)  # fmt: skip


def _graph(model: LocalRecipe | Path, options: BuildOptions) -> tuple[Path, str, str]:
    """The graph of a precision, its variant, and the error with the command that makes it where it is absent.
    The build makes FP16 graphs itself; INT8 graphs need frames of the user's."""
    if options.precision == "fp32":
        return variants.model_file(model), "fp32", ""
    needed = "fp16" if options.precision == "fp16" else "int8-trt"
    mixed = needed == "int8-trt" and options.fallback_precision == "fp16"
    variant, missing = "int8-trt-fp16" if mixed else needed, ""
    path = variants.variant_path(model, variant)
    if options.precision == "int8" or path.is_file():
        try:
            variants.find_variant(model, needed)
        except ModelError as error:
            missing = str(error)
    return path, variant, missing


def build(model: LocalRecipe | str | Path, options: BuildOptions | None = None, *,
          verification: Verification | None = None, out: Path | None = None, progress: Progress | None = None,
          report: Report = log.info) -> BuildResult:  # fmt: skip
    """Builds the engine of a model and verifies it; ParityError below the floor, ModelError for the rest. With
    `verification.try_next` the next precision (int8, fp16, fp32) is tried where one is rejected."""
    options, verification = options or BuildOptions(), verification or Verification()
    rejected: list[ParityError] = []
    while True:
        plan = make_plan(model, options, out=out)
        try:
            return _build(plan, verification, rejected, progress, report)
        except ParityError as error:
            following = FALLBACK.get(options.precision)
            if not verification.try_next or following is None:
                raise
            report(f"{error}. Trying {following}")
            rejected.append(error)
            options = replace(options, precision=following)


def _build(plan: Plan, verification: Verification, rejected: list[ParityError], progress: Progress | None,
           report: Report) -> BuildResult:  # fmt: skip
    if plan.missing:
        raise ModelError(plan.missing)
    build_engine.load_backend(plan.backend)  # a missing package is an error before minutes of comparing
    verifier = Verifier(plan.model, plan.recipe, plan.options.precision, verification)
    parity: dict[str, Any] = {"graph": _graph_parity(plan, verification, verifier, report)}
    report(f"building {plan.engine.name} with {TITLES[plan.backend]}")
    started, tactics = time.monotonic(), b""
    if plan.timing_cache:
        with suppress(OSError):
            tactics = plan.timing_cache.read_bytes()
    built = build_engine.build_engine(plan.graph, plan.options, plan.backend, sizes=_sizes(plan.recipe),
                                      timing_cache=tactics, progress=progress)  # fmt: skip
    if plan.timing_cache and built.timing_cache:
        write_atomic(plan.timing_cache, built.timing_cache)
    _check_precision(plan, built)
    part = plan.engine.with_name(plan.engine.name + ".part")
    write_atomic(part, built.plan)
    manifest = _manifest(plan, built, time.monotonic() - started)
    try:
        parity["engine"] = verifier.engine(part, manifest, plan.engine, report)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    parity["rejected"] = [str(error) for error in rejected]
    manifest = replace(manifest, parity=parity)
    manifest_path(plan.engine).unlink(missing_ok=True)  # never an old manifest next to a new engine
    move_into_place(part, plan.engine)
    write_manifest(manifest, manifest_path(plan.engine))
    return BuildResult(plan.engine, manifest, rejected, built.warnings)


def _graph_parity(plan: Plan, how: Verification, verifier: Verifier, report: Report) -> str | dict[str, Any]:
    """Makes the graph where it must, and compares it. The INT8 graph with FP16 between its layers is always
    made; an FP16 graph where there is none, where it was made without frames and there are some now, or where
    it does not pass on these."""
    on_frames = plan.variant == "fp16" and how.data is not None and plan.recipe is not None
    known = plan.variant == "fp16" and plan.graph.is_file()
    new = not known or (on_frames and not variants.read_record(plan.graph).get("frames"))
    if new:
        _make_half_graph(plan, how, report)
    try:
        return verifier.graph(plan.graph, plan.engine, report)
    except ParityError:
        if new or not on_frames:
            raise
    _make_half_graph(plan, how, report)
    return verifier.graph(plan.graph, plan.engine, report)


def _make_half_graph(plan: Plan, how: Verification, report: Report) -> None:
    """The FP16 graph, with the frames of the comparison, or the INT8 graph with FP16 between its layers."""
    if plan.variant not in ("fp16", "int8-trt-fp16"):
        return
    report(f"making {plan.graph.name} of {plan.model.name}")
    source = plan.recipe or plan.model
    if plan.variant == "fp16":
        make_fp16(source, how.data if plan.recipe else None, max_frames=how.max_frames)
    else:
        make_int8_fp16(source)


def _sizes(recipe: LocalRecipe | None) -> dict[str, Shape]:
    """The image input's shape as the recipe states it, -1 for the batch."""
    if recipe is None or recipe.input is None:
        return {}
    name = recipe.input_name
    if not name:
        with OrtEngine(recipe.local, device="cpu", threads=1) as engine:
            name = engine.inputs[0].name
    return {name: (-1, *input_shape(recipe.input))}


def _check_precision(plan: Plan, built: build_engine.Built) -> None:
    """ModelError where no convolution computes in the requested precision. ParityError where all of them
    overflow in FP16, so that FP32 is the next to try."""
    expected = build_engine.LOG_NAMES[plan.options.precision]
    counts = build_engine.tally(built.convolutions)
    known = sum(n for kind, n in counts.items() if kind != "?")
    if not known or counts.get(expected):
        return
    precision = plan.options.precision
    stated = variants.read_record(plan.graph) if variants.record_path(plan.graph).is_file() else {}
    if plan.variant == "fp16" and (kept := stated.get("fp32_nodes")):
        name, why = next(iter(kept.items()))
        what = f"{plan.graph.name}: all convolutions stay in FP32 ({name}: {why}), so FP16 gains nothing"
        raise ParityError(f"{what}; use --precision fp32 (--try-next does)")
    model = variants.model_argument(plan.recipe or plan.model)
    command = shlex.join(["edgevid", "quantize", model, "--precision", precision, "--data"])
    remedy = "give a model in FP32" if precision == "fp32" else f"make the graph again with: {command} VIDEO"
    what = f"{plan.graph}: expected {precision} convolutions"
    raise ModelError(f"{what}, but the builder's log shows none in {expected} (it shows {counts}); {remedy}")


def _manifest(plan: Plan, built: build_engine.Built, seconds: float) -> Manifest:
    layers = {"network": built.layers, "convolutions": build_engine.tally(built.convolutions)}
    calibration, at = "", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    machine = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    made = {"at": at, "seconds": f"{seconds:.1f}", "edgevid": __version__, **machine}
    if plan.options.precision == "int8":  # how its ranges were measured, from the graph's record
        record = variants.read_record(variants.variant_path(plan.recipe or plan.model, "int8-trt"))
        calibration = sha256(json.dumps(record.get("calibration", {}), sort_keys=True))
    return Manifest(model=plan.name, onnx=plan.model.name, onnx_sha256=variants.model_digest(plan.model),
                    graph=plan.graph.name, graph_sha256=variants.model_digest(plan.graph),
                    precision=plan.options.precision, backend=plan.backend, version=built.version,
                    engine_sha256=sha256(built.plan), engine_bytes=len(built.plan),
                    gpu=plan.gpu.name if plan.gpu else "", capability=plan.gpu.capability if plan.gpu else "",
                    compute_capabilities=plan.options.compute_capabilities, cuda=plan.gpu.cuda if plan.gpu else "",
                    recipe_sha256=recipe_hash(plan.recipe) if plan.recipe else "", calibration_sha256=calibration,
                    options=plan.options.as_dict(), made=made, layers=layers)  # fmt: skip
