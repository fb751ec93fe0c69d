"""Counts objects that cross the middle of the image, by class and direction.

python demos/count_crossings.py VIDEO [--max-frames N]
"""

from __future__ import annotations

import argparse

from edgevid import Detector, Line, Pipeline, Tracker, ZoneMonitor, open_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("--max-frames", type=int, default=10**9)
    options = parser.parse_args()
    with open_video(options.video) as video:
        width, height = video.size
        middle = Line("middle", (width / 2, 0), (width / 2, height))
        monitor = ZoneMonitor(lines=[middle])
        pipeline = Pipeline(Detector.load(classes=["person", "car", "bus", "truck"]), Tracker())
        for frame, result in pipeline.run(video):
            for event in monitor.update(result.tracks, result.time):
                name = result.names["class"][event.label]
                print(f"{event.time:7.2f} s  {name} {event.id} crosses {event.direction}")
            if frame.index + 1 >= options.max_frames:
                break
    for (_, direction, label), count in sorted(monitor.counts.items()):
        print(f"{count} x {pipeline.names['class'][label]} {direction}")


if __name__ == "__main__":
    main()
