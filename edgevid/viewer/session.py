"""A run's viewer: the server in a thread of its own while the frame loop runs."""

import os
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgevid.errors import InputError
from edgevid.files.toml import toml_table
from edgevid.insight.review import Review
from edgevid.viewer.app import viewer_app
from edgevid.viewer.config import ViewerConfig
from edgevid.viewer.serve import Server
from edgevid.viewer.state import ViewerState


@dataclass(frozen=True)
class View:
    """How a run is shown."""

    server: Mapping[str, Any]
    """Options of Server."""
    display: Mapping[str, Any] = field(default_factory=dict)
    """ViewerState's quality and max_side."""
    browser: bool = False
    """Whether the page is opened."""
    once: bool = True
    """Whether a file is played once; else again and again."""


@contextmanager
def viewing(
    config: ViewerConfig, view: View, *, announce: Callable[[str], None], site_file: Path | None = None,
    recorder: Any = None, unit: str = "km/h", review: Path | None = None,
) -> Iterator[ViewerState]:  # fmt: skip
    """The state of a viewer that is served until the block ends; `announce` gets its address. `review` is a
    folder of --save-abstained."""
    state = ViewerState(
        config.source, config.pipeline, title=config.title, model=config.model, notes=config.notes,
        calibration=config.calibration, monitor=config.monitor, site_file=site_file,
        site_header=site_header(config, site_file), unit=unit, recordings=recorder and recorder.path,
        reopen=None if view.once else config.reopen, tap=recorder and recorder.tap,
        review=Review(review, later=True) if review else None, **view.display,
    )  # fmt: skip
    try:
        with Server(viewer_app(state), **view.server) as served:
            announce(served.url)
            if view.browser:
                webbrowser.open(served.url)
            yield state
    finally:
        state.close()


def site_header(config: ViewerConfig, site_file: Path | None) -> str:
    """The beginning of a new site file: source, calibration and the size that annotations refer to."""
    if config.site is None or site_file is None:
        return ""
    source, size, calibration = config.site.source, config.source.size, None
    if Path(source).exists():
        source = str(Path(source).resolve())
    if config.site.calibration is not None:
        calibration = os.path.relpath(config.site.calibration.resolve(), site_file.resolve().parent)
    lines = toml_table("", {"source": source.replace("${", "$${")})  # no variable of the file
    return "\n".join(lines + toml_table("camera", {"size": size, "calibration": calibration}))


def address_of(text: str) -> tuple[str, int]:
    """Host and port of an address such as 127.0.0.1:8080, [::1]:8080 or 8080; InputError for others."""
    host, colon, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or (colon and not host):
        raise InputError(f"--view: expected an address such as 127.0.0.1:8080, got {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)
