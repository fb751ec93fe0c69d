"""Optimized graphs kept on disk, so that a model which loads slowly does so once.

An entry is keyed by the model's own bytes, the version of ONNX Runtime and the processor's features: a graph
optimized for one processor may be wrong for another. It carries a checksum, is written under another name and
then moved into place, and is used only if it gave the same outputs as the model itself: whatever is missing,
damaged, half-written or of an unknown form is as if it were not there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgevid.files.atomic import write_atomic
from edgevid.files.folders import cache_folder
from edgevid.runtime.processor import cpu_info

log = logging.getLogger("edgevid")
SWITCH = "EDGEVID_GRAPH_CACHE"
"""Environment variable: 0 keeps no graphs and uses none."""
KEPT = 16
"""Newest entries that stay."""
FORMAT = "1"
_DIGEST = 32


@dataclass(frozen=True, slots=True)
class GraphEntry:
    """The place of one model's optimized graph."""

    path: Path
    """The graph, behind its checksum."""
    refusal: Path
    """The file that holds why this model gets no entry."""

    def read(self) -> bytes | None:
        """The optimized graph; None where there is none or it is damaged (then it is removed)."""
        try:
            kept = self.path.read_bytes()
        except OSError:
            return None
        if kept[:_DIGEST] == _digest(kept[_DIGEST:]):
            return kept[_DIGEST:]
        log.warning("%s is damaged and is made again", self.path)
        _remove(self.path)
        return None

    @property
    def declined(self) -> bool:
        """Whether an entry of this model was found not to work."""
        return self.refusal.exists()

    def keep(self, graph: bytes) -> None:
        """Puts the graph into place in one step; a disk that cannot be written is ignored."""
        _put(self.path, _digest(graph) + graph)
        _prune(self.path.parent)

    def decline(self, why: str) -> None:
        """Remembers that there is nothing to keep."""
        _remove(self.path)
        _put(self.refusal, why.encode())


def graph_entry(model: bytes, runtime: str) -> GraphEntry | None:
    """The entry of a model under a version of the runtime; None where the cache is switched off."""
    if os.environ.get(SWITCH, "1") == "0":
        return None
    key = "\n".join([FORMAT, runtime, *processor(), _digest(model).hex()])
    name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    folder = cache_folder() / "graphs"
    return GraphEntry(folder / f"{name}.graph", folder / f"{name}.no")


def scratch() -> Path | None:
    """A new folder in the cache, for a graph that is being written; None where none can be made."""
    folder = cache_folder() / "graphs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="new-", dir=folder))
    except OSError:
        return None


@lru_cache(maxsize=1)
def processor() -> tuple[str, ...]:
    """What an optimized graph depends on: architecture, model and instruction sets of the processor."""
    keys = ("model name", "flags", "features", "cpu part", "cpu implementer")
    info = cpu_info() or {"processor": [platform.processor()]}
    found = {key: " ".join(sorted(values[0].split())) for key, values in info.items() if key in keys}
    return (platform.system(), platform.machine(), *(f"{k}={found[k]}" for k in sorted(found)))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


def _put(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data)
    except OSError as error:
        log.debug("%s is not kept: %s", path, error)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.debug("%s cannot be removed: %s", path, error)


def _prune(folder: Path) -> None:
    """Removes all but the newest entries, so that those of other versions and unused models go in time."""
    try:
        entries = sorted(folder.glob("*.graph"), key=lambda p: p.stat().st_mtime, reverse=True)
        for path in entries[KEPT:]:
            path.unlink(missing_ok=True)
        for left in folder.glob("new-*"):  # by a process that was killed
            if time.time() - left.stat().st_mtime > 3600:
                shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        log.debug("%s is not tidied: %s", folder, error)
