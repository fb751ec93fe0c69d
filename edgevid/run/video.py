"""A video in, a drawn video out: supervision's process_video with detection, tracking and speed."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgevid.errors import InputError
from edgevid.output.sinks import AnnotatedVideo, AnySink, as_sink
from edgevid.pipeline import Pipeline
from edgevid.run.loop import PipelineLike, Summary, run
from edgevid.types import U8, Array, Event, Frame, Result, as_frame
from edgevid.video.open import open_video

Callback = Callable[[Array, Result], Any]


def _overlay(function: Callback) -> Any:
    """An overlay that a function draws: its RGB image, or the frame itself where it returned None."""

    def draw(frame: Frame, result: Result) -> U8:
        drawn = function(image := frame.bgr, result)
        try:
            return as_frame(image if drawn is None else drawn).image
        except InputError as error:
            raise InputError(f"process: callback(image, result) returns the drawn BGR image: {error}") from None

    return SimpleNamespace(draw=draw)


def process(source: Any = None, target: str | Path | None = None, callback: Callback | None = None, *,
            source_path: Any = None, target_path: str | Path | None = None, pipeline: Any = None,
            sinks: Iterable[AnySink] = (), max_frames: int | None = None,
            on_event: Callable[[Event], None] | None = None) -> Summary:  # fmt: skip
    """Runs `source` (see `open_video`) through a pipeline and writes the drawn video `target`, an MP4.

    `callback(image, result)` draws on `image`, (H, W, 3) BGR, and returns it; without one edgevid's Overlay
    draws. `result.frame_index` is the index that supervision's callback gets. `pipeline`: a Pipeline, or what
    `Pipeline(detector)` takes: a model's name or file, a Detector, a function; None: the default model.
    `on_event` is called with each event when it is found. `source_path` and `target_path` are supervision's
    names. An existing `target` is replaced; InputError where it is the source."""
    source, target = source if source_path is None else source_path, target or target_path
    with suppress(OSError, TypeError):  # one of them is no file
        if os.path.samefile(source, target):  # type: ignore[arg-type]
            raise InputError(f"process: {target} is the source, too; give the target another name")
    runs: PipelineLike = pipeline if hasattr(pipeline, "process") else Pipeline(pipeline)
    outputs = [as_sink(sink) for sink in sinks]
    with open_video(source) as video:
        if target is not None:
            overlay: Any = None if callback is None else _overlay(callback)
            outputs.append(AnnotatedVideo(target, fps=video.fps, overlay=overlay))
        elif callback is not None:
            outputs.append(as_sink(lambda frame, result: callback(frame.bgr, result)))
        return run(runs, video, outputs, max_frames=max_frames, on_event=on_event)
