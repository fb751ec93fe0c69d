"""How to send the viewer's images: CPU time and bytes per frame, and latency in a real browser.

    python benchmarks/viewer_transport.py VIDEO [VIDEO ...] [--seconds 8]

JPEG over a WebSocket, the same JPEG as MJPEG (multipart/x-mixed-replace) and H.264 as fragmented MP4 over a
WebSocket into Media Source Extensions. Encoding is timed as CPU time of its thread, frame by frame in turn.
Latency: each image carries its number as black and white blocks; a script in headless Chromium reads it
back from the painted page and records the time. Same machine, same clock; the three run in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import time
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import starlette
from bench import conditions, save, table
from playwright.sync_api import sync_playwright
from starlette.applications import Starlette
from starlette.responses import FileResponse, HTMLResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from edgevid.output.overlay import Overlay
from edgevid.output.records import as_json
from edgevid.types import Detections, Frame, Result, SpeedReport, Speeds, Tracks
from edgevid.video.open import open_video
from edgevid.viewer.broadcast import encode_jpeg, pack
from edgevid.viewer.serve import Server

FPS, FRAMES, OBJECTS, BITS = 25, 60, 20, 16
TRANSPORTS = ("JPEG over WebSocket", "MJPEG", "H.264 fragmented MP4 over WebSocket")


class H264:
    """Frames to fragments of an MP4: one fragment per frame, no frame delayed."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.out: list[bytes] = []
        flags = "frag_every_frame+empty_moov+default_base_moof"
        self._file = av.open(self, "w", format="mp4", options={"movflags": flags})
        self._stream: Any = self._file.add_stream("libx264", rate=FPS)
        self._stream.width, self._stream.height, self._stream.pix_fmt = *size, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, FPS)
        self._stream.codec_context.thread_count = 1
        self._stream.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "26", "g": "50"}
        self._count = 0

    def write(self, data: bytes) -> int:
        """Called by the muxer."""
        self.out.append(bytes(data))
        return len(data)

    def __call__(self, image: np.ndarray) -> bytes:
        """The bytes of one frame (the first ones hold the header too)."""
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts, self._count = self._count, self._count + 1
        for packet in self._stream.encode(frame):
            self._file.mux(packet)
        data, self.out = b"".join(self.out), []
        return data


def read_images(path: Path) -> list[np.ndarray]:
    with open_video(path) as video:
        found = []
        for frame in video:
            found.append(frame.image.copy())
            if len(found) == FRAMES:
                break
    return found


def example(index: int, size: tuple[int, int]) -> Result:
    """A result of OBJECTS boxes, to measure drawing and encoding."""
    random = np.random.default_rng(index)
    low = random.uniform((0, 0), (size[0] * 0.8, size[1] * 0.7), (OBJECTS, 2))
    boxes = np.concatenate([low, low + np.array([size[0] * 0.08, size[1] * 0.2])], 1)
    ids, ones = list(range(1, OBJECTS + 1)), [1] * OBJECTS
    tracks = Tracks.of(ids=ids, boxes=boxes, scores=ones, labels=[0] * OBJECTS, match=list(range(OBJECTS)),
                       age=ones, unseen=[0] * OBJECTS)  # fmt: skip
    speeds = Speeds.of(ids=ids, mps=ones, sigma=ones, heading=ones, time=ones, reason=[0] * OBJECTS)
    return Result(index, index / FPS, size, Detections.empty(), tracks, SpeedReport(speeds), {}, {},
                  {"class": ("person",)}, {"detect": 0.01})  # fmt: skip


def cost(path: Path) -> list[list[str]]:
    """Rows of CPU milliseconds and kilobytes per frame."""
    images = read_images(path)
    size = (images[0].shape[1], images[0].shape[0])
    overlay, h264 = Overlay(), H264(size)
    measured: dict[str, list[tuple[float, int]]] = {}

    def draw(frame: Frame, result: Result) -> None:
        overlay.draw(frame, result)

    def timed(name: str, work: Any) -> None:
        started = time.thread_time()
        data = work()
        measured.setdefault(name, []).append((time.thread_time() - started, len(data) if data is not None else 0))

    for index, image in enumerate(images):
        result = example(index, size)
        frame = Frame(image, index / FPS, index)
        timed("JPEG, quality 80, of the plain image", lambda image=image: encode_jpeg(image, 80))
        timed("+ its record as JSON", lambda result=result: pack(as_json(result), b""))
        timed("drawing boxes and labels on the server", lambda frame=frame, result=result: draw(frame, result))
        marked = overlay.draw(frame, result)
        timed("JPEG, quality 80, of the drawn image", lambda marked=marked: encode_jpeg(marked, 80))
        timed("H.264 (ultrafast, zerolatency, crf 26), fragmented MP4", lambda image=image: h264(image))
    name = f"{path.name}, {size[0]}x{size[1]}"
    rows = []
    for what, values in measured.items():
        ms = 1000 * statistics.median(v[0] for v in values)
        rows.append([name, what, f"{ms:.2f}", f"{statistics.fmean(v[1] for v in values) / 1000:.1f}"])
    return rows


