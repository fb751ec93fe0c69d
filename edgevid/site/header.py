"""The header of a site's run: its camera, source, start, and the SHA-256 of the files that decide results."""

from __future__ import annotations

import re
import time as clock
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgevid.errors import masked
from edgevid.files.digest import sha256_of
from edgevid.models.hub import resolve_model
from edgevid.pipeline import Pipeline
from edgevid.runtime.onnxruntime.weight_inputs import model_digest
from edgevid.site.build import LoadedSite
from edgevid.types import Header

PACKAGES = ("numpy", "onnxruntime", "av")


def build_header(loaded: LoadedSite, pipeline: Pipeline, *, start: float | None = None) -> Header:
    """The header of a run; `start` is the UTC time of its first frame in seconds (None: now)."""
    site = loaded.site
    models = {"model": site.model} | {one.task: one.model for one in site.recognizers}
    files = {"calibration": site.calibration, "policy": site.policy}
    files |= {f"{one.task} policy": one.policy for one in site.recognizers}
    hashes = {name: sha256_of(path) for name, path in files.items() if path}
    for name, model in models.items():
        if local := resolve_model(model).local:
            hashes[name] = model_digest(local)
    base = Header(
        site.name or camera_name(site.source), masked(site.source), clock.time() if start is None else start,
        model=Path(site.model or resolve_model().name).name, sha256=hashes, names=dict(pipeline.names),
    )  # fmt: skip
    return replace(base, versions={**base.versions, **{name: _version(name) for name in PACKAGES}})


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


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
