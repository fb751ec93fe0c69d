"""`edgevid-demo --out`: an annotated MP4, a contact sheet and JSON lines, without a display."""

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
from edgevid.viewer.config import ViewerConfig, make_overlay

SHEET_IMAGES = 6
"""Images on the contact sheet."""


def write_files(
    config: ViewerConfig, folder: Path, *, unit: str = "km/h", max_frames: int | None = None
) -> None:
    """Runs the config once into `folder` and prints a summary."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder to write into: {error.strerror}") from None
    video, sheet, lines = folder / "demo.mp4", folder / "contact-sheet.png", folder / "demo.jsonl"
    refuse_overwriting((video, sheet, lines), (getattr(config.source, "path", None),))
    started, total = clock.perf_counter(), max_frames or config.source.frame_count
    with closing(config.pipeline), config.source as source, progress_bar(config.title, total) as bar:
        annotated = AnnotatedVideo(video, fps=source.fps, overlay=make_overlay(config, unit))
        sampler = SheetSampler(annotated, bar, total or 1)
        sinks: list[Sink] = [annotated, JsonLines(lines)]
        summary = run(
            config.pipeline,
            source,
            sinks,
            zones=config.monitor,
            size=source.size,
            max_frames=max_frames,
            on_result=sampler.take,
        )
    sampler.write(sheet)
    written = [str(video), str(sheet), str(lines)]
    seconds = clock.perf_counter() - started
    names = config.pipeline.names["class"]
    print_summary(summary, names, seconds=seconds, written=written, notes=config.notes)


class SheetSampler:
    """Advances the progress bar and keeps a few annotated images for the contact sheet."""

    def __init__(self, annotated: AnnotatedVideo, bar: Any, total: int) -> None:
        """The images are spread evenly over `total` frames."""
        self._annotated, self._bar = annotated, bar
        self._indices = {round((k + 0.5) * total / SHEET_IMAGES) for k in range(SHEET_IMAGES)}
        self._images: list[Array] = []

    def take(self, frame: Frame, result: Result) -> None:
        """Called after each frame was drawn."""
        advance(self._bar)
        if frame.index in self._indices and self._annotated.last is not None:
            self._images.append(self._annotated.last)

    def write(self, path: Path) -> None:
        """The contact sheet of the sampled images (the last image of a short run)."""
        images = self._images or ([self._annotated.last] if self._annotated.last is not None else [])
        if images:
            cv2.imwrite(str(path), contact_sheet(images)[:, :, ::-1])
