"""The moving picture of README.md: some seconds of the demo on the rendered street, as an animated WebP.

    python benchmarks/moving_picture.py docs/street.webp [--from 6 --seconds 6 --rate 10 --width 800 --quality 60]

Runs `edgevid-demo --rendered --out FOLDER` and scales its annotated video. The picture repeats without end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--from", dest="start", type=float, default=6.0, help="first second shown")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rate", type=int, default=10, help="images a second")
    parser.add_argument("--width", type=int, default=800)
    parser.add_argument("--quality", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        end = given.start + given.seconds
        demo = ["--rendered", "--out", folder, "--max-frames", str(int(25 * end) + 2)]
        subprocess.run([sys.executable, "-c", "from edgevid.cli import demo_main; demo_main()", *demo], check=True)
        with av.open(str(Path(folder) / "demo.mp4")) as source, av.open(str(given.picture), "w", format="webp") as out:
            out.container_options["loop"] = "0"
            stream, wanted = None, given.start
            for frame in source.decode(video=0):
                if frame.time < wanted or frame.time >= end:
                    continue
                wanted += 1 / given.rate
                if stream is None:
                    stream = out.add_stream("libwebp_anim", rate=given.rate)
                    stream.width, stream.height = given.width, round(frame.height * given.width / frame.width)
                    stream.pix_fmt = "yuv420p"
                    stream.options = {"quality": str(given.quality), "compression_level": "4"}
                small = frame.reformat(stream.width, stream.height, "yuv420p", interpolation="AREA")
                small.pts, small.time_base = None, Fraction(1, given.rate)
                out.mux(stream.encode(small))
            out.mux(stream.encode())
    print(f"{given.picture}: {given.picture.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
