"""supervision's speed example, with edgevid's tracker and speeds in five lines: those marked edgevid.

python demos/supervision_speed.py VIDEO [--out OUT.mp4] [--frames N]    needs: pip install supervision

The corners are those of two lanes (7 m x 24 m) of calibration/camera/gantry_road.toml.
"""

from __future__ import annotations

import argparse

import numpy as np
import supervision as sv

from edgevid import Detector, SpeedEstimator, Tracker, make_calibration  # edgevid

SOURCE = np.array([[245, 102], [351, 103], [447, 317], [180, 318]])  # pixels
TARGET = np.array([[0, 24], [7, 24], [7, 0], [0, 0]])  # meters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("--out", default="speeds.mp4")
    parser.add_argument("--frames", type=int, default=None)
    options = parser.parse_args()
    info = sv.VideoInfo.from_video_path(options.video)
    fps, detector = info.fps, Detector("street-nano")
    tracker = Tracker(frame_rate=fps, track_activation_threshold=0.3)  # edgevid
    speeds = SpeedEstimator(make_calibration(SOURCE, TARGET, info.resolution_wh), frame_rate=fps)  # edgevid
    zone = sv.PolygonZone(polygon=SOURCE)
    boxes, texts = sv.BoxAnnotator(thickness=2), sv.LabelAnnotator(text_scale=0.4)
    last: dict[int, str] = {}
    with sv.VideoSink(options.out, info) as sink:
        for image in sv.get_video_frames_generator(options.video, end=options.frames):
            detections = detector(image).to_supervision()
            detections = detections[zone.trigger(detections)]
            detections = tracker.update_with_detections(detections)  # edgevid
            detections = speeds.update(detections)  # edgevid
            labels = []
            data = detections.data
            for i, mps, sigma, reason in zip(
                detections.tracker_id, data["speed_mps"], data["speed_sigma_mps"], data["speed_reason"],
                strict=True,
            ):  # fmt: skip
                labels.append(f"#{i} {reason.lower() or f'{3.6 * mps:.0f} ±{3.6 * sigma:.0f} km/h'}")
                if not reason:
                    last[int(i)] = labels[-1]
            image = texts.annotate(boxes.annotate(image.copy(), detections), detections, labels)
            sink.write_frame(image)
    for label in last.values():
        print(label)


if __name__ == "__main__":
    main()
