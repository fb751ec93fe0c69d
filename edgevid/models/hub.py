"""The models and sample videos of edgevid, and the one place that chooses one and gets its file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgevid.errors import DownloadError, InputError, check_type, did_you_mean, log
from edgevid.files import cache_folder, checked, engines_folder, read_toml, sha256, sha256_of
from edgevid.models.download import Progress, obtain, pinned
from edgevid.runtime import LocalRecipe, Recipe, Source, check_exported, read_recipe
from edgevid.runtime.load import ENGINE_SUFFIXES
from edgevid.runtime.processor import default_threads

DEFAULT_MODEL = "yolox-nano-416"  # The detector that is taken where none is named


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
    raise InputError(f"model: there is no recipe {name!r}{did_you_mean(name, known) or '.'} Known: "
                     f"{', '.join(sorted(known))}; or give the path of an ONNX file or of a recipe")  # fmt: skip


def cached_file(recipe: Recipe) -> Path:
    """Where a downloaded model is kept: by its SHA-256, else by its address, so that no other recipe has it."""
    source = recipe.source
    place = source.sha256 or f"at-{sha256(f'{source.url} {recipe.name}')[:32]}"
    return cache_folder() / "models" / place / recipe.file


def local_file(recipe: Recipe) -> Path | None:
    """The model's file next to its recipe, in `build` next to it or in the cache; None without one."""
    folder = recipe.path.parent
    candidates = (folder / recipe.file, folder / "build" / recipe.file, cached_file(recipe))
    return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model or a sample video, and where its file is."""

    name: str
    kind: str  # The model's task, or "sample"
    summary: str
    source: Source
    local: Path | None  # The file on this machine; None: it has to be downloaded
    cached: Path  # Where a downloaded file is kept

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
        cached = cache_folder() / "samples" / sample.file
        found.append(Entry(name, "sample", sample.summary, sample, cached if cached.is_file() else None, cached))
    return {one.name: one for one in found}


def find_entry(name: str) -> Entry:
    """The entry of this name; InputError with the nearest name where there is none."""
    known = entries()
    if name not in known:
        raise InputError(f"models: no {name!r}{did_you_mean(name, known) or '.'} Known: {', '.join(known)}")
    return known[name]


def resolve_model(model: str | Path | None = None, *, progress: Progress | None = None) -> LocalRecipe:
    """The recipe of a name, an ONNX file, a recipe or its folder, with its file on this machine. None takes the default
    model, or one that ships with edgevid where the default cannot be downloaded. Raises InputError for an unknown name
    and DownloadError where the file cannot be downloaded."""
    if model is not None:
        check_type(model, (str, Path), "model", "a name, a path or a recipe")
        check_exported(Path(model))
        path = Path(model)  # what exists as a file or folder here is a path
        if isinstance(model, Path) or path.exists() or path.name != model:
            return _from_path(path)
        known = (engines_folder() / model).is_dir() or path.suffix not in (".onnx", ".toml", *ENGINE_SUFFIXES)
        return get_model(find_recipe(model), progress=progress) if known else _from_path(path)
    try:
        return get_model(find_recipe(DEFAULT_MODEL), progress=progress)
    except DownloadError as error:
        local = [r for r in recipes().values() if isinstance(r, LocalRecipe)]
        shipped = [r for r in local if r.task == "detect" and not r.source.url]
        if not shipped:
            raise
        weak = default_threads() < 2  # by name: street-nano, street-small
        shipped.sort(key=lambda r: r.name, reverse=not weak)
        log.warning("%s. Using %s, which ships with edgevid", error, shipped[0].name)
        return shipped[0]


def _from_path(path: Path) -> LocalRecipe:
    """The recipe of a path: a recipe, its folder, or a model file with or without a recipe next to it."""
    if path.is_dir() or path.suffix == ".toml":
        return get_model(read_recipe(path))
    if recipe := recipe_next_to(path):
        return recipe.with_local(path)
    if not path.is_file():
        raise InputError(f"model: {path} is neither a name nor a file; `edgevid models list` shows the names")
    if path.suffix in ENGINE_SUFFIXES:
        what = f"model: {path} is a TensorRT engine, which does not state its preprocessing; give the model's name"
        raise InputError(f"{what}, recipe or ONNX file, and the precision: then the engine in its build/ is taken")
    from edgevid.models.draft import draft_recipe

    return draft_recipe(path)


def recipe_next_to(path: Path) -> Recipe | None:
    """The recipe next to a model file, <name>.toml or recipe.toml; None where neither is of this file."""
    known = (one for one in (path.with_suffix(".toml"), path.parent / "recipe.toml") if one.is_file())
    return next((recipe for recipe in map(read_recipe, known) if recipe.file == path.name), None)


def get_model(recipe: Recipe, *, progress: Progress | None = None) -> LocalRecipe:
    """The recipe with its file on this machine, downloaded and verified where it was not there."""
    path = local_file(recipe)
    if path is None or path == cached_file(recipe):
        path = obtain(recipe.source, recipe.file, cached_file(recipe), progress=progress)
    elif recipe.source.sha256:  # one that was copied by half, or to a recipe of another
        _check(path, recipe.source.sha256, "copy it again, or leave sha256 out of its recipe")
    return recipe.with_local(path)


def _check(path: Path, expected: str, remedy: str) -> None:
    if (got := sha256_of(path)) != expected:
        raise DownloadError(f"{path}: expected SHA-256 {expected}, got {got}; {remedy}")


def get_file(name: str, *, progress: Progress | None = None) -> Path:
    """The file of a named model or sample video, downloaded and verified where it was not there."""
    one = find_entry(name)
    if one.shipped and one.local:
        return one.local
    return obtain(one.source, one.cached.name, one.cached, progress=progress)


def verify(name: str) -> Literal["verified", "unpublished"]:
    """Compares a file with its checksum; "unpublished" where no checksum is known. Raises DownloadError for a file that
    is not on this machine or differs from its recipe's or its pin's."""
    one = find_entry(name)
    if one.local is None:
        raise DownloadError(f"{name}: is not on this machine; `edgevid models get {name}` downloads it")
    source = pinned(one.source, one.cached)
    if not source.sha256:
        return "unpublished"
    _check(one.local, source.sha256, f"`edgevid models remove {name}` and get it again")
    return "verified"


def remove(name: str) -> list[Path]:
    """Deletes the downloaded files of this name, with pins and unfinished downloads; what was deleted."""
    one = find_entry(name)
    if one.shipped:
        raise InputError(f"{name}: {one.local} came with edgevid or lies next to its recipe: not removed")
    removed = [p for p in one.cached.parent.glob(one.cached.name + "*") if p.is_file()]
    for path in removed:
        path.unlink()
    if one.kind != "sample" and one.cached.parent.is_dir() and not any(one.cached.parent.iterdir()):
        one.cached.parent.rmdir()
    return removed
