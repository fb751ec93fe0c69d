"""The one place that chooses a model and gets its file: next to its recipe, cache, mirror, download."""

import logging
from pathlib import Path
from typing import Literal

from edgevid.errors import DownloadError, InputError, check_type
from edgevid.files.digest import sha256_of
from edgevid.files.folders import engines_folder
from edgevid.models.catalog import (
    DEFAULT_MODEL,
    cached_file,
    check_exported,
    find_entry,
    find_recipe,
    local_file,
    recipes,
)
from edgevid.models.download import Progress, obtain, pinned
from edgevid.runtime.load import ENGINE_SUFFIXES
from edgevid.runtime.recipe import LocalRecipe, Recipe
from edgevid.runtime.recipe_file import read_recipe

log = logging.getLogger("edgevid")


def resolve_model(model: str | Path | None = None, *, progress: Progress | None = None) -> LocalRecipe:
    """The recipe of a name, an ONNX file, a recipe or its folder, with its file on this machine.

    None takes the default model, or one that ships with edgevid where the default cannot be downloaded.
    Raises InputError for an unknown name and DownloadError where the file cannot be downloaded.
    """
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
        log.warning("%s. Using %s, which ships with edgevid", error, shipped[0].name)
        return shipped[0]


def _from_path(path: Path) -> LocalRecipe:
    """The recipe of a path: a recipe, its folder, or a model file with or without a recipe next to it."""
    if path.is_dir() or path.suffix == ".toml":
        return get_model(read_recipe(path))
    for candidate in (path.with_suffix(".toml"), path.parent / "recipe.toml"):
        if not candidate.is_file():
            continue
        recipe = read_recipe(candidate)
        if recipe.file == path.name:
            return recipe.with_local(path)
    if not path.is_file():
        raise InputError(f"model: {path} is neither a name nor a file; `edgevid models list` shows the names")
    if path.suffix in ENGINE_SUFFIXES:
        raise InputError(
            f"model: {path} is a TensorRT engine, which does not state its preprocessing; give the model's "
            "name, recipe or ONNX file, and the precision: then the engine in its build/ is taken"
        )
    from edgevid.models.draft import draft_recipe

    return draft_recipe(path)


def get_model(recipe: Recipe, *, progress: Progress | None = None) -> LocalRecipe:
    """The recipe with its file on this machine, downloaded and verified where it was not there."""
    path = local_file(recipe) or obtain(recipe.source, recipe.file, cached_file(recipe), progress=progress)
    return recipe.with_local(path)


def get_file(name: str, *, progress: Progress | None = None) -> Path:
    """The file of a named model or sample video, downloaded and verified where it was not there."""
    one = find_entry(name)
    return one.local or obtain(one.source, one.cached.name, one.cached, progress=progress)


def verify(name: str) -> Literal["verified", "unpublished"]:
    """Compares a file with its checksum; "unpublished" where no checksum is known.

    Raises DownloadError for a file that is not on this machine or differs from its recipe's or its pin's.
    """
    one = find_entry(name)
    if one.local is None:
        raise DownloadError(f"{name}: is not on this machine; `edgevid models get {name}` downloads it")
    source = pinned(one.source, one.cached)
    if not source.sha256:
        return "unpublished"
    got = sha256_of(one.local)
    if got != source.sha256:
        raise DownloadError(
            f"{one.local}: expected SHA-256 {source.sha256}, got {got}; `edgevid models remove {name}` and get it again"
        )
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
