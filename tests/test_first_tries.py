"""What users of supervision, Ultralytics, trackers and OpenCV write first: it works, or names the line."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detector_outputs import engine, recipe
from result_samples import sample_result
from supervision_samples import theirs
from video_clips import write_clip

import edgevid
from edgevid.errors import EdgevidError
from edgevid.runtime.recipe import Decode

SQUARE = np.array([[0, 0], [100, 0], [100, 100], [0, 100]], float)
DEMO = Path(__file__).parents[1] / "demos" / "supervision_speed.py"


class Tries:
    """What the tries start from."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.image = folder, np.zeros((32, 32, 3), np.uint8)
        rows = {"o": np.float32([[[8, 8, 8, 8, 0.9, 0.1], [24, 24, 8, 8, 0.3, 0]]])}
        self.model = edgevid.Detector(engine(rows), recipe(Decode("yolo", layout="rows", nms_iou=0.5)))
        self.frame, self.result = sample_result()
        self.detections = theirs([[20, 20, 40, 40], [50, 50, 60, 60]], [0.9, 0.2])
        self.clip = str(write_clip(folder / "clip.mp4", [n / 10 for n in range(4)]))

    @property
    def sv(self) -> Any:
        return pytest.importorskip("supervision")

    def pipeline(self) -> edgevid.Pipeline:
        return edgevid.Pipeline(self.model)

    def estimator(self, **settings: Any) -> edgevid.SpeedEstimator:
        calibration = edgevid.make_calibration(SQUARE, SQUARE / 10, (100, 100))
        return edgevid.SpeedEstimator(calibration, **settings)

    def image_file(self) -> str:
        import av

        path = str(self.folder / "bus.png")
        with av.open(path, "w", format="image2") as container:
            stream = container.add_stream("png")
            stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(self.image, format="rgb24")))
            container.mux(stream.encode())
        return path

    def tracked(self) -> Any:
        return edgevid.Tracker(frame_rate=30).update(self.detections)


