"""`edgevid run`: a source through the pipeline, into a video, JSON lines or MOT text."""

from __future__ import annotations

import dataclasses
import time as clock
from pathlib import Path
from typing import Annotated, Any

import typer

Source = Annotated[str, typer.Argument(help="File, folder or glob of images, camera number, or address.")]
Model = Annotated[str | None, typer.Option(help="Model name (`edgevid models list`), ONNX file or recipe.")]
Camera = Annotated[Path | None, typer.Option(help="Camera survey (TOML): adds speeds over the ground.")]
Health = Annotated[Path | None, typer.Option(help="Folder of camera health: speeds stop if it moves.")]
Actions = Annotated[str | None, typer.Option(help="Recogniser of what each object does (recipe).")]
Rules = Annotated[Path | None, typer.Option("--policy", help="Abstain policy that `edgevid tune` wrote.")]
Kept = Annotated[Path | None, typer.Option(help="Folder for crops and scores of silent verdicts.")]
Unit = Annotated[str, typer.Option(help="km/h, mph or m/s, in the picture.")]
SiteFile = Annotated[Path | None, typer.Option(help="Site file: source, model, zones of one camera.")]
Out = Annotated[Path | None, typer.Option(help="Annotated video to write (MP4).")]
Jsonl = Annotated[Path | None, typer.Option(help="JSON lines to write, one object a frame.")]
Mot = Annotated[Path | None, typer.Option(help="MOTChallenge text to write.")]
Classes = Annotated[str, typer.Option(help="Only these classes, separated by commas: person,car")]
Score = Annotated[float | None, typer.Option(help="Least confidence of a new object.", min=0, max=1)]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda:0")]
Precision = Annotated[str | None, typer.Option(help="fp32, fp16 or int8")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of the model.", min=1)]
Frames = Annotated[int | None, typer.Option(help="Stop after so many frames.", min=1)]


def command(
    source: Source = "",
    model: Model = None,
    site: SiteFile = None,
    camera: Camera = None,
    health: Health = None,
    actions: Actions = None,
    policy: Rules = None,
    keep_abstained: Kept = None,
    unit: Unit = "km/h",
    out: Out = None,
    jsonl: Jsonl = None,
    mot: Mot = None,
    classes: Classes = "",
    score: Score = None,
    device: Device = None,
    precision: Precision = None,
    threads: Threads = None,
    frames: Frames = None,
) -> None:
    """Detect, follow and record what is in a video."""
    from edgevid.cli.report import advance, print_summary, progress_bar
    from edgevid.errors import InputError
    from edgevid.keep import KeepAbstained
    from edgevid.overlay_ground import GridOverlay
    from edgevid.records import AnnotatedVideo, JsonLines, MotText, Sink
    from edgevid.site import RecogniserChoice, Site, read_site
    from edgevid.site_build import build_monitors, build_pipeline, build_survey, build_zones
    from edgevid.tools.run import run
    from edgevid.video import masked, open_video

    asked: dict[str, Any] = {"source": source, "model": model, "score": score, "device": device}
    asked |= {"precision": precision, "survey": camera, "health": health}
    asked["classes"] = tuple(name.strip() for name in classes.split(",") if name.strip())
    if actions:
        asked["recognisers"] = (RecogniserChoice("action", actions, policy),)
    chosen = read_site(site) if site else Site()
    chosen = dataclasses.replace(chosen, **{key: value for key, value in asked.items() if value})
    if not chosen.source:
        raise InputError("run: wanted a source (a file, folder, camera or address), given none")
    started = clock.perf_counter()
    with open_video(chosen.source) as video:
        pipeline = build_pipeline(chosen, video.size, threads=threads)
        sinks: list[Sink] = []
        if out:
            grid = build_survey(chosen, video.size)
            sinks.append(AnnotatedVideo(out, fps=video.fps, overlay=GridOverlay(grid, unit=unit)))
        sinks += [JsonLines(jsonl)] if jsonl else []
        sinks += [MotText(mot)] if mot else []
        sinks += [KeepAbstained(keep_abstained, source=masked(chosen.source))] if keep_abstained else []
        monitors = build_monitors(chosen)
        total = frames or video.frame_count
        with progress_bar(masked(chosen.source), total) as bar:

            def note(frame: Any, result: Any) -> None:
                advance(bar)
                for task, monitor in monitors.items():
                    monitor.update(result.verdicts[task])

            zones = build_zones(chosen, video.size)
            summary = run(pipeline, video, sinks, zones=zones, limit=frames, on_result=note)
        lost = {"damaged packets passed over": video.corrupted, "frames dropped": video.dropped}
    print_summary(
        summary,
        pipeline.names["class"],
        seconds=clock.perf_counter() - started,
        written=[str(path) for path in (out, jsonl, mot) if path],
        notes=[
            *(f"{count} {what}" for what, count in lost.items() if count),
            *(f"{task}: {monitor.report().words}" for task, monitor in monitors.items()),
        ],
    )
