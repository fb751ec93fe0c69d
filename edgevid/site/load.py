"""LoadedSite: a site with the contents of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgevid.abstain.file import PolicyFile, read_policy
from edgevid.site.file import Site, read_site
from edgevid.speed.calibration import CameraCalibration
from edgevid.speed.calibration_file import read_calibration


@dataclass(frozen=True, slots=True)
class LoadedSite:
    """A site and what its calibration and policy files hold: each is read once, here.

    Building from it opens no other file than the models.
    """

    site: Site
    calibration: CameraCalibration | None = None
    """As in its file; `build_calibration` scales it to a stream."""
    policy: PolicyFile | None = None
    """Of the detector's classes and of speeds."""
    recognizer_policies: Mapping[str, PolicyFile] = field(default_factory=dict)
    """By task, of the recognizers that have one."""


def load_site(site: Site | str | Path) -> LoadedSite:
    """A site, or that of a TOML file, with its files read; FileFormatError or InputError names a bad one."""
    if not isinstance(site, Site):
        site = read_site(site)
    return LoadedSite(
        site,
        read_calibration(site.calibration) if site.calibration else None,
        read_policy(site.policy) if site.policy else None,
        {choice.task: read_policy(choice.policy) for choice in site.recognizers if choice.policy},
    )
