"""Counts objects that cross the middle of the image, by class and direction.

python demos/count_crossings.py VIDEO [--max-frames N]
"""

from __future__ import annotations

import argparse

from edgevid import Detector, Line, Pipeline, ZoneMonitor, open_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("--max-frames", type=int, default=10**9)
    options = parser.parse_args()
    with open_video(options.video) as video:
        middle = Line("middle", (0.5, 0), (0.5, 1), relative=True)
        monitor = ZoneMonitor(lines=[middle], size=video.size)
        pipeline = Pipeline(Detector.load(classes=["person", "car", "bus", "truck"]))
        for frame, result in pipeline.run(video):
            for event in monitor.update(result.tracks, result.time):
                name = result.class_name(event.label)
                print(f"{event.time:7.2f} s  {name} {event.id} crosses {event.direction}")
            if frame.index + 1 >= options.max_frames:
                break
    monitor.finish()  # who was still on the line
    for total in monitor.totals():
        name = pipeline.names["class"][total.label]
        print(f"{name}: {total.forward} forward, {total.backward} backward, net {total.net}")


if __name__ == "__main__":
    main()
