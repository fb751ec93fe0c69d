"""Ctrl-C and SIGTERM finish every output."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from edgevid.output.records import read_jsonl
from edgevid.output.sinks import AnnotatedVideo, JsonLines
from edgevid.pipeline import Pipeline
from edgevid.run.loop import run
from edgevid.run.watchdog import ended_by_sigterm, uninterrupted
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.track import Tracker
from edgevid.types import Frame, Result
from edgevid.video.open import open_video


def rendered(frames: int) -> tuple[RenderedStreet, Pipeline]:
    source = RenderedStreet(seconds=frames / 25)
    return source, Pipeline(RenderedDetector(source), Tracker())


def test_ctrl_c_finishes_every_output(tmp_path: Path) -> None:
    source, pipeline = rendered(50)

    def stop(frame: Frame, result: Result) -> None:
        if frame.index == 9:
            raise KeyboardInterrupt

    sinks = [AnnotatedVideo(tmp_path / "a.mp4", fps=25), JsonLines(tmp_path / "a.jsonl")]
    summary = run(pipeline, source, sinks, on_result=stop)
    assert summary.interrupted
    assert sum(1 for _ in open_video(tmp_path / "a.mp4")) == 10
    assert len(list(read_jsonl(tmp_path / "a.jsonl"))) == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_two_outputs_leaves_the_frame_in_both(tmp_path: Path, number: signal.Signals) -> None:
    class Signals(JsonLines):
        def write(self, frame: Frame, result: Result) -> None:
            super().write(frame, result)
            if frame.index == 4:
                signal.raise_signal(number)

    source, pipeline = rendered(20)
    sinks = [Signals(tmp_path / "a.jsonl"), JsonLines(tmp_path / "b.jsonl")]
    with ended_by_sigterm():
        summary = run(pipeline, source, sinks)
    assert summary.interrupted
    assert [len(list(read_jsonl(tmp_path / f"{name}.jsonl"))) for name in "ab"] == [5, 5]


def test_a_second_signal_does_not_wait() -> None:
    reached = []

    def twice() -> None:
        with uninterrupted():
            for number in range(3):
                reached.append(number)
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert reached == [0, 1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
