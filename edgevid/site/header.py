"""The header of a run: its camera, source, start, and the SHA-256 of the files that decide results."""

from __future__ import annotations

import re
import time as clock
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgevid.errors import masked, module_version
from edgevid.files.digest import sha256_of
from edgevid.runtime.variants import model_digest
from edgevid.types import Header

if TYPE_CHECKING:
    from edgevid.site.build import LoadedSite

PACKAGES = ("numpy", "onnxruntime", "av")


def build_header(loaded: LoadedSite, pipeline: Any, *, start: float | None = None) -> Header:
    """The header of a site's run; `start` is the UTC time of its first frame in seconds (None: now)."""
    site = loaded.site
    header = header_of(pipeline, site.source, camera=site.name, start=start)
    policy = {"policy": sha256_of(site.policy)} if site.policy else {}
    return replace(header, sha256={**header.sha256, **policy})


def header_of(pipeline: Any, source: str, *, camera: str = "", start: float | None = None) -> Header:
    """The header of a run of any pipeline: as much as its parts know of their files."""
    recipe = getattr(getattr(pipeline, "detector", None), "recipe", None)
    return Header(
        camera or camera_name(source), masked(source), clock.time() if start is None else start,
        versions={**Header().versions, **{name: module_version(name) for name in PACKAGES}},
        model=getattr(recipe, "name", ""), sha256={name: found for name, found in _hashes(pipeline) if found},
        names=dict(getattr(pipeline, "names", {})),
    )  # fmt: skip


def _hashes(pipeline: Any) -> Iterator[tuple[str, str]]:
    """Of each file behind a part of the pipeline: "model", "calibration", "policy", and by task."""

    def model(part: Any) -> str:
        local = getattr(getattr(part, "recipe", None), "local", None)
        return model_digest(local) if local else ""

    yield "model", model(getattr(pipeline, "detector", None))
    estimator = getattr(pipeline, "speed_estimator", None)
    yield "calibration", getattr(getattr(estimator, "calibration", None), "sha256", "")
    yield "policy", getattr(getattr(pipeline, "class_policy", None), "sha256", "")
    for task, one in getattr(pipeline, "recognitions", {}).items():
        yield task, model(one.recognizer)
        yield f"{task} inside", model(getattr(getattr(one.recognizer, "align", None), "detector", None))
        yield f"{task} policy", getattr(one.policy, "sha256", "")


def camera_name(source: str) -> str:
    """A name for a source without one: the file's, or the host and path of a stream.

    >>> camera_name("videos/gate.mp4"), camera_name("rtsp://me:secret@gate:554/ch/1?token=x")
    ('gate', 'gate-554-ch-1')
    """
    if source.isdecimal():
        return f"camera-{source}"
    if "://" not in source or source.startswith("file:"):
        return Path(source).stem or "camera"
    address = masked(source).split("://", 1)[1].rpartition("@")[2]
    return re.sub(r"[^\w.]+", "-", address.split("?")[0]).strip("-") or "camera"
