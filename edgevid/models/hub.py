"""Where models lie, and the one place that chooses one: recipes, cache, mirror, download.

Recipes come with the package (or from `engines/` in a clone). A model's file is taken from beside its
recipe, from the user's cache, from the mirror that EDGEVID_MODELS_MIRROR names (a folder, searched by
file name and SHA-256, or an address), or from the address that the recipe gives: in this order.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgevid.errors import DownloadError, InputError, did_you_mean
from edgevid.files.atomic import atomic_path
from edgevid.files.digest import sha256_of
from edgevid.files.folders import cache_folder, engines_folder
from edgevid.models.download import Progress, alone_in, fetch
from edgevid.runtime.recipe import Recipe, Source, read_recipe

log = logging.getLogger("edgevid")

DEFAULT_MODEL = "yolox-nano-416"
MIRROR = "EDGEVID_MODELS_MIRROR"


def recipes() -> dict[str, Recipe]:
    """Every recipe that comes with edgevid, by name, sorted; `local` is set where the file is at hand."""
    found = [read_recipe(path) for path in sorted(engines_folder().glob("*/recipe.toml"))]
    return {r.name: r.with_local(p) if (p := local_file(r)) else r for r in found}


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
    """Where a fetched model is kept."""
    return cache_folder() / "models" / recipe.name / recipe.file


def local_file(recipe: Recipe) -> Path | None:
    """The model's file on this machine, None where it has to be fetched."""
    beside = recipe.path.parent
    for path in (beside / recipe.file, beside / "build" / recipe.file, cached_file(recipe)):
        if path.is_file():
            return path
    return None


def resolve_model(model: str | Path | None = None, *, progress: Progress | None = None) -> Recipe:
    """The recipe of a name, an ONNX file, a recipe or its folder, with its file on this machine.

    None takes the default model, or one that ships with edgevid where the default cannot be had.
    Raises InputError for an unknown name and DownloadError where the file cannot be fetched.
    """
    if model is not None:
        named = isinstance(model, str) and _is_name(model)
        return get_model(find_recipe(str(model)), progress=progress) if named else _from_path(Path(model))
    try:
        return get_model(find_recipe(DEFAULT_MODEL), progress=progress)
    except DownloadError as error:
        shipped = [r for r in recipes().values() if r.task == "detect" and r.local and not r.source.url]
        if not shipped:
            raise
        log.warning("%s. Using %s, which ships with edgevid", error, shipped[0].name)
        return shipped[0]


def _is_name(model: str) -> bool:
    """Whether this is meant as a recipe's name; what exists as a file or folder here is a path."""
    path = Path(model)
    if path.exists() or path.name != model:
        return False
    return (engines_folder() / model).is_dir() or path.suffix not in (".onnx", ".toml", ".engine", ".plan")


def _from_path(path: Path) -> Recipe:
    """The recipe of a path: a recipe, its folder, or a model file with or without a recipe beside it."""
    if path.is_dir() or path.suffix == ".toml":
        recipe = read_recipe(path)
        return get_model(recipe)
    beside = [p for p in (path.with_suffix(".toml"), path.parent / "recipe.toml") if p.is_file()]
    for candidate in beside:
        recipe = read_recipe(candidate)
        if recipe.file == path.name:
            return recipe.with_local(path)
    if not path.is_file():
        raise InputError(
            f"model: {path} is neither a known name nor a file; `edgevid models list` shows the names"
        )
    if path.suffix in (".engine", ".plan", ".trt"):
        raise InputError(
            f"model: {path} is a TensorRT engine, which does not say how images are fed to it; give the "
            "model's name, recipe or ONNX file, and the precision: the engine in its build/ is taken then"
        )
    from edgevid.models.identify import draft_recipe

    return draft_recipe(path)


def get_model(recipe: Recipe, *, progress: Progress | None = None) -> Recipe:
    """The recipe with its file on this machine, fetched and verified where it was not yet there."""
    if path := local_file(recipe):
        return recipe.with_local(path)
    target = cached_file(recipe)
    obtain(recipe.source, recipe.file, target, progress=progress)
    return recipe.with_local(target)


def obtain(source: Source, file: str, target: Path, *, progress: Progress | None = None) -> Path:
    """Brings one file to `target` from the mirror where one is set, else from its own address.

    A source without a SHA-256 is pinned: the first download's is written beside the file and holds
    from then on. Of programs that want the file at one moment, one brings it and the others wait for it.
    Raises DownloadError that names the mirror variable, the address and the file.
    """
    there = target.is_file()
    with alone_in(target.parent):
        if there or not target.is_file():
            _obtain(source, file, target, progress)
    return target


def _obtain(source: Source, file: str, target: Path, progress: Progress | None) -> None:
    source = pinned(source, target)
    mirror = os.environ.get(MIRROR, "")
    try:
        if mirror.startswith(("http://", "https://")):
            _from_address(mirror, source, file, target, progress)
        elif mirror:
            _from_folder(Path(mirror).expanduser(), source, file, target)
        elif source.url:
            log.info("fetching %s from %s", file, source.url)
            fetch(source.url, target, sha256=source.sha256, size=source.bytes, progress=progress)
        else:
            raise DownloadError(f"{file}: its recipe gives no address")
    except DownloadError as error:
        raise DownloadError(
            f"{error}. Wanted {file} from {source.url or 'no address'}; on a closed network put the file "
            f"into a folder and set {MIRROR} to it (now {mirror or 'not set'}), or save it as {target}"
        ) from error
    if not source.sha256:
        pin = _pin(target)
        pin.write_text(f"{sha256_of(target)}  {file}\n", encoding="utf-8")
        log.warning("%s has no published checksum; pinned what came as %s", file, pin)


def _pin(target: Path) -> Path:
    return target.with_name(target.name + ".sha256")


def pinned(source: Source, target: Path) -> Source:
    """The source with the checksum of its first download, where it publishes none of its own."""
    pin = _pin(target)
    if source.sha256 or not pin.is_file():
        return source
    return dataclasses.replace(source, sha256=pin.read_text(encoding="utf-8").split()[0])


def _from_address(mirror: str, source: Source, file: str, target: Path, progress: Progress | None) -> None:
    """Tries the mirror's file by name, then by SHA-256."""
    names = [file, *([source.sha256] if source.sha256 else [])]
    problems = []
    for name in names:
        try:
            fetch(
                f"{mirror.rstrip('/')}/{name}",
                target,
                sha256=source.sha256,
                size=source.bytes,
                progress=progress,
            )
            return
        except DownloadError as error:  # noqa: PERF203 (two tries at most)
            problems.append(str(error))
    raise DownloadError("; ".join(problems))


def _from_folder(mirror: Path, source: Source, file: str, target: Path) -> None:
    """Copies the file out of a folder tree: by name first, then by size and SHA-256."""
    if not mirror.is_dir():
        raise DownloadError(f"{MIRROR}: {mirror} is no folder and no http address")
    for path in _candidates(mirror, source, file):
        if not source.sha256 or sha256_of(path) == source.sha256:
            with atomic_path(target) as new:
                shutil.copyfile(path, new)
            return
    raise DownloadError(
        f"{mirror} holds no {file}" + (f" of SHA-256 {source.sha256}" if source.sha256 else "")
    )


def _candidates(mirror: Path, source: Source, file: str) -> Iterator[Path]:
    yield from (p for p in mirror.rglob(file) if p.is_file())
    if source.sha256 and source.bytes:
        yield from (p for p in mirror.rglob("*") if p.is_file() and p.stat().st_size == source.bytes)
