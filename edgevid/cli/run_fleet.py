"""`edgevid run` of several site files, or of a folder of them: a fleet in one process."""

from __future__ import annotations

import inspect
import logging
import time as clock
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from edgevid.cli.console import is_quiet, log_shown, print_rows, results
from edgevid.cli.run_outputs import common_sinks
from edgevid.errors import InputError

if TYPE_CHECKING:
    from edgevid.run.fleet import Camera
    from edgevid.viewer.config import View

COMMON = (
    "site", "weight", "sqlite", "parquet", "metrics", "view", "token", "viewer_token", "allow_host", "unit", "model",
    "device", "precision", "threads", "max_frames", "status_s", "give_up_s", "rtsp_transport", "decode", "images",
)  # fmt: skip
"""Options that mean something for many cameras."""
READING = ("give_up_s", "rtsp_transport", "decode", "images")  # Those of `source_options`


def is_fleet(sites: list[Path]) -> bool:
    """Whether `--site` names more than one camera."""
    return len(sites) > 1 or any(site.is_dir() for site in sites)


def run_fleet(given: Any, view: View | None, command: Callable[..., Any]) -> None:
    """Runs the fleet of the options `given`, those of `command`."""
    from edgevid.output.metrics import Metrics
    from edgevid.run.fleet import Fleet

    for name, one in inspect.signature(command).parameters.items():
        if name not in COMMON and getattr(given, name) != one.default:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"run: {option} is of one camera: expected it in the site file of each (docs/site.md)")
    if missing := [site for site in given.site if not site.exists()]:
        raise InputError(f"--site: expected site files, or a folder of them, got {missing[0]}, which does not exist")
    changes = {key: getattr(given, key) for key in ("model", "device", "precision") if getattr(given, key)}
    reading = {key: getattr(given, key) for key in READING}
    started = clock.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(log_shown(default=logging.INFO))
        page = stack.enter_context(Metrics(given.metrics)) if given.metrics else None
        fleet = Fleet(
            given.site, threads=given.threads, weights=_weights(given.weight), max_frames=given.max_frames,
            changes=changes, reading=reading, sinks=lambda camera: _sinks(camera, given, page),
        )  # fmt: skip
        if view is not None:
            from edgevid.viewer.wall import wall

            where = stack.enter_context(wall(fleet, view, unit=given.unit))
            results().print(f"[bold]all cameras[/] at [cyan]{where}[/]   (Ctrl-C stops them)")
        fleet.run(status_s=given.status_s)
    _show(fleet.cameras, clock.perf_counter() - started)
    if failed := [camera for camera in fleet.cameras if camera.state == "failed"]:
        raise InputError("; ".join(f"{camera.name}: {camera.detail}" for camera in failed))


def _weights(texts: list[str]) -> dict[str, float]:
    """The weights of --weight NAME=NUMBER."""
    found = dict(text.rpartition("=")[::2] for text in texts)
    if not all(name and number.replace(".", "", 1).isdecimal() and float(number) for name, number in found.items()):
        raise InputError(f"--weight: expected NAME=NUMBER, such as gate=2, got {', '.join(texts)}")
    return {name: float(number) for name, number in found.items()}


def _sinks(camera: Camera, given: Any, page: Any) -> list[Any]:
    """What the command line adds to the sinks of a camera's site."""
    from edgevid.output.metrics import Metrics

    served = [Metrics("", camera.source, camera.summary, page)] if page is not None else []
    return common_sinks(camera.loaded.site, given) + served


def _show(cameras: list[Camera], seconds: float) -> None:
    """A row for each camera."""
    if is_quiet():
        return
    rows = []
    for one in cameras:
        status, events = one.status(), sum(one.summary.event_counts.values())
        counts = (status.frames, status.dropped, status.objects, events, status.failures)
        rows.append((escape(one.name), status.state, *map(str, counts)))
    heads = ("camera", "state", "frames", "dropped", "objects", "events", "failures")
    print_rows(results(soft_wrap=False), heads, rows, text=("state",), title=f"{seconds:.1f} s")
