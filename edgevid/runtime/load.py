"""The engine that runs a model here: TensorRT where one matches, else OpenVINO or ONNX Runtime; the log says why."""

import dataclasses
import json
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from edgevid.errors import EdgevidError, InputError, ModelError, check_choice, log, log_once, module_version
from edgevid.files import cache_folder, make_folder, write_atomic
from edgevid.runtime.device import gpu_of, gpus, parse_device
from edgevid.runtime.engine import LoadedEngine
from edgevid.runtime.kserve.engine import KServeEngine
from edgevid.runtime.manifest import BACKENDS, engine_name, manifest_path, read_manifest
from edgevid.runtime.openvino.engine import OvEngine
from edgevid.runtime.processor import processor_name
from edgevid.runtime.recipe import LocalRecipe, Precision, Recipe
from edgevid.runtime.tensorrt.engine import TrtEngine
from edgevid.runtime.variants import build_folder, find_variant, model_argument, model_digest, model_file, variant_path

ENGINE_SUFFIXES = (".engine", ".plan", ".trt")


def load_engine(model: Recipe | str | Path, *, device: str = "auto", precision: Precision = "fp32",
                threads: int | None = None, rebuild: bool = False) -> LoadedEngine:  # fmt: skip
    """The engine that runs `model`: a recipe with its local file, an ONNX file, or a TensorRT engine.

    `device` is "auto", "cpu" (ONNX Runtime's), "cuda:N", "openvino" ("openvino:npu" for its hardware), or an
    execution provider of ONNX Runtime: "tensorrt-rtx", "qnn", "coreml" and others. "openvino" takes the package of
    that name where it is installed, else ONNX Runtime's provider. The log names the nodes that a provider leaves to
    the CPU, and `edgevid compare MODEL MODEL --device openvino --data VIDEO` verifies it. On a CPU "auto" takes
    OpenVINO for a model that `edgevid bench MODEL --choose` found equal and faster.
    "http://HOST:8000/v2/models/NAME" or "grpc://HOST:8001/NAME" is a model on a server that speaks KServe v2: as the
    device (the model itself then runs here while the server is away) or as the model (it does not). On an NVIDIA
    device the TensorRT engine that `edgevid build` made in this precision is taken where its manifest matches; where
    it does not, or there is none, `rebuild` builds it (not verified, as the manifest states), else ONNX Runtime runs
    the model and the log says why. On the CPU "int8" takes the model's int8-cpu file and "fp16" runs in FP32, which
    is as exact and faster there. `threads` limits the CPU threads of one run. Raises InputError for wrong choices,
    ModelError for what cannot be loaded, MissingExtraError for an absent package."""
    check_choice(precision, get_args(Precision), "precision")
    if isinstance(model, str) and "://" in model:
        return KServeEngine(model)
    kind, _ = parse_device(device)
    if not isinstance(model, Recipe) and Path(model).suffix in ENGINE_SUFFIXES:
        return _engine_file(Path(model), device, rebuild)
    if isinstance(model, Recipe) and not isinstance(model, LocalRecipe):
        raise ModelError(f"{model.name}: its file is not here; resolve_model({model.name!r}) gets it")
    if kind == "server":
        local = partial(load_engine, model, precision=precision, threads=threads, rebuild=rebuild)
        return KServeEngine(device, local=local)
    found = None if kind in ("cpu", "provider") else _by_tensorrt(model, device, precision, rebuild)
    return found or _by_onnx_runtime(model, device, precision, threads)


def _engine_file(path: Path, device: str, rebuild: bool) -> LoadedEngine:
    """The engine of a path; nothing else may take its place."""
    if parse_device(device)[0] in ("cpu", "provider", "server"):
        raise InputError(f"{path}: a TensorRT engine runs on an NVIDIA device, not on device={device!r}")
    if not path.is_file():
        raise ModelError(f"{path}: expected a TensorRT engine, there is no such file")
    if not gpus():
        raise ModelError(f"{path}: no NVIDIA driver was found, and an engine runs on an NVIDIA "
                         "device only; give the ONNX file instead, which runs with "
                         "device='cpu' too (`edgevid doctor` lists what is there)")  # fmt: skip
    if not (known := manifest_path(path).is_file()):
        log_once(f"{path}: has no manifest, so device, version and model go unchecked")
    try:
        return TrtEngine(path, device=device)
    except ModelError:
        if not (rebuild and known):
            raise
        manifest = read_manifest(manifest_path(path))
        candidates = [p / manifest.onnx for p in (path.parent, path.parent.parent)]
        model = next((str(p) for p in candidates if p.is_file()), manifest.model)
        _build([*shlex.split(manifest.rebuild_command(model))[1:], "--out", str(path)])
        return TrtEngine(path, device=device)


def engine_paths(model: Recipe | str | Path, precision: str) -> list[Path]:
    """Where `edgevid build` puts the engines of a model, TensorRT's first."""
    folder, stem = build_folder(model), model_file(model).stem
    return [folder / engine_name(stem, precision, backend) for backend in BACKENDS]


