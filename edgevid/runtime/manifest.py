"""The JSON next to an engine: what it was built from, by what and for what, and how well it agrees.

It is read before the engine is handed to TensorRT, so that an engine of another device, of another version, of a
model that has changed since, or damaged on its way is rejected in one sentence with the rebuild command.
docs/engines.md describes the file."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from annotated_types import Ge

from edgevid.errors import FileFormatError, MissingExtraError, ModelError, require
from edgevid.files import checked, sha256, sha256_of, write_atomic
from edgevid.runtime.device import Gpu
from edgevid.runtime.recipe import Precision, Recipe
from edgevid.runtime.variants import model_argument, model_digest

FORMAT = 2
SKIPPED = "not run: verification was skipped, no frames were given"
"""What a manifest's parity states of an engine that was built without a comparison."""
Backend = Literal["tensorrt", "tensorrt-rtx"]
BACKENDS: Mapping[Backend, str] = MappingProxyType({"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"})
"""The Python package of each backend."""
TITLES: Mapping[Backend, str] = MappingProxyType({"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """How an engine was made. `check` decides whether it may be loaded here."""

    model: str  # Name of the recipe, or the ONNX file's stem
    onnx: str  # File name of the model that all precisions were made of
    onnx_sha256: str
    graph: str  # File name of the graph that was built: the model itself, or its FP16 or INT8 form
    graph_sha256: str
    precision: Precision  # "fp32", "fp16" or "int8": that of the graph, which the network is bound to
    backend: Backend  # "tensorrt" or "tensorrt-rtx"
    version: str  # The builder's full version: "10.3.0", "1.7.1.116"
    engine_sha256: str
    engine_bytes: Annotated[int, Ge(0)]
    gpu: str = ""  # Name of the device it was built on; empty where it was built without one (TensorRT-RTX)
    capability: str = ""  # Its compute capability; empty where it was built without one
    compute_capabilities: tuple[str, ...] = ()  # Requested compute capabilities (TensorRT-RTX); empty: from 8.0 up
    cuda: str = ""  # Newest CUDA version that the driver of that device serves
    recipe_sha256: str = ""  # `recipe_hash` of the recipe; empty for a bare ONNX file
    calibration_sha256: str = ""  # Hash of the activation ranges of an INT8 graph
    options: Mapping[str, Any] = field(default_factory=dict)  # The build options, by name
    layers: Mapping[str, Any] = field(default_factory=dict)
    """The precisions that the builder's own log reports; empty where it reports none."""
    parity: Mapping[str, Any] = field(default_factory=dict)
    """Agreement with the ONNX model in FP32: of the graph, and of the engine where it could be run."""
    made: Mapping[str, str] = field(default_factory=dict)  # When, by which edgevid, Python and machine

    @property
    def version_compatible(self) -> bool:
        """Whether newer TensorRT versions may load it."""
        return bool(self.options.get("version_compatible"))

    def rebuild_command(self, model: str | Path | None = None) -> str:
        """The command that builds such an engine again on this machine, with the build options that are no defaults."""
        words = ["edgevid", "build", str(model or self.model), "--precision", self.precision, "--backend", self.backend]
        for key, value in {**self.options, "compute_capability": self.compute_capabilities}.items():
            option = f"--{key.removesuffix('_mb').replace('_', '-')}"
            if key == "shapes":
                for name, three in value.items():
                    words += ["--shape", f"{name}={','.join('x'.join(map(str, shape)) for shape in three)}"]
            elif isinstance(value, (list, tuple)):
                words += [option, ",".join(map(str, value))] if {*value} - {1} else []
            elif value is not None and value is not False and value not in ("none", "fp16"):
                words += [option] if value is True else [option, str(value)]
        return shlex.join(words)


def import_backend(backend: Backend, purpose: str) -> Any:
    """The package of a backend; MissingExtraError with its pip line, ModelError where it does not load."""
    try:
        return require(BACKENDS[backend], extra=backend, purpose=purpose)
    except MissingExtraError:
        raise
    except ImportError as error:
        remedy = "its libraries in the version of its Python package, where the loader finds them (LD_LIBRARY_PATH)"
        raise ModelError(f"{TITLES[backend]} is installed, but does not load: {error}. Install {remedy}") from error


def manifest_path(engine: str | Path) -> Path:
    """`<engine>.json`, next to it.

    >>> manifest_path("build/yolox.fp16.engine").as_posix()
    'build/yolox.fp16.engine.json'
    """
    return Path(f"{engine}.json")


def engine_name(stem: str, precision: str, backend: Backend) -> str:
    """File name of an engine.

    >>> engine_name("yolox", "fp16", "tensorrt"), engine_name("yolox", "int8", "tensorrt-rtx")
    ('yolox.fp16.engine', 'yolox.int8.rtx.engine')
    """
    return f"{stem}.{precision}{'.rtx' if backend == 'tensorrt-rtx' else ''}.engine"


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256 of the recipe's preprocessing, outputs and decoder; its descriptive text may change."""
    relevant = {"task": recipe.task, "input": dataclasses.asdict(recipe.input) if recipe.input else None,
                "input_name": recipe.input_name, "outputs": recipe.outputs,
                "decode": dataclasses.asdict(recipe.decode) if recipe.decode else None}  # fmt: skip
    return sha256(json.dumps(relevant, sort_keys=True))


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Writes the JSON in one step."""
    write_atomic(path, json.dumps({"format": FORMAT, **dataclasses.asdict(manifest)}, indent=1) + "\n")


def read_manifest(path: Path) -> Manifest:
    """The manifest of a file; FileFormatError names what is wrong with it."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(path, "the whole file", expected="JSON", got=str(error)) from None
    except OSError as error:
        raise FileFormatError(path, "the file", expected="a readable file", got=error.strerror) from error
    if not isinstance(values, dict):
        raise FileFormatError(path, "the whole file", expected="a JSON object", got=type(values).__name__)
    if (found := values.pop("format", None)) != FORMAT:
        raise FileFormatError(path, "format", expected=f"{FORMAT}, the only one that this edgevid reads", got=found)
    return checked(Manifest, values, path)


def check(engine: Path, manifest: Manifest, *, gpu: Gpu | None, version: str | None, model: Path | None = None,
          recipe: Recipe | None = None) -> None:  # fmt: skip
    """ModelError, with the rebuild command, unless this engine may be deserialized here. `gpu` is the device it would
    run on, `version` the installed version of its backend; None leaves that comparison out. `model` is the ONNX file as
    it is now."""
    of_the_model = ""
    if model is not None and model.is_file() and model_digest(model) != manifest.onnx_sha256:
        of_the_model = f"it was built of another {manifest.onnx} than {model} is now (SHA-256 differs)"
    elif recipe is not None and manifest.recipe_sha256 and recipe_hash(recipe) != manifest.recipe_sha256:
        of_the_model = f"the recipe {recipe.name} has other preprocessing or decoding than when it was built"
    of_the_version = _of_the_version(manifest, version) if version is not None else ""
    of_the_device = _of_the_device(manifest, gpu) if gpu is not None else ""
    if problem := _of_the_file(engine, manifest) or of_the_model or of_the_version or of_the_device:
        command = manifest.rebuild_command(model_argument(recipe) if recipe else model)
        # `edgevid build` takes frames, or the word to do without as when this one was built.
        how = "--skip-verification" if manifest.parity.get("engine") == SKIPPED else "--data VIDEO"
        raise ModelError(f"{engine}: {problem}. Build it again with: {command} {how}")


def _of_the_file(engine: Path, manifest: Manifest) -> str:
    if not engine.is_file():
        return "there is no such file"
    if (size := engine.stat().st_size) != manifest.engine_bytes:
        return f"expected {manifest.engine_bytes} bytes, got {size}: it is truncated or not the file built"
    if sha256_of(engine) != manifest.engine_sha256:
        return "its bytes are not those that were built (SHA-256 differs): the file is damaged or replaced"
    return ""


def _of_the_version(manifest: Manifest, version: str) -> str:
    """TensorRT documentation, "Version Compatibility": exactly the version that built the engine, or,
    for version-compatible engines, a newer one of the same major; TensorRT 11 also takes those of 10."""
    title = TITLES[manifest.backend]
    if version == manifest.version:
        return ""
    built = f"it was built by {title} {manifest.version}, here is {version}"
    if not manifest.version_compatible or manifest.backend == "tensorrt-rtx":
        return built + ", and an engine runs only with the version that built it"
    old, new = _numbers(manifest.version), _numbers(version)
    if new < old:
        return built + ", and version-compatible engines run with the same or a newer version only"
    if new[0] != old[0] and (old[0], new[0]) != (10, 11):
        return built + ", and version-compatible engines reach no further than TensorRT 10 to 11"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "10.13.3.9.post1" gives (10, 13, 3, 9)."""
    return tuple(map(int, takewhile(str.isdigit, version.split(".")))) or (0,)


def _of_the_device(manifest: Manifest, gpu: Gpu) -> str:
    if manifest.backend == "tensorrt-rtx":
        # TensorRT-RTX documentation, "CPU-Only AOT": 8.0 and later, unless capabilities were named.
        named = manifest.compute_capabilities
        if gpu.capability in named if named else _numbers(gpu.capability) >= (8, 0):
            return ""
        expected = ", ".join(named) or "compute capability 8.0 and higher"
        remedy = "" if named else " (build with --compute-capability 7.5)"
        return f"it was built for {expected}, this is {gpu}{remedy}"
    if manifest.gpu == gpu.name and manifest.capability == gpu.capability:
        return ""
    built = f"it was built for {manifest.gpu} (compute capability {manifest.capability}), this is {gpu}"
    reach = manifest.options.get("hardware_compatibility")
    if reach == "same-capability" and manifest.capability == gpu.capability:
        return ""
    if reach == "ampere+":
        return "" if _numbers(gpu.capability) >= (8, 0) else built + ", and it needs 8.0 or higher"
    return built
