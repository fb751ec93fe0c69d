"""`edgevid-demo --out`: an annotated MP4, a contact sheet and JSON lines, without any screen."""

from __future__ import annotations

import time as clock
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2

from edgevid.cli.outputs import refuse_overwriting
from edgevid.cli.progress import advance, print_summary, progress_bar
from edgevid.errors import InputError
from edgevid.output.overlay import contact_sheet
from edgevid.output.sinks import AnnotatedVideo, JsonLines, Sink
from edgevid.run.loop import run
from edgevid.types import Array, Frame, Result
from edgevid.viewer.config import ViewerConfig, overlay_of

PICTURES = 6
"""Images on the contact sheet."""


def write_files(
    setting: ViewerConfig, folder: Path, *, unit: str = "km/h", frames: int | None = None
) -> None:
    """Runs the setting once into `folder` and prints a summary."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder to write into: {error.strerror}") from None
    video, sheet, lines = folder / "demo.mp4", folder / "contact-sheet.png", folder / "demo.jsonl"
    refuse_overwriting((video, sheet, lines), (getattr(setting.source, "path", None),))
    started, total = clock.perf_counter(), frames or setting.source.frame_count
    with closing(setting.pipeline), setting.source as source, progress_bar(setting.title, total) as bar:
        annotated = AnnotatedVideo(video, fps=source.fps, overlay=overlay_of(setting, unit))
        shots = Shots(annotated, bar, total or 1)
        sinks: list[Sink] = [annotated, JsonLines(lines)]
        summary = run(
            setting.pipeline, source, sinks, zones=setting.monitor, limit=frames, on_result=shots.take
        )
    shots.write(sheet)
    written = [str(video), str(sheet), str(lines)]
    seconds = clock.perf_counter() - started
    names = setting.pipeline.names["class"]
    print_summary(summary, names, seconds=seconds, written=written, notes=setting.notes)


class Shots:
    """Moves the progress bar and keeps a few drawn images for the contact sheet."""

    def __init__(self, annotated: AnnotatedVideo, bar: Any, total: int) -> None:
        """The images are spread over `total` frames."""
        self._annotated, self._bar = annotated, bar
        self._wanted = {round((k + 0.5) * total / PICTURES) for k in range(PICTURES)}
        self._pictures: list[Array] = []

    def take(self, frame: Frame, result: Result) -> None:
        """Called after each frame was drawn."""
        advance(self._bar)
        if frame.index in self._wanted and self._annotated.last is not None:
            self._pictures.append(self._annotated.last)

    def write(self, path: Path) -> None:
        """The contact sheet of what was kept (the last image where the run was short)."""
        pictures = self._pictures or ([self._annotated.last] if self._annotated.last is not None else [])
        if pictures:
            cv2.imwrite(str(path), contact_sheet(pictures)[:, :, ::-1])