def _by_tensorrt(model: Recipe | str | Path, device: str, precision: str, rebuild: bool) -> LoadedEngine | None:
    """The model's TensorRT engine; None, with the reason logged, where there is none to take."""
    name = model.name if isinstance(model, Recipe) else str(model)
    if not gpus():
        return None
    gpu_of(device)  # a device that is not there is an error, not a reason to take another
    there = [path for path in engine_paths(model, precision) if path.is_file()]
    command = ["build", model_argument(model), "--precision", precision]
    if not there and not rebuild:
        log_once(f"{name}: no {precision} engine; build it with: edgevid {shlex.join(command)} --data VIDEO")
        return None
    for path in there:
        try:
            return _checked(path, model, device)
        except EdgevidError as error:  # noqa: PERF203 (two at most)
            log.warning("%s", error)
    if not rebuild:
        return None
    _build(command)
    path = next(p for p in engine_paths(model, precision) if p.is_file())
    return _checked(path, model, device)


def _checked(path: Path, model: Recipe | str | Path, device: str) -> LoadedEngine:
    if not manifest_path(path).is_file():
        raise ModelError(f"{path}: its manifest {manifest_path(path).name} is missing; build it again")
    recipe = model if isinstance(model, Recipe) else None
    return TrtEngine(path, device=device, model=model_file(model), recipe=recipe)


def _build(arguments: list[str]) -> None:
    """Builds in a process of its own, which frees the builder's memory when it ends."""
    log.warning("building with: edgevid %s --skip-verification", shlex.join(arguments))
    code = "import sys; from edgevid.cli import build_main; build_main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *arguments[1:], "--skip-verification"]
    if (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        cause = " ".join(done.stderr.split()[-60:]) or f"exit status {done.returncode}"
        raise ModelError(f"the engine could not be built: {cause}")


def _by_onnx_runtime(model: Recipe | str | Path, device: str, precision: str, threads: int | None) -> LoadedEngine:
    from edgevid.runtime.onnxruntime.engine import has_cuda  # takes 0.1 s to import

    path = model_file(model)
    kind, _ = parse_device(device)
    on_device = kind == "provider" or (kind != "cpu" and has_cuda())
    if precision == "int8" and (kind == "provider" or not on_device):
        path = find_variant(model, "int8-cpu")
    elif precision != "fp32" and on_device and variant_path(model, "fp16").is_file():
        path = find_variant(model, "fp16")
    elif precision != "fp32":
        why = "FP32 is as exact and faster on a CPU" if not on_device else "there is no FP16 file"
        log_once(f"{path.name}: {precision} was requested, it runs in FP32: {why}")
    return open_onnx(path, device=device, threads=threads)


def open_onnx(path: Path, *, device: str, threads: int | None, disable_optimizations: bool = False) -> LoadedEngine:
    """Exactly this ONNX file by OpenVINO or by ONNX Runtime, as `device` says; the log says why."""
    from edgevid.runtime.onnxruntime.engine import OrtEngine, has_cuda, has_openvino

    if device.partition(":")[0] == "openvino" and (module_version("openvino") or not has_openvino()):
        return OvEngine(path, device=device, threads=threads)
    if device == "auto" and not has_cuda() and module_version("openvino") and not disable_optimizations:
        if (choice := read_choice(path)) is None:
            command = shlex.join(["edgevid", "bench", str(path), "--choose", "--data"])
            log_once(f"{path.name}: OpenVINO is installed; to take the faster: {command} VIDEO")
        else:
            log_once(f"{path.name}: {choice.reason}")
            if choice.runtime == "openvino":
                return OvEngine(path, threads=threads)
    return OrtEngine(path, device=device, threads=threads, disable_optimizations=disable_optimizations)


Runtime = Literal["onnxruntime", "openvino"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The faster of two runtimes for one model file, processor and pair of versions; their boxes agree."""

    runtime: Runtime
    onnxruntime_ms: float  # Median of a run in ONNX Runtime
    openvino_ms: float
    agreement: float  # Of OpenVINO with ONNX Runtime on the frames of the measurement, 0 to 1

    @property
    def reason(self) -> str:
        """Both figures, as a clause."""
        times = f"{self.openvino_ms:.1f} ms by OpenVINO, {self.onnxruntime_ms:.1f} ms by ONNX Runtime"
        return f"measured here: {times}, {self.agreement:.1%} agreement"


def choices_file() -> Path:
    """Where this machine's choices are kept."""
    return cache_folder() / "runtimes.json"


def read_choice(model: Path) -> Choice | None:
    """The choice for a model file; None where it was not measured with this processor and these versions."""
    with suppress(KeyError, TypeError, OSError):
        return Choice(**_all()[_key(model)])
    return None


def remember_choice(model: Path, choice: Choice) -> Path:
    """Keeps a choice; the file that holds it."""
    path = choices_file()
    make_folder(path.parent)
    write_atomic(path, json.dumps({**_all(), _key(model): dataclasses.asdict(choice)}, indent=1))
    return path


def count_choices() -> tuple[int, int]:
    """How many models were measured on this machine, and for how many of them OpenVINO is taken."""
    found = [one for key, one in _all().items() if key.endswith(_conditions())]
    return len(found), sum(one.get("runtime") == "openvino" for one in found)


def _all() -> dict[str, dict[str, Any]]:
    with suppress(OSError, ValueError, TypeError):  # TypeError: another value than an object
        return {**json.loads(choices_file().read_text(encoding="utf-8"))}
    return {}


def _key(model: Path) -> str:
    return f"{model_digest(model)}, {_conditions()}"


def _conditions() -> str:
    from edgevid.runtime.onnxruntime.engine import version  # takes 0.1 s to import

    return f"{processor_name()}, onnxruntime {version()}, openvino {module_version('openvino')}"
