"""Runs the viewer: the frame loop in this thread, the server in another, until Ctrl-C."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgevid.files.toml import toml_table
from edgevid.run.loop import Summary, run
from edgevid.run.signals import ended_by_sigterm
from edgevid.types import Frame
from edgevid.viewer.app import viewer_app
from edgevid.viewer.config import ViewerConfig
from edgevid.viewer.serve import Server, wait_for_stop
from edgevid.viewer.state import ViewerState


def run_viewer(
    config: ViewerConfig,
    *,
    announce: Callable[[str], None],
    server: Mapping[str, Any],
    display: Mapping[str, Any],
    open_browser: bool = False,
    once: bool = False,
    max_frames: int | None = None,
) -> Summary:
    """Serves the viewer until Ctrl-C or SIGTERM; a file starts again at its end unless `once`.

    `server` are options of Server; `display` are ViewerState's unit, quality and max_side. `announce` gets
    the address. It ends after `max_frames`, if given.
    """
    state = ViewerState(
        config.source, config.pipeline, title=config.title, model=config.model, notes=config.notes,
        calibration=config.calibration, monitor=config.monitor, site_file=config.site_file,
        site_header=site_header(config), **display,
    )  # fmt: skip
    summary = Summary()
    try:
        with ended_by_sigterm(), Server(viewer_app(state), **server) as served:
            announce(served.url)
            if open_browser:
                webbrowser.open(served.url)
            run(
                config.pipeline, _frames(config, state, once=once), zones=state, max_frames=max_frames,
                on_result=state.observe, size=state.size, summary=summary,
            )  # fmt: skip
            if once and max_frames is None and not summary.interrupted:
                wait_for_stop()
    except KeyboardInterrupt:  # before the first frame, or after the last
        summary.interrupted = True
    finally:
        state.close()
        config.pipeline.close()
    return summary


def site_header(config: ViewerConfig) -> str:
    """The beginning of a new site file: source, calibration and the size that annotations refer to."""
    if config.site is None or config.site_file is None:
        return ""
    source, size = config.site.source, config.source.size
    if Path(source).exists():
        source = str(Path(source).resolve())
    calibration = None
    if config.site.calibration is not None:
        calibration = os.path.relpath(config.site.calibration.resolve(), config.site_file.resolve().parent)
    source = source.replace("${", "$${")  # no variable of the file
    lines = toml_table("", {"source": source})
    return "\n".join(lines + toml_table("camera", {"size": size, "calibration": calibration}))


def _frames(config: ViewerConfig, state: ViewerState, *, once: bool) -> Iterator[Frame]:
    """The source's frames; a file's again and again, the pipeline reset in between."""
    source = config.source
    while True:
        with source:
            yield from state.playback.play(source)
        if once or source.live or not source.decoded:
            return
        source = config.reopen()
        state.source = source
        state.restart()
