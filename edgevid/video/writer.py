"""Writing video: the encoders of this FFmpeg, and MP4 that browsers play, with the stream's own times."""

import logging
import math
import os
from collections.abc import Mapping
from contextlib import closing, suppress
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

from edgevid.errors import InputError, SourceError, did_you_mean, log_once
from edgevid.files.atomic import claim
from edgevid.files.toml import read_toml
from edgevid.types import Array, Closing

SUFFIXES = (".mp4", ".m4v", ".mov")
TICKS = 60_000  # Time steps per second of a file; MPEG-4 Part 2 takes no more than 65,535
BT709, LIMITED = 1, 1  # FFmpeg's numbers of the color matrix and of the range 16..235


class Encoder(NamedTuple):
    """An encoder of FFmpeg and its settings."""

    codec: str  # What it writes: "h264", "vp9", "av1", "mpeg4"
    kind: str  # Where it runs, or its license, for messages
    options: Mapping[str, str] | None = None
    """FFmpeg's options, with the quality in braces; None for an encoder that takes a bit rate only."""
    automatic: bool = True  # Whether "auto" takes it


ENCODERS = {name: Encoder(**values) for name, values in read_toml(Path(__file__).with_name("encoders.toml")).items()}
"""By FFmpeg's name, best first."""


def check_codec(codec: str) -> None:
    """InputError for a `codec` that `choose_encoder` does not know."""
    known = list(dict.fromkeys(("auto", *(encoder.codec for encoder in ENCODERS.values()), *ENCODERS)))
    if codec not in known and f"lib{codec}" not in known:
        raise InputError(f"codec: expected one of {', '.join(known)}, got {codec!r}{did_you_mean(codec, known)}")


def choose_encoder(codec: str, width: int, height: int) -> str:
    """The name of the first encoder that works here for "auto", a codec, or an encoder's own name. InputError
    for an unknown word, and where this FFmpeg has none that works."""
    check_codec(codec)
    for name, encoder in ENCODERS.items():
        words = {name, name.removeprefix("lib"), encoder.codec, "auto" if encoder.automatic else ""}
        if codec in words and encodes(name, width, height):
            return name
    working = [name for name in ENCODERS if encodes(name, width, height)]
    raise InputError(f"codec {codec!r}: no such encoder works here for {width}x{height}; of this FFmpeg work "
                     f"{', '.join(working) or 'none'}: take one of these, or codec='auto'")  # fmt: skip


@lru_cache(maxsize=256)
def encodes(name: str, width: int, height: int) -> bool:
    """Whether an encoder makes a packet of one gray frame: hardware may be absent, busy or too small."""
    try:
        context: Any = av.CodecContext.create(name, "w")
        set_up(context, name, width, height, fps=25.0, quality=23)
        frame = av.VideoFrame(width, height, context.pix_fmt)
        for plane in frame.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        frame.pts, frame.time_base = 0, Fraction(1, TICKS)
        return bool([*context.encode(frame), *context.encode(None)])
    except (av.FFmpegError, ValueError):
        return False


def ffmpeg_meta() -> tuple[str, str]:
    """The license and the configuration that this FFmpeg states; empty where PyAV does not pass them on."""
    meta = getattr(av._core, "library_meta", {}).get("libavcodec", {})
    return meta.get("license", ""), meta.get("configuration", "")