WORK: dict[str, Callable[[Tries], Any]] = {
    # Ultralytics
    "results = model(cv2.imread(path))": lambda t: len(t.model(t.image)) == 2,
    "model([image, image])": lambda t: [len(d) for d in t.model([t.image, t.image])] == [2, 2],
    "model.predict('bus.jpg')": lambda t: len(t.model.predict(t.image_file())[0]) == 2,
    "model.predict('folder/')": lambda t: t.image_file() and len(t.model.predict(t.folder)) == 1,
    "model.predict(source, conf=0.4)": lambda t: len(t.model.predict(source=t.image, conf=0.4)[0]) == 1,
    "model(image, iou=0.5, max_det=1, verbose=False)": lambda t: (
        len(t.model(t.image, iou=0.5, max_det=1, verbose=False)) == 1 and len(t.model(t.image)) == 2
    ),
    "model(image, classes=[1])": lambda t: t.model(t.image, classes=[1]).labels.tolist() == [],
    "model.predict(video, stream=True)": lambda t: len(list(t.model.predict(t.clip, stream=True))) == 4,
    "model.names[0]": lambda t: t.model.names[0] == "person",
    "model.predict(imgsz=32)": lambda t: len(t.model.predict(t.image, imgsz=32)[0]) == 2,
    "len(result)": lambda t: len(t.result) == 2 and bool(t.result),
    "YOLO(...) itself as the detector": lambda t: (
        len(edgevid.Pipeline(lambda image: t.model(image))(t.image, 0.0)) == 1
    ),
    "ByteTracker(**yaml.safe_load('bytetrack.yaml'))": lambda t: edgevid.ByteTracker(
        tracker_type="bytetrack",
        track_high_thresh=0.25,
        track_low_thresh=0.1,
        new_track_thresh=0.25,
        track_buffer=30,
        match_thresh=0.8,
        fuse_score=True,
    ),
    # supervision
    "detections[detections.confidence > 0.5].xyxy": lambda t: (
        (d := t.model(t.image))[d.confidence > 0.5].xyxy.tolist() == [[4, 4, 12, 12]]
    ),
    "detections[detections.class_id == 1]": lambda t: len((d := t.model(t.image))[d.class_id == 1]) == 0,
    "Detections.of(xyxy=...)": lambda t: len(
        edgevid.Detections.of(xyxy=[[0, 0, 4, 4]], confidence=[0.5], class_id=[0])
    ),
    "tracker.update_with_detections(detections)": lambda t: (
        edgevid.Tracker(frame_rate=30).update_with_detections(detections=t.detections).tracker_id.tolist() == [1]
    ),
    "result.tracks.tracker_id": lambda t: t.result.tracks.tracker_id.tolist() == [1, 2],
    "process_video(source, target, callback)": lambda t: (
        edgevid.process(t.clip, t.folder / "out.mp4", lambda image, result: image, pipeline=t.model).frames == 4
    ),
    "BoxAnnotator().annotate(image, result)": lambda t: t.sv.BoxAnnotator().annotate(
        t.frame.bgr, t.result.to_supervision()
    ),
    "LabelAnnotator().annotate(image, detections)": lambda t: t.sv.LabelAnnotator().annotate(
        t.frame.bgr, t.model(t.image).to_supervision(t.model.names)
    ),
    "LineZone.trigger(result.to_supervision())": lambda t: t.sv.LineZone(t.sv.Point(0, 0), t.sv.Point(9, 9)).trigger(
        t.result.to_supervision()
    ),
    # trackers
    "tracker.update(detections)": lambda t: t.tracked().tracker_id.tolist() == [1, -1],
    "tracker.update(detections, frame=image, timestamp=0.5)": lambda t: len(
        edgevid.Tracker().update(t.detections, frame=t.image, timestamp=0.5)
    ),
    "tracker.update(array of x1, y1, x2, y2, score, class)": lambda t: (
        edgevid.Tracker(frame_rate=25).update(np.array([[4, 4, 12, 12, 0.9, 0]])).ids.tolist() == [1]
    ),
    # OpenCV
    "for frame in open_video(path): frame.bgr": lambda t: all(
        f.bgr.shape == (48, 64, 3) for f in edgevid.open_video(t.clip)
    ),
    "open_video([image, image])": lambda t: len(list(edgevid.open_video([t.image, t.image]))) == 2,
    "overlay.draw(image, result)": lambda t: (
        pytest.importorskip("cv2") and edgevid.Overlay().draw(t.frame.bgr, t.result).shape == (360, 640, 3)
    ),
    # pandas, notebooks
    "pd.DataFrame(result.to_dicts())": lambda t: t.result.to_dicts()[0]["speed_mps"] == 10.0,
    "result.to_polars()": lambda t: pytest.importorskip("polars") and t.result.to_polars().height == 2,
    "result.to_pandas()": lambda t: pytest.importorskip("pandas") and len(t.result.to_pandas()) == 2,
    "Pipeline('model').run('clip.mp4')": lambda t: len(list(t.pipeline().run(t.clip))) == 4,
    "speeds.update(detections)": lambda t: (
        t.estimator(frame_rate=30).update(t.tracked()).data["speed_reason"].tolist() == ["TOO_SHORT", ""]
    ),
}
"""A line of theirs, and the same with edgevid: it gives something."""

