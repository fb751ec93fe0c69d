"""A file from the mirror where one is set, else from its own address: verified, pinned, kept.

The mirror that EDGEVID_MODELS_MIRROR names is a folder, searched by file name and SHA-256, or an address.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgevid.errors import DownloadError
from edgevid.files.atomic import atomic_path, write_atomic
from edgevid.files.digest import sha256_of
from edgevid.models.download import Progress, alone_in, download
from edgevid.runtime.recipe import Source

log = logging.getLogger("edgevid")

MIRROR = "EDGEVID_MODELS_MIRROR"
"""Environment variable that names the mirror."""


def obtain(source: Source, file: str, target: Path, *, progress: Progress | None = None) -> Path:
    """Brings one file to `target` from the mirror where one is set, else from its own address.

    A source without a SHA-256 is pinned: the first download's is written next to the file and must match
    from then on. If several programs need the file at once, one downloads it and the others wait.
    Raises DownloadError with the mirror variable, the address and the file.
    """
    there = target.is_file()
    with alone_in(target.parent):
        if there or not target.is_file():
            _obtain(source, file, target, progress)
    return target


def pinned(source: Source, target: Path) -> Source:
    """The source with the checksum of its first download, where it publishes none of its own."""
    pin = _pin(target)
    if source.sha256 or not pin.is_file():
        return source
    return dataclasses.replace(source, sha256=pin.read_text(encoding="utf-8").split()[0])


def _pin(target: Path) -> Path:
    return target.with_name(target.name + ".sha256")


def _obtain(source: Source, file: str, target: Path, progress: Progress | None) -> None:
    source = pinned(source, target)
    mirror = os.environ.get(MIRROR, "")
    try:
        if mirror.startswith(("http://", "https://")):
            _from_address(mirror, source, file, target, progress)
        elif mirror:
            _from_folder(Path(mirror).expanduser(), source, file, target)
        elif source.url:
            log.info("downloading %s from %s", file, source.url)
            download(source.url, target, sha256=source.sha256, size=source.bytes, progress=progress)
        else:
            raise DownloadError(f"{file}: its recipe gives no address")
    except DownloadError as error:
        raise DownloadError(
            f"{error}. Expected {file} from {source.url or 'no address'}; on a closed network put the file "
            f"into a folder and set {MIRROR} to it (now {mirror or 'not set'}), or save it as {target}"
        ) from error
    if not source.sha256:
        pin = _pin(target)
        write_atomic(pin, f"{sha256_of(target)}  {file}\n")
        log.warning("%s has no published checksum; the checksum of this download is pinned in %s", file, pin)


def _from_address(mirror: str, source: Source, file: str, target: Path, progress: Progress | None) -> None:
    """Tries the mirror's file by name, then by SHA-256."""
    problems = []
    for name in filter(None, (file, source.sha256)):
        url = f"{mirror.rstrip('/')}/{name}"
        try:
            download(url, target, sha256=source.sha256, size=source.bytes, progress=progress)
            return
        except DownloadError as error:
            problems.append(str(error))
    raise DownloadError("; ".join(problems))


def _from_folder(mirror: Path, source: Source, file: str, target: Path) -> None:
    """Copies the file out of a folder tree: by name first, then by size and SHA-256."""
    if not mirror.is_dir():
        raise DownloadError(f"{MIRROR}: {mirror} is neither a folder nor an http address")
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
