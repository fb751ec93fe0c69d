"""What `edgevid models` does: the models and sample videos that edgevid knows, and their files here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevid.errors import DownloadError, InputError, did_you_mean
from edgevid.files.digest import sha256_of
from edgevid.models.download import Progress
from edgevid.models.hub import cached_file, find_recipe, get_model, local_file, pinned, recipes
from edgevid.models.samples import get_sample, samples
from edgevid.runtime.recipe import Source


@dataclass(frozen=True, slots=True)
class Entry:
    """A model or a sample, and where its file is."""

    name: str
    kind: str
    """The model's task, or "sample"."""
    summary: str
    source: Source
    local: Path | None
    cached: Path
    """Where the file is kept once fetched."""

    @property
    def shipped(self) -> bool:
        """Whether the file lies beside its recipe and not in the cache."""
        return self.local is not None and self.local != self.cached


def entries() -> dict[str, Entry]:
    """Models, then samples, by name."""
    found = {
        r.name: Entry(r.name, r.task, r.summary, r.source, local_file(r), cached_file(r))
        for r in recipes().values()
    }
    for s in samples().values():
        local = s.cached if s.cached.is_file() else None
        found[s.name] = Entry(s.name, "sample", s.summary, s.source, local, s.cached)
    return found


def entry(name: str) -> Entry:
    """The entry of this name; InputError with the nearest one where there is none."""
    known = entries()
    if name not in known:
        raise InputError(
            f"models: there is no {name!r}{did_you_mean(name, known) or '.'} Known: {', '.join(known)}"
        )
    return known[name]


def get(name: str, *, progress: Progress | None = None) -> Path:
    """The file of a model or sample, fetched and verified where it was not yet there."""
    if entry(name).kind == "sample":
        return get_sample(name, progress=progress)
    path = get_model(find_recipe(name), progress=progress).local
    assert path is not None
    return path


def verify(name: str) -> str:
    """What the file's checksum says: "right" or "unpublished" (no checksum is known to compare with).

    Raises DownloadError for a file that is absent or not what its recipe or its pin says.
    """
    one = entry(name)
    if one.local is None:
        raise DownloadError(f"{name}: is not on this machine; `edgevid models get {name}` fetches it")
    source = pinned(one.source, one.cached)
    if not source.sha256:
        return "unpublished"
    given = sha256_of(one.local)
    if given != source.sha256:
        raise DownloadError(
            f"{one.local}: expected SHA-256 {source.sha256}, got {given}; "
            f"`edgevid models remove {name}` and get it again"
        )
    return "right"


def remove(name: str) -> list[Path]:
    """Deletes what was fetched for this name, pins and broken-off downloads too; what was deleted."""
    one = entry(name)
    if one.shipped:
        raise InputError(f"{name}: {one.local} came with edgevid or lies beside its recipe; it is left alone")
    gone = [p for p in one.cached.parent.glob(one.cached.name + "*") if p.is_file()]
    for path in gone:
        path.unlink()
    if one.kind != "sample" and one.cached.parent.is_dir() and not any(one.cached.parent.iterdir()):
        one.cached.parent.rmdir()
    return gone