NEXT_STEP: dict[str, tuple[Callable[[Tries], Any], str]] = {
    "Detector.load('yolov8n.pt')": (
        lambda t: edgevid.Detector.load("yolov8n.pt"), r"`edgevid export yolov8n\.pt --data VIDEO`"
    ),
    "results[0].boxes.xyxy": (lambda t: t.model(t.image)[0].boxes.xyxy, r"boxes is the \(N, 4\) array"),
    "result.boxes": (lambda t: t.result.boxes, r"use result\.tracks\.boxes"),
    "result.plot()": (lambda t: t.result.plot(), r"Overlay\(\)\.draw\(frame, result\)"),
    "result.show()": (lambda t: t.result.show(), r"edgevid\.process"),
    "result.save()": (lambda t: t.result.save("x.jpg"), r"edgevid\.process"),
    "result[0]": (lambda t: t.result[0], r"result\.to_dicts\(\)"),
    "model.track('clip.mp4')": (lambda t: t.model.track("clip.mp4"), r"Pipeline\(detector\)\.run\("),
    "pipeline.track('clip.mp4')": (lambda t: t.pipeline().track("clip.mp4"), r"pipeline\.run\('clip\.mp4'\)"),
    "model.predict(imgsz=640)": (lambda t: t.model.predict(t.image, imgsz=640), r"one size, here 32x32"),
    "model.predict(save=True)": (lambda t: t.model.predict(t.image, save=True), r"edgevid\.process"),
    "model.predict(persist=True)": (lambda t: t.model.predict(t.image, persist=True), r"Pipeline\(detector"),
    "model(conff=0.4)": (lambda t: t.model(t.image, conff=0.4), r"did you mean 'conf'"),
    "model.to('cuda')": (lambda t: t.model.to("cuda"), r"Detector\(model, device="),
    "model(cv2.imread('missing.jpg'))": (lambda t: t.model(None), r"expected a Frame, .*got None"),
    "model.predict('missing.jpg')": (lambda t: t.model.predict("missing.jpg"), r"no such file; check"),
    "model(float image)": (lambda t: t.model(t.image / 255), r"\(255 \* image\)\.astype\(np\.uint8\)"),
    "model(CHW image)": (lambda t: t.model(t.image.transpose(2, 0, 1)), r"image\.transpose\(1, 2, 0\)"),
    "detections.conf": (lambda t: t.model(t.image).conf, r"use scores or confidence"),
    "Detections(xyxy=...)": (lambda t: edgevid.Detections(xyxy=SQUARE), r"Detections\.of\(\.\.\.\) takes it"),
    "tracker without a time": (lambda t: edgevid.Tracker().update(t.detections), r"timestamp=.*frame_rate="),
    "tracker.update(detections, image)": (
        lambda t: edgevid.Tracker(frame_rate=30).update(t.detections, t.image), r"timestamp=frame\.time"
    ),
    "tracker.update_with_tensors": (
        lambda t: edgevid.ByteTracker().update_with_tensors(t.image), r"use update\(Detections\.of"
    ),
    "Tracker(track_activation_treshold=0.3)": (
        lambda t: edgevid.Tracker(track_activation_treshold=0.3), r"did you mean 'track_activation_threshold'"
    ),
    "Tracker(tracker_type='botsort')": (
        lambda t: edgevid.Tracker(tracker_type="botsort"), r"expected 'bytetrack', the only one"
    ),
    "Tracker(gmc_method=...)": (
        lambda t: edgevid.Tracker(gmc_method="sparseOptFlow"),
        r"no setting of camera motion from pixels; leave it out",
    ),
    "speeds of detections without ids": (
        lambda t: t.estimator(frame_rate=30).update(t.detections), r"= tracker\.update\(detections\)"
    ),
    "sv.Detections.from_ultralytics(result)": (
        lambda t: t.sv.Detections.from_ultralytics(t.result), r"result\.to_supervision\(\)"
    ),
    "sv.Detections.from_inference(result)": (
        lambda t: t.sv.Detections.from_inference(t.result), r"result\.to_supervision\(\)"
    ),
    "BoxAnnotator().annotate(image, Result)": (
        lambda t: t.sv.BoxAnnotator().annotate(t.frame.bgr, t.result), r"result\.to_supervision\(\)"
    ),
    "LineZone.trigger(result)": (
        lambda t: t.sv.LineZone(t.sv.Point(0, 0), t.sv.Point(9, 9)).trigger(t.result),
        r"result\.to_supervision\(\)",
    ),
    "edgevid.YOLO": (lambda t: edgevid.YOLO, r"use Detector\('model\.onnx'\)"),
    "edgevid.get_video_frames_generator": (lambda t: edgevid.get_video_frames_generator, r"use open_video"),
    "edgevid.process_video": (lambda t: edgevid.process_video, r"edgevid\.process\("),
    "edgevid.LineZone": (lambda t: edgevid.LineZone, r"use ZoneMonitor"),
    "frame.shape": (lambda t: t.frame.shape, r"frame\.image \(RGB\) or frame\.bgr"),
}  # fmt: skip
"""A line of theirs that has another form here, and what the EdgevidError names."""


@pytest.fixture
def tries(tmp_path: Path) -> Tries:
    return Tries(tmp_path)


@pytest.mark.parametrize("line", WORK)
def test_what_users_write_first_works(line: str, tries: Tries) -> None:
    given = WORK[line](tries)
    assert given is not None
    assert given is not False


@pytest.mark.parametrize("line", NEXT_STEP)
def test_what_has_another_form_here_names_it(line: str, tries: Tries) -> None:
    function, message = NEXT_STEP[line]
    with pytest.raises(EdgevidError, match=message):
        function(tries)


def test_supervisions_speed_example_with_five_lines_of_edgevid(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("supervision")
    assert DEMO.read_text().count("  # edgevid\n") == 5
    clip = shared_data / "videos" / "kraten_speedcheck_cars.mp4"
    arguments = [str(clip), "--out", str(tmp_path / "out.mp4"), "--frames", "100"]
    monkeypatch.setattr(sys, "argv", ["demo", *arguments])
    runpy.run_path(str(DEMO), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    found = [[float(word) for word in line.replace("±", "").split()[1:3]] for line in lines if "±" in line]
    assert len(found) >= 2
    assert all(30 < speed < 70 and 0 < error <= 5 for speed, error in found)  # a road with a limit of 60 km/h
    assert sum(1 for _ in edgevid.open_video(tmp_path / "out.mp4")) == 100
