"""Sample videos, fetched and kept like models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgevid.errors import InputError, did_you_mean
from edgevid.files.folders import cache_folder, engines_folder
from edgevid.files.toml import read_toml
from edgevid.models.download import Progress
from edgevid.models.hub import obtain
from edgevid.runtime.recipe import Source, read_source


@dataclass(frozen=True, slots=True)
class Sample:
    """A video to try edgevid on."""

    name: str
    file: str
    summary: str
    source: Source

    @property
    def cached(self) -> Path:
        """Where the fetched video is kept."""
        return cache_folder() / "samples" / self.file


def samples() -> dict[str, Sample]:
    """The sample videos by name."""
    top = read_toml(engines_folder() / "samples.toml")
    found: dict[str, Sample] = {}
    for name in top.keys():  # noqa: SIM118 (a Section is no dict)
        table = top.table(name)
        file, summary = table.text("file"), table.text("summary")
        found[name] = Sample(name, file, summary, read_source(table))
    return found


def get_sample(name: str, *, progress: Progress | None = None) -> Path:
    """The sample's file on this machine, fetched and verified where it was not yet there."""
    known = samples()
    if name not in known:
        raise InputError(
            f"sample: there is no {name!r}{did_you_mean(name, known) or '.'} Known: {', '.join(known)}"
        )
    sample = known[name]
    if not sample.cached.is_file():
        obtain(sample.source, sample.file, sample.cached, progress=progress)
    return sample.cached
