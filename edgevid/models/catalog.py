"""The models and sample videos of edgevid, and where their files are on this machine."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from edgevid.errors import InputError, did_you_mean
from edgevid.files.folders import cache_folder, engines_folder
from edgevid.files.schema import checked, vars_of
from edgevid.files.toml import read_toml
from edgevid.runtime.recipe import Recipe, Source
from edgevid.runtime.recipe_file import read_recipe

DEFAULT_MODEL = "yolox-nano-416"  # The detector that is taken where none is named
OTHER_FORMATS = (
    ".pth", ".ckpt", ".safetensors", ".torchscript", ".tflite", ".h5", ".keras", ".pb", ".mlpackage", ".xml",
)  # fmt: skip
"""Endings of weights and models that are to be exported by another project."""


def recipes() -> dict[str, Recipe]:
    """The recipes that come with edgevid, sorted by name; LocalRecipes where the file is on this machine."""
    found = [read_recipe(path) for path in sorted(engines_folder().glob("*/recipe.toml"))]
    return {r.name: r.with_local(path) if (path := local_file(r)) else r for r in found}


def find_recipe(name: str) -> Recipe:
    """The recipe of this name; InputError with the nearest name where there is none."""
    path = engines_folder() / name / "recipe.toml"
    if name and Path(name).name == name and path.is_file():
        return read_recipe(path)
    known = [p.parent.name for p in engines_folder().glob("*/recipe.toml")]
    raise InputError(
        f"model: there is no recipe {name!r}{did_you_mean(name, known) or '.'} "
        f"Known: {', '.join(sorted(known))}; or give the path of an ONNX file or of a recipe"
    )


def cached_file(recipe: Recipe) -> Path:
    """Where a downloaded model is kept."""
    return cache_folder() / "models" / recipe.name / recipe.file


def local_file(recipe: Recipe) -> Path | None:
    """The model's file next to its recipe, in `build` next to it or in the cache; None without one."""
    folder = recipe.path.parent
    candidates = (folder / recipe.file, folder / "build" / recipe.file, cached_file(recipe))
    return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model or a sample video, and where its file is."""

    name: str
    kind: str
    """The model's task, or "sample"."""
    summary: str
    source: Source
    local: Path | None
    """The file on this machine; None: it has to be downloaded."""
    cached: Path
    """Where a downloaded file is kept."""

    @property
    def shipped(self) -> bool:
        """Whether the file lies next to its recipe and not in the cache."""
        return self.local is not None and self.local != self.cached


@dataclass(frozen=True, kw_only=True)
class Sample(Source):
    """A sample video of `engines/samples.toml`."""

    file: str
    summary: str


def entries() -> dict[str, Entry]:
    """Models, then sample videos, by name."""
    found = [Entry(r.name, r.task, r.summary, r.source, local_file(r), cached_file(r)) for r in recipes().values()]
    path = engines_folder() / "samples.toml"
    for name, values in read_toml(path).items():
        sample = checked(Sample, values, path, name=name)
        source, cached = Source(**vars_of(sample, Source)), cache_folder() / "samples" / sample.file
        local = cached if cached.is_file() else None
        found.append(Entry(name, "sample", sample.summary, source, local, cached))
    return {one.name: one for one in found}


def find_entry(name: str) -> Entry:
    """The entry of this name; InputError with the nearest name where there is none."""
    known = entries()
    if name not in known:
        raise InputError(f"models: no {name!r}{did_you_mean(name, known) or '.'} Known: {', '.join(known)}")
    return known[name]


def check_exported(path: Path) -> None:
    """InputError for a file of weights or of another format, with the way to ONNX."""
    suffix = path.suffix.lower()
    if suffix not in (".pt", *OTHER_FORMATS):
        return
    if suffix in OTHER_FORMATS:
        way = "export it to ONNX with the project that trained it: docs/models.md has the commands"
    else:
        way = (
            f"`{shlex.join(['edgevid', 'export', str(path), '--data'])} VIDEO` makes the ONNX and its recipe "
            'once (pip install "edgevid[export]"), and `edgevid run` and `edgevid-demo` take a .pt as it is'
        )
    kind = "a file of weights" if path.is_file() else "which does not exist"
    raise InputError(f"model: expected an ONNX file, a recipe or a name, got {path}, {kind}; {way}")