def set_up(context: Any, name: str, width: int, height: int, *, fps: float, quality: int) -> None:
    """Sets size, rate, format and quality of an encoder's context that is not open yet."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only: SVT-AV1 reports its settings otherwise
    encoder, codec = ENCODERS[name], context.codec
    formats = [known.name for known in codec.video_formats or ()]
    context.width, context.height = width, height
    context.pix_fmt = "nv12" if formats and "yuv420p" not in formats else "yuv420p"
    context.framerate = Fraction(fps).limit_denominator(1001)
    context.time_base = Fraction(1, TICKS)
    context.gop_size = max(1, round(2 * fps))
    if encoder.options is None:
        context.bit_rate = int(width * height * fps * 0.12)
    else:
        context.bit_rate = 0  # constant quality
        numbers = {"q": quality, "crf": min(63, round(1.5 * quality))} | {f"q{n}": quality + n for n in (1, 2, 4)}
        context.options = {key: text.format(**numbers) for key, text in encoder.options.items()}


class VideoWriter(Closing):
    """Writes RGB images to an MP4 file. The file is fragmented: every two seconds of video are complete on
    disk, so that a program that is killed leaves a file that plays up to there."""

    def __init__(self, path: str | Path, *, fps: float = 25.0, quality: int = 23, codec: str = "auto") -> None:
        """`fps` is the nominal rate; `quality` is 0 best to 51 worst, on the scale of H.264. `codec` is "h264",
        "vp9", "av1", an encoder of FFmpeg such as "libx264", or "auto": H.264 by hardware or OpenH264, else
        VP9, and x264, which is GPL, where this FFmpeg has none of them."""
        if not fps > 0:
            raise InputError(f"fps: expected more than 0, got {fps}")
        if not 0 <= quality <= 51:
            raise InputError(f"quality: expected 0 (best) to 51, got {quality}")
        check_codec(codec)
        self.path, self.fps, self.quality, self.codec = Path(path), fps, quality, codec
        if self.path.suffix and self.path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: expected a name that ends in .mp4")
        if not self.path.parent.is_dir():
            raise SourceError(f"{self.path}: the folder {self.path.parent} does not exist; create it first")
        self.frames = 0
        self._container: Any = None
        self._encoder: Any = None
        self._claim = -1
        self._failed = False  # after FFmpeg failed on a frame it must get no more

    def write(self, image: Array, time: float) -> None:
        """Adds `image` (H, W, 3) uint8 RGB shown at `time` seconds; odd sizes lose a row or column."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 2:
            got = f"{image.dtype} {image.shape}"
            raise InputError(f"video image: expected uint8 (H, W, 3) of at least 2x2 pixels, got {got}")
        if not math.isfinite(time):
            raise InputError(f"time: expected seconds, got {time}")
        height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
        if self._failed:
            raise SourceError(f"{self.path}: disk full or not writable: free space and start a new file")
        if self._container is None:
            self._open(width, height, time)
        elif (width, height) != self._encoder.size:
            before = "x".join(map(str, self._encoder.size))
            raise InputError(f"video image: expected {before} as before, got {width}x{height}; start a new file when "
                             "the size changes")  # fmt: skip
        av_frame = self._encoder.frame(image[:height, :width], time)
        try:
            for packet in self._encoder.stream.encode(av_frame):
                self._container.mux(packet)
        except Exception:  # an interrupt is none: the file is finished after it
            self._failed = True
            raise
        self.frames += 1

    def _open(self, width: int, height: int, time: float) -> None:
        # Without flush_packets FFmpeg keeps up to 256 kB of a complete fragment in memory.
        flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        try:
            self._claim = claim(self.path, os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666))
            os.ftruncate(self._claim, 0)  # FFmpeg opens it later, within the first image
        except SourceError:
            raise
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be written: {error.strerror}; choose another path") from None
        address = f"file:{self.path}"  # a name with a colon is no protocol
        self._container = av.open(address, "w", format="mp4", container_options=flags)
        self._encoder = FrameEncoder(self._container, (width, height), fps=self.fps, quality=self.quality,
                                     codec=self.codec, start=time)  # fmt: skip

    def close(self) -> None:
        """Finishes the file; a writer that got no image leaves none."""
        container, self._container = self._container, None
        known = [OSError] if self._failed else []  # the error was raised when it came
        try:
            if container is not None:
                with suppress(*known), closing(container):
                    for packet in () if self._failed else self._encoder.stream.encode():
                        container.mux(packet)
        finally:
            if self._claim >= 0:
                os.close(self._claim)
                self._claim = -1


class FrameEncoder:
    """Encodes RGB images of one size for a container that is open for writing."""

    def __init__(self, container: Any, size: tuple[int, int], *, fps: float, quality: int, codec: str,
                 start: float) -> None:  # fmt: skip
        """`size` is (width, height), `start` the time of the first image; the rest as of `VideoWriter`."""
        name = choose_encoder(codec, *size)
        level = logging.WARNING if name == "mpeg4" else logging.INFO
        log_once(f"video is written as {ENCODERS[name].codec} by {name} ({ENCODERS[name].kind})", level)
        self.size, self._start, self._last = size, start, -1
        self.stream = container.add_stream(name)
        set_up(self.stream.codec_context, name, *size, fps=fps, quality=quality)
        self.stream.time_base = Fraction(1, TICKS)
        # Stated, because players guess an unstated matrix by the height, and guess differently.
        context = self.stream.codec_context
        context.colorspace, context.color_range = BT709, LIMITED
        # A new one for each image fragments the heap: at 1080p a program grew by 6 MB per frame.
        self._reused: Any = av.VideoFrame(*size, "rgb24")

    def frame(self, image: Array, time: float) -> Any:
        """The `av.VideoFrame` to encode for an image (H, W, 3) uint8 RGB."""
        plane = self._reused.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows[: image.shape[0], : 3 * image.shape[1]] = image.reshape(image.shape[0], -1)
        tick = max(round((time - self._start) * TICKS), self._last + 1)
        av_frame = self._reused.reformat(format=self.stream.pix_fmt, dst_colorspace="ITU709")
        av_frame.pts, av_frame.time_base, self._last = tick, Fraction(1, TICKS), tick
        return av_frame
