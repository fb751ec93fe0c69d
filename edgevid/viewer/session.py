"""The viewer's life: the frame loop in this thread, the server in another, until Ctrl-C."""

from __future__ import annotations

import json
import os
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgevid.run.loop import Summary, run
from edgevid.run.signals import ended_by_sigterm
from edgevid.site.resize import ResolutionChange
from edgevid.types import Frame
from edgevid.viewer.app import viewer_app
from edgevid.viewer.config import ViewerConfig
from edgevid.viewer.serve import Server, wait_for_stop
from edgevid.viewer.state import ViewerState


def watch(
    setting: ViewerConfig,
    *,
    announce: Callable[[str], None],
    serving: Mapping[str, Any],
    picture: Mapping[str, Any],
    once: bool = False,
    frames: int | None = None,
) -> Summary:
    """Shows the setting until Ctrl-C or SIGTERM; a file begins again at its end unless `once`.

    `serving` are Server's options and `open_browser`; `image` are Show's quality, widest and unit.
    `announce` is told the address. With `frames` it ends after so many.
    """
    show = ViewerState(
        setting.source,
        setting.pipeline,
        title=setting.title,
        model=setting.model,
        notes=setting.notes,
        calibration=setting.calibration,
        monitor=setting.monitor,
        site_file=setting.site_file,
        site_header=header_of(setting),
        **picture,
    )
    options, summary = dict(serving), Summary()
    open_browser = options.pop("open_browser", False)
    try:
        with ended_by_sigterm(), Server(viewer_app(show), **options) as server:
            announce(server.url)
            if open_browser:
                webbrowser.open(server.url)
            run(
                setting.pipeline,
                _rounds(setting, show, once=once),
                zones=show,  # type: ignore[arg-type]  # it updates as a monitor does
                limit=frames,
                on_result=show.observe,
                before=_resizing(setting, show),
                summary=summary,
            )
            if once and frames is None and not summary.interrupted:
                wait_for_stop()
    except KeyboardInterrupt:  # before the first frame, or after the last
        summary.interrupted = True
    finally:
        show.close()
        setting.pipeline.close()
    return summary


def _resizing(setting: ViewerConfig, show: ViewerState) -> Callable[[Frame], None] | None:
    """What keeps calibration and zones right when a stream changes its size."""
    if setting.site is None:
        return None
    return ResolutionChange(setting.site, setting.pipeline, show, show.size)  # type: ignore[arg-type]


def header_of(setting: ViewerConfig) -> str:
    """How a site file begins that the viewer makes: source, calibration and the size that places lie on."""
    if setting.site is None or setting.site_file is None:
        return ""
    source, size = setting.site.source, setting.source.size
    if Path(source).exists():
        source = str(Path(source).resolve())
    lines = [f"source = {json.dumps(source, ensure_ascii=False)}", "", "[camera]"]
    lines.append(f"size = [{size[0]}, {size[1]}]")
    if setting.site.calibration is not None:
        calibration = os.path.relpath(setting.site.calibration.resolve(), setting.site_file.resolve().parent)
        lines.append(f"calibration = {json.dumps(calibration, ensure_ascii=False)}")
    return "\n".join(lines)


def _rounds(setting: ViewerConfig, show: ViewerState, *, once: bool) -> Iterator[Frame]:
    """The source's frames; a file's again and again, everything forgotten in between."""
    source = setting.source
    while True:
        with source:
            yield from show.gate.through(source)
        if once or source.live or not source.decoded:
            return
        source = setting.open_again()
        show.source = source
        show.start_again()
