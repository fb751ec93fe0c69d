"""`edgevid-demo`: the main job with no arguments, on real video where there is some."""

from __future__ import annotations

import time as clock
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

SAMPLE = "vtest"
PICTURES = 6
"""Pictures on the contact sheet."""


class Setting(NamedTuple):
    """What is shown, and by what."""

    title: str
    source: Any
    pipeline: Any
    notes: tuple[str, ...]


def _real(source: str, model: str | None) -> Setting:
    """A video through the default detector; DownloadError where neither is to be had."""
    from edgevid.runtime.samples import get_sample
    from edgevid.site import Site
    from edgevid.site_build import build_pipeline
    from edgevid.video import masked, open_video

    path = source or str(get_sample(SAMPLE))
    site = Site(source=path, model=model, classes=("person", "bicycle", "car", "motorcycle", "bus", "truck"))
    video = open_video(path)
    pipeline = build_pipeline(site, video.size)
    return Setting(masked(source or Path(path).name), video, pipeline, ())


def _rendered() -> Setting:
    """The rendered street, its detections made from the truth."""
    from edgevid.pipeline import Pipeline
    from edgevid.synthetic_render import RenderedDetector, RenderedStreet
    from edgevid.track import Tracker

    street = RenderedStreet(seconds=20)
    notes = ("rendered street; detections are the true boxes with a detector's errors, no model ran",)
    return Setting("rendered street", street, Pipeline(RenderedDetector(street), Tracker()), notes)


def _choose(source: str, model: str | None, rendered: bool) -> Setting:
    """Real video if it can be had, else the rendered street, saying so."""
    from rich.console import Console
    from rich.markup import escape

    from edgevid.errors import DownloadError

    if rendered:
        return _rendered()
    try:
        return _real(source, model)
    except DownloadError as error:
        if source or model:
            raise
        console = Console(stderr=True, soft_wrap=True)
        console.print(
            f"[yellow]no real video or model can be fetched:[/] {escape(str(error))}", highlight=False
        )
        console.print("Showing a rendered street instead.", style="yellow")
        return _rendered()


def command(
    source: Annotated[str, typer.Argument(help="A video to show instead of the sample.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for the video and the contact sheet.")] = Path(
        "edgevid-demo"
    ),
    model: Annotated[str | None, typer.Option(help="Name or path of a detector.")] = None,
    rendered: Annotated[bool, typer.Option("--rendered", help="Show the rendered street.")] = False,
    frames: Annotated[int | None, typer.Option(help="Stop after so many frames.", min=1)] = None,
) -> None:
    """Detect and follow objects in a video; writes an annotated MP4 and a contact sheet."""
    from edgevid.cli.report import print_summary, progress_bar
    from edgevid.records import AnnotatedVideo, JsonLines
    from edgevid.tools.run import run

    setting = _choose(source, model, rendered)
    out.mkdir(parents=True, exist_ok=True)
    video, sheet, lines = out / "demo.mp4", out / "contact-sheet.png", out / "demo.jsonl"
    started = clock.perf_counter()
    with (
        setting.source as frames_in,
        progress_bar(setting.title, frames or setting.source.frame_count) as bar,
    ):
        annotated = AnnotatedVideo(video, fps=setting.source.fps, overlay=_overlay(setting))
        shots = _Shots(annotated, bar, frames or setting.source.frame_count or 1)
        from edgevid.tools.run import run

        summary = run(
            setting.pipeline, frames_in, [annotated, JsonLines(lines)], limit=frames, on_result=shots.take
        )
    shots.write(sheet)
    print_summary(
        summary,
        setting.pipeline.names["class"],
        seconds=clock.perf_counter() - started,
        written=[str(video), str(sheet), str(lines)],
        notes=setting.notes,
    )


def _overlay(setting: Setting) -> Any:
    from edgevid.overlay import Overlay
    from edgevid.overlay_truth import TruthOverlay
    from edgevid.synthetic_render import RenderedStreet

    return TruthOverlay(setting.source.scene) if isinstance(setting.source, RenderedStreet) else Overlay()


class _Shots:
    """Moves the progress bar and keeps a few drawn pictures for the contact sheet."""

    def __init__(self, annotated: Any, bar: Any, total: int) -> None:
        self._annotated, self._bar = annotated, bar
        self._wanted = {round((k + 0.5) * total / PICTURES) for k in range(PICTURES)}
        self._pictures: list[Any] = []

    def take(self, frame: Any, result: Any) -> None:
        """Called after each frame was drawn."""
        from edgevid.cli.report import advance

        advance(self._bar)
        if frame.index in self._wanted and self._annotated.last is not None:
            self._pictures.append(self._annotated.last)

    def write(self, path: Path) -> None:
        """The contact sheet of what was kept (the last picture where the run was short)."""
        import cv2

        from edgevid.overlay import contact_sheet

        pictures = self._pictures or ([self._annotated.last] if self._annotated.last is not None else [])
        if pictures:
            cv2.imwrite(str(path), contact_sheet(pictures)[:, :, ::-1])