def numbered(image: np.ndarray, number: int) -> np.ndarray:
    """The image with its number as blocks of 16 pixels along its top."""
    made = image.copy()
    for bit in range(BITS):
        made[:16, 16 * bit : 16 * bit + 16] = 255 if number >> bit & 1 else 0
    return made


PAGE = """<!doctype html><title>latency</title><body><script src="/page.js"></script>"""
POLICY = "default-src 'self'; media-src blob:; img-src 'self' blob:; connect-src 'self'"


def application(images: list[np.ndarray], sent: dict[int, float]) -> Starlette:
    """Sends a numbered image at FPS in each of the three ways; `sent` gets the times."""
    size = (images[0].shape[1], images[0].shape[0])

    async def frames(encode: Any):
        started = time.monotonic()
        for count in range(1, 100_000):
            wait = started + count / FPS - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            number = len(sent) + 1
            sent[number] = time.time()
            yield encode(numbered(images[count % len(images)], number))

    async def page(request):
        return HTMLResponse(PAGE, headers={"content-security-policy": POLICY})

    async def script(request):
        return FileResponse(Path(__file__).with_suffix(".js"))

    async def mjpeg(request):
        async def parts():
            async for data in frames(lambda image: encode_jpeg(image, 80)):
                yield (
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data) + data + b"\r\n"
                )

        return StreamingResponse(parts(), media_type="multipart/x-mixed-replace; boundary=frame")

    async def socket(ws):
        await ws.accept()
        way = ws.path_params["way"]
        try:
            async for data in frames(H264(size) if way == 2 else (lambda image: encode_jpeg(image, 80))):
                await ws.send_bytes(data)
        except Exception:  # the page went on to the next transport
            return

    routes = [
        Route("/", page),
        Route("/page.js", script),
        Route("/mjpeg", mjpeg),
        WebSocketRoute("/ws/{way:int}", socket),
    ]
    return Starlette(routes=routes)


def latency(path: Path, seconds: float, rounds: int) -> list[list[str]]:
    """Rows of the time from submitting an image to its being painted."""
    images, sent = read_images(path), {}
    size = [images[0].shape[1], images[0].shape[0]]
    found: dict[int, list[float]] = {0: [], 1: [], 2: []}
    shown: dict[int, int] = {0: 0, 1: 0, 2: 0}
    chromium = os.environ.get("EDGEVID_CHROMIUM") or shutil.which("chromium")
    with Server(application(images, sent), port=0) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(rounds):
            for way in (0, 1, 2):
                page = browser.new_page()  # alone, so that no transport affects another
                page.goto(server.url)
                painted = page.evaluate("([way, s, size]) => window.run(way, s, size)", [way, seconds, size])
                late = [1000 * (at / 1000 - sent[n]) for n, at in painted if n in sent][
                    FPS:
                ]  # the first second warms up
                found[way] += late
                shown[way] += len(late)
                page.close()
        browser.close()
    name = f"{path.name}, {size[0]}x{size[1]}"
    return [
        [name, TRANSPORTS[way], f"{statistics.median(late):.0f}", f"{np.percentile(late, 95):.0f}", str(len(late))]
        for way, late in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    versions = {"av": av.__version__, "cv2": cv2.__version__, "starlette": starlette.__version__}
    where = conditions(versions | {"playwright": version("playwright")})
    head, rows = ["video", "what", "CPU ms/frame", "kB/frame"], []
    for path in arguments.video:
        rows += cost(path)
    print(table(head, rows))
    late_head = ["video", "transport", "median ms", "p95 ms", "images painted"]
    late = [row for path in arguments.video[:1] for row in latency(path, arguments.seconds, arguments.rounds)]
    print(table(late_head, late))
    save("viewer_transport", {"head": head, "rows": rows, "latency_head": late_head, "latency": late}, where)


if __name__ == "__main__":
    main()
